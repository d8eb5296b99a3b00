"""The rules for `Attributes`, the same for every backend. Pure functions, no I/O.

Names of metadata are ASCII header tokens and are lowered, because HTTP storages do so and the same put must read
back the same everywhere. Values are any text without control characters, so that none can forge a header or a log line.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from mediagit_storage.errors import ConfigError
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = ["RESERVED_METADATA_PREFIX", "checked_attributes", "guess_content_type", "shown", "without_reserved"]

#: Metadata names that start with this belong to the library and are not shown to users.
RESERVED_METADATA_PREFIX: Final = "mgs-"

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_FIELDS: Final = ("content_type", "cache_control", "content_encoding", "content_disposition", "storage_class")

#: What a compressed file is, whatever is inside: its content type must not say that the content can be used as it is.
_COMPRESSED: Final[Mapping[str, str]] = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
}


def guess_content_type(key: str) -> str | None:
    """The content type that a key's ending suggests, or None: ``a.png`` is ``image/png``, ``a.tar.gz`` is gzip.

    A name that begins with a dot has no ending by that: ``.png`` is None.
    """
    dot = key.find(".", key.rfind("/") + 2)
    return None if dot < 0 else _content_type_of(key[dot:])


@lru_cache(maxsize=1024)
def _content_type_of(ending: str) -> str | None:
    """The same for the name ``x`` with this ending: looking it up takes longer than most of a small copy."""
    guessed, encoding = mimetypes.guess_type(f"x{ending}", strict=False)
    return guessed if encoding is None else _COMPRESSED.get(encoding)


def checked_attributes(attributes: Attributes) -> Attributes:
    """The attributes as they are stored: metadata names lowered, everything else unchanged.

    Raises `ConfigError` for control characters, lone surrogates, names that are no header tokens, names that differ
    only by case, and names that start with ``mgs-``.
    """
    for name in _HEADER_FIELDS:
        value = getattr(attributes, name)
        if value is not None:
            _check_text(name, value)
    for name, value in attributes.tags.items():
        _check_text("a tag's name", name)
        _check_text(f"the tag {name!r}", value)
    if not attributes.metadata:
        return attributes
    return replace(attributes, metadata=_checked_metadata(attributes.metadata))


def without_reserved(attributes: Attributes) -> Attributes:
    """The attributes as a user sees them: without what layers keep in the metadata."""
    metadata = attributes.metadata
    if not metadata or not any(name.startswith(RESERVED_METADATA_PREFIX) for name in metadata):
        return attributes
    kept = {name: text for name, text in metadata.items() if not name.startswith(RESERVED_METADATA_PREFIX)}
    return replace(attributes, metadata=kept)


def shown(info: ObjectInfo) -> ObjectInfo:
    """What a user is told of an object: nothing of what layers keep in its metadata."""
    found = info.attributes
    if found is None or not found.metadata:
        return info
    visible = without_reserved(found)
    return info if visible is found else replace(info, attributes=visible)


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    lowered: dict[str, str] = {}
    for name, value in metadata.items():
        _check_text(f"the metadata {name!r}", value)
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"the metadata name {name!r} is not made of ASCII letters, digits and !#$%&'*+.^_`|~-")
        low = name.lower()
        if low.startswith(RESERVED_METADATA_PREFIX):
            raise ConfigError(f"the metadata name {name!r} is reserved: choose one that does not start with 'mgs-'")
        if low in lowered:
            raise ConfigError(f"the metadata names hold {low!r} twice, differing only by case")
        lowered[low] = value
    return lowered


def _check_text(what: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    if value.isascii() and value.isprintable():
        return
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{what} holds a lone surrogate") from None
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise ConfigError(f"{what} holds a control character")
