"""Keys: which ones may be written, and how they sort. Pure functions, no I/O.

A key is a ``str`` whose UTF-8 bytes name an object, exactly: nothing here normalises, folds or trims.
"""

from __future__ import annotations

from typing import Final, Literal

from mediagit_storage.errors import InvalidKeyError

__all__ = [
    "MAX_KEY_BYTES",
    "KeyRules",
    "check_key",
    "check_readable_key",
    "may_be_folded",
    "parent_prefixes",
    "sort_key",
]

#: The longest key that every provider takes, in bytes of UTF-8.
MAX_KEY_BYTES: Final = 1024

#: ``strict`` writes only keys that every provider and file system can hold; ``raw`` writes any text.
KeyRules = Literal["strict", "raw"]

_FORBIDDEN_SEGMENTS: Final = frozenset({"", ".", ".."})
#: How keys begin whose first segment may be one of these.
_ODD_STARTS: Final = frozenset({"", ".", "/"})
_CONTROL: Final = frozenset([*range(0x20), 0x7F, *range(0x80, 0xA0)])


def check_key(key: str, rules: KeyRules = "strict") -> None:
    """Refuse a key that must not be written, before any I/O.

    Strict keys are 1 to 1,024 bytes of UTF-8 without control characters, without an empty, ``.`` or ``..`` segment,
    and so without a leading or trailing slash. Raw keys are any 1 to 1,024 bytes of UTF-8.

    Raises `InvalidKeyError`; a key that is not a ``str`` is a `TypeError`.
    """
    _check_length(key)
    if rules == "raw":
        return
    # A printable key (the common case, decided in C) has no control character.
    if not key.isprintable() and any(ord(character) in _CONTROL for character in key):
        raise InvalidKeyError("a key must not hold control characters", key=key)
    if may_be_folded(key):
        segments = key.split("/")
        if not _FORBIDDEN_SEGMENTS.isdisjoint(segments):
            forbidden = next(segment for segment in segments if segment in _FORBIDDEN_SEGMENTS)
            raise InvalidKeyError(_segment_message(forbidden), key=key)


def may_be_folded(key: str) -> bool:
    """Whether a key has to be looked at for empty, ``.`` and ``..`` segments: false for nearly all, at little cost."""
    return "//" in key or "/." in key or key[:1] in _ODD_STARTS or key[-1:] == "/"


def check_readable_key(key: str) -> None:
    """Refuse what cannot name any object, for calls that read, list, copy from or delete.

    Liberal: everything other software may have stored passes, including names of local files that are not UTF-8
    (spelled with surrogate escapes, as `os.fsdecode` does). Raises `InvalidKeyError` for an empty key and for lone
    surrogates that stand for no byte.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    if not key:
        raise InvalidKeyError("a key must not be empty", key=key)
    if not key.isascii():
        try:
            sort_key(key)
        except UnicodeEncodeError:
            raise InvalidKeyError("a key must be valid Unicode: this one holds a lone surrogate", key=key) from None


def sort_key(key: str) -> bytes:
    """The bytes that listings are sorted by: the key's UTF-8 (surrogate escapes back to the bytes they stand for)."""
    return key.encode("utf-8", "surrogateescape")


def parent_prefixes(key: str) -> list[str]:
    """Every folder prefix above a key, outermost first: ``a/b/c`` gives ``["a/", "a/b/"]``."""
    return [key[: index + 1] for index, character in enumerate(key[:-1]) if character == "/"]


def _check_length(key: str) -> None:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    if key.isascii() and 0 < len(key) <= MAX_KEY_BYTES:
        return
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidKeyError("a key must be valid Unicode: this one holds a lone surrogate", key=key) from None
    if not encoded:
        raise InvalidKeyError("a key must not be empty", key=key)
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidKeyError(
            f"a key may have at most {MAX_KEY_BYTES:,} bytes of UTF-8; this one has {len(encoded):,}", key=key
        )


def _segment_message(segment: str) -> str:
    if segment == "":
        return "a key must not start or end with '/' nor hold '//' (open the storage with keys=\"raw\" to write it)"
    return f'a key must not hold the segment {segment!r} (open the storage with keys="raw" to write it)'
