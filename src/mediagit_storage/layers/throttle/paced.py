"""Sources and bodies whose bytes pass a gate piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.backend import Body
from mediagit_storage.layers.throttle.gate import Gate
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import BytesLike

__all__ = ["PacedBody", "PacedSource"]


class PacedSource(Source):
    """``inner`` in pieces that wait for their turn, each time it is read.

    It shows no buffer, and its file only to those who are to resume: they ask for the turn of what they send.
    """

    def __init__(self, inner: Source, gate: Gate, *, resuming: bool = False) -> None:
        self._inner = inner
        self._gate = gate
        self._resuming = resuming
        self.size = inner.size
        self.rewindable = inner.rewindable

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks, cut where they are larger than what should pass at once."""
        for chunk in self._inner.chunks():
            yield from _cut(memoryview(chunk), self._gate)

    def region(self) -> FileRegion | None:
        """The inner file, for an upload that resumes."""
        return self._inner.region() if self._resuming else None

    def admit(self, count: int) -> int:
        """A piece, when its turn has come."""
        piece = self._inner.admit(min(count, self._gate.piece))
        self._gate.pass_through(piece)
        return piece

    def finished(self) -> None:
        """Asked of the inner source."""
        self._inner.finished()

    def advance(self, count: int) -> None:
        """Told to the inner source."""
        self._inner.advance(count)


class PacedBody(Body):
    """``inner`` in pieces that wait for their turn. Nothing more is asked of ``inner`` meanwhile."""

    def __init__(self, inner: Body, gate: Gate) -> None:
        self.info = inner.info
        self.start = inner.start
        self.length = inner.length
        self._inner = inner
        self._gate = gate

    def __iter__(self) -> Iterator[bytes]:
        gate = self._gate
        for chunk in self._inner:
            if len(chunk) <= gate.piece:
                gate.pass_through(len(chunk))
                yield chunk
                continue
            for piece in _cut(memoryview(chunk), gate):
                yield bytes(piece)

    def close(self) -> None:
        """Close the inner one."""
        self._inner.close()


def _cut(chunk: memoryview, gate: Gate) -> Iterator[memoryview]:
    start = 0
    while start < len(chunk):
        piece = chunk[start : start + gate.piece]
        gate.pass_through(len(piece))
        yield piece
        start += len(piece)
