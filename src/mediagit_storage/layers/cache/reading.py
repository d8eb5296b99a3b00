"""Reads of the cache layer: what is kept is used, what is missing is fetched by chunk, and no two objects are mixed.

What one read costs, with ``validate="etag"`` and conditional reads below:

- all of it is kept: one conditional request, whose answer is that nothing changed;
- some of it is kept: one request for what is missing, on condition that the object is still the same;
- nothing is kept: one request, a little larger than what was asked for.

Without conditional reads below a stat takes the place of the condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mediagit_storage.backend import Content, StorageBackend
from mediagit_storage.errors import (
    BucketNotFoundError,
    InvalidRangeError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
    TruncatedError,
)
from mediagit_storage.layers.cache.config import CacheConfig
from mediagit_storage.layers.cache.entries import Head, Moment, Name, head_of
from mediagit_storage.layers.cache.flights import Flights
from mediagit_storage.layers.cache.shelf import Shelf
from mediagit_storage.layers.cache.spans import (
    chunk_count,
    chunk_span,
    chunks_of,
    complete_chunks,
    is_empty,
    widened,
)
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.types import ByteRange, ObjectInfo, ReadOptions

__all__ = ["Known", "Reads"]

#: The version that S3 gives to what is written without versions: the only one that is overwritten.
_OVERWRITTEN = "null"


class Known(NamedTuple):
    """A kept object, the part of it that is wanted, and the numbers of the chunks that hold that part."""

    name: Name
    head: Head
    span: Span
    indexes: range


class Reads:
    """The reads of one cache layer."""

    def __init__(self, inner: StorageBackend, shelf: Shelf, config: CacheConfig) -> None:
        self._inner = inner
        self._shelf = shelf
        self._config = config
        self._chunk = config.chunk_size
        self._capacity = config.capacity
        self.flights = Flights()

    # ---- what to do with a read

    def passes(self, options: ReadOptions) -> bool:
        """Whether a read has nothing to do with what is kept: the storage answers it alone."""
        return (
            options.if_none_match is not None
            or is_empty(options.range)
            or options.version == _OVERWRITTEN
            or (options.if_match is not None and not self.conditional)
            or not self.fits(options.range.length or options.range.suffix or 0)
        )

    @property
    def conditional(self) -> bool:
        """Whether the storage can be asked on condition of an ETag."""
        return self._inner.capabilities.read_conditions

    @property
    def exact(self) -> bool:
        """Whether the ETags of the storage tell each body from all others."""
        return self._inner.capabilities.exact_etags

    def known(self, key: str, options: ReadOptions) -> Known | None:
        """What is known of the object that a read asks for; None where that is nothing, or another object."""
        name = key if options.version is None else (key, options.version)
        head = self._shelf.head(name)
        if head is None or (options.if_match is not None and options.if_match != head.info.etag):
            return None
        if head.token is None and not self.exact:
            # Its ETag may have settled meanwhile.
            return None
        try:
            span = resolve_range(options.range, head.size)
        except InvalidRangeError:
            # The storage says so, of the object that it has now.
            return None
        return Known(name, head, span, chunks_of(span, self._chunk))

    def too_large(self, known: Known) -> bool:
        """Whether an object, or this part of it, is not to be kept."""
        return not self.keeps(known.head) or not self.fits(known.span.length)

    def fits(self, length: int) -> bool:
        """Whether a read of so many bytes is kept: one that is larger than all room would only push out the rest."""
        return length <= self._capacity

    def keeps(self, head: Head) -> bool:
        """Whether parts of an object are kept."""
        largest = self._config.max_object
        return head.token is not None and (largest is None or head.size <= largest)

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """What `StorageBackend.read` promises, of what is kept where that is right."""
        return self._read(key, options, self._ahead(key, options.range), waited=False)

    def _read(self, key: str, options: ReadOptions, ahead: int, *, waited: bool) -> Content:
        known = self.known(key, options)
        if known is not None and self.too_large(known):
            return self._inner.read(key, options)
        if known is not None and options.attributes:
            return self._described(key, options, known, ahead)
        found = None if known is None else self._gathered(known)
        if known is not None and found is not None and None not in found:
            if self._shelf.believes(known.name, known.head):
                return self._joined(known, found, known.head.info)
            return self._validated(key, options, known, found, ahead)
        with self.flights.leading(None if waited else (key, options)) as leader:
            if leader:
                return self._fetched(key, options, known, found, ahead)
        return self._read(key, options, ahead, waited=True)

    def _gathered(self, known: Known) -> Sequence[bytes | None]:
        return [self._shelf.chunk(known.head, index) for index in known.indexes]

    def _joined(self, known: Known, chunks: Sequence[bytes | None], info: ObjectInfo) -> Content:
        """The wanted part out of its chunks, all of which are there."""
        start = known.span.start - known.indexes.start * self._chunk if known.indexes else 0
        pieces = [chunk for chunk in chunks if chunk is not None]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return Content(info, data[start : start + known.span.length], known.span.start)

    def _validated(
        self, key: str, options: ReadOptions, known: Known, chunks: Sequence[bytes | None], ahead: int
    ) -> Content:
        """What is kept, if the storage says that it is current; else what is."""
        began = self._shelf.now()
        self._shelf.asked()
        if not self.conditional:
            if not self.still(key, known):
                return self._cold(key, options, ahead)
        else:
            try:
                asked = replace(options, if_match=None, if_none_match=known.head.info.etag)
                fresh = self._cold(key, asked, ahead)
            except NotModifiedError:
                pass
            else:
                if options.if_match is not None:
                    raise PreconditionError("the object is not the one that if_match names")
                return fresh
        self.proven(known, began)
        return self._joined(known, chunks, unproven(known.head.info))

    def still(self, key: str, known: Known) -> bool:
        """Whether a stat shows the object that is kept. Raises `NotFoundError`."""
        began = self._shelf.now()
        try:
            info = self._inner.stat(key)
        except NotFoundError as error:
            self.missing(key, began, error)
            raise
        return same(info, known.head)

    def proven(self, known: Known, began: Moment) -> None:
        """The storage said that what is kept is current."""
        if self._shelf.believing:
            self._shelf.keep_head(known.name, known.head.proven(began))

    def heed(self, key: str, info: ObjectInfo, began: Moment) -> None:
        """The storage told what is current: another object than the kept one is believed no more."""
        head = self._shelf.head(key)
        if head is not None and not same(info, head):
            self._shelf.drop_head(key, began)

    def missing(self, key: str, began: Moment, error: NotFoundError) -> None:
        """The storage proved that there is no such object."""
        if not isinstance(error, BucketNotFoundError):
            self._shelf.found_absent(key, began)

    def _described(self, key: str, options: ReadOptions, known: Known, ahead: int) -> Content:
        """With attributes, which may change while the ETag stays: a stat tells them, and which object is current."""
        info = self._inner.stat(key, options.version)
        if same(info, known.head):
            chunks = self._gathered(known)
            if None not in chunks:
                return self._joined(known, chunks, info)
        return self._cold(key, options, ahead)

    # ---- fetching

    def _fetched(
        self, key: str, options: ReadOptions, known: Known | None, found: Sequence[bytes | None] | None, ahead: int
    ) -> Content:
        if known is not None and found is not None and any(found):
            content = self._completed(key, options, known, [*found], ahead)
            if content is not None:
                return content
            if options.if_match is not None:
                raise PreconditionError("the object is not the one that if_match names")
        return self._cold(key, options, ahead)

    def _completed(
        self, key: str, options: ReadOptions, known: Known, chunks: list[bytes | None], ahead: int
    ) -> Content | None:
        """What is missing fetched from the same object and put between what is kept; None where that has changed."""
        first = known.indexes.start
        gaps = [first + place for place, chunk in enumerate(chunks) if chunk is None]
        last = gaps[-1]
        if last == known.indexes[-1]:
            last += -(-ahead // self._chunk)
        span = between(gaps[0], last, known.head.size, self._chunk)
        began = self._shelf.now()
        try:
            content = self._inner.read(key, self.pinned(options, known.head, span))
        except (PreconditionError, InvalidRangeError):
            return None
        if not same(content.info, known.head) or (content.start, len(content.data)) != span:
            return None
        self.proven(known, began)
        for index, data in self._keep(known.head, content):
            if index in known.indexes:
                chunks[index - first] = data
        return self._joined(known, chunks, content.info)

    def pinned(self, options: ReadOptions, head: Head, span: Span) -> ReadOptions:
        """Options that read a part of this very object, as far as the storage takes a condition."""
        etag = head.info.etag if self.conditional else None
        return replace(options, range=ByteRange(*span), if_match=etag)

    def _cold(self, key: str, options: ReadOptions, ahead: int) -> Content:
        """Ask the storage, keep the chunks that come as a whole, and give what was asked for."""
        wanted = widened(options.range, self._chunk, ahead)
        began = self._shelf.now()
        try:
            content = self._inner.read(key, replace(options, range=wanted))
        except NotFoundError as error:
            if options.version is None:
                self.missing(key, began, error)
            raise
        self.learn(key, options, content, began)
        if wanted == options.range:
            return content
        return cut(content, options.range)

    def _ahead(self, key: str, wanted: ByteRange) -> int:
        """How many bytes more to fetch behind a range: some where reading goes on in order."""
        if wanted.length is None:
            return 0
        start = wanted.offset or 0
        return self._config.read_ahead if self._shelf.goes_on(key, start, start + wanted.length) else 0

    def learn(self, key: str, options: ReadOptions, content: Content, began: Moment) -> None:
        """Keep what a read of the storage showed, as far as it comes in whole chunks."""
        head = self.seen(key, options, content.info, began)
        if head is not None and self.keeps(head) and self.fits(len(content.data)):
            self._keep(head, content)

    def seen(self, key: str, options: ReadOptions, info: ObjectInfo, began: Moment) -> Head | None:
        """Keep which object a read of the storage showed; None where it did not tell its size."""
        head = head_of(info, options.version, began, exact=self.exact)
        if head is not None:
            self._shelf.keep_head(key if options.version is None else (key, options.version), head)
        return head

    def _keep(self, head: Head, content: Content) -> list[tuple[int, bytes]]:
        """Hold the chunks that ``content`` has as a whole, and give them."""
        kept: list[tuple[int, bytes]] = []
        for index in complete_chunks(Span(content.start, len(content.data)), head.size, self._chunk):
            start, length = chunk_span(index, head.size, self._chunk)
            data = content.data[start - content.start : start - content.start + length]
            self._shelf.keep_chunk(head, index, data)
            kept.append((index, data))
        return kept

    # ---- for batches

    def kept(self, known: Known, info: ObjectInfo) -> Content | None:
        """All of the wanted part out of what is kept, told as ``info``; None where something is missing."""
        chunks = self._gathered(known)
        return None if None in chunks else self._joined(known, chunks, info)


def same(info: ObjectInfo, head: Head) -> bool:
    """Whether a request showed the object of a head."""
    if head.token is None or info.size != head.size:
        return False
    # A version that was asked for by its name is never another object.
    told = info.version if head.token.startswith("v") else info.etag
    return told is not None and head.token[1:] == told


def unproven(info: ObjectInfo) -> ObjectInfo:
    """What an unchanged ETag proves. The time and the version may be those of the same bytes written again."""
    return ObjectInfo(info.key, info.size, info.stored_size, None, info.etag)


def between(first: int, last: int, size: int, chunk: int) -> Span:
    """Where the chunks from ``first`` to ``last`` lie, as far as the object goes."""
    end = min((min(last, chunk_count(size, chunk) - 1) + 1) * chunk, size)
    return Span(first * chunk, end - first * chunk)


def cut(content: Content, wanted: ByteRange) -> Content:
    """The wanted part of a larger read. Raises `InvalidRangeError`, and `TruncatedError` where it is not in there."""
    info, data, start = content
    span = resolve_range(wanted, info.size if info.size is not None else start + len(data))
    place = span.start - start
    part = data[place : place + span.length] if place >= 0 else b""
    if len(part) != span.length:
        raise TruncatedError(f"{len(part):,} of {span.length:,} bytes came")
    return Content(info, part, span.start)
