"""The parts of what is uploaded: slices of a buffer, of a file, or of a stream, each with its digest."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mediagit_storage.hashing import new_hasher
from mediagit_storage.http.request import BodySource, FileBody
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import BytesLike, Checksum

__all__ = ["Pieces", "SourcePart", "digester", "file_digest", "file_part", "small_file", "small_source", "view_part"]

_PIECE: Final = 1024 * 1024
#: How much of a slow source is taken before the parts that travel are looked after again.
_LOOK: Final = 256 * 1024


@dataclass(slots=True)
class SourcePart:
    """One part whose bytes are at hand. Its digest is computed once, when it is first sent."""

    number: int
    length: int
    body: Callable[[], bytes | BodySource]
    digest: Callable[[], Checksum]
    checksum: Checksum | None = None


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


class Pieces:
    """The chunks of a source, cut into parts."""

    def __init__(self, chunks: Iterator[BytesLike]) -> None:
        self._chunks = chunks
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._ended = False

    def take_all(self, count: int) -> bytes:
        """At least ``count`` bytes, or all there are."""
        while self._size < count and not self._ended:
            self._pull()
        return self._cut(self._size)

    def put_back(self, data: bytes) -> None:
        """What was taken too early."""
        self._kept.appendleft(data)
        self._size += len(data)

    def parts(self, length_of: Callable[[int], int], algorithm: str) -> Iterator[SourcePart | None]:
        """The parts as they come together; None now and then in between."""
        number = 1
        while True:
            length = length_of(number) if not self._ended or self._size else 0
            taken = 0
            while self._size < length and not self._ended:
                taken += self._pull()
                if taken >= _LOOK:
                    taken = 0
                    yield None
            if not self._size:
                return
            body = self._cut(length)
            yield SourcePart(number, len(body), lambda body=body: body, lambda body=body: _hashed(body, algorithm))  # type: ignore[misc]
            del body
            number += 1

    def _pull(self) -> int:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._ended = True
            return 0
        self._kept.append(bytes(chunk))
        self._size += len(chunk)
        return len(chunk)

    def _cut(self, length: int) -> bytes:
        taken: list[bytes] = []
        missing = min(length, self._size)
        self._size -= missing
        while missing:
            piece = self._kept.popleft()
            if len(piece) > missing:
                self._kept.appendleft(piece[missing:])
                piece = piece[:missing]
            taken.append(piece)
            missing -= len(piece)
        return b"".join(taken)


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
    for start in range(0, len(view), _PIECE):
        # In pieces of bytes: not every hasher takes a view.
        hasher.update(bytes(view[start : start + _PIECE]))
    return Checksum(algorithm, hasher.digest())


def file_digest(region: FileRegion, offset: int, length: int, algorithm: str) -> Checksum:
    """The digest of a part of a file. `IntegrityError` when the file has become shorter."""
    hasher = new_hasher(algorithm)
    for start in range(offset, offset + length, _PIECE):
        hasher.update(region.read(min(_PIECE, offset + length - start), start))
    return Checksum(algorithm, hasher.digest())
