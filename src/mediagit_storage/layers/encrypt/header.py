"""The header of an age file: text lines that carry the file key, wrapped once for each recipient (c2sp.org/age).

Pure functions over bytes. Parsing is strict: what is accepted here is written back to the same bytes, so the MAC is
computed over what was read. Sizes and counts are bounded before anything is decoded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mediagit_storage.errors import DecryptionError

__all__ = [
    "MAX_HEADER",
    "MAX_STANZAS",
    "Header",
    "HeaderError",
    "IncompleteHeaderError",
    "Stanza",
    "b64decode",
    "b64encode",
    "check_mac",
    "hkdf",
    "parse_header",
    "write_header",
]

#: A header that is longer, in bytes, is refused.
MAX_HEADER: Final = 256 * 1024
#: More recipients are refused: each costs every reader that has no key for it an attempt.
MAX_STANZAS: Final = 128

_VERSION: Final = b"age-encryption.org/v1"
_INTRO: Final = b"age-encryption.org/"
_COLUMNS: Final = 64
_MAC_BYTES: Final = 32
_MAC_LINE: Final = len("--- ") + 43 + 1


class HeaderError(DecryptionError):
    """The header is not one of an age file of version 1."""


class IncompleteHeaderError(HeaderError):
    """The data end before the header does: more of the same object may make it whole."""


@dataclass(frozen=True, slots=True)
class Stanza:
    """One recipient's part: what kind it is, its arguments, and its body (mostly the wrapped file key)."""

    kind: str
    arguments: tuple[str, ...] = ()
    body: bytes = b""

    def encoded(self) -> bytes:
        """Its lines."""
        text = b64encode(self.body)
        lines = [text[start : start + _COLUMNS] for start in range(0, len(text) + 1, _COLUMNS)]
        return "".join(f"{line}\n" for line in (" ".join(("->", self.kind, *self.arguments)), *lines)).encode("ascii")


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says. ``signed`` are its bytes up to the MAC, ``length`` all of its bytes."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    signed: bytes
    length: int


def b64encode(data: bytes) -> str:
    """Base64 without padding."""
    return base64.b64encode(data).rstrip(b"=").decode("ascii")


def b64decode(text: str) -> bytes:
    """Undo `b64encode`. Raises `ValueError` for what that would not have written."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("it is not base64") from None
    if b64encode(data) != text:
        raise ValueError("its base64 is not canonical")
    return data


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes derived by HKDF-SHA-256 (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def write_header(stanzas: Iterable[Stanza], file_key: bytes) -> bytes:
    """The header for these stanzas, with its MAC."""
    signed = b"".join((_VERSION, b"\n", *(stanza.encoded() for stanza in stanzas), b"---"))
    return signed + f" {b64encode(_mac(file_key, signed))}\n".encode("ascii")


def check_mac(header: Header, file_key: bytes) -> None:
    """Raise `DecryptionError` unless somebody who knew the file key wrote this header."""
    if not hmac.compare_digest(_mac(file_key, header.signed), header.mac):
        raise DecryptionError("the header was changed after it was written (its MAC is wrong); restore the object")


def parse_header(data: bytes) -> Header:
    """The header at the start of ``data``.

    Raises `IncompleteHeaderError` where ``data`` end too early, and `HeaderError` for what is no header at all, of
    another version, damaged, or beyond the limits.
    """
    head = bytes(data[:MAX_HEADER])
    position = _after_version(head)
    stanzas: list[Stanza] = []
    while not head.startswith(b"---", position):
        stanza, position = _stanza(head, position)
        stanzas.append(stanza)
        if len(stanzas) > MAX_STANZAS:
            raise HeaderError(f"the header has more than {MAX_STANZAS} recipients")
    if not stanzas:
        raise HeaderError("the header is damaged: it names no recipient")
    signed, line = head[: position + 3], head[position : position + _MAC_LINE]
    if len(line) < _MAC_LINE:
        if b"\n" in line:
            raise HeaderError("the header is damaged: its last line is too short")
        raise _incomplete(head)
    if not line.startswith(b"--- ") or not line.endswith(b"\n"):
        raise HeaderError("the header is damaged: its last line is not a MAC")
    return Header(tuple(stanzas), _decoded(line[4:-1], _MAC_BYTES), signed, position + _MAC_LINE)


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.new(hkdf(file_key, b"", b"header"), signed, hashlib.sha256).digest()


def _after_version(head: bytes) -> int:
    line, end, _ = head[: len(_VERSION) + 64].partition(b"\n")
    if line == _VERSION and end:
        return len(line) + 1
    if not end and (_VERSION.startswith(line) or _INTRO.startswith(line)):
        raise _incomplete(head)
    if line.startswith(_INTRO):
        raise HeaderError("the header is of a version of age that is not known here")
    raise HeaderError("this is no age file: it was stored without this layer, or damaged")


def _stanza(head: bytes, position: int) -> tuple[Stanza, int]:
    line, position = _line(head, position)
    words = line.split(b" ")
    if words[0] != b"->" or len(words) < 2:
        raise HeaderError("the header is damaged: a line is neither a recipient nor the end")
    if any(not word or not all(33 <= byte <= 126 for byte in word) for word in words[1:]):
        raise HeaderError("the header is damaged: a recipient's line holds what it must not")
    body = bytearray()
    while True:
        line, position = _line(head, position)
        if len(line) > _COLUMNS:
            raise HeaderError(f"the header is damaged: a line has more than {_COLUMNS} characters")
        body += _decoded(line, None)
        if len(line) < _COLUMNS:
            break
    kind, *arguments = (word.decode("ascii") for word in words[1:])
    return Stanza(kind, tuple(arguments), bytes(body)), position


def _line(head: bytes, position: int) -> tuple[bytes, int]:
    end = head.find(b"\n", position)
    if end < 0:
        raise _incomplete(head)
    return head[position:end], end + 1


def _decoded(text: bytes, size: int | None) -> bytes:
    try:
        data = b64decode(text.decode("ascii"))
    except ValueError:
        raise HeaderError("the header is damaged: its base64 is not what age writes") from None
    if size is not None and len(data) != size:
        raise HeaderError("the header is damaged: its MAC has not 32 bytes")
    return data


def _incomplete(head: bytes) -> HeaderError:
    if len(head) >= MAX_HEADER:
        return HeaderError(f"the header has more than {MAX_HEADER:,} bytes")
    return IncompleteHeaderError("the object ends before its header does")
