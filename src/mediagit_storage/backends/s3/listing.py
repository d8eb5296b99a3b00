"""Listings: a page of XML to `ObjectInfo`, fast where a page is regular and exact everywhere.

Nearly every page of objects is made of rows of one shape. The shape is learned from the page's first row, one regular
expression then reads all rows, and counting the tags proves that nothing lay between them; whatever remains of the
document is read by expat, like any page that is not regular. Both ways give the same result.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.encoding import parse_timestamp, percent_decode
from mediagit_storage.http.xml import MAX_DOCUMENT, Document, parse_records
from mediagit_storage.keys import sort_key
from mediagit_storage.types import Folder, ObjectInfo, PendingUpload

__all__ = [
    "ListPage",
    "PartsPage",
    "UploadedPart",
    "UploadsPage",
    "VersionsPage",
    "all_standard",
    "parse_objects",
    "parse_parts",
    "parse_uploads",
    "parse_versions",
    "plain_etag",
]


class ListPage(NamedTuple):
    """A page of ListObjectsV2. ``next_token`` is None on the last page."""

    objects: list[ObjectInfo]
    folders: list[Folder]
    next_token: str | None


class VersionsPage(NamedTuple):
    """A page of ListObjectVersions. ``next_key`` is None on the last page; then ``next_version`` is too."""

    objects: list[ObjectInfo]
    folders: list[Folder]
    next_key: str | None
    next_version: str | None


class UploadsPage(NamedTuple):
    """A page of ListMultipartUploads. ``next_key`` is None on the last page."""

    uploads: list[PendingUpload]
    next_key: str | None
    next_upload: str | None


class UploadedPart(NamedTuple):
    """One part that the server holds of an unfinished upload."""

    number: int
    size: int
    etag: str
    modified: datetime | None = None


class PartsPage(NamedTuple):
    """A page of ListParts. ``next_number`` is None on the last page."""

    parts: list[UploadedPart]
    next_number: int | None


def plain_etag(text: str) -> str:
    """An ETag as this library shows it: without its quotes. A weak one stays as it is."""
    return text[1:-1] if len(text) >= 2 and text[0] == '"' and text[-1] == '"' else text


# ---- ListObjectsV2 -------------------------------------------------------------------------------------------------


_NEVER: Final = datetime.min.replace(tzinfo=UTC)

#: The leaves of a row that are read, in the order in which rows are handed on.
_WANTED: Final = ("Key", "LastModified", "ETag", "Size")


def parse_objects(data: bytes, *, plus_is_space: bool = True) -> ListPage:
    """A page of ListObjectsV2, in the server's order; ``size`` and ``stored_size`` are both what the server says.

    ``plus_is_space`` tells how the server encodes a blank where it says that it encodes keys.
    Raises `IntegrityError` for what is no such page, `TruncatedError` for one that is cut off.
    """
    fast = _fast_rows(data) if len(data) <= MAX_DOCUMENT else None
    if fast is None:
        document = parse_records(data, ("Contents", "CommonPrefixes"))
        rows = [_object_row(record) for name, record in document.records if name == "Contents"]
    else:
        rows, rest = fast
        document = parse_records(rest, ("CommonPrefixes",))
    decode = _decoder(document, plus_is_space=plus_is_space)
    _check_root(document, "ListBucketResult")
    more = _flag(document.fields, "IsTruncated")
    token = document.fields.get("NextContinuationToken") or None
    if more and token is None:
        raise IntegrityError("the server says that the listing goes on, and not where")
    return ListPage(_objects(rows, decode), _folders(document, decode), token if more else None)


_CLASS: Final = re.compile(rb"<StorageClass>([^<]*)</StorageClass>")


def all_standard(data: bytes, page: ListPage) -> bool:
    """Whether the page says of each of its objects that it is of the usual storage class, and nothing else."""
    classes = _CLASS.findall(data)
    return len(classes) == len(page.objects) and all(each == b"STANDARD" for each in classes)


def _object_row(record: Mapping[str, str]) -> tuple[str, ...]:
    return tuple([_required(record, name) for name in _WANTED])


def _objects(rows: list[tuple[str, ...]], decode: Callable[[str], str] | None) -> list[ObjectInfo]:
    found: list[ObjectInfo] = []
    append, timestamp = found.append, datetime.fromisoformat
    for key, modified, etag, digits in rows:
        if not (digits.isascii() and digits.isdigit()):
            raise IntegrityError(f"the server's listing has {digits[:80]!r} for <Size>")
        size = int(digits)
        try:
            moment = timestamp(modified)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is not UTC:
            moment = parse_timestamp(modified)
        name = decode(key) if decode is not None and ("%" in key or "+" in key) else key
        append(ObjectInfo(name, size, size, moment, plain_etag(etag)))
    return found


# ---- the fast path -------------------------------------------------------------------------------------------------

_OPEN: Final = "<Contents>"
_CLOSE: Final = "</Contents>"
_TOKEN: Final = re.compile(r"<(/?)([A-Za-z_][A-Za-z0-9_.\-]*)(/?)>|([^<]+)").match
_ENTITY: Final = re.compile(r"&(#[0-9]+|#x[0-9A-Fa-f]+|amp|lt|gt|quot|apos);")
_QUOTES: Final = ("&quot;", "&#34;", "&#x22;", '"')


def _fast_rows(data: bytes) -> tuple[list[tuple[str, ...]], bytes] | None:
    """The rows' texts and the document without its rows; None where the page is not regular enough to be sure."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    first, last = text.find(_OPEN), text.rfind(_CLOSE)
    if first < 0 or last < first:
        return None
    end = last + len(_CLOSE)
    rest = text[:first] + text[end:]
    # Comments, CDATA and a DOCTYPE begin with "<!" (among the rows, the count of tags finds them); expat turns "\r"
    # into "\n"; and other encodings, or marks of them, stand at the front.
    if "<!" in rest or "\r" in text or not _is_utf8(rest):
        return None
    shape = _learn(text[first : text.find(_CLOSE, first) + len(_CLOSE)])
    if shape is None:
        return None
    found: list[tuple[str, ...]] = shape.pattern.findall(text, first, end)
    # Every row holds exactly `tags` of these, so when the sum is right, nothing but text lies between the rows.
    if len(found) * shape.tags != text.count("<", first, end):
        return None
    if shape.order != (0, 1, 2, 3):
        found = list(map(itemgetter(*shape.order), found))
    # The entities of the shape itself are the quotes of ETags: without any others, the texts are as they stand.
    entities = shape.pattern.pattern.count(r"\&") * len(found)
    rows = found if text.count("&", first, end) == entities else _unescaped(found)
    return None if rows is None else (rows, rest.encode())


