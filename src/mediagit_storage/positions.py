"""Writing into an open file by position, to the last byte."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

__all__ = ["write_at", "write_pieces_at"]

#: The most pieces that one call takes; more are joined. POSIX promises 16, all systems of today take 1,024.
_MOST: Final = 64
_writes_many: Final = hasattr(os, "pwritev")


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``; a write that was cut short goes on. Raises `OSError`."""
    written = os.pwrite(descriptor, data, offset)
    if written == len(data):
        return
    with memoryview(data) as view:
        while written < len(view):
            written += os.pwrite(descriptor, view[written:], offset + written)


def write_pieces_at(descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
    """The same for bytes that come in pieces, which are not joined if they are few."""
    if not _writes_many or len(pieces) > _MOST:
        write_at(descriptor, b"".join(pieces), offset)
        return
    written = os.pwritev(descriptor, pieces, offset)
    if written < sum(map(len, pieces)):
        write_at(descriptor, b"".join(pieces)[written:], offset + written)
