"""Which requests a read of an encrypted object takes, and what their answers mean: generators that make no request.

Each yields operations for the storage below, is sent what became of each, and returns the result. So one description
serves single calls and batches. A read in a range needs the header and the last chunk once for each version of an
object, and then only the chunks that the range touches; all of them are pinned to one version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from mediagit_storage.backend import Content, ReadOperation, StatOperation
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import DecryptionError, InvalidRangeError, PreconditionError, StorageError
from mediagit_storage.layers.encrypt.header import (
    MAX_HEADER,
    Header,
    HeaderError,
    IncompleteHeaderError,
    parse_header,
)
from mediagit_storage.layers.encrypt.keys import Identity, unwrap
from mediagit_storage.layers.encrypt.opened import Opened, OpenedObjects
from mediagit_storage.layers.encrypt.payload import Payload
from mediagit_storage.layers.encrypt.plans import Plan
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED, ChunkSpan, chunk_count, chunks_of, plain_size
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.types import WHOLE, ByteRange, BytesLike, ObjectInfo, ReadOptions

__all__ = ["Reading", "with_plain_size"]

T = TypeVar("T")
#: The first request for a range: most headers, and a chunk, so that small objects and beginnings need no other.
_HEAD: Final = 4096 + SEALED
#: How often a read begins anew because the object was replaced in between.
_ATTEMPTS: Final = 5


class Reading:
    """How encrypted objects are read with these identities from a storage with these capabilities.

    ``check`` is asked for each header that was opened whether it may stand under the key. Thread-safe.
    """

    def __init__(
        self, identities: Sequence[Identity], capabilities: Capabilities, check: Callable[[Header, str], None] | None
    ) -> None:
        self._identities = identities
        self._conditions = capabilities.read_conditions
        self._check = check
        self._known = OpenedObjects()

    # ---- plans

    def read(self, key: str, options: ReadOptions) -> Plan[Content]:
        """What `StorageBackend.read` gives: all of it in one request, a part as the module says."""
        if options.range == WHOLE:
            content = _content((yield ReadOperation(key, options)))
            opened = self.opened(key, content.data, len(content.data), content.info)
            with memoryview(content.data) as view:
                data = opened.payload.open_all(view[opened.header + NONCE :], opened.plain)
            self._known.put(key, options.version, opened._replace(proven=True))
            return Content(with_plain_size(content.info, opened.plain), data, 0)
        return (yield from self._latest(key, options, self._part))

    def locate(self, key: str, options: ReadOptions) -> Plan[tuple[Opened, ObjectInfo | None, Span]]:
        """Where the range of an object lies: what to know of the object, and what was told of it if it was asked for."""
        return (yield from self._latest(key, options, self._located))

    def stat(self, key: str, version: str | None) -> Plan[ObjectInfo]:
        """What `StorageBackend.stat` gives, with a proven size. One request for what is known or small, else two or three."""
        known = self._known.get(key, version)
        if known is not None:
            info = _info((yield StatOperation(key, version)))
            if info.etag == known.etag and info.size == known.stored:
                return with_plain_size(info, known.plain)
            self._known.forget(key, version)
        # A length alone: no range of an object is out of it, so the size is all that this asks.
        options = ReadOptions(ByteRange(length=0), version, attributes=True)
        return (yield from self._latest(key, options, self._part)).info

    # ---- parts of plans

    def pinned(self, options: ReadOptions, opened: Opened, span: ChunkSpan) -> ReadOptions:
        """How to read chunks of this very version of the object, where it is still the one that was asked for."""
        return ReadOptions(
            ByteRange(*span.stored(opened.header, opened.stored)),
            options.version,
            opened.etag if self._conditions else None,
            attributes=options.attributes,
        )

    def same(self, opened: Opened, info: ObjectInfo) -> None:
        """Raise `PreconditionError` where an answer is not about the version that was opened."""
        moved = info.etag is not None and opened.etag is not None and info.etag != opened.etag
        if moved or (info.size is not None and info.size != opened.stored):
            raise PreconditionError("the object was replaced while it was read")

    def opened(self, key: str, head: BytesLike, stored: int, info: ObjectInfo) -> Opened:
        """What the beginning of an object says. Raises `IncompleteHeaderError` where more of it is needed."""
        header = parse_header(bytes(head[: MAX_HEADER + 1]))
        nonce = bytes(head[header.length : header.length + NONCE])
        if len(nonce) < NONCE:
            raise IncompleteHeaderError("the object ends before its first chunk")
        file_key = unwrap(header, self._identities)
        if self._check is not None:
            self._check(header, key)
        size = plain_size(stored, header.length)
        return Opened(header.length, stored, size, Payload(file_key, nonce), info.etag)

    def remember(self, key: str, options: ReadOptions, opened: Opened) -> None:
        """Keep what is known of an object whose last chunk was opened."""
        self._known.put(key, options.version, opened._replace(proven=True))

    def forget(self, key: str, options: ReadOptions) -> None:
        """Ask anew for this object the next time."""
        self._known.forget(key, options.version)

    def _latest(
        self,
        key: str,
        options: ReadOptions,
        step: Callable[[str, ReadOptions, Opened, Content | None], Plan[T]],
    ) -> Plan[T]:
        """Do ``step`` for one version of the object, anew where it was replaced in between."""
        known = self._known.get(key, options.version)
        # Other conditions of the caller's are decided by the storage, in the request for the beginning.
        if known is not None and options.if_match in {None, known.etag} and options.if_none_match is None:
            try:
                return (yield from step(key, options, known, None))
            except (PreconditionError, InvalidRangeError, DecryptionError):
                # It was replaced; where ETags are but a time and a size, it may even look as if it were not.
                self.forget(key, options)
        attempts = 0
        while True:
            opened, head = yield from self._begin(key, options)
            try:
                return (yield from step(key, options, opened, head))
            except PreconditionError:
                self.forget(key, options)
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise

    def _begin(self, key: str, options: ReadOptions) -> Plan[tuple[Opened, Content]]:
        for length in (_HEAD, MAX_HEADER + NONCE):
            content = _content((yield ReadOperation(key, replace(options, range=ByteRange(length=length)))))
            stored = content.info.size
            if stored is None:
                raise StorageError("the storage did not say how large the object is")
            try:
                return self.opened(key, content.data, stored, content.info), content
            except IncompleteHeaderError:
                if len(content.data) >= stored:
                    raise
        raise HeaderError(f"the header has more than {MAX_HEADER:,} bytes")

    def _part(self, key: str, options: ReadOptions, opened: Opened, head: Content | None) -> Plan[Content]:
        opened, info, span = yield from self._located(key, options, opened, head)
        if info is not None and not span.length:
            return Content(with_plain_size(info, opened.plain), b"", span.start)
        chunks = chunks_of(*span)
        data, told = yield from self._sealed(key, options, opened, head, chunks)
        plain = self.plain(opened, chunks, data)
        if chunks.last == chunk_count(opened.plain) - 1:
            self.remember(key, options, opened)
        skipped = span.start - chunks.first * CHUNK
        part = plain[skipped : skipped + span.length]
        return Content(with_plain_size(info or told, opened.plain), part, span.start)

    def _located(
        self, key: str, options: ReadOptions, opened: Opened, head: Content | None
    ) -> Plan[tuple[Opened, ObjectInfo | None, Span]]:
        """The range within the object, its size proven: unless the range itself holds the last chunk, which proves it."""
        final = chunk_count(opened.plain) - 1
        try:
            span = resolve_range(options.range, opened.plain)
        except InvalidRangeError:
            span = None
        proves = span is not None and span.length and chunks_of(*span).last == final
        if not opened.proven and not proves:
            last = ChunkSpan(final, final)
            data, _ = yield from self._sealed(key, options, opened, head, last)
            self.plain(opened, last, data)
            opened = opened._replace(proven=True)
            self.remember(key, options, opened)
        if span is None:
            span = resolve_range(options.range, opened.plain)
        if head is None and not span.length:
            raise PreconditionError("an empty part needs no request, and the object may be another by now")
        return opened, None if head is None else head.info, span

    def plain(self, opened: Opened, chunks: ChunkSpan, sealed: BytesLike) -> bytes:
        """The plain bytes of some chunks. Raises `DecryptionError`."""
        final = chunk_count(opened.plain) - 1
        with memoryview(sealed) as view:
            pieces = [
                opened.payload.open_chunk(number, view[place : place + SEALED], last=number == final)
                for place, number in zip(range(0, len(view), SEALED), range(chunks.first, chunks.last + 1), strict=True)
            ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _sealed(
        self, key: str, options: ReadOptions, opened: Opened, head: Content | None, chunks: ChunkSpan
    ) -> Plan[tuple[BytesLike, ObjectInfo]]:
        """The stored bytes of some chunks: out of the beginning where they are in it, else by a request."""
        start, length = chunks.stored(opened.header, opened.stored)
        if head is not None and start + length <= len(head.data):
            return memoryview(head.data)[start : start + length], head.info
        try:
            content = _content((yield ReadOperation(key, self.pinned(options, opened, chunks))))
        except InvalidRangeError:
            raise PreconditionError("the object was replaced by a smaller one while it was read") from None
        self.same(opened, content.info)
        if len(content.data) != length or content.start != start:
            raise DecryptionError("the storage gave another part of the object than was asked for")
        return content.data, content.info


def with_plain_size(info: ObjectInfo, plain: int | None) -> ObjectInfo:
    """What is known of a stored object, as users see it: its plain size, and what the provider stores."""
    stored = info.size if info.stored_size is None else info.stored_size
    # Spelled out: dataclasses.replace() would take several times as long for each object of a listing.
    return ObjectInfo(info.key, plain, stored, info.modified, info.etag, info.version, info.attributes, info.deleted)


def _content(value: Content | ObjectInfo | None) -> Content:
    if not isinstance(value, Content):
        raise TypeError("a read completes with its content")
    return value


def _info(value: Content | ObjectInfo | None) -> ObjectInfo:
    if not isinstance(value, ObjectInfo):
        raise TypeError("this operation completes with what is known of the object")
    return value
