"""Encrypted objects as streams: chunks are opened as they arrive, in the memory of one, and each is proven before it is given out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from mediagit_storage.backend import Body, Content
from mediagit_storage.errors import DecryptionError, StorageError
from mediagit_storage.layers.encrypt.chunks import in_chunks
from mediagit_storage.layers.encrypt.header import MAX_HEADER, IncompleteHeaderError
from mediagit_storage.layers.encrypt.opened import Opened
from mediagit_storage.layers.encrypt.reading import Reading, with_plain_size
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED, chunk_count
from mediagit_storage.ranges import Span
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["ContentBody", "PartBody", "WholeBody"]

#: How many bytes of the beginning are waited for before the header is looked for.
_HEAD: Final = 4096


class ContentBody(Body):
    """A part that was read already."""

    def __init__(self, content: Content) -> None:
        self.info, self.start, self.length = content.info, content.start, len(content.data)
        self._data = content.data

    def __iter__(self) -> Iterator[bytes]:
        data, self._data = self._data, b""
        if data:
            yield data

    def close(self) -> None:
        """Nothing is held but the bytes."""
        self._data = b""


class PartBody(Body):
    """The bytes ``span`` of an object, out of a stream of the chunks that hold them.

    ``doubt`` is called where they do not open: what was known of the object may be of another one with the same ETag.
    """

    def __init__(self, inner: Body, info: ObjectInfo, opened: Opened, span: Span, doubt: Callable[[], None]) -> None:
        self.info, self.start, self.length = info, span.start, span.length
        self._inner = inner
        self._opened = opened
        self._doubt = doubt
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._plain()
        except DecryptionError:
            if not self._closed:
                self._doubt()
                raise

    def _plain(self) -> Iterator[bytes]:
        first, final = self.start // CHUNK, chunk_count(self._opened.plain) - 1
        skipped, missing = self.start - first * CHUNK, self.length
        chunks = (chunk for chunk, _ in in_chunks(self._inner, SEALED))
        for number, sealed in enumerate(chunks, first):
            if self._closed:
                return
            plain = self._opened.payload.open_chunk(number, sealed, last=number == final)
            piece = plain[skipped : skipped + missing]
            skipped, missing = 0, missing - len(piece)
            if piece:
                yield piece
        if missing:
            raise DecryptionError(f"the object ends {missing:,} bytes before it should; restore it from a copy")

    def close(self) -> None:
        """Closes the stream of the chunks."""
        self._closed = True
        self._inner.close()


class WholeBody(Body):
    """All of an object, out of a stream of all that is stored.

    Its size is what the stored size comes to, and is proven when the stream ends: until then no more than that many
    bytes were given out, and fewer end in an error.
    """

    def __init__(self, reading: Reading, key: str, options: ReadOptions, inner: Body) -> None:
        self._reading, self._key, self._options = reading, key, options
        self._inner = inner
        self._closed = False
        self._pieces = iter(inner)
        try:
            self._opened, self._rest = self._begun()
        except BaseException:
            inner.close()
            raise
        self.info = with_plain_size(inner.info, self._opened.plain)
        self.start, self.length = 0, self._opened.plain

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._plain()
        except DecryptionError:
            if not self._closed:
                raise

    def _plain(self) -> Iterator[bytes]:
        open_chunk, final = self._opened.payload.open_chunk, chunk_count(self._opened.plain) - 1
        rest, self._rest = self._rest, b""
        for number, (sealed, last) in enumerate(in_chunks(chain((rest,), self._pieces), SEALED)):
            if self._closed:
                return
            if last != (number == final):
                raise DecryptionError("the object has not the length that it was said to have; restore it from a copy")
            plain = open_chunk(number, sealed, last=last)
            if last:
                self._reading.remember(self._key, self._options, self._opened)
            if plain:
                yield plain

    def close(self) -> None:
        """Closes the stream of what is stored."""
        self._closed = True
        self._inner.close()

    def _begun(self) -> tuple[Opened, bytes]:
        """What the header says, and the bytes after it that came with it."""
        info, head, wanted = self._inner.info, bytearray(), _HEAD
        if info.size is None:
            raise StorageError("the storage did not say how large the object is")
        while True:
            ended = True
            for piece in self._pieces:
                head += piece
                if len(head) >= wanted:
                    ended = False
                    break
            try:
                opened = self._reading.opened(self._key, head, info.size, info)
            except IncompleteHeaderError:
                if ended or len(head) > MAX_HEADER + NONCE:
                    raise
                wanted = len(head) * 2
                continue
            return opened, bytes(head[opened.header + NONCE :])
