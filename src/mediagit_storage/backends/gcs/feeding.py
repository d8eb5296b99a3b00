"""Where the bytes of a resumable upload come from: a buffer, a file, or a stream; and the digest of all of them.

What has a known size goes in one request but for its end, which follows when everything else is there: its digest is
computed while it travels, and goes with the end. Streams go in chunks, of which the next is read while one travels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from mediagit_storage.backends.gcs.digests import digest_text
from mediagit_storage.backends.gcs.session import UNIT
from mediagit_storage.errors import ConnectionLostError, IntegrityError
from mediagit_storage.hashing import Hasher, new_hasher
from mediagit_storage.http.multipart import MIB
from mediagit_storage.http.parts import Pieces, view_part
from mediagit_storage.http.request import BodySource
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion, Source

__all__ = ["BufferFeed", "Chunk", "Feed", "FileFeed", "StreamFeed"]

_PIECE: Final = MIB
#: How much of a stream is read before the chunk that travels is looked after again.
_LOOK: Final = 256 * 1024


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
    #: Whether it is read once, in order, so that reading on while a chunk travels saves time.
    in_order: bool = False

    def __init__(self, total: int | None) -> None:
        self.total = total

    @abstractmethod
    def chunk(self, start: int) -> Chunk:
        """What comes from ``start`` on."""

    @abstractmethod
    def digest_to(self, end: int) -> str:
        """The digest of the first ``end`` bytes, as the service writes it; ``end`` is that of a chunk, and never goes back."""

    def look_ahead(self) -> bool:
        """Read a little of what comes after the current chunk; False when there is nothing to do."""
        return False

    def restart(self) -> None:  # noqa: B027  # what cannot be restarted is not asked to
        """An upload begins anew."""

    def confirm(self) -> None:  # noqa: B027  # what lies in memory stays as it is
        """Before the last chunk: `IntegrityError` where the source did not keep still."""

    def reached(self, end: int) -> None:  # noqa: B027  # nobody may be watching
        """Everything up to ``end`` was sent, now or by an earlier run."""


class _KnownFeed(Feed):
    """What can be read from any byte on, ``total`` bytes of it; ``size`` bounds the chunks, None sends all at once."""

    total: int

    def __init__(self, total: int, size: int, algorithm: str, *, in_chunks: bool) -> None:
        super().__init__(total)
        self._size = size
        self._in_chunks = in_chunks
        self._algorithm = algorithm
        self._hasher: Hasher = new_hasher(algorithm)
        self._hashed = 0

    @abstractmethod
    def read(self, length: int, start: int) -> bytes:
        """Exactly these bytes."""

    def chunk(self, start: int) -> Chunk:
        """A window, which is never held. The digest of what comes before it is known then."""
        self._catch_up(start)
        length = self._length(self.total - start)
        return Chunk(start, length, self.total, _Window(self, start, length))

    def _length(self, left: int) -> int:
        if left <= self._size:
            return left
        # The end is sent when the digest of everything is known, and the source has proved that it kept still.
        return self._size if self._in_chunks else (left - 1) // UNIT * UNIT

    def admit(self, count: int) -> int:
        """How many of the next bytes may be sent now."""
        return count

    def take(self, start: int, data: bytes) -> None:
        """Take what is sent into the digest, unless it was before."""
        end = start + len(data)
        if start <= self._hashed < end:
            self._hasher.update(data[self._hashed - start :])
            self._hashed = end

    def digest_to(self, end: int) -> str:
        self._catch_up(end)
        return digest_text(self._hasher.digest())

    def _catch_up(self, end: int) -> None:
        scope = current_scope()
        while self._hashed < end:
            scope.check()
            self.take(self._hashed, self.read(min(_PIECE, end - self._hashed), self._hashed))

    def restart(self) -> None:
        """The digest begins anew, too."""
        self._hasher = new_hasher(self._algorithm)
        self._hashed = 0


class _Window:
    """A part of what can be read from any byte on, taken into the digest while it is sent."""

    __slots__ = ("_feed", "_position", "_start", "size")

    rewindable: Final = True

    def __init__(self, feed: _KnownFeed, start: int, size: int) -> None:
        self._feed = feed
        self._start = start
        self._position = 0
        self.size = size

    def read(self, count: int, /) -> bytes:
        start = self._start + self._position
        wanted = min(count, self.size - self._position)
        data = self._feed.read(self._feed.admit(wanted), start) if wanted else b""
        self._feed.take(start, data)
        self._position += len(data)
        return data

    def rewind(self) -> None:
        self._position = 0


class BufferFeed(_KnownFeed):
    """What lies in memory."""

    def __init__(self, view: memoryview, size: int, algorithm: str, *, in_chunks: bool) -> None:
        super().__init__(len(view), size, algorithm, in_chunks=in_chunks)
        self._view = view

    def read(self, length: int, start: int) -> bytes:
        """A copy of a piece."""
        return bytes(self._view[start : start + length])


class FileFeed(_KnownFeed):
    """A file on disk, read by position, once."""

    def __init__(self, source: Source, region: FileRegion, size: int, algorithm: str, *, in_chunks: bool) -> None:
        super().__init__(region.size, size, algorithm, in_chunks=in_chunks)
        self._source = source
        self._region = region
        self._told = 0

    def read(self, length: int, start: int) -> bytes:
        """A piece of the file; `IntegrityError` where it has become shorter."""
        return self._region.read(length, start)

    def admit(self, count: int) -> int:
        """Asked of the source."""
        return self._source.admit(count)

    def confirm(self) -> None:
        """The file is what it was."""
        self._source.finished()

    def reached(self, end: int) -> None:
        """Reported as progress, never twice."""
        if end > self._told:
            self._source.advance(end - self._told)
            self._told = end


class StreamFeed(Feed):
    """What comes in order, once. One chunk is held until the server has it, and the next one is put together meanwhile."""

    restartable = False
    in_order = True

    def __init__(self, pieces: Pieces, size: int, algorithm: str) -> None:
        super().__init__(None)
        self._pieces = pieces
        self._algorithm = algorithm
        self._hasher: Hasher = new_hasher(algorithm)
        #: The current chunk: where it begins, its bytes, and the digest up to its end.
        self._begin = 0
        self._memory = bytearray()
        self._data = memoryview(b"")
        self._text = ""
        #: The next one, and how much of it is there.
        self._next = bytearray(size)
        self._filled = 0

    def chunk(self, start: int) -> Chunk:
        """The rest of the current chunk, or the next one. `ConnectionLostError` for what is gone."""
        if start == self._begin + len(self._data) and self.total is None:
            self._advance()
        offset = start - self._begin
        if not 0 <= offset <= len(self._data):
            raise ConnectionLostError("the server has lost a part of the upload, and the source can be read only once")
        rest = self._data[offset:]
        return Chunk(start, len(rest), self.total, view_part(1, rest, self._algorithm).body())

    def look_ahead(self) -> bool:
        """Read a piece of the next chunk, as long as it has room."""
        room = len(self._next) - self._filled
        if not room or self._pieces.exhausted:
            return False
        piece = bytes(self._pieces.gather(min(room, _LOOK)))
        self._next[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        self._hasher.update(piece)
        return True

    def _advance(self) -> None:
        """The chunk that comes next becomes the current one; its memory is used for the one after it."""
        while self.look_ahead():
            pass
        self._begin += len(self._data)
        self._memory, self._next = self._next, self._memory or bytearray(len(self._next))
        self._data, self._filled = memoryview(self._memory)[: self._filled], 0
        self._text = digest_text(self._hasher.digest())
        if self._pieces.exhausted:
            self.total = self._begin + len(self._data)

    def digest_to(self, end: int) -> str:
        """Known for the current chunk only."""
        if end != self._begin + len(self._data):
            raise IntegrityError("a chunk was asked for its digest when it was gone")
        return self._text
