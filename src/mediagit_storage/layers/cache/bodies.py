"""Streams of the cache layer: what is kept comes from the cache, and what is not fills it while it passes.

A stream over a kept object looks first which of its chunks are there, and holds those in memory and the first of those on
disk. What is missing is one request, opened before the first piece is given, for that very object. So all pieces are of
one object, whatever is written meanwhile. Only a long stream, under which files are removed although they were the last
used ones, and whose object was replaced as well, ends in an error.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import NamedTuple

from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.errors import (
    InvalidRangeError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
    StorageError,
    TruncatedError,
)
from mediagit_storage.layers.cache.entries import Head
from mediagit_storage.layers.cache.reading import Known, Reads, between, same, unproven
from mediagit_storage.layers.cache.shelf import Shelf
from mediagit_storage.layers.cache.spans import chunk_span, widened
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["Streams"]


class _Pieces(Body):
    """Pieces of a generator; closing it also closes the storage's own body below."""

    def __init__(self, info: ObjectInfo, span: Span, pieces: Generator[bytes, None, None], inner: Body | None) -> None:
        self.info = info
        self.start, self.length = span
        self._pieces = pieces
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._pieces.close()
        # The generator may not have begun, and then does not know that it ends.
        if self._inner is not None:
            self._inner.close()


class _Kept(NamedTuple):
    """What is known, and the chunks that a stream holds until it has given them."""

    known: Known
    held: dict[int, bytes]


class Streams:
    """The streams of one cache layer."""

    def __init__(self, inner: StorageBackend, shelf: Shelf, reads: Reads) -> None:
        self._inner = inner
        self._shelf = shelf
        self._reads = reads
        self._chunk = shelf.chunk_size

    def open(self, key: str, options: ReadOptions) -> Body:
        """What `StorageBackend.stream` promises, of what is kept where that is right."""
        known = self._reads.known(key, options)
        if known is None:
            return self._cold(key, options)
        if self._reads.too_large(known):
            return self._inner.stream(key, options)
        held, missing = self._shelf.look(known.head, known.indexes)
        if missing and (options.attributes or len(missing) == len(known.indexes)):
            return self._cold(key, options)
        return self._warm(key, options, _Kept(known, held), missing)

    # ---- which body

    def _warm(self, key: str, options: ReadOptions, kept: _Kept, missing: list[int]) -> Body:
        known = kept.known
        if options.attributes:
            return self._described(key, options, kept)
        if missing:
            return self._completed(key, options, kept, missing) or self._changed(key, options)
        if self._shelf.believes(known.name, known.head):
            return self._kept(key, options, kept, known.head.info)
        return self._validated(key, options, kept)

    def _changed(self, key: str, options: ReadOptions) -> Body:
        if options.if_match is not None:
            raise PreconditionError("the object is not the one that if_match names")
        return self._cold(key, options)

    def _validated(self, key: str, options: ReadOptions, kept: _Kept) -> Body:
        known = kept.known
        began = self._shelf.now()
        self._shelf.asked()
        if not self._reads.conditional:
            if not self._reads.still(key, known):
                return self._cold(key, options)
        else:
            try:
                asked = replace(options, if_match=None, if_none_match=known.head.info.etag)
                fresh = self._cold(key, asked)
            except NotModifiedError:
                pass
            else:
                if options.if_match is not None:
                    fresh.close()
                    raise PreconditionError("the object is not the one that if_match names")
                return fresh
        self._reads.proven(known, began)
        return self._kept(key, options, kept, unproven(known.head.info))

    def _described(self, key: str, options: ReadOptions, kept: _Kept) -> Body:
        """Attributes may change while the ETag stays: a stat tells them, and which object is current."""
        info = self._inner.stat(key, options.version)
        return self._kept(key, options, kept, info) if same(info, kept.known.head) else self._cold(key, options)

    def _kept(self, key: str, options: ReadOptions, kept: _Kept, info: ObjectInfo) -> Body:
        known = kept.known
        return _Pieces(info, known.span, self._part(self._from_cache(key, options, kept, known.indexes), known), None)

    def _completed(self, key: str, options: ReadOptions, kept: _Kept, missing: list[int]) -> Body | None:
        """Kept chunks, then one request for what lies between the first and the last missing one, then kept chunks."""
        known = kept.known
        began = self._shelf.now()
        span = between(missing[0], missing[-1], known.head.size, self._chunk)
        try:
            body = self._inner.stream(key, self._reads.pinned(options, known.head, span))
        except (PreconditionError, InvalidRangeError):
            return None
        if not same(body.info, known.head) or (body.start, body.length) != span:
            body.close()
            return None
        self._reads.proven(known, began)

        def pieces() -> Generator[bytes, None, None]:
            with body:
                yield from self._from_cache(key, options, kept, range(known.indexes.start, missing[0]))
                yield from self._filling(body, known.head)
            yield from self._from_cache(key, options, kept, range(missing[-1] + 1, known.indexes.stop))

        return _Pieces(body.info, known.span, self._part(pieces(), known), body)

    def _cold(self, key: str, options: ReadOptions) -> Body:
        """The storage's own body, of whole chunks, which are kept as they pass."""
        wanted = widened(options.range, self._chunk, 0)
        began = self._shelf.now()
        try:
            body = self._inner.stream(key, replace(options, range=wanted))
        except NotFoundError as error:
            if options.version is None:
                self._reads.missing(key, began, error)
            raise
        head = self._reads.seen(key, options, body.info, began)
        try:
            span = resolve_range(options.range, body.start + body.length if head is None else head.size)
        except BaseException:
            body.close()
            raise
        if head is None or not self._reads.keeps(head) or not self._reads.fits(span.length):
            return (
                body
                if wanted == options.range
                else _Pieces(body.info, span, _clipped(_all(body), span.start - body.start, span.length), body)
            )
        return _Pieces(body.info, span, _clipped(self._filling(body, head), span.start - body.start, span.length), body)

    # ---- pieces

    def _part(self, chunks: Generator[bytes, None, None], known: Known) -> Generator[bytes, None, None]:
        """The wanted part of pieces that begin where the first of its chunks does."""
        return _clipped(chunks, known.span.start - known.indexes.start * self._chunk, known.span.length)

    def _from_cache(self, key: str, options: ReadOptions, kept: _Kept, indexes: range) -> Generator[bytes, None, None]:
        """Chunks from the cache. From the first one that is there no more, the storage is asked for this very object."""
        known, held = kept
        for index in indexes:
            data = held.pop(index, None) or self._shelf.chunk(known.head, index)
            if data is None:
                span = between(index, indexes[-1], known.head.size, self._chunk)
                with self._inner.stream(key, self._reads.pinned(options, known.head, span)) as body:
                    if not same(body.info, known.head):
                        raise PreconditionError("the object changed while it was read")
                    yield from self._filling(body, known.head)
                return
            yield data

    def _filling(self, body: Body, head: Head) -> Generator[bytes, None, None]:
        """The pieces of a body. Each chunk that passes as a whole is kept; none of a body that turns out to be wrong."""
        collector = _Collector(self._shelf, head, body.start)
        try:
            with body:
                for piece in body:
                    collector.add(piece)
                    yield piece
        except StorageError:
            self._shelf.drop_chunks(head, collector.kept)
            raise


