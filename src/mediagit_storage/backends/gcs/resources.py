"""The JSON of the service as data: objects, pages of a listing, answers to copies, buckets. No I/O.

Shapes: "Objects", "Buckets" and "Error response format" of the reference of the Cloud Storage JSON API. Numbers of 64
bits travel as text there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

import msgspec

from mediagit_storage.errors import IntegrityError, TruncatedError
from mediagit_storage.http.encoding import parse_timestamp
from mediagit_storage.types import ObjectInfo

__all__ = [
    "BucketResource",
    "NewBucket",
    "NewObject",
    "ObjectResource",
    "Page",
    "RetentionResource",
    "Rewritten",
    "Versioning",
    "decode_bucket",
    "decode_object",
    "decode_page",
    "decode_rewritten",
    "encode",
    "to_info",
]

T = TypeVar("T")


class RetentionResource(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Until when an object is kept: ``mode`` is ``Unlocked`` or ``Locked``."""

    mode: str | None = None
    retain_until_time: str | None = None


class ObjectResource(msgspec.Struct, frozen=True, rename="camel"):
    """What the service tells about one object (one generation of it). What was not asked for is None."""

    name: str = ""
    generation: int | None = None
    size: int | None = None
    time_created: str | None = None
    updated: str | None = None
    time_deleted: str | None = None
    crc32c: str | None = None
    md5_hash: str | None = None
    content_type: str | None = None
    cache_control: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    storage_class: str | None = None
    custom_time: str | None = None
    metadata: dict[str, str] | None = None
    component_count: int | None = None


class NewObject(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What an object is to be, besides its bytes."""

    name: str = ""
    crc32c: str | None = None
    md5_hash: str | None = None
    content_type: str | None = None
    cache_control: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    storage_class: str | None = None
    custom_time: str | None = None
    metadata: dict[str, str] | None = None
    temporary_hold: bool = False
    retention: RetentionResource | None = None


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """One page of a listing."""

    items: tuple[ObjectResource, ...] = ()
    prefixes: tuple[str, ...] = ()
    next_page_token: str | None = None


class Rewritten(msgspec.Struct, frozen=True, rename="camel"):
    """How far a copy has come: ``rewrite_token`` continues one that is not ``done``."""

    done: bool
    rewrite_token: str | None = None
    total_bytes_rewritten: int | None = None
    resource: ObjectResource | None = None


class Versioning(msgspec.Struct, frozen=True):
    """Whether overwritten objects are kept."""

    enabled: bool = False


class BucketResource(msgspec.Struct, frozen=True, rename="camel"):
    """What the service tells about a bucket."""

    name: str = ""
    location: str | None = None
    storage_class: str | None = None
    versioning: Versioning = Versioning()


class NewBucket(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a bucket is to be."""

    name: str = ""
    location: str | None = None
    storage_class: str | None = None
    versioning: Versioning | None = None


_ENCODER: Final = msgspec.json.Encoder()
_OBJECT: Final = msgspec.json.Decoder(ObjectResource, strict=False)
_PAGE: Final = msgspec.json.Decoder(Page, strict=False)
_REWRITTEN: Final = msgspec.json.Decoder(Rewritten, strict=False)
_BUCKET: Final = msgspec.json.Decoder(BucketResource, strict=False)


def encode(document: msgspec.Struct) -> bytes:
    """A document as it is sent."""
    return _ENCODER.encode(document)


def decode_object(body: bytes) -> ObjectResource:
    """What an answer tells about an object. Like all of these: `IntegrityError` for what is no such document."""
    return _decoded(_OBJECT, body, "an object")


def decode_page(body: bytes) -> Page:
    """A page of a listing."""
    return _decoded(_PAGE, body, "a listing")


def decode_rewritten(body: bytes) -> Rewritten:
    """How far a copy has come."""
    return _decoded(_REWRITTEN, body, "a copy")


def decode_bucket(body: bytes) -> BucketResource:
    """What an answer tells about a bucket."""
    return _decoded(_BUCKET, body, "a bucket")


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise IntegrityError(f"the server's description of {what} is not as documented: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        kind = TruncatedError if body[:1] == b"{" else IntegrityError
        raise kind(f"the server's description of {what} is cut off or is no JSON") from None


def to_info(resource: ObjectResource, key: str | None = None) -> ObjectInfo:
    """What is known about an object, without attributes. Its generation is both ETag and version.

    ``modified`` is when this generation was written: later changes of metadata leave generation and bytes as they are.
    """
    generation = resource.generation
    if not generation:
        raise IntegrityError("the server tells of an object without its generation")
    name = str(generation)
    return ObjectInfo(
        resource.name if key is None else key, resource.size, resource.size, _moment(resource), name, name
    )


def _moment(resource: ObjectResource) -> datetime | None:
    text = resource.time_created or resource.updated
    # Reads tell it in seconds: what every call tells is the same.
    return None if text is None else parse_timestamp(text).replace(microsecond=0)
