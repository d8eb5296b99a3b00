"""The head of an answer: which of the received lines belong to it, and its fields, parsed only when asked for.

libcurl hands over every header line of a transfer: heads of 1xx answers, of a proxy's CONNECT, the final one, and
trailers after the body. Only the last head counts (RFC 9112 for the syntax).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from operator import getitem
from typing import Final, NamedTuple

__all__ = ["Headers", "Layout", "final_head", "head_is_complete", "layout_of", "status_of"]

_BLANK: Final = frozenset({b"\r\n", b"\n"})
#: How long the first line is up to its status: "HTTP/1.1 200".
_STATUS_LINE: Final = 12


def final_head(lines: Sequence[bytes]) -> tuple[Sequence[bytes], bool]:
    """The last head among ``lines`` (status line first, blank line and trailers left out), and if it came whole.

    A head without its blank line was cut off by a closed connection, whatever its status line says.
    """
    # Nearly always: the only blank line is the last one, so there is just one head.
    if lines and lines[-1] == b"\r\n" and lines.count(b"\r\n") == 1:
        return lines[:-1], True
    start = _last_start(lines)
    for index in range(start, len(lines)):
        if lines[index] in _BLANK:
            return lines[start:index], True
    return lines[start:], False


def head_is_complete(lines: Sequence[bytes]) -> bool:
    """Whether the head of the final answer is here: its blank line, and a status that is not 1xx."""
    if not lines or lines[-1] not in _BLANK:
        return False
    head, whole = final_head(lines)
    return whole and status_of(head) >= 200


def status_of(head: Sequence[bytes]) -> int:
    """The status of a head, 0 where there is none."""
    code = head[0][9:12] if head else b""
    return int(code) if code.isdigit() else 0


def _last_start(lines: Sequence[bytes]) -> int:
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith(b"HTTP/"):
            return index
    return 0


class Layout(NamedTuple):
    """Status and order of the fields of a head. A server sends nearly all its answers alike, so that is learned once."""

    #: How each line begins, up to its value, and which slice of it that is: the first one up to its status.
    starts: list[bytes]
    slices: list[slice]
    #: By lower-case name: the line, and which slice of it the value is.
    places: dict[str, tuple[int, slice]]
    status: int

    def is_all_of(self, lines: Sequence[bytes]) -> bool:
        """Whether ``lines`` are one whole head of this layout and nothing else: then `final_head` need not look."""
        starts = self.starts
        # No line of a layout is blank: the only blank line is the last one.
        return len(lines) == len(starts) + 1 and lines[-1] == b"\r\n" and [*map(getitem, lines, self.slices)] == starts


def layout_of(lines: Sequence[bytes], known: Layout | None) -> Layout | None:
    """The layout of a head: ``known`` if that fits, else a new one; None for heads that `Headers` has to go through."""
    if known is not None and len(known.starts) == len(lines) and [*map(getitem, lines, known.slices)] == known.starts:
        return known
    if not lines or len(lines[0]) < _STATUS_LINE:
        return None
    starts, places = [lines[0][:_STATUS_LINE]], dict[str, tuple[int, slice]]()
    for number, line in enumerate(lines[1:], 1):
        name, separator, _ = line.partition(b": ")
        if not separator or _NAME.fullmatch(name) is None:
            return None
        starts.append(name + separator)
        places[name.decode().lower()] = number, slice(len(name) + 2, None)
    # Values of fields that are there twice are joined.
    slices = [slice(len(start)) for start in starts]
    return Layout(starts, slices, places, status_of(lines)) if len(places) == len(lines) - 1 else None


class Headers:
    """The fields of a head: names without regard to case, values of repeated fields joined by ``", "``.

    Values are text: UTF-8 where the bytes are that, else Latin-1, so nothing is lost. ``layout`` is what `layout_of`
    found for these lines.
    """

    __slots__ = ("_fields", "_layout", "_lines")

    def __init__(self, lines: Sequence[bytes], layout: Layout | None = None) -> None:
        self._lines = lines
        # Few of the values are ever asked for: the others stay bytes.
        self._layout = layout
        self._fields: dict[str, bytes] | None = None

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> Headers:
        """Headers from names and values, for tests and fakes."""
        return cls([b"HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n".encode() for name, value in pairs)])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, stripped, or ``default``."""
        value = self._raw(name.lower())
        return default if value is None else _text(value)

    def pick(self, *names: str) -> list[str | None]:
        """The values of several fields at once, in this order; ``names`` are in lower case. None where one is missing."""
        if self._layout is None:
            return [self.get(name) for name in names]
        lines = self._lines
        places = map(self._layout.places.get, names)
        try:
            # As `_text` does it, without a call for each.
            return [None if place is None else lines[place[0]][place[1]].decode().strip() for place in places]
        except UnicodeDecodeError:
            return [self.get(name) for name in names]

    def __contains__(self, name: str) -> bool:
        return self._raw(name.lower()) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of lower-case name and value."""
        for name in self._names():
            yield name, self.get(name) or ""

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        from mediagit_storage.http.redact import redact_headers  # noqa: PLC0415  # only for people

        return f"Headers({dict(redact_headers(self))!r})"

    def _raw(self, name: str) -> bytes | None:
        layout = self._layout
        if layout is None:
            return self._parsed().get(name)
        place = layout.places.get(name)
        return None if place is None else self._lines[place[0]][place[1]]

    def _names(self) -> Collection[str]:
        return self._parsed() if self._layout is None else self._layout.places

    def _parsed(self) -> dict[str, bytes]:
        if self._fields is None:
            self._fields = _parse(self._lines)
        return self._fields


_NAME: Final = re.compile(rb"[!-9;-~]+")


def _parse(lines: Sequence[bytes]) -> dict[str, bytes]:
    """The fields of any head: also repeated or folded ones, names that are no such, and lines that are no fields."""
    fields: dict[str, bytes] = {}
    last = ""
    for line in lines[1:]:
        if line[:1] in b" \t" and last:
            # A folded line goes on with the value before it.
            fields[last] += b" " + _utf8(line)
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        last = _text(name).lower()
        fields[last] = fields[last] + b", " + _utf8(value) if last in fields else _utf8(value)
    return fields


def _utf8(raw: bytes) -> bytes:
    return _text(raw).encode()


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()
