"""Writing blobs: in one request, or in blocks; on condition; and finding out what became of a lost answer."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Final

from mediagit_storage.backends.azure.blocks import Blocks, DiscardedError
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.reading import Reader
from mediagit_storage.backends.azure.services import LIMITS, MAX_PUT
from mediagit_storage.backends.azure.shapes import attribute_fields, condition_fields
from mediagit_storage.backends.azure.written import Written
from mediagit_storage.errors import (
    AlreadyExistsError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.multipart import Sizes
from mediagit_storage.http.parts import digester, file_digest
from mediagit_storage.http.request import BodySource, FileBody
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.http.uploading import FileParts, Whole, WholeFile, planned
from mediagit_storage.http.written import TOKEN, condition_of
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import BytesLike, ObjectInfo, PutOptions

__all__ = ["Writer"]

_BLOB: Final = ("x-ms-blob-type", "BlockBlob")
_CONDITIONAL: Final = Traits(conditional=True)
_PLAIN: Final = PutOptions()
#: How often a write whose blocks other writers discard is begun.
_BEGINNINGS: Final = 5


class _InOrder(Source):
    """A source that is only read in order, so that something else may be known when it has been."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.size = inner.size
        self.rewindable = inner.rewindable

    def chunks(self) -> Iterator[BytesLike]:
        return self._inner.chunks()


class Writer:
    """Writes to one container."""

    def __init__(self, client: AzureClient, reader: Reader, written: Written, blocks: Blocks, sizes: Sizes) -> None:
        self._client = client
        self._reader = reader
        self._written = written
        self._blocks = blocks
        self._sizes = sizes
        self._digest = digester("md5")
        #: The fields of a plain put, the same for all but the digest.
        self._plain: Fields = [_BLOB, *attribute_fields(None), *client.writing]
        #: The largest object that goes in one request.
        self.single_limit = min(sizes.threshold, MAX_PUT)

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store a source, in one request or in blocks, as its size asks for."""
        self._client.address.check_written(key)
        if options.attributes is not None:
            # What the service cannot keep is refused before a byte is read.
            attribute_fields(options.attributes, hidden={TOKEN: "0" * 32})
        given = source if options.late_attributes is None else _InOrder(source)
        for left in reversed(range(_BEGINNINGS)):
            try:
                return self._put(key, given, options)
            except DiscardedError as error:
                # Where there is a condition, the other writer may have decided it.
                self._check_condition(key, options)
                if not left or not given.rewindable:
                    raise UnavailableError(f"{error.message}; write it again") from error
        raise AssertionError("unreachable")

    def _put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        small = source.size is not None and source.size <= self.single_limit
        # Loading the library of the other digest costs more than a small object.
        algorithm = "md5" if small else self._blocks.algorithm
        upload = planned(source, self._sizes, LIMITS, algorithm, single=self.single_limit)
        if isinstance(upload, Whole):
            return self._put_bytes(key, upload.data, options)
        if isinstance(upload, WholeFile):
            return self._put_file(key, source, upload.region, options)
        if isinstance(upload, FileParts):
            return self._blocks.send_file(key, source, upload, options)
        return self._blocks.send(key, upload, options)

    def _check_condition(self, key: str, options: PutOptions) -> None:
        """Raise what the condition of a write means now, if it does not hold any more."""
        if not options.if_absent and options.if_match is None:
            return
        try:
            etag = self._reader.hidden(key)[0].etag
        except NotFoundError:
            etag = None
        if options.if_absent and etag is not None:
            raise AlreadyExistsError("an object is there already")
        if options.if_match is not None and etag != options.if_match:
            raise PreconditionError("the object is not the one that the condition names")

    # ---- one request

    def put_call(self, key: str, body: bytes, options: PutOptions) -> tuple[Call, str | None]:
        """The Put Blob of a whole object, and the token in it if it is conditional."""
        return self._put_call(key, body, self._digest(body), options)

    def stored(
        self, key: str, size: int, sent: tuple[Call, str | None], options: PutOptions, retried: Retried
    ) -> ObjectInfo:
        """What became of a put, ``sent`` being what `put_call` gave. A condition that failed against our own object is a success."""
        call, token = sent
        response = retried.response
        if response.status == 201:
            return self._written.info(key, size, response.headers)
        if retried.maybe_done and token is not None and response.status in {404, 409, 412}:
            ours = self._written.ours(key, token)
            if ours is not None:
                return ours
        self._client.check(response, call, condition=condition_of(options))
        raise IntegrityError(f"the server answered a put with status {response.status}")

    def _put_bytes(self, key: str, data: BytesLike, options: PutOptions) -> ObjectInfo:
        body = data if isinstance(data, bytes) else bytes(data)
        sent = self.put_call(key, body, options)
        return self.stored(key, len(body), sent, options, self._client.send(sent[0]))

    def _put_file(self, key: str, source: Source, region: FileRegion, options: PutOptions) -> ObjectInfo:
        size = region.size
        # What is sent has the digest of what was read while the file was still the same, or is refused.
        digest = file_digest(region, 0, size, "md5").digest
        source.finished()
        body = FileBody(region.descriptor, region.offset, size, admit=source.admit)
        sent = self._put_call(key, body, digest, options)
        info = self.stored(key, size, sent, options, self._client.send(sent[0]))
        source.advance(size)
        return info

    def _put_call(
        self, key: str, body: bytes | BodySource, digest: bytes, options: PutOptions
    ) -> tuple[Call, str | None]:
        path, checksum = self._client.address.path(key), ("content-md5", base64.b64encode(digest).decode("ascii"))
        if options == _PLAIN:
            return Call("PUT", path, "", [*self._plain, checksum], body), None
        condition = condition_fields(if_absent=options.if_absent, if_match=options.if_match)
        token = secrets.token_hex(16) if condition else None
        fields = [_BLOB, *self._written.fields(options, token), *condition, checksum]
        return Call("PUT", path, "", fields, body, _CONDITIONAL if token else Traits()), token
