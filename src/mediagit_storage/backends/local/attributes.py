"""Attributes as one extended attribute of the file, in JSON. Pure functions."""

from __future__ import annotations

import json
from typing import Final

from mediagit_storage.capabilities import ALL_ATTRIBUTES
from mediagit_storage.errors import StorageError
from mediagit_storage.types import Attributes

__all__ = ["KEPT", "XATTR", "XATTR_KEY", "decode_attributes", "encode_attributes"]

#: The extended attribute that holds an object's attributes.
XATTR: Final = "user.mediagit.attributes"

#: The extended attribute that names the key of a large upload while it runs.
XATTR_KEY: Final = "user.mediagit.key"

#: The fields of `Attributes` that a local file can keep: a disk has no storage classes.
KEPT: Final = ALL_ATTRIBUTES - {"storage_class"}


def encode_attributes(attributes: Attributes) -> bytes:
    """Only the fields that hold something, as compact JSON with sorted names."""
    document: dict[str, object] = {}
    for name in attributes.named():
        value = getattr(attributes, name)
        document[name] = value if isinstance(value, str) else dict(value)
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def decode_attributes(raw: bytes) -> Attributes:
    """Undo `encode_attributes`. What is not of that form is a `StorageError` that says so."""
    try:
        document = json.loads(raw)
        texts = {
            name: _text(document.pop(name))
            for name in ("content_type", "cache_control", "content_encoding", "content_disposition")
            if name in document
        }
        maps = {name: _map(document.pop(name)) for name in ("metadata", "tags") if name in document}
        if document:
            raise ValueError(f"unknown names {sorted(document)}")  # noqa: TRY301  # one handler for every wrong form
    except (ValueError, TypeError, AttributeError) as error:
        raise StorageError(
            f"the object's extended attribute {XATTR} was damaged or written by others: {error}"
        ) from None
    return Attributes(
        content_type=texts.get("content_type"),
        cache_control=texts.get("cache_control"),
        content_encoding=texts.get("content_encoding"),
        content_disposition=texts.get("content_disposition"),
        metadata=maps.get("metadata", {}),
        tags=maps.get("tags", {}),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _map(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("a map of texts is expected")
    return {_text(name): _text(text) for name, text in value.items()}
