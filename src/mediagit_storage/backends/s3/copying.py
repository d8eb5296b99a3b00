"""Copies that the service makes itself: in one request, or part by part for large objects."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from typing import Final

from mediagit_storage.backends.s3.addressing import copy_source
from mediagit_storage.backends.s3.answers import parse_copied
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.documents import CompletedPart
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.shapes import attribute_fields, condition_fields, copy_fields, etag_field
from mediagit_storage.backends.s3.uploads import Uploads
from mediagit_storage.backends.s3.writing import Writer
from mediagit_storage.backends.s3.written import Written
from mediagit_storage.errors import (
    AlreadyExistsError,
    ConnectionLostError,
    IntegrityError,
)
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.multipart import MIB, Part, plan_parts
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.http.written import TOKEN
from mediagit_storage.source import BytesSource
from mediagit_storage.types import Attributes, ByteRange, CopyOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Copier"]

#: Parts of a copy do not travel: they are large, so that few requests do.
_COPY_PART: Final = 512 * MIB
#: A server says nothing while it copies, in seconds.
_PATIENT: Final = 900.0


class Copier:
    """Copies into one bucket: out of it, or out of another one that the same credentials open at the same service."""

    def __init__(
        self, client: Client, reader: Reader, writer: Writer, uploads: Uploads, written: Written, *, concurrency: int
    ) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._uploads = uploads
        self._written = written
        self._concurrency = concurrency

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Copy one object; two requests, and more above the service's limit for one copy."""
        self._client.check_written(target)
        found = self._reader.stat(source, options.version)
        options.require(found.etag)
        if source == target:
            if options.if_absent:
                raise AlreadyExistsError("an object is there already")
            if options.version is None and options.attributes is None:
                return found
        return self.copy_found(found, target, options)

    def copy_found(
        self, found: ObjectInfo, target: str, options: CopyOptions, *, bucket: str | None = None
    ) -> ObjectInfo:
        """Copy the object that ``found`` tells of, attributes included, from this bucket or another one."""
        if self.in_parts(found):
            return self._in_parts(found, target, options, bucket or self._client.bucket)
        sent = self.call(found, target, options, bucket=bucket)
        return self.copied(found, target, options, sent, self._client.send(sent[0]))

    def in_parts(self, found: ObjectInfo) -> bool:
        """Whether one request is not enough for an object."""
        return (found.size or 0) > self._client.service.max_copy

    def call(
        self, found: ObjectInfo, target: str, options: CopyOptions, *, bucket: str | None = None
    ) -> tuple[Call, str | None]:
        """The request that copies an object, and the token in it if it is conditional."""
        client = self._client
        attributes = _attributes(found, options)
        # A copy onto itself, and one with a token, has to name all attributes.
        itself = found.key == target and bucket in {None, client.bucket}
        replaced = options.attributes is not None or options.if_absent or itself
        token = secrets.token_hex(16) if options.if_absent else None
        fields: Fields = [
            *self._source_fields(found, options, bucket or client.bucket, replace=replaced),
            *client.writing,
            *condition_fields(if_absent=options.if_absent),
        ]
        if replaced:
            fields += attribute_fields(attributes, client.service, hidden={TOKEN: token} if token else None)
        elif attributes.storage_class:
            # Not among what is copied.
            fields.append(("x-amz-storage-class", attributes.storage_class))
        traits = Traits(conditional=options.if_absent)
        return Call("PUT", client.path(target), "", fields, b"", traits, client.code_in_document, _PATIENT), token

    def copied(
        self, found: ObjectInfo, target: str, options: CopyOptions, sent: tuple[Call, str | None], retried: Retried
    ) -> ObjectInfo:
        """What became of it, ``sent`` being what `call` gave. A condition that failed against our own copy is a success."""
        call, token = sent
        response = retried.response
        if token is not None and retried.maybe_done and response.status in {409, 412}:
            ours = self._written.ours(target, token)
            if ours is not None:
                return ours
        if response.status == 412 and not options.if_absent:
            raise ConnectionLostError("the object was overwritten while it was copied; copy it again")
        self._client.check(response, call, condition="absent" if options.if_absent else None)
        copied = parse_copied(target, response.body, response.headers)
        if copied.etag is None:
            return self._reader.stat(target)
        copied.size = copied.stored_size = found.size
        return copied

    def _source_fields(self, found: ObjectInfo, options: CopyOptions, bucket: str, *, replace: bool) -> Fields:
        client = self._client
        return [
            *copy_fields(
                copy_source(bucket, found.key, options.version),
                replace=replace,
                if_match=found.etag,
                tags=client.service.tags,
            ),
            *(client.encryption.source_fields() if client.encryption else []),
        ]

    # ---- in parts

    def _in_parts(self, found: ObjectInfo, target: str, options: CopyOptions, bucket: str) -> ObjectInfo:
        client = self._client
        limits = client.service.parts
        size = found.size or 0
        plan = plan_parts(size, limits, part_size=min(_COPY_PART, limits.max_part))
        token = secrets.token_hex(16)
        upload = self._uploads.begin(target, _attributes(found, options), token, checksums=False)
        try:
            origin = copy_source(bucket, found.key, options.version)
            parts = self._copy_parts(found, target, upload, plan.parts(), origin)
            put = PutOptions(if_absent=options.if_absent)
            return self._uploads.complete(target, upload, parts, put, token=token, size=size)
        except BaseException:
            client.aside(lambda: self._uploads.abort(target, upload))
            raise

    def _copy_parts(
        self, found: ObjectInfo, target: str, upload: str, parts: Iterable[Part], origin: str
    ) -> list[CompletedPart]:
        """Copy ranges of the source into an upload, several at once."""
        client = self._client
        calls = ((part, self._part_call(found, target, upload, part, origin)) for part in parts)
        done: list[CompletedPart] = []
        with closing(client.send_calls(calls, concurrency=self._concurrency, buffer_bytes=MIB)) as answers:
            for part, call, retried in answers:
                response = retried.response
                if response.status == 412:
                    raise ConnectionLostError("the object was overwritten while it was copied; copy it again")
                client.check(response, call)
                etag = parse_copied(target, response.body, response.headers).etag
                if etag is None:
                    raise IntegrityError("the server copied a part and gave no ETag for it")
                done.append(CompletedPart(part.number, f'"{etag}"'))
        return done

    def _part_call(self, found: ObjectInfo, target: str, upload: str, part: Part, origin: str) -> Call:
        client = self._client
        fields: Fields = [
            ("x-amz-copy-source", origin),
            ("x-amz-copy-source-range", f"bytes={part.offset}-{part.offset + part.length - 1}"),
            *([] if found.etag is None else [("x-amz-copy-source-if-match", etag_field(found.etag))]),
            *(client.encryption.source_fields() if client.encryption else []),
            *client.reading,
        ]
        query = encode_query([("partNumber", str(part.number)), ("uploadId", upload)])
        return Call(
            "PUT", client.path(target), query, fields, b"", code_of=client.code_in_document, idle_timeout=_PATIENT
        )

    # ---- another beginning

    def replace_head(self, key: str, head: bytes, old_length: int, if_match: str) -> ObjectInfo:
        """Put ``head`` in the place of the first ``old_length`` bytes; the rest does not travel, if it is large."""
        client = self._client
        limits = client.service.parts
        found = self._reader.stat(key, options=ReadOptions(if_match=if_match))
        size, attributes = found.size or 0, found.attributes
        if old_length > size:
            raise IntegrityError(f"the object has {size:,} bytes, and its head is said to have {old_length:,}")
        # The first part needs a size that is taken, and so do the parts after it.
        borrowed = max(0, limits.min_part - len(head))
        begin = old_length + borrowed
        if size - begin < limits.min_part:
            rest = b"" if size == old_length else self._rest(key, old_length, None, if_match)
            return self._writer.put(key, BytesSource(head + rest), PutOptions(attributes, if_match=if_match))
        first = head + (self._rest(key, old_length, borrowed, if_match) if borrowed else b"")
        token = secrets.token_hex(16)
        upload = self._uploads.begin(key, attributes, token, checksums=False)
        try:
            beginning = self._uploads.put_part(key, upload, 1, first)
            plan = plan_parts(size - begin, replace(limits, max_parts=limits.max_parts - 1), part_size=_COPY_PART)
            moved = (Part(each.number + 1, begin + each.offset, each.length) for each in plan.parts())
            origin = copy_source(client.bucket, key, None)
            parts = [beginning, *self._copy_parts(found, key, upload, moved, origin)]
            total = size - old_length + len(head)
            return self._uploads.complete(key, upload, parts, PutOptions(if_match=if_match), token=token, size=total)
        except BaseException:
            client.aside(lambda: self._uploads.abort(key, upload))
            raise

    def _rest(self, key: str, offset: int, length: int | None, if_match: str) -> bytes:
        return self._reader.read(key, ReadOptions(ByteRange(offset, length), if_match=if_match)).data


def _attributes(found: ObjectInfo, options: CopyOptions) -> Attributes:
    """The attributes of the copy."""
    kept = found.attributes if found.attributes is not None else Attributes()
    return kept if options.attributes is None else options.attributes
