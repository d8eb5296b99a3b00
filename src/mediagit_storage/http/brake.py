"""How many requests of a batch may travel at once, once a server has asked to slow down. Pure: no clock, no I/O.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), as TCP does it: what the server asks halves the number,
and every answer that it takes well lets it grow again, by one for each full round.
"""

from __future__ import annotations

import math

__all__ = ["Brake"]


class Brake:
    """Open until `slow_down` is called. Those that travel at that moment were sent before: their word counts once."""

    __slots__ = ("_allowed", "_deaf", "_most")

    def __init__(self) -> None:
        self._allowed = math.inf
        self._most = 0
        self._deaf = 0

    @property
    def engaged(self) -> bool:
        """Whether anybody may have to wait."""
        return self._allowed < math.inf

    def holds(self, travelling: int) -> bool:
        """Whether one more has to wait while so many travel. One always may."""
        return travelling >= self._allowed

    def slow_down(self, travelling: int) -> None:
        """The server refused one for want of room; ``travelling`` are on their way besides."""
        if self._deaf:
            self._deaf -= 1
            return
        self._most = max(self._most, travelling + 1)
        self._allowed = max(1.0, min(self._allowed, travelling + 1) / 2)
        self._deaf = travelling

    def passed(self) -> None:
        """One ended without a word of the server."""
        if self._deaf:
            self._deaf -= 1

    def taken(self) -> None:
        """The server took one well. What was sent before it asked to slow down says nothing about how many may travel."""
        if self._deaf:
            self._deaf -= 1
            return
        self._allowed += 1 / self._allowed
        if self._allowed >= self._most:
            self._allowed = math.inf
