"""The bytes of a compressed object: marks, frames and the table that finds them. Pure functions, no I/O, no zstd.

An object is a file of the zstd seekable format (``contrib/seekable_format/zstd_seekable_compression_format.md`` of
zstd, version 0.1.0), which any zstd program decompresses as it is, since it passes over skippable frames. Integers are
little-endian.

::

    head    skippable frame 0x184D2A5B: 16 bytes: "mgs-zstd", version (2), 0 (2), CRC-32 of these 12 bytes (4)
    frames  zstd frames (RFC 8878), each with its content size and checksum; none where the object is empty
    end     skippable frame 0x184D2A5B: 32 bytes: "mgs-zstd", version (2), 1 (2), BLAKE2b of the table (16),
            CRC-32 of these 28 bytes (4)
    table   skippable frame 0x184D2A5E: for the head, each frame and the end: stored size (4), plain size (4), the
            lower half of the XXH64 of the plain bytes (4); then their number (4), 0x80 (1), 0x8F92EAB1 (4)

The end stands before the table, so that one read of the last bytes proves whose object it is and that the table is
whole; the checksum in the table is that of the frame, so neither can be another's.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Final, NamedTuple

from mediagit_storage.errors import IntegrityError, LimitExceededError, UnsupportedError
from mediagit_storage.ranges import Span
from mediagit_storage.types import BytesLike

__all__ = [
    "END_SIZE",
    "HEAD",
    "MAX_FRAMES",
    "Ending",
    "Layout",
    "Limits",
    "TableWriter",
    "check_frame",
    "has_head",
    "parse_layout",
    "read_ending",
]

_VERSION: Final = 1
_NAME: Final = b"mgs-zstd"
_MARK_MAGIC: Final = 0x184D2A5B
_TABLE_MAGIC: Final = 0x184D2A5E
_FOOTER_MAGIC: Final = 0x8F92EAB1
_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CHECKSUMS: Final = 0x80  # the descriptor of a table whose entries have checksums

_SKIPPABLE: Final = Struct("<II")  # magic, length of what follows
_MARK: Final = Struct("<8sHH")
_CRC: Final = Struct("<I")
_ENTRY: Final = Struct("<III")
_FOOTER: Final = Struct("<IBI")
_DIGEST_SIZE: Final = 16
_IS_HEAD, _IS_END = 0, 1
_SMALLEST_WINDOW: Final = 1024

#: More would need a table of over 64 MiB, which readers hold in memory.
MAX_FRAMES: Final = 64 * 1024 * 1024 // _ENTRY.size - 2


class Limits(NamedTuple):
    """What a reader puts up with, in plain bytes: of one frame (and its window), and of an object (None: any)."""

    frame: int
    total: int | None = None


def _mark(kind: int, digest: bytes = b"") -> bytes:
    fields = _MARK.pack(_NAME, _VERSION, kind) + digest
    return _SKIPPABLE.pack(_MARK_MAGIC, len(fields) + _CRC.size) + fields + _CRC.pack(zlib.crc32(fields))


#: What every object begins with.
HEAD: Final = _mark(_IS_HEAD)
#: The length of the mark before the table, in bytes.
END_SIZE: Final = len(_mark(_IS_END, bytes(_DIGEST_SIZE)))


def has_head(data: BytesLike) -> bool:
    """Whether an object that begins like this is one of ours of any version, or was before it was cut off or damaged."""
    begin = bytes(data[: _SKIPPABLE.size + len(_NAME)])
    return bool(begin) and HEAD.startswith(begin)


def _end_version(data: BytesLike) -> int | None:
    """The version in the mark before a table; None where it is no such mark."""
    size = _SKIPPABLE.size + _MARK.size + _DIGEST_SIZE
    if len(data) != size + _CRC.size or _SKIPPABLE.unpack_from(data) != (_MARK_MAGIC, len(data) - _SKIPPABLE.size):
        return None
    name, version, kind = _MARK.unpack_from(data, _SKIPPABLE.size)
    crc = zlib.crc32(data[_SKIPPABLE.size : size])
    return int(version) if name == _NAME and kind == _IS_END and _CRC.unpack_from(data, size) == (crc,) else None


class TableWriter:
    """Takes down the frames of an object while it is written; 12 bytes of memory for each."""

    def __init__(self) -> None:
        self._entries = bytearray(_ENTRY.pack(len(HEAD), 0, 0))
        self.plain_size = 0

    def add(self, frame: bytes, plain_size: int) -> None:
        """One more frame, of ``plain_size`` bytes. Its checksum is its last four bytes (RFC 8878, 3.1.1)."""
        if len(self._entries) // _ENTRY.size > MAX_FRAMES:
            raise LimitExceededError(
                f"an object has at most {MAX_FRAMES:,} frames: choose a larger frame_size for objects of this size"
            )
        self._entries += _ENTRY.pack(len(frame), plain_size, *_CRC.unpack_from(frame, len(frame) - _CRC.size))
        self.plain_size += plain_size

    def finish(self) -> bytes:
        """The end and the table."""
        entries = self._entries + _ENTRY.pack(END_SIZE, 0, 0)
        footer = _FOOTER.pack(len(entries) // _ENTRY.size, _CHECKSUMS, _FOOTER_MAGIC)
        table = _SKIPPABLE.pack(_TABLE_MAGIC, len(entries) + len(footer)) + entries + footer
        return _mark(_IS_END, _digest(table)) + table


def _digest(table: BytesLike) -> bytes:
    return blake2b(table, digest_size=_DIGEST_SIZE).digest()


class Ending(NamedTuple):
    """What the last bytes of an object say: the size of its end and table together, in bytes."""

    size: int


def read_ending(tail: BytesLike, stored_size: int) -> Ending | None:
    """How much of the end of an object has to be read to know its layout; None where that is none of ours.

    ``tail`` is at least the last nine bytes of the ``stored_size`` bytes, as far as there are any.
    """
    if len(tail) < _FOOTER.size:
        return None
    count, descriptor, magic = _FOOTER.unpack_from(tail, len(tail) - _FOOTER.size)
    size = END_SIZE + _SKIPPABLE.size + count * _ENTRY.size + _FOOTER.size
    if magic != _FOOTER_MAGIC or descriptor != _CHECKSUMS or count < 2 or len(HEAD) + size > stored_size:
        return None
    if count - 2 > MAX_FRAMES:
        raise LimitExceededError(f"the object has {count:,} frames, and at most {MAX_FRAMES:,} are read")
    return Ending(size)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the frames of one object are. Offsets are of the frames' beginnings, the last one is of their end."""

    plain: array[int]
    stored: array[int]
    checksums: array[int]

    @property
    def plain_size(self) -> int:
        """Of the whole object, in bytes."""
        return self.plain[-1]

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.checksums)

    def covering(self, span: Span) -> range:
        """The frames that hold a part of the plain bytes which is not empty; they are not empty themselves."""
        if not span.length:
            return range(0)
        return range(bisect_right(self.plain, span.start) - 1, bisect_right(self.plain, span.start + span.length - 1))


