"""Where the chunks of a resumable upload come from: a buffer, a file, or a stream; and the digest of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from mediagit_storage.backends.gcs.digests import digest_text
from mediagit_storage.errors import ConnectionLostError, IntegrityError
from mediagit_storage.hashing import Hasher, new_hasher
from mediagit_storage.http.multipart import MIB
from mediagit_storage.http.parts import Pieces, view_part
from mediagit_storage.http.request import BodySource, FileBody
from mediagit_storage.source import FileRegion, Source

__all__ = ["BufferFeed", "Chunk", "Feed", "FileFeed", "StreamFeed"]

_PIECE: Final = MIB


class Chunk(NamedTuple):
    """``length`` bytes from ``start``. ``total`` is the object's size, where it is known by now."""

    start: int
    length: int
    total: int | None
    body: bytes | BodySource

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.length

    @property
    def last(self) -> bool:
        """Whether nothing comes after it."""
        return self.total == self.end


class Feed(ABC):
    """What is uploaded, from any byte on. ``total`` None means that the size shows itself at the end."""

    #: Whether an upload can begin anew.
    restartable: bool = True

    def __init__(self, total: int | None, size: int, algorithm: str) -> None:
        self.total = total
        self._size = size
        self._algorithm = algorithm
        self._hasher: Hasher = new_hasher(algorithm)
        self._hashed = 0

    @abstractmethod
    def chunk(self, start: int) -> Chunk:
        """What comes from ``start`` on, at most a chunk."""

    @abstractmethod
    def _hash(self, start: int, end: int) -> None:
        """Take these bytes into the digest; they follow those before."""

    def digest_to(self, end: int) -> str:
        """The digest of the first ``end`` bytes, as the service writes it; ``end`` never goes back."""
        if end > self._hashed:
            self._hash(self._hashed, end)
            self._hashed = end
        return digest_text(self._hasher.digest())

    def restart(self) -> None:
        """An upload begins anew."""
        self._hasher = new_hasher(self._algorithm)
        self._hashed = 0

    def confirm(self) -> None:  # noqa: B027  # what lies in memory stays as it is
        """Before the last chunk: `IntegrityError` where the source did not keep still."""

    def held(self, end: int) -> None:  # noqa: B027  # nobody may be watching
        """The server holds everything up to ``end``."""


class BufferFeed(Feed):
    """What lies in memory."""

    def __init__(self, view: memoryview, size: int, algorithm: str) -> None:
        super().__init__(len(view), size, algorithm)
        self._view = view

    def chunk(self, start: int) -> Chunk:
        """A window; nothing is copied as a whole."""
        end = min(start + self._size, len(self._view))
        return Chunk(start, end - start, len(self._view), self._window(start, end))

    def _window(self, start: int, end: int) -> bytes | BodySource:
        return view_part(1, self._view[start:end], self._algorithm).body()

    def _hash(self, start: int, end: int) -> None:
        for place in range(start, end, _PIECE):
            self._hasher.update(bytes(self._view[place : min(place + _PIECE, end)]))


class FileFeed(Feed):
    """A file on disk, read by position: once for the digest and once while it is sent."""

    def __init__(self, source: Source, region: FileRegion, size: int, algorithm: str) -> None:
        super().__init__(region.size, size, algorithm)
        self._source = source
        self._region = region
        self._told = 0

    def chunk(self, start: int) -> Chunk:
        """A part of the file, which is never held."""
        region = self._region
        length = min(self._size, region.size - start)
        return Chunk(start, length, region.size, FileBody(region.descriptor, region.offset + start, length))

    def _hash(self, start: int, end: int) -> None:
        for place in range(start, end, _PIECE):
            self._hasher.update(self._region.read(min(_PIECE, end - place), place))

    def confirm(self) -> None:
        """The file is what it was."""
        self._source.finished()

    def held(self, end: int) -> None:
        """Reported as progress, never twice."""
        if end > self._told:
            self._source.advance(end - self._told)
            self._told = end


class StreamFeed(Feed):
    """What comes in order, once. One chunk is held, until the server has it."""

    restartable = False

    def __init__(self, pieces: Pieces, size: int, algorithm: str) -> None:
        super().__init__(None, size, algorithm)
        self._pieces = pieces
        self._begin = 0
        self._data = b""

    def chunk(self, start: int) -> Chunk:
        """The rest of the current chunk, or the next one. `ConnectionLostError` for what is gone."""
        if start == self._begin + len(self._data) and self.total is None:
            self._begin = start
            self._data = b""
            self._data = self._next()
        offset = start - self._begin
        if not 0 <= offset <= len(self._data):
            raise ConnectionLostError("the server has lost a part of the upload, and the source can be read only once")
        data = self._data if offset == 0 else self._data[offset:]
        return Chunk(start, len(data), self.total, data)

    def _next(self) -> bytes:
        data = self._pieces.take(self._size)
        if self._pieces.exhausted:
            self.total = self._begin + len(data)
        return data

    def _hash(self, start: int, end: int) -> None:
        if start < self._begin or end > self._begin + len(self._data):
            raise IntegrityError("a chunk was asked for its digest when it was gone")
        self._hasher.update(self._data[start - self._begin : end - self._begin])
