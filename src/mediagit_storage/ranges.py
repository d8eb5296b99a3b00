"""Range arithmetic: what part of an object a `ByteRange` means. Pure functions (promise 10 of `backend`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mediagit_storage.errors import InvalidRangeError
from mediagit_storage.types import ByteRange

__all__ = ["Coalesced", "Span", "check_range", "coalesce", "resolve_range"]


class Span(NamedTuple):
    """A resolved part of an object: ``length`` bytes from ``start``."""

    start: int
    length: int


class Coalesced(NamedTuple):
    """One larger read and the places (index into the request, offset in the read, length) it answers."""

    offset: int
    length: int
    parts: list[tuple[int, int, int]]


def check_range(wanted: ByteRange) -> None:
    """Refuse, before any I/O, a range that no object can have: negative numbers, or suffix beside the others."""
    offset, length, suffix = wanted
    for name, value in (("offset", offset), ("length", length), ("suffix", suffix)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} is an int, not {type(value).__name__}")
        if value < 0:
            raise InvalidRangeError(f"{name} must not be negative: {value}")
    if suffix is not None and (offset is not None or length is not None):
        raise InvalidRangeError("suffix cannot be combined with offset or length")


def resolve_range(wanted: ByteRange, size: int) -> Span:
    """What ``wanted`` means for an object of ``size`` bytes: length 0 is empty, an end past the end is clipped.

    Raises `InvalidRangeError` for a start at or past the end (any given start on an empty object).
    """
    offset, length, suffix = wanted
    if suffix is not None:
        taken = min(suffix, size)
        return Span(size - taken, taken)
    if length == 0:
        return Span(min(offset or 0, size), 0)
    if offset is None:
        # A length alone starts at 0, and that start is not "given": b"" on an empty object.
        return Span(0, size if length is None else min(length, size))
    if offset >= size:
        raise InvalidRangeError(f"offset {offset:,} is not inside the object of {size:,} bytes")
    return Span(offset, size - offset if length is None else min(length, size - offset))


def coalesce(ranges: Iterable[tuple[int, int]], gap: int, limit: int) -> list[Coalesced]:
    """Join (offset, length) reads that overlap or lie within ``gap`` bytes of each other into reads of at most ``limit``.

    A single range longer than ``limit`` stays one read. Empty ranges are left out: they need no read.
    """
    ordered = sorted((offset, length, index) for index, (offset, length) in enumerate(ranges) if length)
    result: list[Coalesced] = []
    for offset, length, index in ordered:
        if result:
            last = result[-1]
            end = last.offset + last.length
            joined = max(end, offset + length) - last.offset
            if offset <= end + gap and joined <= max(limit, last.length):
                last.parts.append((index, offset - last.offset, length))
                result[-1] = last._replace(length=joined)
                continue
        result.append(Coalesced(offset, length, [(index, 0, length)]))
    return result
