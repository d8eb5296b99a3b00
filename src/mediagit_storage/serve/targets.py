"""From the target of a request to the key it names, exactly, or a refusal. Pure functions."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from mediagit_storage.http.redact import redact_url
from mediagit_storage.keys import MAX_KEY_BYTES

__all__ = ["BadTargetError", "key_in", "shown_target"]

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: What a target may be made of (RFC 3986), brackets and the like as lenient as other servers are; no ``#``.
_TARGET: Final = re.compile(r'[!"$-~]*')
_DOTS: Final = frozenset({".", ".."})


class BadTargetError(ValueError):
    """The target names no key that anybody could have meant."""


def key_in(path: str) -> str:
    """The key that the part of a path behind its route spells: percent-decoded once, and nothing else.

    A `BadTargetError`: empty, too long, broken escapes, control characters, a leading slash, ``.`` and ``..`` segments.
    Names that are no UTF-8, as local files can have them, come with surrogate escapes.
    """
    if not _TARGET.fullmatch(path) or _BROKEN_ESCAPE.search(path):
        raise BadTargetError("the path is not percent-encoded as it should be")
    if "%" not in path:
        key, length = path, len(path)
    else:
        raw = unquote_to_bytes(path)
        key, length = raw.decode("utf-8", "surrogateescape"), len(raw)
    if not 0 < length <= MAX_KEY_BYTES:
        raise BadTargetError(f"a key has 1 to {MAX_KEY_BYTES:,} bytes")
    if not key.isprintable() and any(ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 for each in key):
        raise BadTargetError("a key has no control characters")
    if key[0] == "/":
        raise BadTargetError("a key does not begin with a slash")
    if "." in key and not _DOTS.isdisjoint(key.split("/")):
        raise BadTargetError("a key has no segments '.' and '..'")
    return key


def shown_target(path: str, query: str) -> str:
    """A target for a log: without signatures and tokens, which would let its reader in."""
    return redact_url(f"{path}?{query}") if query else path
