"""The parts of what is uploaded: slices of a buffer, of a file, or of a stream, each with its digest."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mediagit_storage.hashing import PIECE, hash_region, new_hasher
from mediagit_storage.http.multipart import Part
from mediagit_storage.http.request import BodySource, FileBody
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import BytesLike, Checksum

__all__ = [
    "Pieces",
    "SourcePart",
    "digester",
    "file_digest",
    "file_part",
    "file_parts",
    "small_file",
    "small_source",
    "view_part",
]

#: How much of a slow source is taken before the parts that travel are looked after again.
_LOOK: Final = 256 * 1024


def _nothing() -> None:
    """What is to be done for a part that has no memory of its own."""


@dataclass(slots=True)
class SourcePart:
    """One part whose bytes are at hand. Its digest is computed once, when it is first sent."""

    number: int
    length: int
    body: Callable[[], bytes | BodySource]
    digest: Callable[[], Checksum]
    checksum: Checksum | None = None
    #: To be called when the part is stored: its memory may be used again.
    release: Callable[[], None] = _nothing


class _ViewBody:
    """A part of a buffer, sent without being copied as a whole."""

    __slots__ = ("_position", "_view", "size")

    rewindable: Final = True

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0
        self.size = len(view)

    def read(self, count: int, /) -> bytes:
        piece = self._view[self._position : self._position + count]
        self._position += len(piece)
        return bytes(piece)

    def rewind(self) -> None:
        self._position = 0


def view_part(number: int, view: memoryview, algorithm: str) -> SourcePart:
    """A part that lies in memory; nothing is copied."""
    return SourcePart(number, len(view), lambda: _ViewBody(view), lambda: _hashed(view, algorithm))


def file_part(number: int, region: FileRegion, offset: int, length: int, algorithm: str) -> SourcePart:
    """A part of a file, read twice: for its digest and while it is sent."""
    return SourcePart(
        number,
        length,
        lambda: FileBody(region.descriptor, region.offset + offset, length),
        lambda: file_digest(region, offset, length, algorithm),
    )


def file_parts(
    source: Source, region: FileRegion, parts: Iterable[Part], algorithm: str
) -> Iterator[SourcePart | None]:
    """The parts of a source's file, each as soon as all of it may be sent; None now and then while it may not."""
    for each in parts:
        waiting = each.length - source.admit(each.length)
        while waiting:
            yield None
            waiting -= source.admit(waiting)
        yield file_part(each.number, region, each.offset, each.length, algorithm)


class Pieces:
    """The chunks of a source, cut into parts. Of the source it holds no more than the chunk that came last."""

    def __init__(self, chunks: Iterator[BytesLike]) -> None:
        self._chunks = chunks
        self._back = memoryview(b"")
        self._rest = memoryview(b"")
        self._ended = False
        self._spare: list[mmap.mmap] = []

    def take_all(self, count: int) -> bytes:
        """At least ``count`` bytes, or all there are."""
        taken = self._gathered(count)
        taken += self._back
        taken += self._rest
        self._back = self._rest = memoryview(b"")
        return bytes(taken)

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes, or all there are; then it is known whether any are left."""
        return bytes(self.gather(count))

    def gather(self, count: int) -> bytearray:
        """The same, without a copy of it all; for what may be large."""
        taken = self._gathered(count)
        self._left()
        return taken

    @property
    def exhausted(self) -> bool:
        """Whether everything was taken."""
        return self._ended and not self._rest and not self._back

    def put_back(self, data: BytesLike) -> None:
        """What was taken too early."""
        self._back = memoryview(data) if not self._back else memoryview(bytes(data) + bytes(self._back))

    def parts(self, length_of: Callable[[int], int], algorithm: str) -> Iterator[SourcePart | None]:
        """The parts as they come together; None now and then in between."""
        number = 1
        while self._left():
            memory = self._memory(length_of(number))
            filled = looked = 0
            while filled < len(memory) and self._left():
                filled += self._fill(memory, filled)
                if filled - looked >= _LOOK:
                    looked = filled
                    yield None
            yield self._part(number, memory, filled, algorithm)
            del memory
            number += 1

    def _left(self) -> memoryview:
        """What of the source comes next; empty at its end."""
        if self._back:
            return self._back
        while not self._rest and not self._ended:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._ended = True
            else:
                self._rest = memoryview(chunk)
        return self._rest

    def _cut(self, count: int) -> memoryview:
        """At most ``count`` bytes of what comes next."""
        left = self._left()
        # Even an empty view holds on to what it is a view of.
        rest = left[count:] or memoryview(b"")
        if self._back:
            self._back = rest
        else:
            self._rest = rest
        return left[:count]

    def _memory(self, size: int) -> mmap.mmap:
        """Memory for one part. That of parts that are stored is used again: an allocator would keep more than that."""
        while self._spare:
            memory = self._spare.pop()
            if len(memory) == size:
                return memory
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def _fill(self, memory: mmap.mmap, filled: int) -> int:
        # A slow source is left now and then, to look after the parts that travel.
        piece = self._cut(min(len(memory) - filled, _LOOK))
        memory[filled : filled + len(piece)] = piece
        return len(piece)

    def _part(self, number: int, memory: mmap.mmap, length: int, algorithm: str) -> SourcePart:
        view = memoryview(memory)[:length]
        part = view_part(number, view, algorithm)

        def release() -> None:
            # Whoever still holds the request holds no memory with it.
            view.release()
            self._spare.append(memory)

        part.release = release
        return part

    def _gathered(self, count: int) -> bytearray:
        taken = bytearray()
        while len(taken) < count and self._left():
            taken += self._cut(count - len(taken))
        return taken


def small_file(source: Source) -> bytes:
    """All of a small file on disk."""
    data = b"".join(source.chunks())
    source.finished()
    return data


def small_source(source: Source, most: int) -> BytesLike | None:
    """All of a source that lies in memory, or of a file on disk of at most ``most`` bytes; None for others."""
    data = source.buffer()
    if data is None and source.size is not None and source.size <= most and source.region() is not None:
        return small_file(source)
    return data


def digester(algorithm: str) -> Callable[[bytes], bytes]:
    """What computes the digest of a body at once."""
    if algorithm == "md5":
        return lambda body: hashlib.md5(body, usedforsecurity=False).digest()
    if algorithm == "sha256":
        return lambda body: hashlib.sha256(body).digest()
    import google_crc32c  # noqa: PLC0415  # an extra

    value: Callable[[bytes], int] = google_crc32c.value
    return lambda body: value(body).to_bytes(4, "big")


def _hashed(view: memoryview | bytes, algorithm: str) -> Checksum:
    hasher = new_hasher(algorithm)
    for start in range(0, len(view), PIECE):
        # In pieces of bytes: not every hasher takes a view.
        hasher.update(bytes(view[start : start + PIECE]))
    return Checksum(algorithm, hasher.digest())


def file_digest(region: FileRegion, offset: int, length: int, algorithm: str) -> Checksum:
    """The digest of a part of a file. `IntegrityError` when the file has become shorter."""
    return Checksum(algorithm, hash_region(region, offset, length, algorithm).digest())