def _is_utf8(document: str) -> bool:
    declared = re.match(r"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']", document)
    return not document.startswith("\ufeff") and (declared is None or declared[1].lower() == "utf-8")


class _Shape(NamedTuple):
    """How all rows of a page look: an expression for one, which group holds which of `_WANTED`, and its tags."""

    pattern: re.Pattern[str]
    order: tuple[int, ...]
    tags: int


def _learn(row: str) -> _Shape | None:
    """The shape of a row; None where it holds anything but plain elements, each of `_WANTED` once, and white space."""
    pieces: list[str] = []
    groups: list[str] = []
    stack: list[str] = []
    place = tags = 0
    leaf: str | None = None  # the text since the last tag, if that one opened an element
    while place < len(row):
        token = _TOKEN(row, place)
        if token is None:
            return None
        place = token.end()
        closing, name, empty, text = token.groups()
        if text is not None:
            pieces.append(re.escape(text))
            leaf = None if leaf is None else text
            continue
        if closing:
            if not stack or stack.pop() != name:
                return None
            if leaf is not None:
                # The text of a leaf was taken for literal: it is what differs from row to row.
                del pieces[len(pieces) - bool(leaf) :]
                wanted = len(stack) == 1 and name in _WANTED
                pieces.append(_leaf_pattern(leaf) if wanted else "[^<]*")
                groups += [name] if wanted else []
        elif not empty:
            stack.append(name)
        leaf = None if closing or empty else ""
        tags += 1
        pieces.append(re.escape(token[0]))
    if stack or sorted(groups) != sorted(_WANTED):
        return None
    return _Shape(re.compile("".join(pieces)), tuple(groups.index(name) for name in _WANTED), tags)


def _leaf_pattern(example: str) -> str:
    for quote in _QUOTES:
        if len(example) >= 2 * len(quote) and example.startswith(quote) and example.endswith(quote):
            return f'{re.escape(quote)}([^<&"]*){re.escape(quote)}'
    return "([^<]*)"


def _unescaped(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]] | None:
    """The rows with their entities resolved; None for one that expat has to judge."""
    result: list[tuple[str, ...]] = []
    for row in rows:
        if "&" in "".join(row):
            if any(text.count("&") != len(_ENTITY.findall(text)) or "&#" in text for text in row):
                return None
            result.append(tuple(html.unescape(text) for text in row))
        else:
            result.append(row)
    return result


# ---- the other listings --------------------------------------------------------------------------------------------


