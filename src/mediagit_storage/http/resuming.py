"""Bodies of objects: one that goes on where its connection broke, and one that is here already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mediagit_storage.backend import Body, Content
from mediagit_storage.errors import StorageError, TruncatedError
from mediagit_storage.hashing import Hasher, new_hasher, verify_kept
from mediagit_storage.http.retry import Course, Retry
from mediagit_storage.http.stream import StreamingResponse
from mediagit_storage.ranges import Span
from mediagit_storage.types import Checksum, ObjectInfo

__all__ = ["ReadyBody", "ResumingBody", "Resumption"]


class ReadyBody(Body):
    """A body that is here already."""

    def __init__(self, content: Content) -> None:
        self.info, self._data, self.start = content
        self.length = len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        data, self._data = self._data, b""
        if data:
            yield data

    def close(self) -> None:
        """Forget it."""
        self._data = b""


class Resumption(NamedTuple):
    """How a body goes on: ``reopen`` asks for the rest of the very same version, ``course`` counts the attempts at one
    piece, ``pause`` waits between them.
    """

    reopen: Callable[[Span], StreamingResponse]
    course: Callable[[], Course]
    pause: Callable[[float], None]


class ResumingBody(Body):
    """The pieces as they come. Where the connection breaks, the rest of the same version is asked for.

    ``skip`` bytes of ``stream`` come before ``span``; ``checksum`` is the digest of all that is handed out, if known.
    """

    def __init__(
        self,
        info: ObjectInfo,
        span: Span,
        stream: StreamingResponse,
        resumption: Resumption,
        *,
        skip: int = 0,
        checksum: Checksum | None = None,
    ) -> None:
        self.info = info
        self.start, self.length = span
        self._resumption = resumption
        self._stream: StreamingResponse | None = stream
        self._skip = skip
        self._checksum = checksum
        self._hasher: Hasher | None = None if checksum is None else new_hasher(checksum.algorithm)
        self._got = 0

    def __iter__(self) -> Iterator[bytes]:
        course: Course | None = None
        while True:
            before = self._got
            try:
                yield from self._pieces()
            except StorageError as error:
                stream = self._stream
                if stream is None:
                    raise
                if course is None or self._got > before:
                    course = self._resumption.course()
                decision = course.after_error(error, stream.request)
                if not isinstance(decision, Retry):
                    raise
                self._resumption.pause(decision.delay)
                rest = Span(self.start + self._got, self.length - self._got)
                self._skip = 0
                self._stream = self._resumption.reopen(rest)
                continue
            return

    def _pieces(self) -> Iterator[bytes]:
        stream = self._stream
        if stream is None:
            return
        wanted = self.length - self._got
        for received in stream:
            piece = received
            if self._skip:
                piece, self._skip = piece[self._skip :], max(0, self._skip - len(received))
            if len(piece) > wanted:
                piece = piece[:wanted]
            if not piece:
                continue
            wanted -= len(piece)
            self._got += len(piece)
            if self._hasher is not None:
                self._hasher.update(piece)
                if not wanted and self._checksum is not None:
                    verify_kept(self._checksum, self._hasher)
            yield piece
            if not wanted:
                break
        if self._stream is None:
            return
        if wanted:
            raise TruncatedError(f"the body ended {wanted:,} bytes early")
        stream.close()

    def close(self) -> None:
        """Free the connection at once."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
