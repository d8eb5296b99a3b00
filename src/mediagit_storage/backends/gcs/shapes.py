"""Attributes, keys of encryption and uploads as the service spells them, and back. Pure functions."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.backends.gcs.resources import NewObject, ObjectResource, RetentionResource, encode
from mediagit_storage.errors import ConfigError, LimitExceededError
from mediagit_storage.http.call import Fields
from mediagit_storage.http.encoding import format_timestamp
from mediagit_storage.http.written import TOKEN
from mediagit_storage.secrets import Secret
from mediagit_storage.types import Attributes, PutOptions

__all__ = [
    "MADE_UP_TYPE",
    "MAX_METADATA",
    "attributes_of",
    "check_metadata",
    "copied_object",
    "hidden_of",
    "key_fields",
    "multipart_body",
    "new_object",
]

_TOKEN: Final = f"{RESERVED_METADATA_PREFIX}{TOKEN}"
#: What stands for "nobody gave a content type": the service wants one, and would call any other one its own.
MADE_UP_TYPE: Final = "binary/octet-stream"
#: The most that names and values of metadata may take together, in bytes.
MAX_METADATA: Final = 8 * 1024
_STANDARD: Final = "STANDARD"
_KEY_BYTES: Final = 32


def new_object(
    key: str,
    attributes: Attributes | None,
    *,
    token: str | None = None,
    options: PutOptions | None = None,
    digest: tuple[str, str] | None = None,
) -> NewObject:
    """What an object is to be; ``digest`` is an algorithm and the digest that its bytes have. Raises `LimitExceededError` for more metadata than the service keeps."""
    given = attributes if attributes is not None else Attributes()
    metadata = {**given.metadata, **({_TOKEN: token} if token else {})}
    check_metadata(metadata)
    return NewObject(
        name=key,
        crc32c=digest[1] if digest is not None and digest[0] == "crc32c" else None,
        md5_hash=digest[1] if digest is not None and digest[0] == "md5" else None,
        content_type=given.content_type or MADE_UP_TYPE,
        cache_control=given.cache_control,
        content_encoding=given.content_encoding,
        content_disposition=given.content_disposition,
        storage_class=given.storage_class,
        metadata=metadata or None,
        temporary_hold=options is not None and options.legal_hold,
        retention=None if options is None else _retention(options),
    )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse what the service would refuse when everything has been sent."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > MAX_METADATA:
        raise LimitExceededError(f"the metadata take {size:,} bytes; at most {MAX_METADATA:,} are kept with an object")


def _retention(options: PutOptions) -> RetentionResource | None:
    if options.retention is None:
        return None
    mode, until = options.retention
    return RetentionResource("Locked" if mode == "compliance" else "Unlocked", format_timestamp(until.astimezone(UTC)))


def copied_object(resource: ObjectResource, attributes: Attributes | None, token: str | None) -> NewObject:
    """What the copy of an object is to be: like it, or with other ``attributes``."""
    if attributes is not None:
        return new_object("", attributes, token=token)
    kept = {name: value for name, value in (resource.metadata or {}).items() if name != _TOKEN}
    return NewObject(
        content_type=resource.content_type or MADE_UP_TYPE,
        cache_control=resource.cache_control or None,
        content_encoding=resource.content_encoding or None,
        content_disposition=resource.content_disposition or None,
        content_language=resource.content_language or None,
        storage_class=resource.storage_class or None,
        custom_time=resource.custom_time,
        metadata={**kept, **({_TOKEN: token} if token else {})},
    )


def attributes_of(resource: ObjectResource) -> Attributes:
    """What an object says about itself, without what the service or this library made up."""
    metadata = resource.metadata or {}
    if _TOKEN in metadata:
        metadata = {name: value for name, value in metadata.items() if name != _TOKEN}
    content_type = resource.content_type or None
    storage_class = resource.storage_class or None
    return Attributes(
        content_type=None if content_type == MADE_UP_TYPE else content_type,
        cache_control=resource.cache_control or None,
        content_encoding=resource.content_encoding or None,
        content_disposition=resource.content_disposition or None,
        metadata=metadata,
        storage_class=None if storage_class == _STANDARD else storage_class,
    )


def hidden_of(resource: ObjectResource) -> dict[str, str]:
    """The library's own entries in an object's metadata, by names without their prefix ``mgs-``."""
    prefix = RESERVED_METADATA_PREFIX
    return {k.removeprefix(prefix): v for k, v in (resource.metadata or {}).items() if k.startswith(prefix)}


def multipart_body(document: NewObject, data: bytes, boundary: str) -> bytes:
    """A description and the bytes it describes, as one ``multipart/related`` body."""
    kind = document.content_type or MADE_UP_TYPE
    begin = f"--{boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n".encode()
    between = f"\r\n--{boundary}\r\ncontent-type: {kind}\r\n\r\n".encode()
    return b"".join((begin, encode(document), between, data, f"\r\n--{boundary}--".encode()))


def key_fields(key: Secret | None, *, source: bool = False) -> Fields:
    """The fields that carry a customer's key (Base64 of 32 bytes); ``source`` names that of what is copied."""
    if key is None:
        return []
    text = key.reveal()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ConfigError("customer_key is the Base64 form of 32 bytes")
    begin = "x-goog-copy-source-encryption" if source else "x-goog-encryption"
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode("ascii")
    return [(f"{begin}-algorithm", "AES256"), (f"{begin}-key", text), (f"{begin}-key-sha256", digest)]
