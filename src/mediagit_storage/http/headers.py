"""The head of an answer: which of the received lines belong to it, and its fields, parsed only when asked for.

libcurl hands over every header line of a transfer: heads of 1xx answers, of a proxy's CONNECT, the final one, and
trailers after the body. Only the last head counts (RFC 9112 for the syntax).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from operator import methodcaller
from typing import Final

__all__ = ["Headers", "final_head", "head_is_complete", "status_of"]

_BLANK: Final = frozenset({b"\r\n", b"\n"})


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


class Headers:
    """The fields of a head: names without regard to case, values of repeated fields joined by ``", "``.

    Values are text: UTF-8 where the bytes are that, else Latin-1, so nothing is lost.
    """

    __slots__ = ("_lines", "_raw")

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        # Few of the values are ever asked for: the others stay bytes.
        self._raw: dict[str, bytes] | None = None

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> Headers:
        """Headers from names and values, for tests and fakes."""
        return cls([b"HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n".encode() for name, value in pairs)])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, stripped, or ``default``."""
        raw = self._raw
        if raw is None:
            raw = self._raw = _parse(self._lines)
        value = raw.get(name.lower())
        return default if value is None else _text(value)

    def pick(self, *names: str) -> list[str | None]:
        """The values of several fields at once, in this order; ``names`` are in lower case. None where one is missing."""
        fields = self._parsed()
        return [None if (value := fields.get(name)) is None else _text(value) for name in names]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of lower-case name and value."""
        for name in self._parsed():
            yield name, self.get(name) or ""

    def __len__(self) -> int:
        return len(self._parsed())

    def __repr__(self) -> str:
        from mediagit_storage.http.redact import redact_headers  # noqa: PLC0415  # only for people

        return f"Headers({dict(redact_headers(self))!r})"

    def _parsed(self) -> dict[str, bytes]:
        if self._raw is None:
            self._raw = _parse(self._lines)
        return self._raw


_NAME: Final = re.compile(rb"[!-9;-~]{1,80}")
#: Heads of more fields are parsed without remembering their names.
_MOST_NAMES: Final = 64
_HALVES: Final = methodcaller("partition", b": ")


@functools.lru_cache(maxsize=512)
def _lowered(names: tuple[bytes, ...]) -> tuple[str, ...]:
    """Names of fields in lower case; servers send few lists of names, again and again.

    Raises `ValueError` (which is not remembered) where one is no plain name or is there twice, and for long lists.
    """
    if len(names) > _MOST_NAMES or not all(map(_NAME.fullmatch, names)):
        raise ValueError("not the plain names of fields")
    lowered = tuple(name.decode().lower() for name in names)
    if len(set(lowered)) < len(lowered):
        raise ValueError("a field is there twice")
    return lowered


def _parse(lines: Sequence[bytes]) -> dict[str, bytes]:
    if len(lines) < 2:
        return {}
    names, _, values = zip(*map(_HALVES, lines[1:]), strict=True)
    try:
        return dict(zip(_lowered(names), values, strict=True))
    except ValueError:
        return _parse_oddities(lines)


def _parse_oddities(lines: Sequence[bytes]) -> dict[str, bytes]:
    """The same for heads with repeated or folded fields, names that are no such, and lines that are no fields."""
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
