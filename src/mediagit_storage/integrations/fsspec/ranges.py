"""What fsspec's ``start`` and ``end`` mean: those of a Python slice. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from mediagit_storage.ranges import coalesce
from mediagit_storage.types import ByteRange

__all__ = ["Part", "Read", "Slice", "byte_range", "joined_reads"]

#: Parts of one object that lie at most this far apart are fetched in one read: a request costs more than the gap.
GAP: Final = 64 * 1024
_LARGEST_READ: Final = 8 * 1024 * 1024


class Slice(NamedTuple):
    """One part that is asked for: of the object ``key``, as ``data[start:end]`` would take it.

    ``etag`` is that of the object whose size it was resolved by.
    """

    key: str
    start: int | None
    end: int | None
    etag: str | None = None

    @property
    def needs_size(self) -> bool:
        """Whether only the object's size tells where the part ends, so that no request can name it."""
        return self.end is not None and (self.end < 0 or (self.start is not None and self.start < 0))

    def resolved(self, size: int) -> Slice:
        """The same part of an object of this size, without negative numbers."""
        start, end, _ = slice(self.start, self.end).indices(size)
        return self._replace(start=start, end=max(start, end))


def byte_range(wanted: Slice) -> ByteRange:
    """The range to read for a part that needs no size."""
    start, end = wanted.start, wanted.end
    if start is not None and start < 0:
        return ByteRange(suffix=-start)
    if end is None:
        return ByteRange(offset=start or None)
    begin = start or 0
    # A start that nobody gave may be at the end of an empty object.
    return ByteRange(begin or None, max(0, end - begin))


class Part(NamedTuple):
    """Where a part's bytes are in what was read: ``length`` from ``offset``, all of it without a length.

    ``number`` is its place among those that were asked for.
    """

    number: int
    offset: int = 0
    length: int | None = None

    def of(self, data: bytes) -> bytes:
        """The part's bytes."""
        return data if self.length is None else data[self.offset : self.offset + self.length]


class Read(NamedTuple):
    """One request: a range of an object, of the one with this ``etag`` if there is any, and the parts it answers."""

    key: str
    range: ByteRange
    parts: Sequence[Part]
    etag: str | None = None


def joined_reads(wanted: Mapping[int, Slice], gap: int) -> list[Read]:
    """The requests that fetch these parts, each under its place: those of one object that lie near each other in one."""
    reads: list[Read] = []
    spans: dict[tuple[str, str | None], list[tuple[int, int, int]]] = {}
    for index, each in wanted.items():
        start = each.start or 0
        if start < 0 or each.end is None or each.end <= start:
            reads.append(Read(each.key, byte_range(each), [Part(index)], each.etag))
        else:
            spans.setdefault((each.key, each.etag), []).append((index, start, each.end - start))
    for (key, etag), places in spans.items():
        for joined in coalesce([(start, length) for _, start, length in places], gap, _LARGEST_READ):
            parts = [Part(places[number][0], offset, length) for number, offset, length in joined.parts]
            reads.append(Read(key, ByteRange(joined.offset or None, joined.length), parts, etag))
    return reads
