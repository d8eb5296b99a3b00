"""Reading objects of S3: how a GET and a HEAD are spelled, and what their answers and failures say."""

from __future__ import annotations

from typing import Final

from mediagit_storage.backends.s3.answers import parse_attributes, parse_info, parse_tags, tag_count
from mediagit_storage.backends.s3.checksums import stored_checksum
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.shapes import condition_fields
from mediagit_storage.errors import BucketNotFoundError, IntegrityError, NotFoundError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import range_value
from mediagit_storage.http.reading import ANY_SIZE, HttpReader
from mediagit_storage.http.refusals import failed_condition
from mediagit_storage.http.response import Response
from mediagit_storage.types import WHOLE, Attributes, ByteRange, Checksum, ObjectInfo, ReadOptions

__all__ = ["Reader"]

_CHECKED: Final = ("x-amz-checksum-mode", "ENABLED")
#: Statuses of a HEAD that say too little, having no body: the same is asked by GET.
_SILENT: Final = frozenset({400, 401, 403})


class Reader(HttpReader):
    """Reads from one bucket. ``verify`` asks for checksums where the service keeps them."""

    def __init__(self, client: Client, *, verify: bool) -> None:
        checked = verify and bool(client.service.checksums - {"md5"})
        super().__init__(client, verify=checked)
        self._client = client
        #: The fields of a plain read, the same for all.
        self._plain: Fields = [*client.reading, *([_CHECKED] if checked else [])]

    def call(self, key: str, options: ReadOptions) -> Call:
        """The GET for what ``options`` ask for; only for ranges that a field can say."""
        client = self._client
        if options.range is WHOLE and options.version is None:
            fields, query = self._plain, ""
        else:
            wanted = range_value(options.range)
            # A part cannot be checked against the digest of the whole.
            fields = self._plain if wanted is None else [*client.reading, ("range", wanted)]
            query = "" if options.version is None else encode_query([("versionId", options.version)])
        if options.if_match is not None or options.if_none_match is not None:
            fields = [
                *fields, *condition_fields(if_match=options.if_match, if_none_match=options.if_none_match)
            ]  # fmt: skip
        return Call("GET", client.path(key), query, fields, max_body=ANY_SIZE)

    def info(self, key: str, headers: Headers, *, size: int | None = None) -> ObjectInfo:
        """Out of the fields that GET and HEAD share."""
        return parse_info(key, headers, size=size)

    def attributes(self, info: ObjectInfo, headers: Headers) -> Attributes | None:
        """All but the tags are in the answer itself; how many of those there are is."""
        if self._client.service.tags and tag_count(headers):
            return None
        return parse_attributes(headers).attributes

    def checksum(self, headers: Headers) -> Checksum | None:
        """CRC32C or SHA-256 of the whole object; of one that came in parts only where the server has joined them."""
        return stored_checksum(headers)

    # ---- looking

    def stat(self, key: str, version: str | None = None, *, options: ReadOptions | None = None) -> ObjectInfo:
        """Everything about one object. One request more for its tags, if it has any, and for a failure without words."""
        asked = options if options is not None else ReadOptions(version=version)
        call = self.look(key, asked)
        return self.described(key, asked, call, self._client.send(call).response)

    def look(self, key: str, asked: ReadOptions) -> Call:
        """The HEAD of an object."""
        query = [] if asked.version is None else [("versionId", asked.version)]
        fields = [
            *self._client.reading, *condition_fields(if_match=asked.if_match, if_none_match=asked.if_none_match)
        ]  # fmt: skip
        return self._client.key_call("HEAD", key, query, fields)

    def described(self, key: str, asked: ReadOptions, call: Call, response: Response) -> ObjectInfo:
        """What the answer to such a HEAD tells; others are asked for what it does not."""
        client = self._client
        if response.status in _SILENT:
            return self._ask_loudly(key, asked)
        if response.status != 200:
            self.refuse(key, asked, call, response)
        client.bucket_seen = True
        info = parse_info(key, response.headers)
        return self._with_attributes(info, response.headers, asked.version)

    def hidden(self, key: str) -> tuple[ObjectInfo, dict[str, str]]:
        """What is known about an object, and the library's own entries in its metadata."""
        call = self._client.key_call("HEAD", key, (), self._client.reading)
        response = self._client.send(call).response
        if response.status != 200:
            self.refuse(key, ReadOptions(), call, response)
        return parse_info(key, response.headers), parse_attributes(response.headers).hidden

    def _with_attributes(self, info: ObjectInfo, headers: Headers, version: str | None) -> ObjectInfo:
        tags = None
        if self._client.service.tags and tag_count(headers):
            query = [("tagging", ""), *([] if version is None else [("versionId", version)])]
            tags = parse_tags(self._client.expect(self._client.key_call("GET", info.key, query)).body)
        info.attributes = parse_attributes(headers, tags).attributes
        return info

    def _ask_loudly(self, key: str, asked: ReadOptions) -> ObjectInfo:
        """A HEAD was refused without a word: a GET of the first byte has a body that says why, or succeeds."""
        one = ReadOptions(ByteRange(0, 1), asked.version, asked.if_match, asked.if_none_match)
        call = self.call(key, one)
        response = self._client.send(call).response
        if response.status == 416:
            # Empty: the whole of it is no more.
            call = self.call(key, ReadOptions(version=asked.version))
            response = self._client.send(call).response
        if response.status not in {200, 206}:
            self.refuse(key, asked, call, response)
        info = parse_info(key, response.headers)
        return self._with_attributes(info, response.headers, asked.version)

    # ---- failures

    def refuse(self, key: str, options: ReadOptions, call: Call, response: Response) -> None:
        """Raise what a failed read means; return for a range that an empty object has after all."""
        if response.status == 416 and options.range.offset is None:
            return
        try:
            self._client.check(response, call, condition=failed_condition(response.status))
        except BucketNotFoundError:
            raise
        except NotFoundError as error:
            self._prove_bucket(call, error)
            raise
        raise IntegrityError(f"the server answered a read with status {response.status}")

    def _prove_bucket(self, call: Call, error: NotFoundError) -> None:
        """A HEAD says nothing but 404: find out once what it is that is missing."""
        client = self._client
        if call.method != "HEAD" or client.bucket_seen:
            return
        response = client.send(client.bucket_call("HEAD")).response
        if response.status == 404:
            raise BucketNotFoundError("the bucket is not there; check its name and region, or create it") from error
        client.bucket_seen = response.status in {200, 403}
