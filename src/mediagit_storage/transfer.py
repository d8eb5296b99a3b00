"""Local files to and from a storage: a file that is watched while it is sent, a file that appears only when whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Literal

from mediagit_storage.errors import IntegrityError
from mediagit_storage.source import FileSource
from mediagit_storage.types import BytesLike

__all__ = ["Durability", "LocalFileSource", "replacing_file"]

#: ``full`` syncs every file, ``batch`` a batch of them once at its end, ``none`` leaves it to the operating system.
Durability = Literal["full", "batch", "none"]

_BUFFER: Final = 1024 * 1024


class LocalFileSource(FileSource):
    """A local file to be stored. `IntegrityError`, and so no object, if it changes while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._descriptor = file.fileno()
        self._before = self._state()

    def chunks(self) -> Iterator[BytesLike]:
        """The file's content; at its end the file must be as it was when it was opened."""
        yield from super().chunks()
        if self._state() != self._before:
            raise IntegrityError("the local file changed while it was read; nothing was stored")

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns


@contextmanager
def replacing_file(path: Path, *, durability: Durability = "full") -> Iterator[IO[bytes]]:
    """A file to write that takes ``path``'s place when the block ends well, and leaves nothing when it does not.

    With ``full`` durability the file and its folder are synced before this returns.
    """
    # A hidden name in the same folder: the rename must not leave the file system.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb", buffering=_BUFFER) as file:
            yield file
            file.flush()
            if durability != "none":
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durability != "none":
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
