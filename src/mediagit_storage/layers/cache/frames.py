"""What stands before the content in a file of the disk tier, and how the content is proven by it. Pure functions.

A file is: 4 bytes that name the checksum, the checksum of all that follows as 4 bytes (little-endian), the first 16 bytes
of its own name, and the content. The name is the SHA-256 of what the content belongs to, so a file that was cut, damaged,
or put in the place of another is found out. The checksum finds accidents, not forgers: ``MGC2`` is CRC-32C, which takes a
seventh of the time, where its library is installed, and ``MGC1`` CRC-32, which every Python has.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, Literal, TypeAlias

from mediagit_storage.hashing import quick_crc32c

__all__ = ["FRAME", "Verdict", "framed", "judged"]

_CRC32: Final = b"MGC1"
_CRC32C: Final = b"MGC2"
_SUM: Final = struct.Struct("<I")
_OWN_NAME: Final = 16
#: How many bytes a file has before its content.
FRAME: Final = len(_CRC32) + _SUM.size + _OWN_NAME

#: ``unknown``: another process, which has a library that is missing here, can tell.
Verdict: TypeAlias = Literal["right", "wrong", "unknown"]


def framed(name: str, content: bytes) -> bytes:
    """What stands before the content of the file ``name`` (64 hexadecimal digits)."""
    crc32c = quick_crc32c()
    own = _own(name)
    if crc32c is None:
        return _CRC32 + _SUM.pack(zlib.crc32(content, zlib.crc32(own))) + own
    return _CRC32C + _SUM.pack(crc32c(crc32c(0, own), content)) + own


def judged(frame: bytes, name: str, content: bytes) -> Verdict:
    """Whether the content is what was written under this name."""
    own = _own(name)
    if len(frame) != FRAME or frame[-_OWN_NAME:] != own:
        return "wrong"
    expected = _SUM.unpack_from(frame, len(_CRC32))[0]
    if frame.startswith(_CRC32):
        return "right" if zlib.crc32(content, zlib.crc32(own)) == expected else "wrong"
    if not frame.startswith(_CRC32C):
        return "wrong"
    crc32c = quick_crc32c()
    if crc32c is None:
        return "unknown"
    return "right" if crc32c(crc32c(0, own), content) == expected else "wrong"


def _own(name: str) -> bytes:
    return bytes.fromhex(name[: 2 * _OWN_NAME])
