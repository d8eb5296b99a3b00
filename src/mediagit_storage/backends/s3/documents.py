"""The XML bodies that S3 requests carry. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from mediagit_storage.http.xml import element, escape

__all__ = [
    "CompletedPart",
    "bulk_delete",
    "complete_upload",
    "create_bucket",
    "versioning",
]

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class CompletedPart(NamedTuple):
    """One part of an upload that is about to be completed.

    ``checksum`` names the element (``ChecksumCRC32C``) and holds the Base64 digest, where the part was sent with one.
    """

    number: int
    etag: str
    checksum: tuple[str, str] | None = None


def bulk_delete(objects: Iterable[tuple[str, str | None]], *, quiet: bool = False) -> bytes:
    """The body of DeleteObjects for (key, version) pairs. ``quiet`` makes the server answer with failures only.

    Raises `InvalidKeyError` for a key that XML cannot hold: that one has to be deleted by itself.
    """
    items = [
        element("Object", element("Key", escape(key)), "" if version is None else _leaf("VersionId", version))
        for key, version in objects
    ]
    return _document("Delete", *items, *([element("Quiet", "true")] if quiet else []))


def complete_upload(parts: Iterable[CompletedPart]) -> bytes:
    """The body of CompleteMultipartUpload, in the order of the parts' numbers, which S3 insists on."""
    return _document(
        "CompleteMultipartUpload",
        *[
            element(
                "Part",
                "" if part.checksum is None else _leaf(*part.checksum),
                _leaf("ETag", part.etag),
                element("PartNumber", str(part.number)),
            )
            for part in sorted(parts, key=lambda part: part.number)
        ],
    )


def create_bucket(region: str | None) -> bytes:
    """The body of CreateBucket: empty where the service wants no region named (``us-east-1`` refuses to be)."""
    if region is None:
        return b""
    return _document("CreateBucketConfiguration", _leaf("LocationConstraint", region))


def versioning(*, enabled: bool) -> bytes:
    """The body of PutBucketVersioning. Versions that exist stay when it is switched off."""
    return _document("VersioningConfiguration", element("Status", "Enabled" if enabled else "Suspended"))


def _leaf(name: str, text: str) -> str:
    return element(name, escape(text))


def _document(root: str, *content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{_NAMESPACE}">{"".join(content)}</{root}>'.encode()
