"""Small files of the user's own, such as keys and profiles: never half-written, and readable by their owner only."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["create_private_file", "locked_beside", "replace_private_file"]


def create_private_file(place: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make a file, on disk when this returns. A missing folder is made for its owner only.

    Raises `FileExistsError` where there is one already, also where a link stands there, and `OSError` where it cannot be
    made; what cannot be written whole is not left.
    """
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_new(place, content, mode)
    _sync(place.parent)


def replace_private_file(place: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a new content in place of a file's, or make the file, in one step; on disk when this returns.

    Whoever reads meanwhile has the old content or the new one, whole. Raises `OSError`, and then the old file stays.
    """
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    _write_new(temporary, content, mode)
    try:
        temporary.replace(place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync(place.parent)


@contextmanager
def locked_beside(place: Path) -> Iterator[None]:
    """Keep others who change the same file out, by a lock on an empty file beside it; its folder is made if missing."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place.with_name(f".{place.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_new(place: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            place.unlink()
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
