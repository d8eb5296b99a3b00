"""moto: a fake S3 in Python, complete and quick; it checks no signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports, new_keys
from mediagit_storage.testing.emulators.raw_s3 import S3
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["MOTO"]


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    # A script for moto's own Python, which knows nothing of this package; -I, or its folder would be looked into too.
    script = Path(__file__).with_name("moto_in_turn.py")
    command = (place.program("python"), "-I", str(script), "127.0.0.1", str(port))
    # Its users are made up by whoever asks: any keys do.
    access, secret = new_keys()
    return Launch(command, Running("moto", f"http://127.0.0.1:{port}", access, secret))


MOTO: Final = Server("moto", "moto 5.2", S3, PyPI("moto.txt"), _prepare)
