"""What a write keeps besides its bytes, what is known of it afterwards, and whether an object is one's own."""

from __future__ import annotations

from datetime import datetime

from mediagit_storage.backends.azure.answers import plain_etag
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.reading import Reader
from mediagit_storage.backends.azure.shapes import attribute_fields
from mediagit_storage.http.call import Fields
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.written import TOKEN, own
from mediagit_storage.types import ObjectInfo, PutOptions

__all__ = ["Written"]


class Written:
    """What writes to one container have in common."""

    def __init__(self, client: AzureClient, reader: Reader) -> None:
        self._client = client
        self._reader = reader

    def fields(self, options: PutOptions, token: str | None) -> Fields:
        """The fields that carry attributes, the token and the encryption. Asks for late attributes."""
        late = options.late_attributes
        attributes = options.attributes if late is None else late()
        return [*attribute_fields(attributes, hidden={TOKEN: token} if token else None), *self._client.writing]

    def info(self, key: str, size: int, headers: Headers) -> ObjectInfo:
        """What the answer to a write says about the new object."""
        etag, version = headers.get("etag"), headers.get("x-ms-version-id")
        return ObjectInfo(
            key,
            size,
            size,
            _date(headers),
            None if etag is None else plain_etag(etag),
            version if self._reader.versions else None,
        )

    def ours(self, key: str, token: str) -> ObjectInfo | None:
        """The object under ``key``, if it is the one that was written with ``token``."""
        return own(self._reader.hidden, key, token)


def _date(headers: Headers) -> datetime | None:
    text = headers.get("last-modified") or headers.get("date")
    return None if text is None else parse_http_date(text)