class _Collector:
    """Puts pieces together to chunks, holding one at a time."""

    def __init__(self, shelf: Shelf, head: Head, start: int) -> None:
        self._shelf = shelf
        self._head = head
        self._position = start
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self.kept: list[int] = []

    def add(self, piece: bytes) -> None:
        """The next bytes of the object."""
        view = memoryview(piece)
        while view:
            index = self._position // self._shelf.chunk_size
            start, length = chunk_span(index, self._head.size, self._shelf.chunk_size)
            taken = view[: start + length - self._position]
            if not taken:
                return
            self._take(index, start, length, taken)
            view = view[len(taken) :]

    def _take(self, index: int, start: int, length: int, taken: memoryview) -> None:
        self._pieces.append(taken)
        self._held += len(taken)
        self._position += len(taken)
        if self._position < start + length:
            return
        # What began in the middle of a chunk is not a whole one.
        if self._held == length:
            self._shelf.keep_chunk(self._head, index, b"".join(self._pieces))
            self.kept.append(index)
        self._pieces, self._held = [], 0


def _all(body: Body) -> Generator[bytes, None, None]:
    with body:
        yield from body


def _clipped(pieces: Generator[bytes, None, None], skipped: int, length: int) -> Generator[bytes, None, None]:
    """``length`` bytes after the first ``skipped``; the pieces behind them are gone through as well, to be kept."""
    left = length
    try:
        for piece in pieces:
            part = piece[skipped : skipped + left] if skipped or len(piece) > left else piece
            skipped = max(0, skipped - len(piece))
            left -= len(part)
            if part:
                yield part
    finally:
        pieces.close()
    if left:
        raise TruncatedError(f"the body ended {left:,} bytes early")
