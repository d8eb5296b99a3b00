"""Documents of WebDAV: what is asked for, and what a 207 says, read in pieces while it arrives (RFC 4918, 13 and 14)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.xml import RecordParser, element, escape
from mediagit_storage.types import JSON, Attributes

__all__ = [
    "MultiStatus",
    "Resource",
    "attributes_of",
    "etag_token",
    "parse_multistatus",
    "propfind",
    "proppatch",
]

#: A folder of a million files is listed in half a gigabyte, which is never held.
_LIMIT: Final = 4 * 1024**3
#: The dead property that holds attributes, in a namespace of its own.
_NAMESPACE: Final = "urn:mediagit-storage"
_PROPERTY: Final = "mgs-attributes"
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>'
_COLLECTION: Final = "prop/resourcetype/collection"


class Resource(NamedTuple):
    """One response of a 207: ``href`` as it came, ``status`` 200 unless the server gives this one another.

    ``etag`` is a token without quotes and mark of weakness; it is made of time and size where the server gives none.
    """

    href: str
    status: int = 200
    folder: bool = False
    size: int | None = None
    modified: datetime | None = None
    etag: str | None = None
    #: The text of our own property, None where there is none.
    kept: str | None = None
    free: int | None = None
    used: int | None = None


class MultiStatus:
    """Reads one 207, handing over each resource as soon as it is there. Raises as `RecordParser` does."""

    def __init__(self, on_resource: Callable[[Resource], None]) -> None:
        self._on_resource = on_resource
        self._parser = RecordParser(("response", "propstat"), limit=_LIMIT, on_record=self._take)
        self._properties: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        """Take in the next piece."""
        self._parser.feed(data)

    def close(self) -> None:
        """The document has come to its end."""
        if self._parser.close().root != "multistatus":
            raise IntegrityError("the server's answer is no WebDAV listing")

    def _take(self, name: str, record: dict[str, str]) -> None:
        if name == "propstat":
            # What the server does not have comes in a group of its own with another status.
            if 200 <= _status(record.get("status")) < 300:
                self._properties |= record
            return
        found, self._properties = self._properties, {}
        self._on_resource(_resource(record.get("href", ""), _status(record.get("status")), found))


def parse_multistatus(document: bytes) -> list[Resource]:
    """All resources of a small answer."""
    found: list[Resource] = []
    reader = MultiStatus(found.append)
    reader.feed(document)
    reader.close()
    return found


def _resource(href: str, status: int, properties: dict[str, str]) -> Resource:
    size = _number(properties.get("prop/getcontentlength"))
    modified = _moment(properties.get("prop/getlastmodified"))
    return Resource(
        href,
        status,
        _COLLECTION in properties,
        size,
        modified,
        etag_token(properties.get("prop/getetag"), modified, size),
        properties.get(f"prop/{_PROPERTY}"),
        _number(properties.get("prop/quota-available-bytes")),
        _number(properties.get("prop/quota-used-bytes")),
    )


def _status(line: str | None) -> int:
    if not line:
        return 200
    words = line.split()
    if len(words) < 2 or not words[1].isdecimal():
        raise IntegrityError(f"the server sent {line[:80]!r} where a status belongs")
    return int(words[1])


def _number(text: str | None) -> int | None:
    stripped = (text or "").strip()
    return int(stripped) if stripped.isascii() and stripped.isdigit() and len(stripped) < 20 else None


def _moment(text: str | None) -> datetime | None:
    if not text or not text.strip():
        return None
    try:
        return parse_http_date(text)
    except IntegrityError:
        # Who lists folders would rather do without the time of one file.
        return None


def etag_token(value: str | None, modified: datetime | None, size: int | None) -> str | None:
    """An ETag without its quotes and ``W/``; where there is none, one made of time and size as nginx makes it."""
    text = (value or "").strip().removeprefix("W/").removeprefix("w/").strip('"')
    if text:
        return text
    if modified is None or size is None:
        return None
    return f"{int(modified.timestamp()):x}-{size:x}"


# ---- what is asked for


def propfind(*, attributes: bool, quota: bool = False) -> bytes:
    """The question for what is known of a resource."""
    names = ["resourcetype", "getcontentlength", "getlastmodified", "getetag"]
    if quota:
        names += ["quota-available-bytes", "quota-used-bytes"]
    asked = "".join(f"<{name}/>" for name in names)
    if attributes:
        asked += f'<m:{_PROPERTY} xmlns:m="{_NAMESPACE}"/>'
    return f'{_HEAD}<propfind xmlns="DAV:"><prop>{asked}</prop></propfind>'.encode()


def proppatch(attributes: Attributes) -> bytes:
    """The order to keep attributes, all of them in one property."""
    held: dict[str, JSON] = {}
    for name in sorted(attributes.named()):
        value = getattr(attributes, name)
        held[name] = value if isinstance(value, str) else dict(value)
    text = escape(json.dumps(held, separators=(",", ":"), sort_keys=True))
    kept = f'<m:{_PROPERTY} xmlns:m="{_NAMESPACE}">{text}</m:{_PROPERTY}>'
    return f'{_HEAD}<propertyupdate xmlns="DAV:">{element("set", element("prop", kept))}</propertyupdate>'.encode()


def attributes_of(text: str | None) -> Attributes:
    """Undo `proppatch`. Raises `IntegrityError` for what it never wrote."""
    if not text:
        return Attributes()
    try:
        held = json.loads(text)
        return Attributes(**{str(name): value for name, value in held.items()})
    except (ValueError, TypeError, AttributeError):
        raise IntegrityError("the property that holds the object's attributes is damaged") from None
