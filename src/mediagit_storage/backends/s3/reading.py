"""Reading objects: whole, in parts, as streams that go on where a connection broke, and what is known about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mediagit_storage.backend import Body, Content
from mediagit_storage.backends.s3.answers import (
    parse_attributes,
    parse_content_range,
    parse_info,
    parse_tags,
    tag_count,
)
from mediagit_storage.backends.s3.checksums import crc32c_at_hand, stored_checksum
from mediagit_storage.backends.s3.client import Call, Client, replayed
from mediagit_storage.backends.s3.shapes import Fields, condition_fields, etag_field, range_value
from mediagit_storage.backends.s3.translate import Condition
from mediagit_storage.errors import (
    BucketNotFoundError,
    ChecksumError,
    ConnectionLostError,
    IntegrityError,
    NotFoundError,
    StorageError,
    TruncatedError,
)
from mediagit_storage.hashing import Hasher, new_hasher
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Course, Job, Retried, Retry, run
from mediagit_storage.http.stream import StreamingResponse
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.types import WHOLE, ByteRange, Checksum, ObjectInfo, ReadOptions

__all__ = ["Reader"]

#: Bodies of objects have no bound: the caller asked for them whole.
_ANY_SIZE: Final = 2**62
_CHECKED: Final = ("x-amz-checksum-mode", "ENABLED")
#: Statuses of a HEAD that say too little, having no body: the same is asked by GET.
_SILENT: Final = frozenset({400, 401, 403})


class Reader:
    """Reads from one bucket. ``verify`` asks for checksums where the service keeps them."""

    def __init__(self, client: Client, *, verify: bool) -> None:
        self._client = client
        self._crc32c = crc32c_at_hand()
        self._checked = checked = verify and bool(client.service.checksums - {"md5"})
        #: The fields of a plain read, the same for all.
        self._plain: Fields = [*client.reading, *([_CHECKED] if checked else [])]
        self._sleep = client.rules.sleep

    # ---- what others build on

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
        return Call("GET", client.path(key), query, fields, max_body=_ANY_SIZE)

    def content(self, key: str, options: ReadOptions, call: Call, response: Response) -> Content:
        """What the answer to such a call holds. Raises what a failed one means."""
        if response.status not in {200, 206}:
            self._refuse(key, options, call, response)
            return self._empty(key, options)
        headers, body = response.headers, response.body
        part = headers.get("content-range")
        if part is None:
            if self._checked:
                self._verify(headers, body)
            info = parse_info(key, headers, size=len(body))
            if options.range is WHOLE:
                return Content(info, body, 0)
            # The server sent the whole: small or empty objects, and servers that know no ranges.
            span = resolve_range(options.range, len(body))
            return Content(info, body[span.start : span.start + span.length], span.start)
        info, span = _part(key, headers, part, options.range)
        if len(body) != span.length:
            raise IntegrityError(f"the server sent {len(body):,} bytes for a range of {span.length:,}")
        return Content(info, body, span.start)

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """The object or a part, in memory. A body that breaks off is gone on with, not begun anew."""
        if options.range.length == 0 or options.range.suffix == 0:
            return self._empty(key, options)
        client = self._client
        call = self.call(key, options)
        first: Response | StorageError
        try:
            first = client.transport.send(client.request(call))
        except StorageError as error:
            first = error
        else:
            if first.status in {200, 206}:
                return self.content(key, options, call, first)
        # From the second attempt on what has come is kept when the connection breaks again.
        send = replayed(first, lambda request: self._resuming(key, options, request))
        return self.content(key, options, call, run(client.job(call), send, client.rules).response)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same in pieces."""
        if options.range.length == 0 or options.range.suffix == 0:
            return _NoBody(self._empty(key, options))
        call = self.call(key, options)
        stream, retried = self._open(call)
        if stream is None or stream.status not in {200, 206}:
            content = self.content(key, options, call, retried.response)
            return _NoBody(content)
        return self._body(key, options, stream)

    def stat(self, key: str, version: str | None = None, *, options: ReadOptions | None = None) -> ObjectInfo:
        """Everything about one object. One request more for its tags, if it has any, and for a failure without words."""
        client = self._client
        asked = options if options is not None else ReadOptions(version=version)
        query = [] if asked.version is None else [("versionId", asked.version)]
        fields = [
            *client.reading, *condition_fields(if_match=asked.if_match, if_none_match=asked.if_none_match)
        ]  # fmt: skip
        call = client.key_call("HEAD", key, query, fields)
        return self.described(key, asked, call, client.send(call).response)

    def described(self, key: str, asked: ReadOptions, call: Call, response: Response) -> ObjectInfo:
        """What the answer to such a HEAD tells; others are asked for what it does not."""
        client = self._client
        if response.status in _SILENT:
            return self._ask_loudly(key, asked)
        if response.status != 200:
            self._refuse(key, asked, call, response)
        client.bucket_seen = True
        info = parse_info(key, response.headers)
        return self._with_attributes(info, response.headers, asked.version)

    def hidden(self, key: str) -> tuple[ObjectInfo, dict[str, str]]:
        """What is known about an object, and the library's own entries in its metadata."""
        call = self._client.key_call("HEAD", key, (), self._client.reading)
        response = self._client.send(call).response
        if response.status != 200:
            self._refuse(key, ReadOptions(), call, response)
        return parse_info(key, response.headers), parse_attributes(response.headers).hidden

    # ---- inside

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
            self._refuse(key, asked, call, response)
        info = parse_info(key, response.headers)
        return self._with_attributes(info, response.headers, asked.version)

    def _refuse(self, key: str, options: ReadOptions, call: Call, response: Response) -> None:
        """Raise what a failed read means; return for a range that an empty object has after all."""
        if response.status == 416 and options.range.offset is None:
            return
        condition: Condition | None = None
        if response.status == 412:
            condition = "match"
        elif response.status == 304:
            condition = "none-match"
        try:
            self._client.check(response, call, condition=condition)
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

    def _empty(self, key: str, options: ReadOptions) -> Content:
        """No bytes, of an object that is proven to be there."""
        info = self.stat(key, options=options)
        info.attributes = None
        span = resolve_range(options.range, info.size or 0)
        if span.length and options.range.suffix is not None:
            # Some servers refuse a suffix that is longer than the object: what was meant is all of it.
            return self.read(key, ReadOptions(version=options.version, if_match=info.etag))
        if span.length:
            raise IntegrityError("the server refuses a range that the object has")
        return Content(info, b"", span.start)

    def _verify(self, headers: Headers, body: bytes) -> None:
        checksum = stored_checksum(headers)
        if checksum is None or (checksum.algorithm == "crc32c" and not self._crc32c):
            return
        hasher = new_hasher(checksum.algorithm)
        hasher.update(body)
        _compare(checksum, hasher)

    # ---- streams

    def _open(self, call: Call) -> tuple[StreamingResponse | None, Retried]:
        """The answer to a GET once its head is here; one of status 400 and above is read and closed."""
        opened: list[StreamingResponse] = []

        def send(request: Request) -> Response:
            stream = self._client.transport.stream(request)
            if stream.status >= 400:
                body = stream.read_error()
                return Response(request, stream.status, stream.headers, [body], attempts=stream.attempts)
            opened.append(stream)
            return Response(request, stream.status, stream.headers, [], attempts=stream.attempts)

        retried = run(self._client.job(call), send, self._client.rules)
        return (opened[-1] if opened else None), retried

    def _body(self, key: str, options: ReadOptions, stream: StreamingResponse) -> _S3Body:
        headers = stream.headers
        try:
            info, span, skip = _described(key, headers, options.range)
        except BaseException:
            stream.close()
            raise
        whole = skip == 0 and span.length == info.size and "content-range" not in headers
        checksum = stored_checksum(headers) if whole and self._checked else None
        if checksum is not None and checksum.algorithm == "crc32c" and not self._crc32c:
            checksum = None
        return _S3Body(self, info, span, stream, skip=skip, checksum=checksum, version=options.version)

    def _resuming(self, key: str, options: ReadOptions, request: Request) -> Response:
        """A later attempt of a buffered read, as a stream that is gone on with."""
        stream = self._client.transport.stream(request)
        if stream.status >= 400:
            body = stream.read_error()
            return Response(request, stream.status, stream.headers, [body], attempts=stream.attempts)
        if stream.status not in {200, 206}:
            stream.close()
            return Response(request, stream.status, stream.headers, [b""], attempts=stream.attempts)
        # What a server sends that knows no ranges is the whole, and is cut by `content`.
        whole = stream.headers.get("content-range") is None
        with self._body(key, ReadOptions() if whole else options, stream) as rest:
            return Response(request, stream.status, stream.headers, list(rest), attempts=stream.attempts)

    def reopen(self, info: ObjectInfo, span: Span, version: str | None) -> StreamingResponse:
        """The rest of a body that broke off: of the very same version, or an error."""
        named = version or info.version
        fields = [*self._client.reading, ("range", f"bytes={span.start}-{span.start + span.length - 1}")]
        if info.etag is not None:
            fields.append(("if-match", etag_field(info.etag)))
        query = "" if named is None else encode_query([("versionId", named)])
        call = Call("GET", self._client.path(info.key), query, fields, max_body=_ANY_SIZE)
        stream, retried = self._open(call)
        status = retried.response.status
        if stream is None:
            if status in {404, 412}:
                raise ConnectionLostError(
                    "the connection broke, and the object was overwritten or deleted meanwhile; read it again"
                )
            if status == 416:
                raise IntegrityError("the server announced more bytes than the object has; read it again")
            self._client.check(retried.response, call)
            raise IntegrityError(f"the server answered a read with status {status}")
        part = stream.headers.get("content-range")
        again = parse_info(info.key, stream.headers)
        if part is None or parse_content_range(part)[:2] != tuple(span) or again.etag != info.etag:
            stream.close()
            raise ConnectionLostError(
                "the connection broke, and the server does not go on where it stopped; read it again"
            )
        return stream

    def job_of(self, info: ObjectInfo) -> Job:
        """What decides whether a body that broke off is gone on with."""
        return self._client.job(Call("GET", self._client.path(info.key)))

    def new_course(self, info: ObjectInfo) -> Course:
        """The count of attempts at one piece of a body."""
        return Course(self.job_of(info), self._client.rules)

    def pause(self, seconds: float) -> None:
        """Wait before the next attempt."""
        self._sleep(seconds)


