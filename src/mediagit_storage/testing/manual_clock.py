"""A clock that stands still until somebody sleeps or moves it: no test waits, and none depends on how fast it runs."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """A `Clock` whose ``now`` is set by hand, in seconds, for both kinds of time; ``slept`` are the sleeps asked for."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def now_ns(self) -> int:
        """``now`` in nanoseconds since 1970."""
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        """``now``."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes at once."""
        self.slept.append(seconds)
        self.now += seconds
