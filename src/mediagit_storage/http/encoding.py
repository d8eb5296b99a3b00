"""Percent-encoding and the few other encodings of HTTP, as exact and reversible functions. No I/O.

Only the unreserved characters of RFC 3986 (letters, digits and ``-._~``) stay as they are; everything else becomes
the ``%XX`` of its UTF-8 bytes with upper-case digits. Signatures and servers agree on that form and on no other.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mediagit_storage.errors import IntegrityError

__all__ = [
    "MAX_WORD",
    "decode_text",
    "encode_path",
    "encode_query",
    "encode_text",
    "encode_value",
    "encode_words",
    "format_http_date",
    "format_timestamp",
    "parse_http_date",
    "parse_timestamp",
    "percent_decode",
]

_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9\-._~/]*").fullmatch
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9\-._~]*").fullmatch


def encode_path(key: str) -> str:
    """A key as the path of a URL: every ``/`` stays, also at the ends and doubled, and nothing is normalised.

    Names that are not UTF-8 (spelled with surrogate escapes) become the bytes they stand for.
    """
    if _PLAIN_PATH(key):
        return key
    return quote_from_bytes(key.encode("utf-8", "surrogateescape"), safe="/")


def encode_value(text: str) -> str:
    """A name or value of a query: a ``/`` is encoded too."""
    if _PLAIN_VALUE(text):
        return text
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="")


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """A query, encoded and sorted by the encoded names and then values: the form that is both sent and signed."""
    encoded = sorted((encode_value(name), encode_value(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def percent_decode(text: str, *, plus_is_space: bool = False) -> str:
    """Undo percent-encoding once. Bytes that are not UTF-8 become surrogate escapes; a lone ``%`` stays."""
    if plus_is_space and "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    # What listings are full of, resolved cheaply: a "%" always begins an escape, so these cannot be part of another.
    text = text.replace("%2F", "/").replace("%20", " ")
    if "%" not in text:
        return text
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


# ---- text in header fields -----------------------------------------------------------------------------------------
#
# A header field holds ASCII without blanks at its ends. Any other text travels as encoded words (RFC 2047), which
# Amazon S3 documents for metadata, and which other tools read. S3 itself decodes words before it stores them and
# encodes only what is not ASCII when it gives them back: ASCII that needs the words (blanks at an end, or text that
# looks like a word) is wrapped twice, and the letters of the two wraps tell how often to unwrap.

#: The longest encoded word, in characters (RFC 2047, section 2).
MAX_WORD: Final = 75

_OUTER: Final = ("=?UTF-8?B?", "?=")
_INNER: Final = ("=?utf-8?b?", "?=")
_BYTES_A_WORD: Final = (MAX_WORD - len("".join(_OUTER))) // 4 * 3
_WORD: Final = r"=\?([A-Za-z0-9_.:\-]+)(?:\*[A-Za-z0-9\-]*)?\?([BbQq])\?([^?\s]*)\?="
_WORDS: Final = re.compile(rf"{_WORD}(?:[ \t]+{_WORD})*").fullmatch
_EACH_WORD: Final = re.compile(_WORD).finditer
_ALL_INNER: Final = re.compile(r"=\?utf-8\?b\?[^?\s]*\?=(?: =\?utf-8\?b\?[^?\s]*\?=)*").fullmatch


def encode_text(text: str) -> str:
    """Any text without control characters as the value of a header field; plain ASCII stays readable as it is."""
    if not text.isascii():
        return _words(text, _OUTER)
    if text != text.strip(" ") or "=?" in text:
        return _words(_words(text, _INNER), _OUTER)
    return text


def encode_words(text: str) -> str:
    """The same wholly in encoded words, also where plain ASCII would do; `decode_text` undoes it."""
    return _words(text, _OUTER)


def decode_text(value: str) -> str:
    """Undo `encode_text`, and read the encoded words of others. What is not wholly made of words stays as it is."""
    if "=?" not in value or not _WORDS(value):
        return value
    try:
        text = _unwrapped(value)
        if value.startswith(_OUTER[0]) and _ALL_INNER(text):
            return _unwrapped(text)
    except (LookupError, ValueError):
        return value
    return text


def _words(text: str, marks: tuple[str, str]) -> str:
    begin, end = marks
    words: list[str] = []
    piece = b""
    for character in text:
        encoded = character.encode("utf-8", "surrogateescape")
        if len(piece) + len(encoded) > _BYTES_A_WORD:
            words.append(f"{begin}{base64.b64encode(piece).decode('ascii')}{end}")
            piece = b""
        piece += encoded
    words.append(f"{begin}{base64.b64encode(piece).decode('ascii')}{end}")
    return " ".join(words)


def _unwrapped(value: str) -> str:
    # Bytes are joined before they are decoded: some writers cut a character in two.
    pieces: list[tuple[str, bytes]] = []
    for word in _EACH_WORD(value):
        charset, kind, payload = word.groups()
        data = base64.b64decode(payload, validate=True) if kind in "Bb" else _quoted(payload)
        if pieces and pieces[-1][0] == charset.lower():
            pieces[-1] = (charset.lower(), pieces[-1][1] + data)
        else:
            pieces.append((charset.lower(), data))
    return "".join(data.decode(charset) for charset, data in pieces)


def _quoted(payload: str) -> bytes:
    text = payload.replace("_", " ")
    raw = re.sub(r"=([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)
    return raw.encode("latin-1")


# ---- dates ---------------------------------------------------------------------------------------------------------

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name: number for number, name in enumerate(_MONTHS, 1)}
_HTTP_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|UTC|\+0000)"
).fullmatch


@lru_cache(maxsize=1024)  # many answers carry the same second
def parse_http_date(text: str) -> datetime:
    """The aware UTC time of ``Sun, 06 Nov 1994 08:49:37 GMT``, free of the machine's locale.

    Raises `IntegrityError` for anything else.
    """
    found = _HTTP_DATE(text.strip())
    if found is not None:
        day, month, year, hour, minute, second = found.groups()
        # A leap second is written as 60, which no `datetime` holds.
        numbers = (int(year), _MONTH_NUMBERS.get(month, 0), int(day), int(hour), int(minute), min(int(second), 59))
        with contextlib.suppress(ValueError):
            return datetime(*numbers, tzinfo=UTC)
    raise IntegrityError(f"the server sent {text[:80]!r} where a date belongs")


def format_http_date(moment: datetime) -> str:
    """Undo `parse_http_date`; an aware time of another zone is converted, and parts of a second are dropped."""
    utc = moment.astimezone(UTC)
    return (
        f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04}"
        f" {utc.hour:02}:{utc.minute:02}:{utc.second:02} GMT"
    )


def parse_timestamp(text: str) -> datetime:
    """The aware UTC time of ``2026-11-21T08:49:37.000Z`` (ISO 8601). Raises `IntegrityError` for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise IntegrityError(f"the server sent {text[:80]!r} where a timestamp belongs") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def format_timestamp(moment: datetime) -> str:
    """An aware time as ``2026-11-21T08:49:37.000Z``: UTC, in milliseconds, rounded down."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"