def parse_layout(ending: BytesLike, stored_size: int, limits: Limits) -> Layout | None:
    """The layout that an end and table (as long as `read_ending` says) tell of; None where they are none of ours.

    Raises `UnsupportedError` for a later version of the format, `IntegrityError` for a table that is damaged or does
    not fit the object, `LimitExceededError` for frames or an object above the limits.
    """
    version = _end_version(ending[:END_SIZE])
    if version is None:
        return None
    if version != _VERSION:
        raise UnsupportedError(
            f"the object was compressed in version {version} of the format, and this library reads {_VERSION}"
        )
    begin = _SKIPPABLE.size + _MARK.size
    if ending[begin : begin + _DIGEST_SIZE] != _digest(ending[END_SIZE:]):
        raise IntegrityError("the table of the compressed object is damaged")
    table = array("I")
    with memoryview(ending) as view:
        table.frombytes(view[END_SIZE + _SKIPPABLE.size : len(view) - _FOOTER.size])
    if sys.byteorder == "big":
        table.byteswap()
    stored, plain, checksums = table[0::3], table[1::3], table[2::3]
    del table  # as large as the three together
    _check_table(stored, plain, stored_size - len(ending), limits)
    ends = array("Q", accumulate(stored[:-1]))
    return Layout(array("Q", accumulate(plain[1:-1], initial=0)), ends, checksums[1:-1])


def _check_table(stored: array[int], plain: array[int], frames_end: int, limits: Limits) -> None:
    """Refuse a table that no writer makes, and one of more than a reader wants."""
    frames = plain[1:-1]
    marks = (stored[0], plain[0], stored[-1], plain[-1])
    if marks != (len(HEAD), 0, END_SIZE, 0) or (frames and not min(frames)):
        raise IntegrityError("the table of the compressed object is not one that this library writes")
    if sum(stored[:-1]) != frames_end:
        raise IntegrityError(
            f"the table of the compressed object tells of {sum(stored[:-1]):,} bytes before it, and there are"
            f" {frames_end:,}"
        )
    if frames and max(frames) > limits.frame:
        raise LimitExceededError(
            f"the compressed object has a frame of {max(frames):,} bytes, above max_frame_size ({limits.frame:,})"
        )
    if limits.total is not None and sum(frames) > limits.total:
        raise LimitExceededError(f"the compressed object has {sum(frames):,} bytes, above max_size ({limits.total:,})")


def check_frame(frame: BytesLike, plain_size: int, checksum: int, limits: Limits) -> None:
    """Refuse a frame that is not what the table says, before anything is decompressed (RFC 8878, 3.1.1.1).

    Afterwards the frame declares ``plain_size``, has a checksum, which is ``checksum``, and needs no dictionary and no
    window above the limit.
    """
    if len(frame) < 6 + _CRC.size or frame[:4] != _FRAME_MAGIC:
        raise IntegrityError("a frame of the compressed object does not begin like one")
    if _CRC.unpack_from(frame, len(frame) - _CRC.size) != (checksum,):
        raise IntegrityError("a frame of the compressed object is not the one that its table tells of")
    descriptor = frame[4]
    if descriptor & 0b11111 != 0b00100:
        raise IntegrityError("a frame of the compressed object has no checksum, or asks for a dictionary")
    single = bool(descriptor & 0b100000)
    size_bytes = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    position = 5 if single else 6
    declared = int.from_bytes(frame[position : position + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    if not size_bytes or declared != plain_size:
        raise IntegrityError("a frame of the compressed object has another size than its table says")
    window = 0 if single else 1 << (10 + (frame[5] >> 3))
    if window + (window >> 3) * (frame[5] & 7) > max(limits.frame, _SMALLEST_WINDOW):
        raise LimitExceededError("a frame of the compressed object needs a window above max_frame_size")
