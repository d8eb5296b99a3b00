"""Writing objects: in one request or in a session, on condition; and finding out what became of a lost answer."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from mediagit_storage.backends.gcs.client import GCSClient
from mediagit_storage.backends.gcs.digests import chosen_algorithm, text_digester
from mediagit_storage.backends.gcs.feeding import BufferFeed, FileFeed, StreamFeed
from mediagit_storage.backends.gcs.names import condition_query
from mediagit_storage.backends.gcs.reading import GCSReader
from mediagit_storage.backends.gcs.resources import decode_object
from mediagit_storage.backends.gcs.resumable import Resumable
from mediagit_storage.backends.gcs.shapes import multipart_body, new_object
from mediagit_storage.errors import LimitExceededError, UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.multipart import TIB, Sizes
from mediagit_storage.http.parts import Pieces, small_file, small_source
from mediagit_storage.http.retry import Retried, Traits
from mediagit_storage.http.written import condition_of
from mediagit_storage.source import Source
from mediagit_storage.types import BytesLike, ObjectInfo, PutOptions

__all__ = ["MAX_OBJECT", "Sent", "Writer"]

#: The largest object, in bytes.
MAX_OBJECT: Final = 5 * TIB
#: What of an answer to a write is of interest.
_FIELDS: Final = ("fields", "generation,size,timeCreated,updated,crc32c,md5Hash")
_CONDITIONAL: Final = Traits(conditional=True)
_PLAIN: Final = PutOptions()


class Sent(NamedTuple):
    """One request for a whole object: its ``token`` if it is conditional, and the digest and size of its bytes."""

    call: Call
    token: str | None
    digest: str
    size: int


class Writer:
    """Writes to one bucket."""

    def __init__(
        self,
        client: GCSClient,
        reader: GCSReader,
        sizes: Sizes,
        *,
        kms_key_name: str | None,
        asks: bool,
        in_chunks: bool,
    ) -> None:
        self._client = client
        self._sizes = sizes
        self._in_chunks = in_chunks
        self._algorithm = chosen_algorithm()
        self._digest = text_digester(self._algorithm)
        self._insert_query = [_FIELDS, *([("kmsKeyName", kms_key_name)] if kms_key_name else [])]
        self._plain_query = client.query([("uploadType", "multipart"), *self._insert_query])
        self.sessions = Resumable(client, reader, algorithm=self._algorithm, insert_query=self._insert_query, asks=asks)

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store a source, as its size asks for."""
        self._client.check_written(key)
        if options.late_attributes is not None:
            raise UnsupportedError("Google Cloud Storage takes an object's metadata before its content")
        if options != _PLAIN:
            # What the service does not keep is refused before a byte is read.
            new_object(key, options.attributes, options=options)
        if source.size is not None and source.size > MAX_OBJECT:
            raise LimitExceededError(f"the object has {source.size:,} bytes; at most {MAX_OBJECT:,} can be stored here")
        part, algorithm = self._sizes.part, self._algorithm
        data = source.buffer()
        if data is not None and len(data) <= self._sizes.threshold:
            return self.put_bytes(key, data, options)
        if data is not None:
            feed = BufferFeed(memoryview(data), part, algorithm, in_chunks=self._in_chunks)
            return self.sessions.put(key, feed, options)
        region = source.region()
        if region is not None:
            if region.size <= self._sizes.threshold:
                return self.put_bytes(key, small_file(source), options)
            file = FileFeed(source, region, part, algorithm, in_chunks=self._in_chunks)
            return self.sessions.put(key, file, options)
        # What comes in order: its first bytes decide whether one request is enough.
        pieces = Pieces(iter(source.chunks()))
        begin = pieces.take_all(self._sizes.threshold + 1)
        if len(begin) <= self._sizes.threshold:
            return self.put_bytes(key, begin, options)
        pieces.put_back(begin)
        del begin
        return self.sessions.put(key, StreamFeed(pieces, part, algorithm), options)

    # ---- one request

    def small(self, source: Source, options: PutOptions) -> bytes | None:
        """What goes in one request and is at hand without waiting; None for what is not."""
        if options.late_attributes is not None:
            return None
        data = small_source(source, self._sizes.threshold)
        if data is None or len(data) > self._sizes.threshold:
            return None
        return data if isinstance(data, bytes) else bytes(data)

    def put_bytes(self, key: str, data: BytesLike, options: PutOptions) -> ObjectInfo:
        """Store what lies in memory, in one request."""
        body = data if isinstance(data, bytes) else bytes(data)
        sent = self.put_call(key, body, options)
        return self.stored(key, sent, options, self._client.send(sent.call))

    def put_call(self, key: str, data: bytes, options: PutOptions) -> Sent:
        """The request."""
        client = self._client
        text = self._digest(data)
        condition = condition_query(if_absent=options.if_absent, if_match=options.if_match)
        token = secrets.token_hex(16) if condition else None
        document = new_object(key, options.attributes, token=token, options=options, digest=(self._algorithm, text))
        boundary = secrets.token_hex(16)
        fields = [("content-type", f"multipart/related; boundary={boundary}"), *client.content]
        query = self._plain_query
        if condition:
            query = client.query([("uploadType", "multipart"), *self._insert_query, *condition])
        body = multipart_body(document, data, boundary)
        call = Call("POST", client.upload_path, query, fields, body, _CONDITIONAL if token else Traits())
        return Sent(call, token, text, len(data))

    def stored(self, key: str, sent: Sent, options: PutOptions, retried: Retried) -> ObjectInfo:
        """What became of such a request. A condition that failed against our own object is a success."""
        response, client = retried.response, self._client
        if response.status in {200, 201}:
            client.bucket_seen = True
            return self.sessions.accept(key, decode_object(response.body), sent.digest, sent.size)
        if retried.maybe_done and sent.token is not None and response.status == 412:
            ours = self.sessions.own(key, sent.token)
            if ours is not None:
                return self.sessions.accept(key, ours, sent.digest, sent.size)
        raise client.cleaned(client.error_of(response, subject="bucket", condition=condition_of(options)))