class _NoBody(Body):
    """A body that is here already."""

    def __init__(self, content: Content) -> None:
        self.info, self._data, self.start = content
        self.length = len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        data, self._data = self._data, b""
        if data:
            yield data

    def close(self) -> None:
        self._data = b""


class _S3Body(Body):
    """The pieces as they come. Where the connection breaks, the rest of the same version is asked for."""

    def __init__(
        self,
        reader: Reader,
        info: ObjectInfo,
        span: Span,
        stream: StreamingResponse,
        *,
        skip: int,
        checksum: Checksum | None,
        version: str | None,
    ) -> None:
        self.info = info
        self.start, self.length = span
        self._reader = reader
        self._stream: StreamingResponse | None = stream
        self._skip = skip
        self._checksum = checksum
        self._hasher: Hasher | None = None if checksum is None else new_hasher(checksum.algorithm)
        self._version = version
        self._got = 0

    def __iter__(self) -> Iterator[bytes]:
        course: Course | None = None
        while True:
            before = self._got
            try:
                yield from self._pieces()
            except StorageError as error:
                stream = self._stream
                if stream is None:
                    raise
                if course is None or self._got > before:
                    course = self._reader.new_course(self.info)
                decision = course.after_error(error, stream.request)
                if not isinstance(decision, Retry):
                    raise
                self._reader.pause(decision.delay)
                rest = Span(self.start + self._got, self.length - self._got)
                self._skip = 0
                self._stream = self._reader.reopen(self.info, rest, self._version)
                continue
            return

    def _pieces(self) -> Iterator[bytes]:
        stream = self._stream
        if stream is None:
            return
        wanted = self.length - self._got
        for received in stream:
            piece = received
            if self._skip:
                piece, self._skip = piece[self._skip :], max(0, self._skip - len(received))
            if len(piece) > wanted:
                piece = piece[:wanted]
            if not piece:
                continue
            wanted -= len(piece)
            self._got += len(piece)
            if self._hasher is not None:
                self._hasher.update(piece)
                if not wanted and self._checksum is not None:
                    _compare(self._checksum, self._hasher)
            yield piece
            if not wanted:
                break
        if self._stream is None:
            return
        if wanted:
            raise TruncatedError(f"the body ended {wanted:,} bytes early")
        stream.close()

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _described(key: str, headers: Headers, wanted: ByteRange) -> tuple[ObjectInfo, Span, int]:
    """The object, the part that is handed out, and how much of the body comes before it."""
    part = headers.get("content-range")
    if part is not None:
        return *_part(key, headers, part, wanted), 0
    info = parse_info(key, headers)
    if info.size is None:
        raise IntegrityError("the server does not say how long the object is")
    span = resolve_range(wanted, info.size)
    return info, span, span.start


def _part(key: str, headers: Headers, text: str, wanted: ByteRange) -> tuple[ObjectInfo, Span]:
    """What an answer with a Content-Range holds, if that is what was asked for."""
    found = parse_content_range(text)
    if found.size is None:
        raise IntegrityError("the server does not say how long the object is")
    if resolve_range(wanted, found.size) != (found.start, found.length):
        raise IntegrityError(f"the server sent the range {text[:80]!r}, which was not asked for")
    return parse_info(key, headers, size=found.size), Span(found.start, found.length)


def _compare(checksum: Checksum, hasher: Hasher) -> None:
    if hasher.digest() != checksum.digest:
        raise ChecksumError(f"the object's {checksum.algorithm} is not the one that the server keeps with it")
