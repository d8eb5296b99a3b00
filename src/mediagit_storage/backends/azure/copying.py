"""Copies that the service makes itself, in one request or block by block; or, where it cannot, through this machine.

================================================  =================================================================
what is copied                                    how
================================================  =================================================================
up to 256 MiB, metadata and content type as were  Copy Blob From URL: done when it answers
up to 256 MiB, with others                        Put Blob From URL
larger                                            Put Block From URL, blocks side by side, then one commit
larger, on a server that has no blocks from URLs  Copy Blob, waited for
what the service cannot read for itself           a read and a write
================================================  =================================================================
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final

from mediagit_storage.backends.azure.blocks import Blocks, new_upload
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.reading import Reader
from mediagit_storage.backends.azure.services import LIMITS, MAX_SYNC_COPY
from mediagit_storage.backends.azure.shapes import (
    attribute_fields,
    block_id,
    condition_fields,
    etag_field,
    http_fields,
    metadata_fields,
    tags_value,
    version_text,
)
from mediagit_storage.backends.azure.writing import Writer
from mediagit_storage.backends.azure.written import Written
from mediagit_storage.errors import (
    AlreadyExistsError,
    ConnectionLostError,
    IntegrityError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.multipart import MIB, Part, plan_parts
from mediagit_storage.http.parts import SourcePart, digester
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.http.written import TOKEN
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.types import Attributes, ByteRange, Checksum, CopyOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Copier"]

#: Blocks of a copy do not travel: they are large, so that few requests do.
_COPY_BLOCK: Final = 256 * MIB
#: A server says nothing while it copies, in seconds.
_PATIENT: Final = 900.0
#: How often a copy that goes on by itself is looked at, in seconds: at first, and at most.
_LOOK: Final = (0.5, 10.0)
#: The longest URL of a source that the service takes, in characters.
_MAX_URL: Final = 2048


class Copier:
    """Copies within one container. ``encrypted`` says that the service cannot read blobs without the customer's key."""

    def __init__(
        self, client: AzureClient, reader: Reader, writer: Writer, written: Written, blocks: Blocks, *, concurrency: int
    ) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._written = written
        self._blocks = blocks
        self._concurrency = concurrency
        self._service = client.address.service
        self._encrypted = bool(client.reading)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Copy one blob: a look and a copy."""
        self._client.address.check_written(target)
        found = self._reader.stat(source, options.version)
        options.require(found.etag)
        kept = found.attributes if found.attributes is not None else Attributes()
        attributes = kept if options.attributes is None else options.attributes
        if source == target:
            if options.if_absent:
                raise AlreadyExistsError("an object is there already")
            if options.version is None and options.attributes is None:
                return found
        url, access = self._client.signing.copy_source(self._client.url(source, version_text(options.version)))
        if self._encrypted or len(url) > _MAX_URL:
            return self._through_here(found, target, attributes, options)
        fields: Fields = [
            ("x-ms-copy-source", url),
            *access,
            *([] if found.etag is None else [("x-ms-source-if-match", etag_field(found.etag))]),
        ]
        if (found.size or 0) <= MAX_SYNC_COPY:
            return self._small(found, target, attributes, options, fields)
        return self._large(found, target, attributes, options, fields)

    def _small(
        self, found: ObjectInfo, target: str, attributes: Attributes, options: CopyOptions, fields: Fields
    ) -> ObjectInfo:
        token = secrets.token_hex(16) if options.if_absent else None
        kept = found.attributes or Attributes()
        if _expressible(kept, attributes, token) and found.key != target:
            fields = [*fields, ("x-ms-requires-sync", "true"), *_changed(kept, attributes, token)]
            return self._at_once(found, target, fields, token)
        if self._service.from_url:
            own = attribute_fields(attributes, hidden={TOKEN: token} if token else None)
            kind = [("x-ms-blob-type", "BlockBlob"), ("x-ms-copy-source-blob-properties", "false")]
            return self._at_once(found, target, [*fields, *kind, *own], token)
        return self._through_here(found, target, attributes, options)

    def _large(
        self, found: ObjectInfo, target: str, attributes: Attributes, options: CopyOptions, fields: Fields
    ) -> ObjectInfo:
        token = secrets.token_hex(16) if options.if_absent else None
        kept = found.attributes or Attributes()
        if self._service.from_url:
            return self._in_blocks(found, target, attributes, options, fields)
        if _expressible(kept, attributes, token) and found.key != target:
            return self._waited(found, target, [*fields, *_changed(kept, attributes, token)], token)
        return self._through_here(found, target, attributes, options)

    # ---- in one request

    def _at_once(self, found: ObjectInfo, target: str, fields: Fields, token: str | None) -> ObjectInfo:
        call, retried = self._send(target, [*fields, *self._client.writing], token)
        info = self._done(target, call, retried, token)
        info.size = info.stored_size = found.size
        return info

    def _send(self, target: str, fields: Fields, token: str | None) -> tuple[Call, Retried]:
        condition = condition_fields(if_absent=token is not None)
        path, traits = self._client.address.path(target), Traits(conditional=token is not None)
        call = Call("PUT", path, "", [*fields, *condition], b"", traits, idle_timeout=_PATIENT)
        return call, self._client.send(call)

    def _done(self, target: str, call: Call, retried: Retried, token: str | None) -> ObjectInfo:
        response = retried.response
        if token is not None and retried.maybe_done and response.status in {409, 412}:
            ours = self._written.ours(target, token)
            if ours is not None:
                return ours
        self._check(call, response, absent=token is not None)
        return self._written.info(target, 0, response.headers)

    def _check(self, call: Call, response: Response, *, absent: bool) -> None:
        """Raise what a failed copy means. A 412 without a condition on the target is about the source."""
        code = response.headers.get("x-ms-error-code")
        about_source = code in {"SourceConditionNotMet", "CannotVerifyCopySource"} or not absent
        if response.status == 412 and about_source:
            raise ConnectionLostError("the object was overwritten while it was copied; copy it again")
        self._client.check(response, call, condition="absent" if absent else None)

    # ---- by and by

    def _waited(self, found: ObjectInfo, target: str, fields: Fields, token: str | None) -> ObjectInfo:
        """A copy that the service may make after it has answered."""
        client = self._client
        call, retried = self._send(target, fields, token)
        info = self._done(target, call, retried, token)
        headers = retried.response.headers
        copy, status = headers.get("x-ms-copy-id"), headers.get("x-ms-copy-status")
        try:
            if status == "pending":
                headers = self._finished(target, copy)
                status = headers.get("x-ms-copy-status")
        except BaseException:
            client.aside(lambda: self._abort(target, copy))
            raise
        if status != "success":
            said = headers.get("x-ms-copy-status-description") or status
            raise ConnectionLostError(f"the service gave up the copy ({said}); copy it again")
        info.size = info.stored_size = found.size
        return info

    def _finished(self, target: str, copy: str | None) -> Headers:
        """What the target says once the copy to it is no longer going on."""
        client = self._client
        pause, most = _LOOK
        while True:
            client.rules.sleep(pause)
            pause = min(2 * pause, most)
            headers = client.expect(client.key_call("HEAD", target, (), client.reading)).headers
            if headers.get("x-ms-copy-id") != copy:
                raise ConnectionLostError("the target was overwritten while it was copied to; copy it again")
            if headers.get("x-ms-copy-status") != "pending":
                return headers

    def _abort(self, target: str, copy: str | None) -> None:
        if copy is None:
            return
        call = self._client.key_call(
            "PUT", target, [("comp", "copy"), ("copyid", copy)], [("x-ms-copy-action", "abort")]
        )  # fmt: skip
        try:
            self._client.send(call)
        except StorageError:
            return

    # ---- in blocks

    def _in_blocks(
        self, found: ObjectInfo, target: str, attributes: Attributes, options: CopyOptions, fields: Fields
    ) -> ObjectInfo:
        upload, token = new_upload()
        plan = plan_parts(found.size or 0, LIMITS, part_size=_COPY_BLOCK)
        try:
            blocks = self._copy_blocks(target, upload, plan.parts(), fields)
            put = PutOptions(attributes, if_absent=options.if_absent)
            return self._blocks.commit(target, upload, blocks, put, token=token)
        except BaseException:
            self._blocks.forget(target)
            raise

    def _copy_blocks(self, target: str, upload: str, parts: Iterable[Part], fields: Fields) -> dict[int, int]:
        """Copy ranges of the source into blocks, several at once."""
        client, path = self._client, self._client.address.path(target)

        def calls() -> Iterator[tuple[Part, Call]]:
            for part in parts:
                query = encode_query([("comp", "block"), ("blockid", block_id(upload, part.number))])
                span = ("x-ms-source-range", f"bytes={part.offset}-{part.offset + part.length - 1}")
                yield part, Call("PUT", path, query, [*fields, span, *client.writing], b"", idle_timeout=_PATIENT)

        done: dict[int, int] = {}
        for part, call, retried in client.send_calls(calls(), concurrency=self._concurrency, buffer_bytes=MIB):
            self._check(call, retried.response, absent=False)
            done[part.number] = part.length
        return done

    def replace_head(self, key: str, head: bytes, old_length: int, if_match: str) -> ObjectInfo:
        """Put ``head`` in the place of the first ``old_length`` bytes; the rest does not travel."""
        client = self._client
        found = self._reader.stat(key, options=ReadOptions(if_match=if_match))
        size, attributes = found.size or 0, found.attributes
        if old_length > size:
            raise IntegrityError(f"the object has {size:,} bytes, and its head is said to have {old_length:,}")
        url, access = client.signing.copy_source(client.url(key))
        if self._encrypted or not self._service.from_url or size - old_length < MIB or len(url) > _MAX_URL:
            rest = b""
            if size > old_length:
                rest = self._reader.read(key, ReadOptions(ByteRange(old_length), if_match=if_match)).data
            return self._writer.put(key, BytesSource(head + rest), PutOptions(attributes, if_match=if_match))
        fields = [("x-ms-copy-source", url), *access, ("x-ms-source-if-match", etag_field(if_match))]
        upload, token = new_upload()
        try:
            digest = Checksum("md5", digester("md5")(head))
            part = SourcePart(1, len(head), lambda: head, lambda: digest, digest)
            client.expect(self._blocks.block_call(client.address.path(key), upload, part))
            plan = plan_parts(size - old_length, LIMITS, part_size=_COPY_BLOCK)
            moved = (Part(each.number + 1, old_length + each.offset, each.length) for each in plan.parts())
            blocks = {1: len(head), **self._copy_blocks(key, upload, moved, fields)}
            return self._blocks.commit(key, upload, blocks, PutOptions(attributes, if_match=if_match), token=token)
        except BaseException:
            self._blocks.forget(key)
            raise

    # ---- through this machine

    def _through_here(self, found: ObjectInfo, target: str, attributes: Attributes, options: CopyOptions) -> ObjectInfo:
        """Read what was looked at, and write it as the target, which appears whole."""
        asked = ReadOptions(version=options.version, if_match=found.etag)
        try:
            with self._reader.stream(found.key, asked) as body:
                data = IterableSource(iter(body))
                data.size = found.size
                return self._writer.put(target, data, PutOptions(attributes, if_absent=options.if_absent))
        except PreconditionError:
            raise ConnectionLostError("the object was overwritten while it was copied; copy it again") from None


def _expressible(kept: Attributes, wanted: Attributes, token: str | None) -> bool:
    """Whether a copy can give its target these attributes: content type and its kin come from the source, and so do
    metadata unless there are some.
    """
    if http_fields(kept) != http_fields(wanted):
        return False
    return token is not None or bool(wanted.metadata) or not kept.metadata


def _changed(kept: Attributes, wanted: Attributes, token: str | None) -> Fields:
    fields: Fields = []
    if token is not None or wanted.metadata != kept.metadata:
        fields += metadata_fields(wanted.metadata, {TOKEN: token} if token else None)
    if wanted.storage_class:
        fields.append(("x-ms-access-tier", wanted.storage_class))
    if wanted.tags:
        fields.append(("x-ms-tags", tags_value(wanted.tags)))
    return fields
