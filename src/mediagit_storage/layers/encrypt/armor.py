"""The text form of age files: strict PEM with the label ``AGE ENCRYPTED FILE`` (RFC 7468, as the age specification asks).

Identity files that are protected by a passphrase often come in it. Objects are never stored so.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from mediagit_storage.errors import DecryptionError

__all__ = ["dearmored", "is_armored"]

_BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END: Final = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS: Final = 64
#: What may stand before and after.
_SPACE: Final = b" \t\r\n"


def is_armored(data: bytes) -> bool:
    """Whether data begin like a text form, after white space."""
    return data.lstrip(_SPACE).startswith(_BEGIN)


def dearmored(data: bytes) -> bytes:
    """The age file in a text form. Lines end with LF or CRLF; anything but the one canonical form is a `DecryptionError`."""
    lines = data.strip(_SPACE).replace(b"\r\n", b"\n").split(b"\n")
    if len(lines) < 2 or lines[0] != _BEGIN or lines[-1] != _END:
        raise _malformed("it does not begin and end with the lines that it should")
    body = lines[1:-1]
    if any(len(line) != _COLUMNS for line in body[:-1]) or not all(0 < len(line) <= _COLUMNS for line in body[-1:]):
        raise _malformed(f"a line has not {_COLUMNS} characters")
    text = b"".join(body)
    try:
        binary = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _malformed("it is not base64") from None
    if base64.b64encode(binary) != text:
        raise _malformed("its base64 is not canonical")
    return binary


def _malformed(reason: str) -> DecryptionError:
    return DecryptionError(f"the text form of an age file is damaged: {reason}")
