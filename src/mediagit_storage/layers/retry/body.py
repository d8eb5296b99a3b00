"""A body that goes on where it broke off: with the rest of the very same version, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mediagit_storage.backend import Body
from mediagit_storage.errors import ConnectionLostError, NotFoundError, PreconditionError, StorageError
from mediagit_storage.layers.retry.trials import Trials
from mediagit_storage.ranges import Span
from mediagit_storage.source import FileRegion

__all__ = ["Again", "RetriedBody"]


class Again(NamedTuple):
    """How a body goes on: ``reopen`` asks for a part of the same version, and is None where the storage has nothing to
    tell versions apart; ``trials`` counts the attempts at one piece, ``sleep`` waits between them.
    """

    reopen: Callable[[Span], Body] | None
    trials: Callable[[], Trials]
    sleep: Callable[[float], None]


class RetriedBody(Body):
    """The pieces of ``body`` as they come, and of those that follow it where it breaks off."""

    def __init__(self, body: Body, again: Again) -> None:
        self.info = body.info
        self.start = body.start
        self.length = body.length
        self._body: Body | None = body
        self._again = again
        self._got = 0

    def __iter__(self) -> Iterator[bytes]:
        trials: Trials | None = None
        while True:
            before = self._got
            try:
                yield from self._pieces()
            except StorageError as error:
                if self._again.reopen is None or self._body is None:
                    raise
                if trials is None or self._got > before:
                    trials = self._again.trials()
                self._go_on(error, trials, self._again.reopen)
                continue
            return

    def region(self) -> FileRegion | None:
        """That of the body that is open now: bytes on this machine do not break off."""
        return None if self._body is None else self._body.region()

    def close(self) -> None:
        """Close what is open."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _pieces(self) -> Iterator[bytes]:
        if self._body is None:
            return
        for piece in self._body:
            self._got += len(piece)
            yield piece

    def _go_on(self, error: StorageError, trials: Trials, reopen: Callable[[Span], Body]) -> None:
        """Open the rest, or raise what the reading ends with."""
        rest = Span(self.start + self._got, self.length - self._got)
        failure = error
        while True:
            delay = trials.after(failure)
            if delay is None:
                raise failure
            self._again.sleep(delay)
            try:
                body = reopen(rest)
            except (PreconditionError, NotFoundError):
                raise ConnectionLostError(
                    "the read broke off, and the object was overwritten or deleted meanwhile; read it again"
                ) from error
            except StorageError as next_failure:
                failure = next_failure
                continue
            break
        if self._body is None:
            body.close()
            return
        self._body.close()
        self._body = body
        if (body.start, body.length) != tuple(rest) or body.info.etag != self.info.etag:
            raise ConnectionLostError(
                "the read broke off, and the storage does not go on where it stopped; read it again"
            ) from error
