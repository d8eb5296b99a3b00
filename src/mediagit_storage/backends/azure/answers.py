"""What answers of Azure Storage say: header fields and listings back to `ObjectInfo` and `Attributes`. Pure functions.

Nothing here checks a status: the caller has seen that the answer is a success (`translate`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.backends.azure.shapes import DEFAULT_CONTENT_TYPE, META, SNAPSHOT, decode_name
from mediagit_storage.backends.azure.signing import DelegationKey
from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.encoding import decode_text, parse_http_date, percent_decode
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import whole_size
from mediagit_storage.http.written import TOKEN
from mediagit_storage.http.xml import parse_records
from mediagit_storage.secrets import Secret
from mediagit_storage.types import Attributes, Checksum, Folder, ObjectInfo

__all__ = [
    "Block",
    "ListPage",
    "StoredMetadata",
    "parse_attributes",
    "parse_blocks",
    "parse_delegation_key",
    "parse_info",
    "parse_list",
    "parse_tags",
    "plain_etag",
    "stored_md5",
    "tag_count",
]


_HIDDEN_TOKEN: Final = f"{RESERVED_METADATA_PREFIX}{TOKEN}"


class StoredMetadata(NamedTuple):
    """What is kept with an object: what the user or a layer gave, and the backend's own (without its ``mgs-``)."""

    attributes: Attributes
    hidden: dict[str, str]


class ListPage(NamedTuple):
    """A page of List Blobs, in the server's order. ``marker`` is None on the last page."""

    objects: list[ObjectInfo]
    folders: list[Folder]
    marker: str | None


class Block(NamedTuple):
    """One block that the server holds; ``name`` is the text behind its Base64."""

    name: str
    size: int


def plain_etag(text: str) -> str:
    """An ETag as this library shows it: without its quotes."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


# ---- header fields -------------------------------------------------------------------------------------------------


def parse_info(key: str, headers: Headers, *, size: int | None = None, versions: bool = False) -> ObjectInfo:
    """What an answer says about the object, without attributes. Raises `IntegrityError` for fields that cannot be.

    The size is ``size`` where the caller knows it, else what the answer tells of the whole.
    """
    if size is None:
        size = whole_size(headers)
    modified = headers.get("last-modified")
    etag = headers.get("etag")
    return ObjectInfo(
        key,
        size,
        size,
        None if modified is None else parse_http_date(modified),
        None if etag is None else plain_etag(etag),
        (headers.get("x-ms-version-id") or None) if versions else None,
    )


def parse_attributes(headers: Headers, tags: Mapping[str, str] | None = None) -> StoredMetadata:
    """The attributes that an answer to HEAD or GET shows. ``tags`` come from a request of their own (`tag_count`)."""
    metadata: dict[str, str] = {}
    hidden: dict[str, str] = {}
    for field, value in headers:
        if field.startswith(META):
            name = decode_name(field[len(META) :])
            if name == _HIDDEN_TOKEN:
                hidden[TOKEN] = decode_text(value)
            else:
                metadata[name] = decode_text(value)
    content_type = headers.get("content-type") or None
    inferred = (headers.get("x-ms-access-tier-inferred") or "").lower() == "true"
    attributes = Attributes(
        content_type=None if content_type == DEFAULT_CONTENT_TYPE else content_type,
        cache_control=headers.get("cache-control") or None,
        content_encoding=headers.get("content-encoding") or None,
        content_disposition=headers.get("content-disposition") or None,
        metadata=metadata,
        storage_class=None if inferred else headers.get("x-ms-access-tier") or None,
        tags={} if tags is None else dict(tags),
    )
    return StoredMetadata(attributes, hidden)


def tag_count(headers: Headers) -> int:
    """How many tags the object has: with 0, nobody needs to ask for them."""
    text = headers.get("x-ms-tag-count") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def stored_md5(headers: Headers) -> Checksum | None:
    """The MD5 of the whole object that the service keeps, if it keeps one."""
    text = headers.get("content-md5")
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Checksum("md5", digest) if len(digest) == 16 else None


# ---- documents -----------------------------------------------------------------------------------------------------


def parse_list(data: bytes) -> ListPage:
    """A page of List Blobs. Raises `IntegrityError` for what is no such page, `TruncatedError` for a cut-off one.

    Folders of a hierarchical namespace are left out: they are nothing that anybody stored.
    """
    document = parse_records(data, ("Blob", "BlobPrefix"))
    _expect(document.root, "EnumerationResults")
    objects: list[ObjectInfo] = []
    folders: list[Folder] = []
    for kind, record in document.records:
        name = _name(record)
        if kind == "BlobPrefix":
            folders.append(Folder(name))
        elif record.get("Properties/ResourceType") != "directory" and record.get("Deleted") != "true":
            objects.append(_listed(name, record))
    return ListPage(objects, folders, document.fields.get("NextMarker") or None)


def _name(record: Mapping[str, str]) -> str:
    name = _leaf(record, "Name")
    # What XML cannot hold is percent-encoded, and marked so.
    return percent_decode(name) if record.get("Name@Encoded") == "true" else name


def _listed(name: str, record: Mapping[str, str]) -> ObjectInfo:
    digits = record.get("Properties/Content-Length", "")
    if digits and not (digits.isascii() and digits.isdigit()):
        raise IntegrityError(f"the server's listing has {digits[:80]!r} for <Content-Length>")
    size = int(digits) if digits else None
    snapshot = record.get("Snapshot")
    etag = record.get("Properties/Etag")
    return ObjectInfo(
        name,
        size,
        size,
        _date(record.get("Properties/Last-Modified")),
        None if not etag else plain_etag(etag),
        f"{SNAPSHOT}{snapshot}" if snapshot else record.get("VersionId") or None,
    )


def _date(text: str | None) -> datetime | None:
    return parse_http_date(text) if text else None


def parse_tags(body: bytes) -> dict[str, str]:
    """The answer to Get Blob Tags."""
    document = parse_records(body, ("Tag",))
    _expect(document.root, "Tags")
    return {_leaf(record, "Key"): record.get("Value", "") for _, record in document.records}


def parse_blocks(body: bytes) -> list[Block]:
    """The uncommitted blocks in the answer to Get Block List; those whose names are no text of ours are left out."""
    document = parse_records(body, ("Block",))
    _expect(document.root, "BlockList")
    found: list[Block] = []
    for _, record in document.records:
        size = _leaf(record, "Size")
        try:
            name = base64.b64decode(_leaf(record, "Name"), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            name = ""
        if not (size.isascii() and size.isdigit()):
            raise IntegrityError(f"the server's list of blocks has {size[:80]!r} for <Size>")
        found.append(Block(name, int(size)))
    return found


def parse_delegation_key(body: bytes) -> DelegationKey:
    """The answer to Get User Delegation Key."""
    document = parse_records(body)
    _expect(document.root, "UserDelegationKey")
    oid, tid, start, expires, service, version, value = (
        _leaf(document.fields, name)
        for name in (
            "SignedOid",
            "SignedTid",
            "SignedStart",
            "SignedExpiry",
            "SignedService",
            "SignedVersion",
            "Value",
        )
    )
    return DelegationKey(oid, tid, start, expires, service, version, Secret(value))


def _expect(root: str, wanted: str) -> None:
    if root != wanted:
        raise IntegrityError(f"the server sent <{root[:80]}> where <{wanted}> belongs")


def _leaf(record: Mapping[str, str], name: str) -> str:
    try:
        return record[name]
    except KeyError:
        raise IntegrityError(f"the server's answer has no <{name}>") from None
