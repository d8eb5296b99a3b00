"""The files of the disk tier as the operating system shows them: the calls that are made of it, and what lies in a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["DiskFiles", "FileSeen", "make_folder", "remove_file", "seen_below", "seen_in"]


class DiskFiles:
    """The operating system as the disk tier needs it: the seam where tests make calls fail."""

    def open(self, path: str, flags: int) -> int:
        """A descriptor; never through a link, never one that children inherit."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        """Up to ``count`` bytes from ``offset``."""
        return os.pread(descriptor, count, offset)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """How many bytes were written."""
        return os.write(descriptor, data)

    def replace(self, source: str, target: str) -> None:
        """Rename."""
        os.replace(source, target)  # noqa: PTH105  # a Path for each file would cost more than the call

    def read_all(self, descriptor: int, count: int, offset: int) -> bytes | None:
        """``count`` bytes from ``offset``; None where the file ends before. Without a copy where they come at once."""
        first = self.read(descriptor, count, offset)
        if len(first) == count:
            return first
        pieces, left = [first], count - len(first)
        while left:
            piece = self.read(descriptor, left, offset + count - left)
            if not piece:
                return None
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def write_all(self, descriptor: int, data: bytes) -> None:
        """Write to the last byte."""
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += self.write(descriptor, view[written:])


class FileSeen(NamedTuple):
    """``used`` is when a file was last used (nanoseconds since 1970), ``size`` its bytes."""

    used: int
    size: int
    path: str


def seen_below(folder: str) -> Iterator[FileSeen]:
    """The files in the folders of two letters below one. None where it is not there."""
    for shard in _shards(folder):
        yield from seen_in(shard)


def seen_in(folder: str) -> Iterator[FileSeen]:
    """The files of a folder. None where it is not there."""
    try:
        with os.scandir(folder) as entries:
            for each in entries:
                # Others remove files meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    status = each.stat(follow_symlinks=False)
                    yield FileSeen(status.st_atime_ns, status.st_size, each.path)
    except FileNotFoundError:
        return


def make_folder(path: str) -> None:
    """A folder of this user alone, if it is not there."""
    if not os.access(path, os.F_OK):
        Path(path).mkdir(mode=0o700, exist_ok=True)


def remove_file(path: str) -> bool:
    """Remove one; False where it is gone already. One that cannot be removed must not be counted as gone: `OSError`."""
    try:
        os.unlink(path)  # noqa: PTH108  # a Path for each file would cost more than the call
    except FileNotFoundError:
        return False
    return True


def _shards(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [each.path for each in entries if len(each.name) == 2 and each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
