"""Reading an open file: whole, in part, and in pieces. The open file stays what it was, whatever becomes of its name."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from mediagit_storage.backend import Body
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.translate import translate
from mediagit_storage.errors import StorageError, TruncatedError
from mediagit_storage.ranges import Span
from mediagit_storage.scope import current_scope
from mediagit_storage.source import CHUNK, FileRegion
from mediagit_storage.types import ObjectInfo

__all__ = ["LocalBody", "read_span"]


class LocalBody(Body):
    """The pieces of one object, each of at most 1 MiB. Owns the descriptor, and closes it however it is left."""

    def __init__(self, system: OperatingSystem, descriptor: int, info: ObjectInfo, span: Span) -> None:
        self.info = info
        self.start, self.length = span
        self._os = system
        self._descriptor = descriptor
        self._position = span.start
        self._close = weakref.finalize(self, shut, system, descriptor)

    def __iter__(self) -> Iterator[bytes]:
        """The pieces, in order, once; a file that became shorter is a `TruncatedError`."""
        scope = current_scope()
        end = self.start + self.length
        while self._position < end and self._close.alive:
            scope.check()
            try:
                piece = self._os.pread(self._descriptor, min(CHUNK, end - self._position), self._position)
            except OSError as error:
                self.close()
                raise translate(error) from error
            if not piece:
                self.close()
                raise _truncated(end - self._position)
            self._position += len(piece)
            yield piece
        self.close()

    def region(self) -> FileRegion | None:
        """The part of the open file; None once it is closed."""
        return FileRegion(self._descriptor, self.start, self.length) if self._close.alive else None

    def close(self) -> None:
        """Close the file."""
        self._close()


def read_span(system: OperatingSystem, descriptor: int, start: int, length: int) -> bytes:
    """Exactly ``length`` bytes from ``start``; a file that became shorter meanwhile is a `TruncatedError`. Raises `OSError`."""
    if length == 0:
        return b""
    data = system.pread(descriptor, length, start)
    if len(data) == length:
        return data
    pieces = [data]
    have = len(data)
    while have < length:
        if not data:
            raise _truncated(length - have)
        current_scope().check()
        data = system.pread(descriptor, length - have, start + have)
        pieces.append(data)
        have += len(data)
    return b"".join(pieces)


def _truncated(missing: int) -> StorageError:
    return TruncatedError(f"the file became shorter while it was read: {missing:,} bytes are missing")
