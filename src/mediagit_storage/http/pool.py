"""The drivers of one transport: last in, first out, shared by all threads, and left alone after a fork.

A forked child must neither use nor free what its parent opened: freeing a handle says goodbye on the parent's TLS
connections. So a child leaks the old drivers on purpose, for ever, and starts with none.
"""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from mediagit_storage.errors import ClosedError
from mediagit_storage.http.driver import Driver

__all__ = ["DriverPool"]


D = TypeVar("D", bound=Driver[Any])


class _Pool(Protocol):
    def leave_to_parent(self) -> None: ...


#: The pools of this process, so that a fork can find them. A registry; pools leave it by being collected.
_POOLS: Final[weakref.WeakSet[_Pool]] = weakref.WeakSet()


class DriverPool(Generic[D]):
    """Drivers nobody uses now (at most ``limit``), and the memory of those that are out. Thread-safe without locks:
    each step is one operation on a list or a set, and no lock can be held by another thread during a fork.
    """

    def __init__(self, limit: int, make: Callable[[], D]) -> None:
        self._limit = limit
        self._make = make
        self._idle: list[D] = []
        self._known: set[D] = set()
        self._closed = False
        #: How many forks lie between this process and the one that made the pool.
        self.generation = 0
        _watch_forks()
        _POOLS.add(self)

    def borrow(self) -> D:
        """A driver for the caller alone. Raises `ClosedError` after `close`."""
        if self._closed:
            raise ClosedError("this storage was closed")
        try:
            return self._idle.pop()
        except IndexError:
            driver = self._make()
            self._known.add(driver)
            return driver

    def give_back(self, driver: D, generation: int) -> None:
        """Return a driver whose transfers have all ended well; its connections serve the next borrower."""
        if generation != self.generation:
            return
        if self._closed or len(self._idle) >= self._limit:
            self.discard(driver, generation)
        else:
            self._idle.append(driver)

    def discard(self, driver: D, generation: int) -> None:
        """Close a driver that was borrowed. One from before a fork is left as it is."""
        if generation == self.generation:
            self._known.discard(driver)
            driver.close()

    def close(self) -> None:
        """Close the idle drivers now and each other one when it comes back; idempotent."""
        self._closed = True
        while self._idle:
            self.discard(self._idle.pop(), self.generation)

    def leave_to_parent(self) -> None:
        """In a forked child: keep what the parent opened from ever being touched or freed here."""
        for driver in self._known:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(driver))
        self._known = set()
        self._idle = []
        self.generation += 1


@functools.cache
def _watch_forks() -> None:
    """Once in a process that has a pool: children begin with empty pools."""
    os.register_at_fork(after_in_child=_begin_child)


def _begin_child() -> None:
    for pool in list(_POOLS):
        pool.leave_to_parent()
