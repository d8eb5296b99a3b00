"""A lock that works after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["ForkSafeLock", "OfProcess"]

T = TypeVar("T")


class OfProcess(Generic[T]):
    """One value for each process: a child of a fork makes its own, the same for all of its threads.

    What threads share and change is half-changed in a child that was forked meanwhile, and nobody ends the change there.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values = {os.getpid(): make()}

    def mine(self) -> T:
        """The value to use now."""
        process = os.getpid()
        found = self._values.get(process)
        if found is None:
            # Of several threads that come first at the same time, all get what the first of them put there.
            found = self._values.setdefault(process, self._make())
            for other in list(self._values):
                if other != process:
                    self._values.pop(other, None)
        return found


class ForkSafeLock:
    """A lock of this process alone: one that another thread held during a fork stays locked in the child for ever."""

    def __init__(self) -> None:
        self._locks = OfProcess(threading.Lock)

    def mine(self) -> threading.Lock:
        """The lock to take now; a child gets one of its own."""
        return self._locks.mine()
