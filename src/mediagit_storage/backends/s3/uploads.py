"""Uploads in parts: begun, sent, completed or aborted; and gone on with after a crash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from mediagit_storage.backends.s3.answers import parse_completed, parse_upload_id
from mediagit_storage.backends.s3.checksums import checksum_element, checksum_fields, chosen_checksum
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.documents import CompletedPart, complete_upload
from mediagit_storage.backends.s3.listing import UploadedPart, parse_parts
from mediagit_storage.backends.s3.shapes import condition_fields
from mediagit_storage.backends.s3.written import Written
from mediagit_storage.errors import IntegrityError, NotFoundError, StorageError, UnavailableError
from mediagit_storage.hashing import crc32c_at_hand
from mediagit_storage.http.call import Call
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.multipart import Part, PartPlan, Sizes, StoredPart, missing_parts
from mediagit_storage.http.parts import SourcePart, file_digest, file_parts
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Traits
from mediagit_storage.http.uploading import FileParts, Parts, send_parts
from mediagit_storage.http.written import condition_of, remembered
from mediagit_storage.scope import current_scope
from mediagit_storage.source import Source
from mediagit_storage.types import JSON, Attributes, Checksum, ObjectInfo, PendingUpload, PutOptions, ResumeState

__all__ = ["Uploads"]

#: Completing joins all parts, which large objects take minutes for, in seconds.
_PATIENT: Final = 900.0


class _Begun(NamedTuple):
    """An upload under way: ``done`` are the parts that the server holds, ``kept`` says that another run can find it."""

    upload: str
    token: str
    done: Sequence[tuple[CompletedPart, int]] = ()
    kept: bool = False


class _Resumed(NamedTuple):
    """An upload that an earlier run left: ``parts`` are those that the server holds, by number."""

    upload: str
    token: str
    plan: PartPlan
    parts: dict[int, StoredPart]


class Uploads:
    """Uploads in parts to one bucket."""

    def __init__(self, client: Client, written: Written, sizes: Sizes) -> None:
        self._client = client
        self._written = written
        self._sizes = sizes
        #: The digest that bodies are sent with.
        self.algorithm = chosen_checksum(client.service, crc32c=crc32c_at_hand())

    # ---- whole uploads

    def send(self, key: str, parts: Parts, options: PutOptions) -> ObjectInfo:
        """Upload what comes in parts. Whatever goes wrong, the upload is aborted."""
        return self._finished(key, parts, options, None, self._new(key, options))

    def send_file(self, key: str, source: Source, file: FileParts, options: PutOptions) -> ObjectInfo:
        """Upload a file, or the rest of it. Where ``options.resume`` can remember it, what breaks off is left for later."""
        region, plan = file
        state = options.resume
        resumed = None if state is None else self._resumed(key, plan, state)
        if isinstance(resumed, ObjectInfo):
            source.finished()
            source.advance(plan.size)
            return resumed
        done: list[tuple[CompletedPart, int]] = []
        missing: list[Part] = []
        if resumed is not None:
            plan = resumed.plan
        for each in plan.parts():
            stored = None if resumed is None else resumed.parts.get(each.number)
            if stored is None:
                missing.append(each)
                continue
            checksum = file_digest(region, each.offset, each.length, self.algorithm)
            done.append((CompletedPart(each.number, stored.etag, checksum_element(checksum)), each.length))
            source.advance(each.length)
        pieces = file_parts(source, region, missing, self.algorithm)
        parts = Parts(pieces, plan.part_size, held=False)
        if resumed is not None:
            return self._finished(key, parts, options, source, _Begun(resumed.upload, resumed.token, done, kept=True))
        return self._finished(key, parts, options, source, self._new(key, options))

    def _new(self, key: str, options: PutOptions) -> _Begun:
        token = secrets.token_hex(16)
        return _Begun(self.begin(key, options.attributes, token, lock=options), token)

    def _finished(self, key: str, parts: Parts, options: PutOptions, file: Source | None, begun: _Begun) -> ObjectInfo:
        """Send the parts of an upload and complete it, or abort it unless it can be continued."""
        upload, token, done, kept = begun
        state = options.resume if file is not None else None
        saved: dict[str, JSON] = {
            "upload": upload,
            "token": token,
            "part_size": parts.part_size,
            "algorithm": self.algorithm,
        }
        with remembered(state, saved, lambda: self._client.aside(lambda: self.abort(key, upload)), kept=kept):
            sent = [*done, *self._send_parts(key, upload, parts, file)]
            sent.sort(key=lambda each: each[0].number)
            if file is not None:
                file.finished()
            current_scope().check()
            size = sum(length for _, length in sent)
            return self.complete(key, upload, [part for part, _ in sent], options, token=token, size=size)

    def _send_parts(self, key: str, upload: str, parts: Parts, file: Source | None) -> list[tuple[CompletedPart, int]]:
        path = self._client.path(key)
        return send_parts(
            self._client,
            parts.parts,
            lambda part: self._part_call(path, upload, part),
            _completed,
            self._sizes,
            part_size=parts.part_size,
            held=parts.held,
            advance=None if file is None else file.advance,
        )

    # ---- after a crash

    def _resumed(self, key: str, plan: PartPlan, state: ResumeState) -> _Resumed | ObjectInfo | None:
        """The upload that an earlier run left, with the parts that the server holds of it; None to begin anew.

        Where that run was stopped after it had completed the upload, the object.
        """
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
        if saved.get("algorithm") != self.algorithm or part_size < 1:
            self.abort(key, upload)
            return None
        try:
            stored = [*self._stored_parts(key, upload)]
        except UnavailableError:
            raise
        except StorageError as error:
            # Completed, aborted or swept meanwhile.
            done = self._completed(key, token, plan.size) if isinstance(error, NotFoundError) else None
            state.clear()
            return done
        same = PartPlan(plan.size, part_size)
        held, _ = missing_parts(same, stored)
        return _Resumed(upload, token, same, {each.number: each for each in held})

    def _completed(self, key: str, token: str, size: int) -> ObjectInfo | None:
        """The object that an earlier run's upload became, if it is still there and whole."""
        try:
            found = self._written.ours(key, token)
        except UnavailableError:
            raise
        except StorageError:
            # Who may write but not look sends everything again.
            return None
        return found if found is not None and found.size == size else None

    def _stored_parts(self, key: str, upload: str) -> Iterator[StoredPart]:
        return (StoredPart(part.number, part.size, f'"{part.etag}"') for part in self._parts(key, upload))

    def described(self, upload: PendingUpload) -> PendingUpload:
        """With the bytes that have arrived and when the last of them did; a request for each 1,000 parts.

        Raises `NotFoundError` for one that has ended.
        """
        parts = [*self._parts(upload.key, upload.id)]
        times = [part.modified for part in parts if part.modified is not None]
        return replace(upload, size=sum(part.size for part in parts), active=max(times, default=None))

    def _parts(self, key: str, upload: str) -> Iterator[UploadedPart]:
        """The parts that the server holds. Raises `NotFoundError` for an upload that has ended."""
        client, after = self._client, None
        while True:
            query = [("uploadId", upload), *([] if after is None else [("part-number-marker", str(after))])]
            call = client.key_call("GET", key, query, client.reading)
            response = client.send(call).response
            if response.status == 404 and client.code_of(response) == "NoSuchUpload":
                raise NotFoundError("the upload was completed or aborted meanwhile")
            client.check(response, call)
            page = parse_parts(response.body)
            yield from page.parts
            after = page.next_number
            if after is None:
                return

    # ---- their requests

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
        fields = [*self._written.fields(replace(lock, attributes=attributes), token), *client.writing]
        if checksums and self.algorithm != "md5":
            fields.append(("x-amz-checksum-algorithm", self.algorithm.upper()))
            if self.algorithm == "crc32c" and client.service.whole_checksums:
                # So that readers can check what they got, however it was cut.
                fields.append(("x-amz-checksum-type", "FULL_OBJECT"))
        call = client.key_call("POST", key, [("uploads", "")], fields)
        return parse_upload_id(client.expect(call).body)

    def abort(self, key: str, upload: str) -> None:
        """Abort an upload. One that is gone already, or cannot be aborted now, is left to `pending_uploads`."""
        client = self._client
        try:
            client.send(client.key_call("DELETE", key, [("uploadId", upload)]))
        except StorageError:
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
        condition = condition_of(options)
        call = Call(
            "POST",
            client.path(key),
            encode_query([("uploadId", upload)]),
            fields,
            complete_upload(parts),
            Traits(conditional=condition is not None),
            client.code_in_document,
            _PATIENT,
        )
        retried = client.send(call)
        response = retried.response
        if retried.maybe_done and response.status in {404, 409, 412}:
            ours = self._written.ours(key, token)
            if ours is not None:
                return ours
        client.check(response, call, condition=condition)
        return self._written.info(key, size, response.headers, parse_completed(response.body))

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> CompletedPart:
        """Send one part by itself, without a digest that completing would have to repeat."""
        md5 = Checksum("md5", hashlib.md5(body, usedforsecurity=False).digest())
        part = SourcePart(number, len(body), lambda: body, lambda: md5, md5)
        return _completed(part, self._client.expect(self._part_call(self._client.path(key), upload, part)))

    def _part_call(self, path: str, upload: str, part: SourcePart) -> Call:
        """The PUT of one part, whose digest is known."""
        client = self._client
        query = encode_query([("partNumber", str(part.number)), ("uploadId", upload)])
        digest = [] if part.checksum is None else checksum_fields(client.service, part.checksum)
        return Call("PUT", path, query, [*client.reading, *digest], part.body())


def _completed(part: SourcePart, response: Response) -> CompletedPart:
    etag = response.headers.get("etag")
    if etag is None:
        raise IntegrityError("the server stored a part and gave no ETag for it")
    return CompletedPart(part.number, etag, None if part.checksum is None else checksum_element(part.checksum))
