"""The WebDAV suite, against rclone's server over a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator_suite import EmulatorSuite, cases, opened_on
from mediagit_storage import Storage, WebDAVBackend
from mediagit_storage.testing.emulators import Running
from webdav_bench import parts


def named(server: Running) -> str:
    """Its URL, with user and password."""
    return server.url.replace("://", f"://{server.access_key}:{server.secret_key}@")


def place_of(server: str, place: str) -> Storage:
    """One of its folders."""
    url, user, password = parts(server)
    return Storage(WebDAVBackend(f"{url}/{place}", username=user, password=password, service="rclone"))


CASES = cases(
    ["mediagit-storage", "webdav4"],
    ["mediagit-storage, get_many and put_many", "webdav4, 16 threads"],
)
NOTE = (
    "One rclone, on the same machine, is the server. Ours uploads under another name, looks at what arrived and moves it:"
    " nobody ever sees half an object. webdav4 writes in place."
)


@contextmanager
def opened(scratch: Path) -> Iterator[EmulatorSuite]:
    """The suite with its server, which ends with the block."""
    with opened_on("rclone-webdav", "webdav_bench.py", scratch, named, place_of) as suite:
        yield suite
