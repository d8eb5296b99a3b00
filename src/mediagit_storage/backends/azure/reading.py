"""Reading blobs: what requests for them look like, and what their answers say; the rest is `HttpReader`'s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from mediagit_storage.backend import Body, Content
from mediagit_storage.backends.azure.answers import parse_attributes, parse_info, parse_tags, stored_md5, tag_count
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.shapes import condition_fields, version_query, version_text
from mediagit_storage.errors import IntegrityError, NotFoundError, PreconditionError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import range_value
from mediagit_storage.http.reading import ANY_SIZE, HttpReader
from mediagit_storage.http.refusals import failed_condition
from mediagit_storage.http.response import Response
from mediagit_storage.ranges import resolve_range
from mediagit_storage.types import WHOLE, Attributes, ByteRange, Checksum, ObjectInfo, ReadOptions

__all__ = ["Reader"]

T = TypeVar("T")

#: Statuses of a HEAD whose code may stand in a body only: the same is asked by GET.
_SILENT = frozenset({400, 401, 403})


class Reader(HttpReader):
    """Reads from one container. ``versions`` says that answers name versions that may be read."""

    def __init__(self, client: AzureClient, *, verify: bool, versions: bool) -> None:
        super().__init__(client, verify=verify)
        self._client = client
        #: Whether answers name versions that may be read.
        self.versions = versions

    # ---- what `HttpReader` asks for

    def call(self, key: str, options: ReadOptions) -> Call:
        """The GET for what ``options`` ask for; not for suffixes, which the service does not know."""
        client = self._client
        fields: Fields = client.reading
        wanted = None if options.range is WHOLE else range_value(options.range)
        if wanted is not None:
            fields = [*fields, ("x-ms-range", wanted)]
        if options.if_match is not None or options.if_none_match is not None:
            fields = [
                *fields,
                *condition_fields(if_match=options.if_match, if_none_match=options.if_none_match),
            ]
        query = "" if options.version is None else version_text(options.version)
        return Call("GET", client.address.path(key), query, fields, max_body=ANY_SIZE)

    def info(self, key: str, headers: Headers, *, size: int | None = None) -> ObjectInfo:
        """What the fields of an answer say."""
        return parse_info(key, headers, size=size, versions=self.versions)

    def attributes(self, info: ObjectInfo, headers: Headers) -> Attributes | None:
        """All but the tags are in the answer itself; how many of those there are is."""
        return None if tag_count(headers) else parse_attributes(headers).attributes

    def checksum(self, headers: Headers) -> Checksum | None:
        """The MD5 that the service keeps; blobs in blocks have none."""
        return stored_md5(headers)

    def refuse(self, key: str, options: ReadOptions, call: Call, response: Response) -> None:
        """Raise what a failed read means; return for a range that an empty blob has after all."""
        if response.status == 416 and options.range.offset is None:
            return
        if options.version is not None and response.headers.get("x-ms-error-code") == "InvalidQueryParameterValue":
            raise NotFoundError("no version has such a name")
        if response.status == 412:
            # Azurite says the same of an object that is not there, which comes first.
            self.hidden(key, options.version)
        self._client.check(response, call, condition=failed_condition(response.status))
        raise IntegrityError(f"the server answered a read with status {response.status}")

    def stat(self, key: str, version: str | None = None, *, options: ReadOptions | None = None) -> ObjectInfo:
        """Everything about one blob. One request more for its tags, if it has any, and for a failure without words."""
        asked = options if options is not None else ReadOptions(version=version)
        call = self.look(key, asked)
        return self.described(key, asked, call, self._client.send(call).response)

    # ---- suffixes, which take a look first

    def read(self, key: str, options: ReadOptions) -> Content:
        """The blob or a part, in memory."""
        if not options.range.suffix:
            return super().read(key, options)
        return self._located(key, options, super().read)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same in pieces."""
        if not options.range.suffix:
            return super().stream(key, options)
        return self._located(key, options, super().stream)

    def placed(self, info: ObjectInfo, options: ReadOptions) -> ReadOptions:
        """A suffix as a range of the blob that was looked at, and of no other."""
        span = resolve_range(options.range, info.size or 0)
        within = ByteRange(span.start, span.length) if span.length else ByteRange(length=0)
        return replace(options, range=within, if_match=info.etag)

    def _located(self, key: str, options: ReadOptions, read: Callable[[str, ReadOptions], T]) -> T:
        for last in (False, True):
            info = self.stat(key, options=options)
            try:
                return read(key, self.placed(info, options))
            except PreconditionError:
                # Overwritten since the look; unless the caller asked for one blob only, look again.
                if last or options.if_match is not None or options.if_none_match is not None:
                    raise
        raise AssertionError("unreachable")

    # ---- looks

    def look(self, key: str, asked: ReadOptions) -> Call:
        """The HEAD for a version and conditions."""
        fields = [
            *self._client.reading,
            *condition_fields(if_match=asked.if_match, if_none_match=asked.if_none_match),
        ]
        return self._client.key_call("HEAD", key, version_query(asked.version), fields)

    def described(self, key: str, asked: ReadOptions, call: Call, response: Response) -> ObjectInfo:
        """What the answer to such a HEAD tells; others are asked for what it does not."""
        if response.status in _SILENT and "x-ms-error-code" not in response.headers:
            return self._ask_loudly(key, asked)
        if response.status != 200:
            self.refuse(key, asked, call, response)
        return self._with_attributes(self.info(key, response.headers), response.headers, asked.version)

    def hidden(self, key: str, version: str | None = None) -> tuple[ObjectInfo, dict[str, str]]:
        """What is known about a blob, and the library's own entries in its metadata."""
        asked = ReadOptions(version=version)
        call = self.look(key, asked)
        response = self._client.send(call).response
        if response.status != 200:
            self.refuse(key, asked, call, response)
        return self.info(key, response.headers), parse_attributes(response.headers).hidden

    def _with_attributes(self, info: ObjectInfo, headers: Headers, version: str | None) -> ObjectInfo:
        tags = None
        if tag_count(headers):
            query = [("comp", "tags"), *version_query(version)]
            tags = parse_tags(self._client.expect(self._client.key_call("GET", info.key, query)).body)
        info.attributes = parse_attributes(headers, tags).attributes
        return info

    def _ask_loudly(self, key: str, asked: ReadOptions) -> ObjectInfo:
        """A HEAD was refused without a code: a GET of the first byte has a body that says why, or succeeds."""
        one = ReadOptions(ByteRange(0, 1), asked.version, asked.if_match, asked.if_none_match)
        call = self.call(key, one)
        response = self._client.send(call).response
        if response.status == 416:
            call = self.call(key, ReadOptions(version=asked.version))
            response = self._client.send(call).response
        if response.status not in {200, 206}:
            self.refuse(key, asked, call, response)
        return self._with_attributes(self.info(key, response.headers), response.headers, asked.version)
