"""What a folder remembers of itself: one small file, ``usage``, that is also the lock of those who add files.

Its form: 4 bytes ``MGU1``, five numbers of 8 bytes (little-endian; the fields of `DiskUsage`), and the CRC-32 of all that.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final, NamedTuple

__all__ = ["DiskUsage", "load_usage", "save_usage"]

_FORM: Final = struct.Struct("<4sQQQQQ")
_MAGIC: Final = b"MGU1"
_SUM: Final = struct.Struct("<I")


class DiskUsage(NamedTuple):
    """``bytes`` and ``entries`` of files; lookups that found one or not, files that made room, damaged files, ever."""

    bytes: int = 0
    entries: int = 0
    hits: int = 0
    evictions: int = 0
    heals: int = 0


def load_usage(ledger: int) -> DiskUsage | None:
    """What an open file says; None where it was never written, or is damaged."""
    raw = os.pread(ledger, _FORM.size + _SUM.size, 0)
    if len(raw) != _FORM.size + _SUM.size or _SUM.unpack_from(raw, _FORM.size)[0] != zlib.crc32(raw[: _FORM.size]):
        return None
    magic, *counts = _FORM.unpack_from(raw)
    return DiskUsage(*counts) if magic == _MAGIC else None


def save_usage(ledger: int, usage: DiskUsage) -> None:
    """Write it down. Raises `OSError`."""
    raw = _FORM.pack(_MAGIC, *(max(0, count) for count in usage))
    os.pwrite(ledger, raw + _SUM.pack(zlib.crc32(raw)), 0)
