"""Which chunks a part of an object touches, and what to ask the storage for. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.ranges import Span
from mediagit_storage.types import WHOLE, ByteRange

__all__ = ["chunk_count", "chunk_span", "chunks_of", "complete_chunks", "is_empty", "widened"]


def is_empty(wanted: ByteRange) -> bool:
    """Whether a range asks for no byte of any object."""
    return wanted.length == 0 or wanted.suffix == 0


def chunks_of(span: Span, chunk: int) -> range:
    """The numbers of the chunks that hold a part."""
    return range(span.start // chunk, -(-(span.start + span.length) // chunk)) if span.length else range(0)


def chunk_count(size: int, chunk: int) -> int:
    """How many chunks an object of ``size`` bytes has."""
    return -(-size // chunk)


def chunk_span(index: int, size: int, chunk: int) -> Span:
    """Where a chunk lies in an object: the last one may be shorter."""
    start = index * chunk
    return Span(start, min(chunk, size - start))


def widened(wanted: ByteRange, chunk: int, ahead: int) -> ByteRange:
    """``wanted`` made larger so that every chunk it touches comes whole, and ``ahead`` bytes of those behind it."""
    offset, length, suffix = wanted
    if suffix is not None:
        return ByteRange(suffix=suffix + chunk - 1)
    if offset is None and length is None:
        return WHOLE
    start = (offset or 0) // chunk * chunk
    first = None if offset is None else start
    if length is None:
        return ByteRange(first)
    end = -(-((offset or 0) + length + ahead) // chunk) * chunk
    return ByteRange(first, end - start)


def complete_chunks(span: Span, size: int, chunk: int) -> Iterator[int]:
    """The numbers of the chunks that lie in ``span`` as a whole."""
    end = span.start + span.length
    for index in range(-(-span.start // chunk), chunk_count(end, chunk)):
        start, length = chunk_span(index, size, chunk)
        if start + length <= end:
            yield index
