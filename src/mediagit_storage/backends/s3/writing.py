"""Writing objects: in one request, or in parts; on condition; and finding out what became of a lost answer."""

from __future__ import annotations

import base64
import secrets
from typing import Final

from mediagit_storage.backends.s3.checksums import checksum_fields
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.listing import plain_etag
from mediagit_storage.backends.s3.shapes import attribute_fields, condition_fields
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
        self._algorithm = uploads.algorithm
        self._digest_field = checksum_fields(client.service, Checksum(self._algorithm, b""))[0][0]
        self._digest = digester(self._algorithm)
        #: The fields of a plain put, the same for all but the digest.
        self._plain: Fields = [*attribute_fields(None, client.service), *client.writing]

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store a source, in one request or in parts, as its size asks for."""
        client, sizes = self._client, self._sizes
        client.check_written(key)
        if options.late_attributes is not None:
            raise UnsupportedError("S3 takes an object's metadata before its content")
        if options is not PLAIN_PUT:
            # What the service cannot keep is refused before a byte is read.
            self._written.fields(options, None)
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
        service = self._client.service
        if _conditional(options) and not service.multipart_conditions:
            return service.max_put
        return min(self._sizes.threshold, service.max_put)

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
            headers = response.headers
            etag = headers.get("etag")
            return self._written.info(key, size, None if etag is None else plain_etag(etag), headers)
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
        sent = self._put_call(key, FileBody(region.descriptor, region.offset, size), digest, options)
        info = self.stored(key, size, sent, options, self._client.send(sent[0]))
        source.advance(size)
        return info

    def _put_call(
        self, key: str, body: bytes | BodySource, digest: bytes, options: PutOptions
    ) -> tuple[Call, str | None]:
        client = self._client
        value = (self._digest_field, base64.b64encode(digest).decode("ascii"))
        if options is PLAIN_PUT:
            return Call("PUT", client.path(key), "", [*self._plain, value], body), None
        condition = condition_fields(if_absent=options.if_absent, if_match=options.if_match)
        token = secrets.token_hex(16) if condition else None
        fields = [*self._written.fields(options, token), *client.writing, *condition, value]
        return Call("PUT", client.path(key), "", fields, body, _CONDITIONAL if token else Traits()), token


def _conditional(options: PutOptions) -> bool:
    return options.if_absent or options.if_match is not None
