"""Time and sleep as one injectable thing, so that nothing below has to wait for a real clock in a test."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock", "utc_from_ns"]


class Clock(Protocol):
    """What the library asks of time."""

    def now_ns(self) -> int:
        """Wall-clock time in nanoseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow, for durations and deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """Wall-clock time in nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread for ``seconds``."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()

#: The seconds since 1970 that `datetime` can hold: a file may carry any time stamp, and must not break a listing.
_FIRST, _LAST = -62_135_596_800, 253_402_300_800


def utc_from_ns(nanoseconds: int) -> datetime:
    """An aware UTC `datetime`, rounded down to its microseconds; the first or last there is, for times beyond it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if not _FIRST <= seconds < _LAST:
        return datetime.min.replace(tzinfo=UTC) if seconds < 0 else datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
