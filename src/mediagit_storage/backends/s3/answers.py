"""What answers of S3 say: header fields back to `ObjectInfo`, `Attributes` and byte ranges. Pure functions.

Nothing here checks a status: the caller has seen that the answer is a success (`translate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.backends.s3.listing import plain_etag
from mediagit_storage.backends.s3.shapes import DEFAULT_CONTENT_TYPE
from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.encoding import decode_text, parse_http_date, parse_timestamp
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import whole_size
from mediagit_storage.http.written import TOKEN
from mediagit_storage.http.xml import parse_records
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = [
    "BulkDeleted",
    "StoredMetadata",
    "parse_attributes",
    "parse_bulk_delete",
    "parse_completed",
    "parse_copied",
    "parse_info",
    "parse_tags",
    "parse_upload_id",
    "parse_versioning",
    "tag_count",
]

_META: Final = "x-amz-meta-"
_HIDDEN_TOKEN: Final = f"{RESERVED_METADATA_PREFIX}{TOKEN}"


class StoredMetadata(NamedTuple):
    """What is kept with an object: what the user or a layer gave, and the backend's own (without its ``mgs-``)."""

    attributes: Attributes
    hidden: dict[str, str]


class BulkDeleted(NamedTuple):
    """What became of the keys of one DeleteObjects: failures as (key, version, the record that says why)."""

    deleted: list[tuple[str, str | None]]
    failed: list[tuple[str, str | None, dict[str, str]]]


# ---- header fields -------------------------------------------------------------------------------------------------


def parse_info(key: str, headers: Headers, *, size: int | None = None) -> ObjectInfo:
    """What a GET, HEAD or PUT answer says about the object, without attributes.

    The size is ``size`` where the caller knows it (a put), else the whole of a range, else the length of the answer.
    Raises `IntegrityError` for fields that cannot be.
    """
    if size is None:
        size = whole_size(headers)
    modified, etag, version = headers.pick("last-modified", "etag", "x-amz-version-id")
    return ObjectInfo(
        key,
        size,
        size,
        None if modified is None else parse_http_date(modified),
        None if etag is None else plain_etag(etag),
        version or None,
    )


def parse_attributes(headers: Headers, tags: Mapping[str, str] | None = None) -> StoredMetadata:
    """The attributes that an answer to HEAD or GET shows. ``tags`` come from a request of their own (`tag_count`)."""
    metadata: dict[str, str] = {}
    hidden: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(_META):
            short = name[len(_META) :]
            if short == _HIDDEN_TOKEN:
                hidden[TOKEN] = decode_text(value)
            else:
                metadata[short] = decode_text(value)
    content_type = headers.get("content-type") or None
    attributes = Attributes(
        content_type=None if content_type == DEFAULT_CONTENT_TYPE else content_type,
        cache_control=headers.get("cache-control") or None,
        content_encoding=_content_encoding(headers.get("content-encoding") or ""),
        content_disposition=headers.get("content-disposition") or None,
        metadata=metadata,
        storage_class=headers.get("x-amz-storage-class") or None,
        tags={} if tags is None else dict(tags),
    )
    return StoredMetadata(attributes, hidden)


def _content_encoding(value: str) -> str | None:
    # Some servers keep the framing of an upload, which says nothing about the object.
    if "aws-chunked" not in value:
        return value or None
    kept = [part for part in (each.strip() for each in value.split(",")) if part and part != "aws-chunked"]
    return ", ".join(kept) or None


def tag_count(headers: Headers) -> int:
    """How many tags the object has: with 0, nobody needs to ask for them. Servers that do not say it have none."""
    text = headers.get("x-amz-tagging-count") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


# ---- documents -----------------------------------------------------------------------------------------------------


def parse_tags(body: bytes) -> dict[str, str]:
    """The answer to GetObjectTagging."""
    document = parse_records(body, ("Tag",))
    _expect(document.root, "Tagging")
    return {_leaf(record, "Key"): record.get("Value", "") for _, record in document.records}


def parse_upload_id(body: bytes) -> str:
    """The id in the answer to CreateMultipartUpload."""
    document = parse_records(body)
    # Without the "Result": rclone's server.
    _expect(document.root, "InitiateMultipartUploadResult", "InitiateMultipartUpload")
    return _leaf(document.fields, "UploadId")


def parse_completed(body: bytes) -> str:
    """The new object's ETag in the answer to CompleteMultipartUpload (which may also be a failure: look first)."""
    document = parse_records(body)
    _expect(document.root, "CompleteMultipartUploadResult")
    return plain_etag(_leaf(document.fields, "ETag"))


def parse_copied(key: str, body: bytes, headers: Headers) -> ObjectInfo:
    """The new object, or the part, that a copy made (its answer may also be a failure: look first)."""
    document = parse_records(body)
    _expect(document.root, "CopyObjectResult", "CopyPartResult")
    modified = document.fields.get("LastModified")
    # rclone's server leaves both out when an object is copied onto itself.
    etag = document.fields.get("ETag")
    return ObjectInfo(
        key,
        modified=None if modified is None else parse_timestamp(modified),
        etag=None if etag is None else plain_etag(etag),
        version=headers.get("x-amz-version-id") or None,
    )


def parse_bulk_delete(body: bytes) -> BulkDeleted:
    """The answer to DeleteObjects. The caller has to see that every key it sent is in it, unless it asked for quiet."""
    document = parse_records(body, ("Deleted", "Error"))
    _expect(document.root, "DeleteResult")
    result = BulkDeleted([], [])
    for name, record in document.records:
        version = record.get("VersionId") or None
        if name == "Deleted":
            result.deleted.append((_leaf(record, "Key"), version))
        else:
            result.failed.append((_leaf(record, "Key"), version, record))
    return result


def parse_versioning(body: bytes) -> bool:
    """Whether the bucket keeps versions now, from the answer to GetBucketVersioning."""
    document = parse_records(body)
    # The second is moto's.
    _expect(document.root, "VersioningConfiguration", "GetBucketVersioningResponse")
    return document.fields.get("Status") == "Enabled"


def _expect(root: str, *allowed: str) -> None:
    if root not in allowed:
        raise IntegrityError(f"the server sent <{root[:80]}> where <{allowed[0]}> belongs")


def _leaf(record: Mapping[str, str], name: str) -> str:
    try:
        return record[name]
    except KeyError:
        raise IntegrityError(f"the server's answer has no <{name}>") from None
