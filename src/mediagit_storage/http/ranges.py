"""Parts of objects in header fields: the ``range`` of a request, and what an answer says it holds. Pure functions."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.headers import Headers
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.types import ByteRange

__all__ = ["ContentRange", "parse_content_range", "range_value", "sent_part", "whole_size"]

_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)").fullmatch
_NOTHING: Final = re.compile(r"bytes ([0-9]{1,19})-(-?[0-9]{1,19})/([0-9]{1,19})").fullmatch
_UNSATISFIED: Final = re.compile(r"bytes \*/([0-9]{1,19})").fullmatch


class ContentRange(NamedTuple):
    """Which bytes an answer holds: ``length`` from ``start``, of ``size`` (None where the server does not say)."""

    start: int
    length: int
    size: int | None


def range_value(wanted: ByteRange) -> str | None:
    """The value of ``range``; None for the whole object, and for what no field can say (length 0 or suffix 0)."""
    offset, length, suffix = wanted
    if suffix is not None:
        return f"bytes=-{suffix}" if suffix else None
    if length == 0 or (offset is None and length is None):
        return None
    start = offset or 0
    return f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"


def parse_content_range(text: str) -> ContentRange:
    """``bytes 10-19/100`` as (10, 10, 100). Raises `IntegrityError` for what cannot be a part of an object.

    ``bytes 5-4/5``, how Azurite answers for a range that begins at the end, is (5, 0, 5).
    """
    found = _RANGE(text.strip())
    if found is not None:
        first, last = int(found[1]), int(found[2])
        size = None if found[3] == "*" else int(found[3])
        if first <= last and (size is None or last < size):
            return ContentRange(first, last - first + 1, size)
    nothing = _NOTHING(text.strip())
    if nothing is not None and int(nothing[1]) == int(nothing[2]) + 1 == int(nothing[3]):
        return ContentRange(int(nothing[1]), 0, int(nothing[3]))
    raise IntegrityError(f"the server sent {text[:80]!r} for a range")


def whole_size(headers: Headers) -> int | None:
    """The size of the whole object, out of a range or the answer's length; None where neither tells it.

    Raises `IntegrityError` for fields that cannot be.
    """
    text = headers.get("content-range")
    if text is not None:
        unsatisfied = _UNSATISFIED(text.strip())
        return int(unsatisfied[1]) if unsatisfied else parse_content_range(text).size
    length = headers.get("content-length")
    if length is None:
        return None
    if not (length.isascii() and length.isdigit()):
        raise IntegrityError(f"the server sent {length[:80]!r} for a length")
    return int(length)


def sent_part(content_range: str, wanted: ByteRange) -> tuple[Span, int]:
    """The part that an answer holds and the object's size; `IntegrityError` unless that is what was asked for.

    A part of no bytes at the object's end is an `InvalidRangeError`.
    """
    found = parse_content_range(content_range)
    if found.size is None:
        raise IntegrityError("the server does not say how long the object is")
    if resolve_range(wanted, found.size) != (found.start, found.length):
        raise IntegrityError(f"the server sent the range {content_range[:80]!r}, which was not asked for")
    return Span(found.start, found.length), found.size
