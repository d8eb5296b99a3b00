"""Tying an object to its key: a stanza with a hash of the key, which the MAC of the header covers.

Every age ignores stanzas that it does not know, so the stock tools read such objects as they read others.
"""

from __future__ import annotations

import hashlib
from typing import Final

from mediagit_storage.errors import DecryptionError
from mediagit_storage.layers.encrypt.header import Header, Stanza, b64encode

__all__ = ["binding", "check_binding", "is_binding"]

_KIND: Final = "mediagit-storage/key-sha256"


def binding(key: str) -> Stanza:
    """The stanza that ties an object to ``key``."""
    digest = hashlib.sha256(b"mediagit-storage/key\0" + key.encode("utf-8", "surrogatepass")).digest()
    return Stanza(_KIND, (b64encode(digest),))


def is_binding(stanza: Stanza) -> bool:
    """Whether a stanza ties an object to a key, whichever."""
    return stanza.kind == _KIND


def check_binding(header: Header, key: str) -> None:
    """Raise `DecryptionError` unless a header, whose MAC is right, was written for ``key`` and for no other."""
    found = [stanza for stanza in header.stanzas if is_binding(stanza)]
    if not found:
        raise DecryptionError(
            "the object is tied to no key, and bind_keys asks for it: read it with bind_keys = false, and put it anew"
        )
    if found != [binding(key)]:
        raise DecryptionError(
            "the object was written under another key and moved here: restore the right one, or move it back"
        )
