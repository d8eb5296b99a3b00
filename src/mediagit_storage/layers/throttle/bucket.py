"""A token bucket as arithmetic over times that the caller hands in.

Tokens come at a steady rate and are saved up to ``room``. An amount may pass when its tokens are there; one that is
larger than the room passes when the bucket is full, and leaves a debt. So in any time the bucket lets through at most
the rate times that time, one room, and what one such amount was larger than the room.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Bucket"]

#: Less than this is nothing: rounding must not make anybody wait again and again for no time at all.
_NOTHING: Final = 1e-6


class Bucket:
    """``rate`` tokens a second, None for no limit; ``burst`` seconds' worth of them are saved, and at least one token.

    It starts full. Not thread-safe.
    """

    __slots__ = ("_at", "_tokens", "rate", "room")

    def __init__(self, rate: float | None, burst: float, now: float) -> None:
        self.rate = rate
        self.room = _room(rate, burst)
        self._tokens = self.room
        self._at = now

    def change(self, rate: float | None, burst: float, now: float) -> None:
        """Go on with another rate. What was saved or is owed stays, within the new room."""
        self._refill(now)
        limited = self.rate is not None
        self.rate = rate
        self.room = _room(rate, burst)
        self._tokens = min(self._tokens, self.room) if limited else self.room

    def delay(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` may pass, 0 for now; an amount of 0 waits until nothing is owed."""
        if self.rate is None:
            return 0.0
        self._refill(now)
        missing = min(amount, self.room) - self._tokens
        return missing / self.rate if missing > _NOTHING else 0.0

    def take(self, amount: float, now: float) -> None:
        """Count what passes now, whether it had to wait for its tokens or not."""
        if self.rate is not None:
            self._refill(now)
            self._tokens -= amount

    def _refill(self, now: float) -> None:
        if self.rate is not None:
            self._tokens = min(self.room, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now


def _room(rate: float | None, burst: float) -> float:
    return 0.0 if rate is None else max(1.0, rate * burst)
