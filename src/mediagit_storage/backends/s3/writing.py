"""Writing objects: in one request, or in parts; on condition; and finding out what became of a lost answer."""

from __future__ import annotations

import base64
import secrets
from typing import Final

from mediagit_storage.backends.s3.checksums import checksum_fields
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.shapes import condition_fields
from mediagit_storage.backends.s3.uploads import Uploads
from mediagit_storage.backends.s3.written import Written
from mediagit_storage.errors import IntegrityError, UnsupportedError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.multipart import Sizes
from mediagit_storage.http.parts import digester, file_digest, view_part
from mediagit_storage.http.request import BodySource, FileBody
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.http.uploading import FileParts, Whole, WholeFile, planned
from mediagit_storage.http.written import condition_of
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import PLAIN_PUT, BytesLike, Checksum, ObjectInfo, PutOptions

__all__ = ["Writer"]

_CONDITIONAL: Final = Traits(conditional=True)
#: Up to this many bytes of other kinds of memory are copied, so that the engine can take them at once.
_COPIED: Final = 1024 * 1024


class Writer:
    """Writes to one bucket."""

    def __init__(self, client: Client, written: Written, uploads: Uploads, sizes: Sizes) -> None:
        self._client = client
        self._written = written
        self._uploads = uploads
        self._sizes = sizes
        self._largest = min(sizes.threshold, client.service.max_put)
        self._algorithm = uploads.algorithm
        self._digest_field = checksum_fields(client.service, Checksum(self._algorithm, b""))[0][0]
        self._digest = digester(self._algorithm)
        #: The options of the last put, and the fields that they come to.
        self._shared: tuple[PutOptions, Fields] = PLAIN_PUT, self._fields(PLAIN_PUT, None)

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store a source, in one request or in parts, as its size asks for."""
        if options.late_attributes is not None:
            raise UnsupportedError("S3 takes an object's metadata before its content")
        data = source.buffer()
        if data is not None and len(data) <= self.single_limit(options):
            return self._put_bytes(key, data, options)
        client, sizes = self._client, self._sizes
        client.check_written(key)
        # What the service cannot keep is refused before a byte is read.
        self._shared_fields(options)
        at_once = _conditional(options) and not client.service.multipart_conditions
        upload = planned(
            source,
            sizes,
            client.service.parts,
            self._algorithm,
            single=self.single_limit(options),
            stream_single=sizes.buffer if at_once else 0,
        )
        if isinstance(upload, Whole):
            return self._put_bytes(key, upload.data, options)
        if isinstance(upload, WholeFile):
            return self._put_file(key, source, upload.region, options)
        if isinstance(upload, FileParts):
            return self._uploads.send_file(key, source, upload, options)
        if at_once and upload.held:
            raise UnsupportedError(
                f"{client.service.title} has no conditional writes in parts, and the stream is longer than"
                f" {max(sizes.buffer, upload.part_size):,} bytes; hand over a file or bytes"
            )
        return self._uploads.send(key, upload, options)

    def single_limit(self, options: PutOptions) -> int:
        """The largest object that goes in one request: conditions that parts cannot carry raise it."""
        if _conditional(options) and not self._client.service.multipart_conditions:
            return self._client.service.max_put
        return self._largest

    # ---- one request

    def put_call(self, key: str, body: bytes, options: PutOptions) -> tuple[Call, str | None]:
        """The PUT of a whole object, and the token in it if it is conditional."""
        return self._put_call(key, body, self._digest(body), options)

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
            return self._written.info(key, size, response.headers)
        if retried.maybe_done and token is not None and response.status in {404, 409, 412}:
            ours = self._written.ours(key, token)
            if ours is not None:
                return ours
        self._client.check(response, call, condition=condition_of(options))
        raise IntegrityError(f"the server answered a put with status {response.status}")

    def _put_bytes(self, key: str, data: BytesLike, options: PutOptions) -> ObjectInfo:
        if isinstance(data, bytes) or len(data) <= _COPIED:
            sent = self.put_call(key, bytes(data), options)
        else:
            part = view_part(1, memoryview(data), self._algorithm)
            sent = self._put_call(key, part.body(), part.digest().digest, options)
        return self.stored(key, len(data), sent, options, self._client.send(sent[0]))

    def _put_file(self, key: str, source: Source, region: FileRegion, options: PutOptions) -> ObjectInfo:
        size = region.size
        # What is sent has the digest of what was read while the file was still the same, or is refused.
        digest = file_digest(region, 0, size, self._algorithm).digest
        source.finished()
        body = FileBody(region.descriptor, region.offset, size, admit=source.admit)
        sent = self._put_call(key, body, digest, options)
        info = self.stored(key, size, sent, options, self._client.send(sent[0]))
        source.advance(size)
        return info

    def _put_call(
        self, key: str, body: bytes | BodySource, digest: bytes, options: PutOptions
    ) -> tuple[Call, str | None]:
        client = self._client
        path = client.written_path(key)
        value = (self._digest_field, base64.b64encode(digest).decode("ascii"))
        if not _conditional(options):
            return Call("PUT", path, "", [*self._shared_fields(options), value], body), None
        condition = condition_fields(if_absent=options.if_absent, if_match=options.if_match)
        token = secrets.token_hex(16)
        fields = [*self._fields(options, token), *condition, value]
        return Call("PUT", path, "", fields, body, _CONDITIONAL), token

    def _shared_fields(self, options: PutOptions) -> Fields:
        """The fields of puts with these options but for condition and digest. A batch has the same options for many."""
        known, fields = self._shared
        if options is not known:
            fields = self._fields(options, None)
            self._shared = options, fields
        return fields

    def _fields(self, options: PutOptions, token: str | None) -> Fields:
        return [*self._written.fields(options, token), *self._client.writing]


def _conditional(options: PutOptions) -> bool:
    return options.if_absent or options.if_match is not None
