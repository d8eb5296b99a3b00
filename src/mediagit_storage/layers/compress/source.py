"""What a compressed put hands on: the bytes of an object, made while they are read."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Self

from mediagit_storage.layers.compress.codec import Codec
from mediagit_storage.layers.compress.framing import HEAD, TableWriter
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.scope import current_scope
from mediagit_storage.source import Source
from mediagit_storage.types import BytesLike

__all__ = ["CompressedSource", "compressed", "in_frames"]


class CompressedSource(Source):
    """The compressed form of ``inner``, in constant memory; rewindable where that is. Its size is known at its end.

    A context manager: its threads end with the block, also where an exception keeps hold of what was being read.
    """

    size = None

    def __init__(self, inner: Source, codec: Codec, frame_size: int, workers: int) -> None:
        self.rewindable = inner.rewindable
        self._inner = inner
        self._codec = codec
        self._frame_size = frame_size
        self._workers = workers
        self.plain_size = 0
        self._given: list[Generator[BytesLike, None, None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._given:
            each.close()

    def chunks(self) -> Iterator[BytesLike]:
        """Head, frames, end and table. ``plain_size`` is right once they were read."""
        self._given.append(pieces := self._pieces())
        return pieces

    def _pieces(self) -> Generator[BytesLike, None, None]:
        frames = in_frames(self._inner.chunks(), self._frame_size)
        table, scope = TableWriter(), current_scope()
        yield HEAD
        for plain_size, frame in ordered(self._compress, frames, self._workers):
            scope.check()
            table.add(frame, plain_size)
            yield frame
        yield table.finish()
        self.plain_size = table.plain_size

    def _compress(self, data: BytesLike) -> tuple[int, bytes]:
        return len(data), self._codec.compress(data)


def compressed(data: BytesLike, codec: Codec) -> bytes:
    """An object of one frame, or none where it is empty."""
    table = TableWriter()
    frame = b""
    if len(data):
        frame = codec.compress(data)
        table.add(frame, len(data))
    return b"".join((HEAD, frame, table.finish()))


def in_frames(chunks: Iterator[BytesLike], size: int) -> Iterator[BytesLike]:
    """The bytes of ``chunks`` in pieces of ``size``, the last one shorter. They stay as they are while more are asked for.

    What comes in large immutable chunks is not copied.
    """
    parts: list[BytesLike] = []
    missing = size
    for chunk in chunks:
        view, place = memoryview(chunk), 0
        while place < len(view):
            part = view[place : place + missing]
            parts.append(part if isinstance(chunk, bytes) else bytes(part))
            place += len(part)
            missing -= len(part)
            if not missing:
                yield _joined(parts)
                parts, missing = [], size
    if parts:
        yield _joined(parts)


def _joined(parts: list[BytesLike]) -> BytesLike:
    return parts[0] if len(parts) == 1 else b"".join(parts)
