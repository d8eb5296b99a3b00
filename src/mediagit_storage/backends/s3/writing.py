"""Writing objects: in one request, in parts, on condition; and finding out what became of a lost answer."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from mediagit_storage.backends.s3.answers import parse_completed, parse_upload_id
from mediagit_storage.backends.s3.checksums import checksum_element, checksum_fields, chosen_checksum, crc32c_at_hand
from mediagit_storage.backends.s3.client import DOCUMENT, Call, Client
from mediagit_storage.backends.s3.documents import CompletedPart, complete_upload
from mediagit_storage.backends.s3.listing import parse_parts, plain_etag
from mediagit_storage.backends.s3.parts import (
    Pieces,
    SourcePart,
    digester,
    file_digest,
    file_part,
    small_file,
    view_part,
)
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.shapes import Fields, attribute_fields, condition_fields, lock_fields
from mediagit_storage.backends.s3.translate import Condition
from mediagit_storage.errors import (
    CancelledError,
    IntegrityError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.encoding import encode_query, parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.multipart import (
    GrowingParts,
    Part,
    PartPlan,
    StoredPart,
    missing_parts,
    parts_in_flight,
    plan_parts,
)
from mediagit_storage.http.request import BodySource, FileBody
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Job, Retried, Traits
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import Attributes, BytesLike, Checksum, ObjectInfo, PutOptions, ResumeState

__all__ = ["TOKEN", "Sizes", "Writer"]

#: The hidden entry of the metadata by which a write knows its own object again.
TOKEN: Final = "token"  # noqa: S105  # a name
_CONDITIONAL: Final = Traits(conditional=True)
#: Completing joins all parts, which large objects take minutes for, in seconds.
_PATIENT: Final = 900.0
#: What may go away by itself: an upload whose progress is remembered is then left to be continued.
_INTERRUPTIONS: Final = (UnavailableError, CancelledError, KeyboardInterrupt, SystemExit)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large objects travel: sizes in bytes, ``concurrency`` parts at once."""

    part: int
    threshold: int
    concurrency: int
    buffer: int


class _Resumed(NamedTuple):
    """An upload that an earlier run left: ``parts`` are those that the server holds, by number."""

    upload: str
    token: str
    plan: PartPlan
    parts: dict[int, StoredPart]


