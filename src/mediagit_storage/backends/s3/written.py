"""What a write leaves: the fields that describe its object, the token by which it is known again, and its `ObjectInfo`."""

from __future__ import annotations

from datetime import datetime

from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.listing import plain_etag
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.shapes import attribute_fields, lock_fields
from mediagit_storage.http.call import Fields
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.written import TOKEN, own
from mediagit_storage.types import ObjectInfo, PutOptions

__all__ = ["Written"]


class Written:
    """What the writes to one bucket have in common."""

    def __init__(self, client: Client, reader: Reader) -> None:
        self._client = client
        self._reader = reader
        self._last_date: tuple[str, datetime] | None = None

    def fields(self, options: PutOptions, token: str | None) -> Fields:
        """What the object keeps besides its bytes, and for how long."""
        service = self._client.service
        hidden = {TOKEN: token} if token else None
        return [
            *attribute_fields(options.attributes, service, hidden=hidden),
            *lock_fields(options.retention, service, legal_hold=options.legal_hold),
        ]

    def ours(self, key: str, token: str) -> ObjectInfo | None:
        """The object under ``key``, if it is the one that was written with ``token``."""
        return own(self._reader.hidden, key, token)

    def info(self, key: str, size: int, headers: Headers, etag: str | None = None) -> ObjectInfo:
        """What the answer to a write says about the new object. The date is the server's of that moment.

        ``etag`` is for an answer that tells it in its document.
        """
        told, modified, date, version = headers.pick("etag", "last-modified", "date", "x-amz-version-id")
        if etag is None and told is not None:
            etag = plain_etag(told)
        return ObjectInfo(key, size, size, self._date(modified or date), etag, version)

    def _date(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        last = self._last_date
        if last is None or last[0] != text:
            last = self._last_date = (text, parse_http_date(text))
        return last[1]
