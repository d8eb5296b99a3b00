"""Reading objects over HTTP: whole, in parts, and as streams that go on where a connection broke."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from mediagit_storage.backend import Body, Content
from mediagit_storage.errors import ConnectionLostError, IntegrityError, StorageError
from mediagit_storage.hashing import crc32c_at_hand, new_hasher, verify_kept
from mediagit_storage.http.call import Call
from mediagit_storage.http.client import HttpClient, replayed
from mediagit_storage.http.faults import FaultKind, TransferFault
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import parse_content_range, sent_part
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.resuming import ReadyBody, ResumingBody, Resumption
from mediagit_storage.http.retry import Course, Retried, run
from mediagit_storage.http.stream import StreamingResponse
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.types import WHOLE, Attributes, ByteRange, Checksum, ObjectInfo, ReadOptions

__all__ = ["ANY_SIZE", "HttpReader"]

#: Bodies of objects have no bound: the caller asked for them whole.
ANY_SIZE: Final = 2**62
#: Any read is repeated like any other one.
_GET: Final = Call("GET", "/")


class HttpReader(ABC):
    """What reading from any server has in common; a backend says how its requests and answers are spelled.

    ``verify`` checks whole bodies against the digest that the server keeps, where `checksum` finds one.
    """

    def __init__(self, client: HttpClient, *, verify: bool) -> None:
        self._http = client
        self._verified = verify
        self._crc32c = crc32c_at_hand()

    # ---- what a backend writes

    @abstractmethod
    def call(self, key: str, options: ReadOptions) -> Call:
        """The GET for what ``options`` ask for; only for ranges that a field can say. ``max_body`` is `ANY_SIZE`."""

    @abstractmethod
    def info(self, key: str, headers: Headers, *, size: int | None = None) -> ObjectInfo:
        """What an answer says about the whole object, without attributes; ``size`` where the caller knows it."""

    @abstractmethod
    def stat(self, key: str, version: str | None = None, *, options: ReadOptions | None = None) -> ObjectInfo:
        """Everything about one object; ``options`` may carry a version and conditions."""

    @abstractmethod
    def refuse(self, key: str, options: ReadOptions, call: Call, response: Response) -> None:
        """Raise what a failed read means; return for a range that an empty object has after all."""

    def attributes(self, info: ObjectInfo, headers: Headers) -> Attributes | None:
        """What the answer to a GET says about the object's attributes; None where only `stat` tells all of them."""
        return None

    def checksum(self, headers: Headers) -> Checksum | None:
        """The digest of the whole object that an answer carries; None where it has none that can be checked."""
        return None

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """The object or a part, in memory. A body that breaks off is gone on with, not begun anew."""
        if options.range.length == 0 or options.range.suffix == 0:
            return self._empty(key, options)
        client = self._http
        call = self.call(key, options)
        first: Response | StorageError
        request = client.request(call)
        try:
            first = client.transport.send(request)
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
            return ReadyBody(self._empty(key, options))
        call = self.call(key, options)
        stream, retried = self._open(call)
        if stream is None or stream.status not in {200, 206}:
            content = self.content(key, options, call, retried.response)
            return ReadyBody(content)
        return self._body(key, options, stream)

    def content(self, key: str, options: ReadOptions, call: Call, response: Response) -> Content:
        """What the answer to such a call holds. Raises what a failed one means."""
        if response.status not in {200, 206}:
            self.refuse(key, options, call, response)
            return self._empty(key, options)
        headers, body = response.headers, response.body
        part = headers.get("content-range")
        if part is None:
            if self._verified:
                self._verify(headers, body)
            info = self._told(key, headers, len(body), options)
            if options.range is WHOLE:
                return Content(info, body, 0)
            # The server sent the whole: small or empty objects, and servers that know no ranges.
            span = resolve_range(options.range, len(body))
            return Content(info, body[span.start : span.start + span.length], span.start)
        span, size = sent_part(part, options.range)
        # What the request's sink took is not here: whoever gave it one knows where it is.
        came = len(body) if response.placed is None else response.placed
        if came != span.length:
            raise IntegrityError(f"the server sent {came:,} bytes for a range of {span.length:,}")
        return Content(self._told(key, headers, size, options), body, span.start)

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """What a HEAD of the same says about the digest of the whole; None where it says nothing, or fails."""
        if not self._verified:
            return None
        whole = ReadOptions(version=options.version, if_match=options.if_match)
        try:
            response = self._http.send(self.call(key, whole)._replace(method="HEAD")).response
        except StorageError:
            return None
        return self._usable(response.headers) if response.status == 200 else None

    # ---- inside

    def _told(self, key: str, headers: Headers, size: int | None, options: ReadOptions) -> ObjectInfo:
        """What is known of the object, with its attributes if they are asked for: of the very object that came."""
        info = self.info(key, headers, size=size)
        if options.attributes:
            info.attributes = self.attributes(info, headers)
            if info.attributes is None:
                same = ReadOptions(version=options.version, if_match=info.etag)
                info.attributes = self.stat(key, options=same).attributes
        return info

    def _empty(self, key: str, options: ReadOptions) -> Content:
        """No bytes, of an object that is proven to be there."""
        info = self.stat(key, options=options)
        if not options.attributes:
            info.attributes = None
        span = resolve_range(options.range, info.size or 0)
        if span.length and options.range.suffix is not None:
            # Some servers refuse a suffix that is longer than the object: what was meant is all of it.
            same = ReadOptions(version=options.version, if_match=info.etag, attributes=options.attributes)
            return self.read(key, same)
        if span.length:
            raise IntegrityError("the server refuses a range that the object has")
        return Content(info, b"", span.start)

    def _usable(self, headers: Headers) -> Checksum | None:
        checksum = self.checksum(headers) if self._verified else None
        return None if checksum is None or (checksum.algorithm == "crc32c" and not self._crc32c) else checksum

    def _verify(self, headers: Headers, body: bytes) -> None:
        checksum = self._usable(headers)
        if checksum is not None:
            hasher = new_hasher(checksum.algorithm)
            hasher.update(body)
            verify_kept(checksum, hasher)

    def _open(self, call: Call) -> tuple[StreamingResponse | None, Retried]:
        """The answer to a GET once its head is here; one of status 300 and above is read and closed."""
        opened: list[StreamingResponse] = []

        def send(request: Request) -> Response:
            stream = self._http.transport.stream(request)
            if stream.status >= 300:
                return _failed(request, stream)
            opened.append(stream)
            return Response(request, stream.status, stream.headers, [], attempts=stream.attempts)

        retried = run(self._http.job(call), send, self._http.rules)
        return (opened[-1] if opened else None), retried

    def _body(self, key: str, options: ReadOptions, stream: StreamingResponse) -> ResumingBody:
        headers = stream.headers
        try:
            info, span, skip = self._described(key, headers, options)
            whole = skip == 0 and span.length == info.size and "content-range" not in headers
            checksum = self._usable(headers) if whole else None
        except BaseException:
            stream.close()
            raise
        rules = self._http.rules
        resumption = Resumption(
            lambda rest: self._reopen(info, rest, options.version),
            lambda: Course(self._http.job(_GET), rules),
            rules.sleep,
        )
        return ResumingBody(info, span, stream, resumption, skip=skip, checksum=checksum)

    def _described(self, key: str, headers: Headers, options: ReadOptions) -> tuple[ObjectInfo, Span, int]:
        """The object, the part that is handed out, and how much of the body comes before it."""
        part = headers.get("content-range")
        if part is not None:
            span, size = sent_part(part, options.range)
            return self._told(key, headers, size, options), span, 0
        info = self._told(key, headers, None, options)
        if info.size is None:
            raise IntegrityError("the server does not say how long the object is")
        span = resolve_range(options.range, info.size)
        return info, span, span.start

    def _resuming(self, key: str, options: ReadOptions, request: Request) -> Response:
        """A later attempt of a buffered read, as a stream that is gone on with."""
        stream = self._http.transport.stream(request)
        if stream.status not in {200, 206}:
            return _failed(request, stream)
        # What a server sends that knows no ranges is the whole, and is cut by `content`.
        whole = stream.headers.get("content-range") is None
        with self._body(key, ReadOptions() if whole else options, stream) as rest:
            return Response(request, stream.status, stream.headers, list(rest), attempts=stream.attempts)

    def _reopen(self, info: ObjectInfo, rest: Span, version: str | None) -> StreamingResponse:
        """The rest of a body that broke off: of the very same version, or an error."""
        named = version or info.version
        if info.etag is None and named is None:
            raise _ended(
                ConnectionLostError(
                    "the connection broke, and the server gives nothing to tell the object's versions apart;"
                    " read it again"
                )
            )
        call = self.call(info.key, ReadOptions(ByteRange(*rest), named, info.etag))
        stream, retried = self._open(call)
        status = retried.response.status
        if stream is None:
            if status in {404, 412}:
                raise _ended(
                    ConnectionLostError(
                        "the connection broke, and the object was overwritten or deleted meanwhile; read it again"
                    )
                )
            if status == 416:
                raise _ended(IntegrityError("the server announced more bytes than the object has; read it again"))
            self._http.check(retried.response, call)
            raise IntegrityError(f"the server answered a read with status {status}")
        part = stream.headers.get("content-range")
        again = self.info(info.key, stream.headers)
        if part is None or parse_content_range(part)[:2] != tuple(rest) or again.etag != info.etag:
            stream.close()
            raise _ended(
                ConnectionLostError(
                    "the connection broke, and the server does not go on where it stopped; read it again"
                )
            )
        return stream


def _ended(error: StorageError) -> StorageError:
    """The error of a body that cannot be gone on with. Who has handed out nothing of it yet may begin anew."""
    error.__cause__ = TransferFault(FaultKind.LOST, "the body cannot be gone on with", sent=1)
    return error


def _failed(request: Request, stream: StreamingResponse) -> Response:
    body = stream.read_error()
    return Response(request, stream.status, stream.headers, [body], attempts=stream.attempts, cut=stream.cut)