class Writer:
    """Writes to one bucket."""

    def __init__(self, client: Client, reader: Reader, sizes: Sizes) -> None:
        self._client = client
        self._reader = reader
        self._sizes = sizes
        self._algorithm = chosen_checksum(client.service, crc32c=crc32c_at_hand())
        self._digest_field = checksum_fields(client.service, Checksum(self._algorithm, b""))[0][0]
        self._digest = digester(self._algorithm)
        #: The fields of a plain put, the same for all but the digest.
        self._plain: Fields = [*attribute_fields(None, client.service), *client.writing]
        self._last_date: tuple[str, datetime] | None = None

    # ---- one request

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store a source, in one request or in parts, as its size asks for."""
        self._client.check_written(key)
        if options.late_attributes is not None:
            raise UnsupportedError("S3 takes an object's metadata before its content")
        if options != _PLAIN:
            # What the service cannot keep is refused before a byte is read.
            self._own_fields(options, None)
        data = source.buffer()
        if data is not None:
            if len(data) <= self.single_limit(options):
                return self.put_bytes(key, data, options)
            view = memoryview(data)
            plan = plan_parts(len(view), self._client.service.parts, part_size=self._sizes.part)
            pieces = (
                view_part(each.number, view[each.offset : each.offset + each.length], self._algorithm)
                for each in plan.parts()
            )
            return self._multipart(key, pieces, options, held=False, part_size=plan.part_size)
        region = source.region()
        if region is not None:
            return self._put_file(key, source, region, options)
        return self._put_stream(key, source, options)

    def put_bytes(self, key: str, data: BytesLike, options: PutOptions) -> ObjectInfo:
        """Store what lies in memory, in one request."""
        body = data if isinstance(data, bytes) else bytes(data)
        sent = self.put_call(key, body, options)
        return self.stored(key, len(body), sent, options, self._client.send(sent[0]))

    def put_call(self, key: str, body: bytes, options: PutOptions) -> tuple[Call, str | None]:
        """The PUT of a whole object, and the token in it if it is conditional."""
        return self._put_call(key, body, self._digest(body), options)

    def _put_call(
        self, key: str, body: bytes | BodySource, digest: bytes, options: PutOptions
    ) -> tuple[Call, str | None]:
        client = self._client
        value = (self._digest_field, base64.b64encode(digest).decode("ascii"))
        if options == _PLAIN:
            return Call("PUT", client.path(key), "", [*self._plain, value], body), None
        condition = condition_fields(if_absent=options.if_absent, if_match=options.if_match)
        token = secrets.token_hex(16) if condition else None
        fields = [*self._own_fields(options, token), *client.writing, *condition, value]
        return Call("PUT", client.path(key), "", fields, body, _CONDITIONAL if token else Traits()), token

    def _own_fields(self, options: PutOptions, token: str | None) -> Fields:
        """What the object keeps besides its bytes, and for how long."""
        service = self._client.service
        hidden = {TOKEN: token} if token else None
        return [
            *attribute_fields(options.attributes, service, hidden=hidden),
            *lock_fields(options.retention, service, legal_hold=options.legal_hold),
        ]

    def stored(
        self,
        key: str,
        size: int,
        sent: tuple[Call, str | None],
        options: PutOptions,
        retried: Retried,
    ) -> ObjectInfo:
        """What became of a put, ``sent`` being what `put_call` gave. A condition that failed against our own object is a success."""
        call, token = sent
        response = retried.response
        if response.status == 200:
            self._client.bucket_seen = True
            headers = response.headers
            etag = headers.get("etag")
            return ObjectInfo(
                key,
                size,
                size,
                self._date(headers),
                None if etag is None else plain_etag(etag),
                headers.get("x-amz-version-id"),
            )
        if retried.maybe_done and token is not None and response.status in {404, 409, 412}:
            ours = self.own(key, token)
            if ours is not None:
                return ours
        self._client.check(response, call, condition=_condition(options))
        raise IntegrityError(f"the server answered a put with status {response.status}")

    def own(self, key: str, token: str) -> ObjectInfo | None:
        """The object under ``key``, if it is the one that was written with ``token``."""
        try:
            info, hidden = self._reader.hidden(key)
        except NotFoundError:
            return None
        return info if hidden.get(TOKEN) == token else None

    def _date(self, headers: Headers) -> datetime | None:
        text = headers.get("last-modified") or headers.get("date")
        if text is None:
            return None
        last = self._last_date
        if last is None or last[0] != text:
            last = self._last_date = (text, parse_http_date(text))
        return last[1]

    def single_limit(self, options: PutOptions) -> int:
        """The largest object that goes in one request: conditions that parts cannot carry raise it."""
        service = self._client.service
        conditional = options.if_absent or options.if_match is not None
        if conditional and not service.multipart_conditions:
            return service.max_put
        return min(self._sizes.threshold, service.max_put)

    # ---- files and streams

    def _put_file(self, key: str, source: Source, region: FileRegion, options: PutOptions) -> ObjectInfo:
        size = region.size
        if size <= self._sizes.part:
            return self.put_bytes(key, small_file(source), options)
        if size <= self.single_limit(options):
            # What is sent has the digest of what was read while the file was still the same, or is refused.
            digest = file_digest(region, 0, size, self._algorithm).digest
            source.finished()
            sent = self._put_call(key, FileBody(region.descriptor, region.offset, size), digest, options)
            info = self.stored(key, size, sent, options, self._client.send(sent[0]))
            source.advance(size)
            return info
        plan = plan_parts(size, self._client.service.parts, part_size=self._sizes.part)
        resumed = self._resumed(key, plan, options.resume)
        plan = resumed.plan if resumed is not None else plan
        have = resumed.parts if resumed is not None else {}
        done: list[tuple[CompletedPart, int]] = []
        missing: list[Part] = []
        for each in plan.parts():
            stored = have.get(each.number)
            if stored is None:
                missing.append(each)
                continue
            checksum = file_digest(region, each.offset, each.length, self._algorithm)
            done.append((CompletedPart(each.number, stored.etag, checksum_element(checksum)), each.length))
            source.advance(each.length)
        pieces = (file_part(each.number, region, each.offset, each.length, self._algorithm) for each in missing)
        return self._multipart(
            key, pieces, options, held=False, part_size=plan.part_size, file=source, done=done, resumed=resumed
        )

    def _resumed(self, key: str, plan: PartPlan, state: ResumeState | None) -> _Resumed | None:
        """The upload that an earlier run left, with the parts that the server holds of it; None to begin anew."""
        if state is None:
            return None
        left = state.abandoned()
        if left is not None:
            if isinstance(left.get("upload"), str):
                self.abort(key, str(left["upload"]))
            state.clear()
        saved = state.load()
        if saved is None:
            return None
        upload, token, part_size = saved.get("upload"), saved.get("token"), saved.get("part_size")
        if not isinstance(upload, str) or not isinstance(token, str) or not isinstance(part_size, int):
            return None
        if saved.get("algorithm") != self._algorithm or part_size < 1:
            self.abort(key, upload)
            return None
        try:
            stored = [*self._stored_parts(key, upload)]
        except UnavailableError:
            raise
        except StorageError:
            # Completed, aborted or swept meanwhile.
            state.clear()
            return None
        same = PartPlan(plan.size, part_size)
        held, _ = missing_parts(same, stored)
        return _Resumed(upload, token, same, {each.number: each for each in held})

    def _stored_parts(self, key: str, upload: str) -> Iterator[StoredPart]:
        after: int | None = None
        while True:
            query = [("uploadId", upload), *([] if after is None else [("part-number-marker", str(after))])]
            page = parse_parts(self._client.expect(self._client.key_call("GET", key, query, self._client.reading)).body)
            for part in page.parts:
                yield StoredPart(part.number, part.size, f'"{part.etag}"')
            after = page.next_number
            if after is None:
                return

    def _put_stream(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """A source that can only be read in order: its first bytes decide whether one request is enough."""
        client, sizes = self._client, self._sizes
        limits = client.service.parts
        if source.size is not None:
            plan = plan_parts(source.size, limits, part_size=sizes.part)
            at_once = source.size if source.size <= min(sizes.threshold, sizes.buffer) else 0
            first = at_once or plan.part_size
            length_of: Callable[[int], int] = lambda _number: plan.part_size  # noqa: E731
            part_size = plan.part_size
        else:
            growing = GrowingParts(limits, first=sizes.part, most=max(sizes.part, sizes.buffer // sizes.concurrency))
            first, length_of, part_size = growing.length(1), growing.length, growing.length(1)
        conditional = options.if_absent or options.if_match is not None
        if conditional and not client.service.multipart_conditions:
            first = max(first, sizes.buffer)
        pieces = Pieces(source.chunks())
        begin = pieces.take_all(first + 1)
        if len(begin) <= first:
            return self.put_bytes(key, begin, options)
        if conditional and not client.service.multipart_conditions:
            raise UnsupportedError(
                f"{client.service.title} has no conditional writes in parts, and the stream is longer than"
                f" {first:,} bytes; hand over a file or bytes"
            )
        pieces.put_back(begin)
        del begin
        return self._multipart(key, pieces.parts(length_of, self._algorithm), options, held=True, part_size=part_size)

    # ---- parts

    def _multipart(
        self,
        key: str,
        parts: Iterator[SourcePart | None],
        options: PutOptions,
        *,
        held: bool,
        part_size: int,
        file: Source | None = None,
        done: Sequence[tuple[CompletedPart, int]] = (),
        resumed: _Resumed | None = None,
    ) -> ObjectInfo:
        """Begin an upload, send its parts, complete it. Whatever goes wrong, it is aborted or can be continued."""
        client, state = self._client, options.resume if file is not None else None
        if resumed is not None:
            upload, token, kept = resumed.upload, resumed.token, True
        else:
            token = secrets.token_hex(16)
            upload = self.begin(key, options.attributes, token, lock=options)
            kept = False
        try:
            if state is not None and not kept:
                kept = state.save(
                    {"upload": upload, "token": token, "part_size": part_size, "algorithm": self._algorithm}
                )
            sent = [*done, *self._send_parts(key, upload, parts, held=held, part_size=part_size, file=file)]
            sent.sort(key=lambda each: each[0].number)
            if file is not None:
                file.finished()
            current_scope().check()
            size = sum(length for _, length in sent)
            info = self.complete(key, upload, [part for part, _ in sent], options, token=token, size=size)
        except BaseException as error:
            if not (kept and isinstance(error, _INTERRUPTIONS)):
                client.aside(lambda: self.abort(key, upload))
                if state is not None:
                    state.clear()
            raise
        if state is not None:
            state.clear()
        return info

    def begin(
        self,
        key: str,
        attributes: Attributes | None,
        token: str,
        *,
        lock: PutOptions = PutOptions(),
        checksums: bool = True,
    ) -> str:
        """Begin an upload and return its id. ``checksums`` says that its parts come with digests of their own."""
        client = self._client
        fields = [*self._own_fields(replace(lock, attributes=attributes), token), *client.writing]
        if checksums and self._algorithm != "md5":
            fields.append(("x-amz-checksum-algorithm", self._algorithm.upper()))
        call = client.key_call("POST", key, [("uploads", "")], fields)
        return parse_upload_id(client.expect(call).body)

    def abort(self, key: str, upload: str) -> None:
        """Abort an upload. One that is gone already, or cannot be aborted now, is left to `pending_uploads`."""
        client = self._client
        try:
            response = client.send(client.key_call("DELETE", key, [("uploadId", upload)])).response
        except StorageError:
            return
        if response.status >= 400 and response.status != 404:
            return

    def complete(
        self, key: str, upload: str, parts: list[CompletedPart], options: PutOptions, *, token: str, size: int
    ) -> ObjectInfo:
        """Make the parts an object, on condition if asked for."""
        client = self._client
        fields = [
            *client.reading,
            *condition_fields(if_absent=options.if_absent, if_match=options.if_match),
            ("content-type", "application/xml"),
        ]
        query = encode_query([("uploadId", upload)])
        conditional = Traits(conditional=options.if_absent or options.if_match is not None)
        call = Call(
            "POST", client.path(key), query, fields, complete_upload(parts), conditional, DOCUMENT, _PATIENT
        )  # fmt: skip
        retried = client.send(call)
        response = retried.response
        if retried.maybe_done and response.status in {404, 409, 412}:
            ours = self.own(key, token)
            if ours is not None:
                return ours
        client.check(response, call, condition=_condition(options))
        return ObjectInfo(
            key,
            size,
            size,
            self._date(response.headers),
            parse_completed(response.body),
            response.headers.get("x-amz-version-id"),
        )

    def _send_parts(
        self,
        key: str,
        upload: str,
        parts: Iterator[SourcePart | None],
        *,
        held: bool,
        part_size: int,
        file: Source | None,
    ) -> list[tuple[CompletedPart, int]]:
        sizes = self._sizes
        # One more part is being put together while the others travel.
        budget = sizes.buffer - part_size if held else sizes.buffer
        concurrency = (
            parts_in_flight(part_size, concurrency=sizes.concurrency, buffer=budget) if held else sizes.concurrency
        )
        path = self._client.path(key)
        flying: dict[int, SourcePart] = {}
        done: list[tuple[CompletedPart, int]] = []
        waker = Waker()

        def jobs() -> Iterator[Job | None]:
            for part in parts:
                if part is None:
                    # The source goes on giving: what travels is looked after, then it is asked again at once.
                    waker.wake()
                    yield None
                    continue
                while len(flying) >= concurrency:
                    yield None
                call, job = self.part_job(path, upload, part)
                flying[id(job)] = part
                kept.append((call, job))
                yield job

        kept: list[tuple[Call, Job]] = []
        calls: dict[int, Call] = {}
        with (
            closing(waker),
            closing(
                self._client.send_all(jobs(), concurrency=concurrency, buffer_bytes=sizes.buffer, waker=waker)
            ) as results,
        ):
            for result in results:
                calls.update((id(job), call) for call, job in kept)
                kept.clear()
                part, call = flying.pop(id(result.job)), calls.pop(id(result.job))
                if result.error is not None or result.retried is None:
                    raise result.error or IntegrityError("a part has neither an answer nor an error")
                response = result.retried.response
                self._client.check(response, call)
                done.append((_completed(part, response), part.length))
                if file is not None:
                    file.advance(part.length)
        return done

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> CompletedPart:
        """Send one part by itself, without a digest that completing would have to repeat."""
        query = encode_query([("partNumber", str(number)), ("uploadId", upload)])
        md5 = Checksum("md5", hashlib.md5(body, usedforsecurity=False).digest())
        fields = [*self._client.reading, *checksum_fields(self._client.service, md5)]
        response = self._client.expect(Call("PUT", self._client.path(key), query, fields, body))
        return _completed(SourcePart(number, len(body), lambda: body, lambda: md5), response)

    def part_job(self, path: str, upload: str, part: SourcePart) -> tuple[Call, Job]:
        """The PUT of one part."""
        client = self._client
        if part.checksum is None:
            part.checksum = part.digest()
        query = encode_query([("partNumber", str(part.number)), ("uploadId", upload)])
        fields = [*client.reading, *checksum_fields(client.service, part.checksum)]
        call = Call("PUT", path, query, fields, part.body())
        return call, client.job(call)


_PLAIN: Final = PutOptions()


def _condition(options: PutOptions) -> Condition | None:
    if options.if_absent:
        return "absent"
    return "match" if options.if_match is not None else None


def _completed(part: SourcePart, response: Response) -> CompletedPart:
    etag = response.headers.get("etag")
    if etag is None:
        raise IntegrityError("the server stored a part and gave no ETag for it")
    return CompletedPart(part.number, etag, None if part.checksum is None else checksum_element(part.checksum))
