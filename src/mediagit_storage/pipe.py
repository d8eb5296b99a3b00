"""Bytes from a thread that makes them to a put in another: bounded, and ended only by who sends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

from mediagit_storage.errors import CancelledError
from mediagit_storage.scope import current_scope

__all__ = ["Pipe"]

#: Bytes that may wait between the two.
_MOST: Final = 8 * 1024 * 1024
#: Seconds after which a sender that waits looks whether its time is over.
_SLICE: Final = 0.1


class Pipe:
    """Pieces from one thread to another, at most 8 MiB at a time. One sends, and one iterates."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._complete = False
        self._aborted = False
        self._gone = False
        self._changed = threading.Condition()

    def send(self, piece: bytes) -> bool:
        """Wait for room and hand over; False when the reader has gone.

        Raises what ends the surrounding scope while it waits. A piece is missing then, so the pipe is aborted; also where
        it is interrupted.
        """
        try:
            with self._changed:
                while not self._changed.wait_for(lambda: self._gone or self._held < _MOST, _SLICE):
                    current_scope().check()
                if not self._gone:
                    self._pieces.append(piece)
                    self._held += len(piece)
                    self._changed.notify_all()
                return not self._gone
        except BaseException:
            self.abort()
            raise

    def finish(self) -> None:
        """Everything was sent."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def abort(self) -> None:
        """What was sent must not be stored."""
        with self._changed:
            self._aborted = not self._complete
            self._changed.notify_all()

    def leave(self) -> None:
        """The reader is gone; senders need not wait."""
        with self._changed:
            self._gone = True
            self._pieces.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._complete or self._aborted)
                if self._aborted:
                    raise CancelledError("what was being written was abandoned")
                if not self._pieces:
                    return
                piece = self._pieces.popleft()
                self._held -= len(piece)
                self._changed.notify_all()
            yield piece
