"""Reading: GET for bytes, PROPFIND for what is known.

Conditions are judged by the answer itself, whose ETag says what it is: servers mark a fresh ETag as weak, and then no
condition on it holds. So any server has conditional reads, and a read that goes on after a break never mixes versions.
"""

from __future__ import annotations

from typing import Final

from mediagit_storage.backend import Body, Content
from mediagit_storage.backends.webdav.client import DavClient
from mediagit_storage.backends.webdav.multistatus import Resource, attributes_of, etag_token
from mediagit_storage.conditions import check_conditions
from mediagit_storage.errors import (
    IntegrityError,
)
from mediagit_storage.http.call import Call
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import range_value, whole_size
from mediagit_storage.http.reading import ANY_SIZE, HttpReader
from mediagit_storage.http.response import Response
from mediagit_storage.types import Attributes, ObjectInfo, ReadOptions

__all__ = ["DavReader", "info_of"]

#: What servers answer to a GET of a folder, which is no object.
_PERHAPS_FOLDER: Final = frozenset({301, 302, 303, 307, 308, 400, 403, 405, 409})


class DavReader(HttpReader):
    """Reads from one storage."""

    def __init__(self, client: DavClient) -> None:
        super().__init__(client, verify=False)
        self._client = client

    def call(self, key: str, options: ReadOptions) -> Call:
        """The GET."""
        fields = []
        wanted = range_value(options.range)
        if wanted is not None:
            fields.append(("range", wanted))
        if options.if_none_match is not None:
            fields.append(("if-none-match", f'"{options.if_none_match}"'))
        return Call("GET", self._client.path(key), fields=fields, max_body=ANY_SIZE)

    def info(self, key: str, headers: Headers, *, size: int | None = None) -> ObjectInfo:
        """What the fields of an answer say."""
        length = whole_size(headers) if size is None else size
        text = headers.get("last-modified")
        modified = None if text is None else parse_http_date(text)
        self._client.base_seen = True
        return ObjectInfo(key, length, length, modified, etag_token(headers.get("etag"), modified, length))

    def attributes(self, info: ObjectInfo, headers: Headers) -> Attributes | None:
        """None of its own, or those that only a PROPFIND tells: the type that a server guesses is nobody's."""
        return None if self._client.dead_properties else Attributes()

    def stat(self, key: str, version: str | None = None, *, options: ReadOptions | None = None) -> ObjectInfo:
        """One PROPFIND."""
        self._client.path(key)
        found = self._client.look(key)
        if found is None or found.folder:
            raise self._client.absent()
        return self.described(key, found, options or ReadOptions())

    def described(self, key: str, found: Resource, options: ReadOptions) -> ObjectInfo:
        """What a resource tells of its object; conditions are judged."""
        info = info_of(key, found)
        if info.size is None:
            raise IntegrityError("the server does not say how long the object is")
        check_conditions(info.etag, options)
        info.attributes = attributes_of(found.kept) if self._client.dead_properties else Attributes()
        return info

    def refuse(self, key: str, options: ReadOptions, call: Call, response: Response) -> None:
        """Raise what a failed GET means. A folder is no object, however the server says so."""
        status = response.status
        if status == 416 and options.range.offset is None and options.range.length is None:
            return
        if status in {404, 410}:
            raise self._client.absent()
        if status in _PERHAPS_FOLDER:
            found = self._client.look(key)
            if found is None or found.folder:
                raise self._client.absent()
        raise self._client.error_of(response, subject="object", condition=None)

    # ---- conditions

    def read(self, key: str, options: ReadOptions) -> Content:
        """As every HTTP backend; on condition of an ETag the body is only taken when it is that object's."""
        if options.if_match is None:
            return super().read(key, options)
        with self.stream(key, options) as body:
            return Content(body.info, b"".join(body), body.start)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same in pieces."""
        body = super().stream(key, options)
        try:
            self._judge(key, body.info, options)
        except BaseException:
            body.close()
            raise
        return body

    def content(self, key: str, options: ReadOptions, call: Call, response: Response) -> Content:
        """What an answer holds, if it is the object that was asked for."""
        content = super().content(key, options, call, response)
        self._judge(key, content.info, options)
        return content

    def _judge(self, key: str, info: ObjectInfo, options: ReadOptions) -> None:
        if info.etag is None:
            # Some servers show a page for people where a folder is, which has neither ETag nor time.
            found = self._client.look(key)
            if found is None or found.folder:
                raise self._client.absent()
        check_conditions(info.etag, options)


def info_of(key: str, found: Resource) -> ObjectInfo:
    """What a listing tells of an object; no size where the server does not know it beforehand."""
    return ObjectInfo(key, found.size, found.size, found.modified, found.etag)
