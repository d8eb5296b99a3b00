"""The storages of a mirror, and what is remembered of their health."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from mediagit_storage.backend import StorageBackend
from mediagit_storage.clock import Clock
from mediagit_storage.errors import StorageError, ThrottledError, UnavailableError
from mediagit_storage.scope import current_scope

__all__ = ["Member", "MirrorStatus", "ReplicaStatus"]

logger: Final = logging.getLogger("mediagit_storage")

#: How often in a row a member cannot be reached before it is taken to be down: one lost connection is no outage.
PATIENCE: Final = 3


class ReplicaStatus(NamedTuple):
    """One replica, by its number from 1: whether it is asked at present, and of how many keys it may lack the last change.

    ``everything`` says that so many are behind that nobody counts them: only a whole repair tells.
    """

    number: int
    description: str
    up: bool
    behind: int
    everything: bool


class MirrorStatus(NamedTuple):
    """What a mirror knows of itself: reads that replicas answered, and its replicas. Makes no request."""

    failovers: int
    replicas: tuple[ReplicaStatus, ...]


class Member:
    """One storage of a mirror; ``number`` 0 is the primary.

    When it could not be reached a few times in a row it is taken to be down for a while; then each failure is enough, until
    it answers. Thread-safe: what races is only when that begins and ends.
    """

    def __init__(self, number: int, backend: StorageBackend, pause: float, clock: Clock) -> None:
        self.number = number
        self.backend = backend
        self._pause = pause
        self._clock = clock
        self._down_until: float | None = None
        self._failures = 0

    @property
    def name(self) -> str:
        """What people are told: which one it is, and where."""
        return f"{f'replica {self.number}' if self.number else 'the primary'} ({self.backend.description})"

    @property
    def up(self) -> bool:
        """Whether it is worth asking now."""
        until = self._down_until
        return until is None or self._clock.monotonic() >= until

    def worked(self) -> None:
        """It has answered."""
        self._failures = 0
        if self._down_until is not None:
            self._down_until = None
            logger.warning("mirror: %s answers again", self.name)

    def failed(self, error: BaseException) -> None:
        """It has not, for this reason; or raise what ended the surrounding scope, which is not the member's fault."""
        current_scope().check()
        if not isinstance(error, StorageError) or not _unreachable(error) or not self._pause:
            return
        self._failures += 1
        if self._failures < PATIENCE:
            return
        if self._down_until is None:
            logger.warning("mirror: %s is left alone for %g s: %s", self.name, self._pause, error.message)
        self._down_until = self._clock.monotonic() + self._pause


def _unreachable(error: StorageError) -> bool:
    return isinstance(error, UnavailableError) and not isinstance(error, ThrottledError)
