"""A lock that works after a fork."""

from __future__ import annotations

import os
import threading

__all__ = ["ForkSafeLock"]


class ForkSafeLock:
    """A lock of this process alone: one that another thread held during a fork stays locked in the child for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()

    def mine(self) -> threading.Lock:
        """The lock to take now; a child gets one of its own."""
        if os.getpid() != self._process:
            self._process = os.getpid()
            self._lock = threading.Lock()
        return self._lock