def parse_versions(data: bytes, *, plus_is_space: bool = True) -> VersionsPage:
    """A page of ListObjectVersions: versions and deletion marks in the server's order, the newest of a key first."""
    document = parse_records(data, ("Version", "DeleteMarker", "CommonPrefixes"))
    _check_root(document, "ListVersionsResult")
    decode = _decoder(document, plus_is_space=plus_is_space)
    found: list[ObjectInfo] = []
    latest: set[int] = set()
    for name, record in document.records:
        if name == "CommonPrefixes":
            continue
        key = _required(record, "Key")
        info = ObjectInfo(
            key if decode is None else decode(key),
            modified=parse_timestamp(_required(record, "LastModified")),
            version=_required(record, "VersionId"),
            deleted=name == "DeleteMarker",
        )
        if name == "Version":
            info.size = info.stored_size = _number(record, "Size")
            info.etag = plain_etag(_required(record, "ETag"))
        if record.get("IsLatest", "").strip().lower() == "true":
            latest.add(id(info))
        found.append(info)
    if any(
        after.key < before.key or (after.key == before.key and id(after) in latest) for before, after in pairwise(found)
    ):
        # Servers that list the deletion marks behind the versions, or before them.
        newest = sorted(found, key=lambda each: each.modified or _NEVER, reverse=True)
        found = sorted(newest, key=lambda each: (sort_key(each.key), id(each) not in latest))
    folders = _folders(document, decode)
    if not _flag(document.fields, "IsTruncated"):
        return VersionsPage(found, folders, None, None)
    key = _next(document, "NextKeyMarker", decode)
    return VersionsPage(found, folders, key, document.fields.get("NextVersionIdMarker") or None)


def parse_uploads(data: bytes, *, plus_is_space: bool = True) -> UploadsPage:
    """A page of ListMultipartUploads."""
    document = parse_records(data, ("Upload", "CommonPrefixes"))
    _check_root(document, "ListMultipartUploadsResult")
    decode = _decoder(document, plus_is_space=plus_is_space)
    uploads: list[PendingUpload] = []
    for name, record in document.records:
        if name == "Upload":
            key = _required(record, "Key")
            started = parse_timestamp(_required(record, "Initiated"))
            uploads.append(
                PendingUpload(key if decode is None else decode(key), _required(record, "UploadId"), started)
            )
    if not _flag(document.fields, "IsTruncated"):
        return UploadsPage(uploads, None, None)
    key = _next(document, "NextKeyMarker", decode)
    return UploadsPage(uploads, key, document.fields.get("NextUploadIdMarker") or None)


def parse_parts(data: bytes) -> PartsPage:
    """A page of ListParts."""
    document = parse_records(data, ("Part",))
    # The second is moto's.
    _check_root(document, "ListPartsResult", "ListPartsResponse")
    parts = [
        UploadedPart(
            _number(record, "PartNumber"),
            _number(record, "Size"),
            plain_etag(_required(record, "ETag")),
            parse_timestamp(record["LastModified"]) if record.get("LastModified") else None,
        )
        for _, record in document.records
    ]
    if not _flag(document.fields, "IsTruncated"):
        return PartsPage(parts, None)
    return PartsPage(parts, _number(document.fields, "NextPartNumberMarker"))


# ---- what they share -----------------------------------------------------------------------------------------------


def _check_root(document: Document, *allowed: str) -> None:
    if document.root not in allowed:
        raise IntegrityError(f"the server sent <{document.root[:80]}> where <{allowed[0]}> belongs")


def _decoder(document: Document, *, plus_is_space: bool) -> Callable[[str], str] | None:
    if document.fields.get("EncodingType", "").strip().lower() != "url":
        return None
    return lambda text: percent_decode(text, plus_is_space=plus_is_space)


def _folders(document: Document, decode: Callable[[str], str] | None) -> list[Folder]:
    prefixes = [_required(record, "Prefix") for name, record in document.records if name == "CommonPrefixes"]
    return [Folder(prefix if decode is None else decode(prefix)) for prefix in prefixes]


def _required(record: Mapping[str, str], name: str) -> str:
    try:
        return record[name]
    except KeyError:
        raise IntegrityError(f"the server's listing has an entry without <{name}>") from None


def _number(record: Mapping[str, str], name: str) -> int:
    text = _required(record, name)
    if not (text.isascii() and text.isdigit()):
        raise IntegrityError(f"the server's listing has {text[:80]!r} for <{name}>")
    return int(text)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    text = fields.get(name, "false").strip().lower()
    if text not in {"true", "false"}:
        raise IntegrityError(f"the server's listing has {text[:80]!r} for <{name}>")
    return text == "true"


def _next(document: Document, name: str, decode: Callable[[str], str] | None) -> str:
    text = document.fields.get(name)
    if not text:
        raise IntegrityError(f"the server says that the listing goes on, and not where (<{name}> is missing)")
    return text if decode is None else decode(text)
