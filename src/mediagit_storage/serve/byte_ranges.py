"""The header ``Range`` (RFC 9110, section 14): what it asks for, and what an answer to it looks like. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mediagit_storage.ranges import Span
from mediagit_storage.types import ByteRange

__all__ = ["BadRangeError", "content_range", "parse_ranges", "spans_of", "unsatisfied"]

#: More parts than this in one answer are nobody's honest wish.
_MOST: Final = 16
#: Parts that lie closer together than what stands between two parts of an answer are sent as one.
_GAP: Final = 100
_ONE: Final = re.compile(r"([0-9]{1,40})-([0-9]{1,40})?|-([0-9]{1,40})")
#: No object is larger, and numbers beyond it (some clients name the largest that they know) mean its end.
_END: Final = 10**18


class BadRangeError(ValueError):
    """The ranges are no ranges, too many, or none of them is in the object."""


def parse_ranges(header: str | None) -> Sequence[ByteRange]:
    """The ranges asked for, in their order; none where there is no such header, or it counts in another unit than bytes.

    Raises `BadRangeError` for what is no range, and for too many.
    """
    unit, equals, text = (header or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return ()
    wanted = [_parsed(each.strip(" \t")) for each in text.split(",") if each.strip(" \t")]
    if not 0 < len(wanted) <= _MOST:
        raise BadRangeError(f"a request asks for 1 to {_MOST} ranges")
    return wanted


def spans_of(wanted: Sequence[ByteRange], size: int) -> Sequence[Span]:
    """Where the ranges lie in an object of ``size`` bytes, in the order asked for; those that meet are joined.

    Those beyond the object are left out. Raises `BadRangeError` where none is left.
    """
    found: list[Span] = []
    for offset, length, suffix in wanted:
        start = max(0, size - suffix) if suffix is not None else offset or 0
        end = min(size, size if length is None else start + length)
        if start < end:
            found = _joined(found, Span(start, end - start))
    if not found:
        raise BadRangeError("no such range in the object")
    return found


def content_range(span: Span, size: int) -> str:
    """The header ``Content-Range`` of a part."""
    return f"bytes {span.start}-{span.start + span.length - 1}/{size}"


def unsatisfied(size: int) -> str:
    """The same of an answer that has no part."""
    return f"bytes */{size}"


def _parsed(text: str) -> ByteRange:
    found = _ONE.fullmatch(text)
    if found is None:
        raise BadRangeError("no range")
    first, last, suffix = (None if each is None else min(int(each), _END) for each in found.groups())
    if first is None:
        if not suffix:
            raise BadRangeError("the last 0 bytes are no range")
        return ByteRange(suffix=suffix)
    if last is None:
        return ByteRange(first)
    if last < first:
        raise BadRangeError("a range ends before it begins")
    return ByteRange(first, last - first + 1)


def _joined(found: list[Span], new: Span) -> list[Span]:
    """The parts and one more, which takes the place of the first that it meets, and swallows the others."""
    start, end = new.start, new.start + new.length
    place: int | None = None
    kept: list[Span] = []
    for each in found:
        if each.start <= end + _GAP and start <= each.start + each.length + _GAP:
            start, end = min(start, each.start), max(end, each.start + each.length)
            place = len(kept) if place is None else place
        else:
            kept.append(each)
    kept.insert(len(kept) if place is None else place, Span(start, end - start))
    return kept
