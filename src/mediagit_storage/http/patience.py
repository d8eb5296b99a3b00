"""How long a transfer may take: idle and total time, as arithmetic over times that the caller hands in.

libcurl's own limits are imprecise (2 s set, 8 s real), so the transport looks at the counters itself now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mediagit_storage.http.faults import FaultKind

__all__ = ["Patience", "seconds_text"]

#: A standstill is noticed at most this part of the idle time late.
_LOOKS: Final = 16
_LONGEST_WAIT: Final = 5.0


class Patience:
    """The limits of one transfer. ``idle`` and ``total`` are seconds or None; ``scope_left`` what the scope leaves."""

    __slots__ = ("_count", "_deadline", "_idle", "_interval", "_moved_at", "_next", "_scope_ends")

    def __init__(self, now: float, *, idle: float | None, total: float | None, scope_left: float | None) -> None:
        self._idle = idle
        self._deadline = None if total is None else now + total
        self._scope_ends = None if scope_left is None else now + scope_left
        self._moved_at = now
        self._count = -1
        self._interval = _LONGEST_WAIT if idle is None else min(_LONGEST_WAIT, idle / _LOOKS)
        self._next = now
        self._plan(now)

    def wait(self, now: float) -> float:
        """Seconds until the next look is due, not negative."""
        return self._next - now if self._next > now else 0.0

    def look(self, now: float, count: Callable[[], int]) -> FaultKind | None:
        """Which limit is over, None while there is time.

        ``count`` tells how many bytes went either way so far; it is only asked when a look is due.
        """
        if now < self._next:
            return None
        self._plan(now)
        if self._scope_ends is not None and now >= self._scope_ends:
            return FaultKind.SCOPE
        if self._deadline is not None and now >= self._deadline:
            return FaultKind.TOTAL
        if self._idle is None:
            return None
        moved = count()
        if moved != self._count:
            self._count = moved
            self._moved_at = now
        return FaultKind.IDLE if now - self._moved_at >= self._idle else None

    def pause(self, now: float) -> None:
        """The reader made the transfer wait: time begins anew."""
        self._moved_at = now

    def _plan(self, now: float) -> None:
        self._next = now + self._interval
        if self._deadline is not None:
            self._next = min(self._next, self._deadline)
        if self._scope_ends is not None:
            self._next = min(self._next, self._scope_ends)


def seconds_text(seconds: float | None) -> str:
    """A time limit for people: ``10 s``, ``0.25 s``."""
    return "the time allowed" if seconds is None else f"{seconds:g} s"
