"""The head of an answer: which of the received lines belong to it, and its fields, parsed only when asked for.

libcurl hands over every header line of a transfer: heads of 1xx answers, of a proxy's CONNECT, the final one, and
trailers after the body. Only the last head counts (RFC 9112 for the syntax).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    __slots__ = ("_fields", "_lines")

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._fields: dict[str, str] | None = None

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> Headers:
        """Headers from names and values, for tests and fakes."""
        return cls([b"HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n".encode() for name, value in pairs)])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, stripped, or ``default``."""
        return self._parsed().get(name.lower(), default)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parsed()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of lower-case name and value."""
        return iter(self._parsed().items())

    def __len__(self) -> int:
        return len(self._parsed())

    def __repr__(self) -> str:
        from mediagit_storage.http.redact import redact_headers  # noqa: PLC0415  # only for people

        return f"Headers({dict(redact_headers(self))!r})"

    def _parsed(self) -> dict[str, str]:
        if self._fields is None:
            self._fields = _parse(self._lines)
        return self._fields


def _parse(lines: Sequence[bytes]) -> dict[str, str]:
    try:
        text = b"".join(lines).decode()
    except UnicodeDecodeError:
        return _parse_oddities(lines)
    fields: dict[str, str] = {}
    for line in text.split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        lower = name.lower()
        if not colon or lower in fields or not lower or lower[0] in " \t" or lower[-1] in " \t":
            if line:
                return _parse_oddities(lines)
            continue
        fields[lower] = value.strip()
    return fields


def _parse_oddities(lines: Sequence[bytes]) -> dict[str, str]:
    """The same for heads with repeated or folded fields, bytes that are no UTF-8, and lines that are no fields."""
    fields: dict[str, str] = {}
    last = ""
    for line in lines[1:]:
        if line[:1] in b" \t" and last:
            # A folded line goes on with the value before it.
            fields[last] = f"{fields[last]} {_text(line).strip()}"
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        last = _text(name).strip().lower()
        text = _text(value).strip()
        fields[last] = f"{fields[last]}, {text}" if last in fields else text
    return fields


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
