"""Lines of JSON in a file, sorted by name, of which any range can be read without the lines before it."""

from __future__ import annotations

import json
import os
from typing import IO, Final, NamedTuple

from mediagit_storage.tools.key_ranges import KeyRange
from mediagit_storage.tools.plan import sort_key
from mediagit_storage.types import JSON

__all__ = ["lines_between"]

#: Bytes that are read at once.
_BLOCK: Final = 64 * 1024


def lines_between(file: IO[str], within: KeyRange, most: int) -> tuple[list[JSON], KeyRange]:
    """The records of a range in order, at most so many, and the part of the range of which they are all.

    A record is a name, or a list that begins with one; the file is in ASCII, and sorted by `keys.sort_key`. Reads some
    tens of blocks to find the place; the position of ``file`` stays.
    """
    file.flush()
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    offset = _place_behind(descriptor, size, within.after)
    found: list[JSON] = []
    while (line := _line_at(descriptor, size, offset)) is not None and not within.ends_before(line.name):
        if len(found) >= most:
            return found, KeyRange(within.after, _name_of(found[-1]))
        found.append(line.record)
        offset = line.end
    return found, within


class _Line(NamedTuple):
    end: int
    record: JSON
    name: str


def _place_behind(descriptor: int, size: int, name: str | None) -> int:
    """The offset of the first line with a name behind this one, or one in the line before."""
    low, high = 0, 0 if name is None else size
    while low < high:
        middle = (low + high) // 2
        line = _line_at(descriptor, size, middle)
        if line is None or (name is not None and sort_key(line.name) > sort_key(name)):
            high = middle
        else:
            low = line.end
    return low


def _line_at(descriptor: int, size: int, offset: int) -> _Line | None:
    """The first line that begins at ``offset`` or behind it."""
    start = offset
    if offset:
        newline = _newline(descriptor, size, offset - 1)
        start = size if newline is None else newline + 1
    end = _newline(descriptor, size, start)
    if end is None:
        return None
    record: JSON = json.loads(os.pread(descriptor, end - start, start))
    return _Line(end + 1, record, _name_of(record))


def _newline(descriptor: int, size: int, offset: int) -> int | None:
    while offset < size:
        block = os.pread(descriptor, _BLOCK, offset)
        found = block.find(b"\n")
        if found >= 0:
            return offset + found
        offset += len(block)
    return None


def _name_of(record: JSON) -> str:
    return str(record[0] if isinstance(record, list) else record)
