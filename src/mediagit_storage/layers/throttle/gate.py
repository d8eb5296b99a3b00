"""A bucket that many threads pass: first come, first served, and nobody waits longer than the scope allows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from mediagit_storage.clock import Clock
from mediagit_storage.http.locks import OfProcess
from mediagit_storage.layers.throttle.bucket import Bucket
from mediagit_storage.scope import current_scope

__all__ = ["Gate", "Wait", "wait_for"]

#: Waits until an event is set, or for so many seconds; None is for ever.
Wait: TypeAlias = Callable[[threading.Event, float | None], None]


def wait_for(event: threading.Event, seconds: float | None) -> None:
    """What a `Gate` waits with, unless it is told otherwise."""
    event.wait(seconds)


#: How many bytes pass at a time at least, and at most.
_LEAST: Final = 4096
_MOST: Final = 1024 * 1024


class _Line:
    """Those that wait, the first one first, and the lock under which they and the bucket change."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: deque[threading.Event] = deque()


class Gate:
    """``rate`` may pass each second, and ``burst`` seconds' worth at once after a pause; None is no limit.

    Thread-safe. A child of a fork begins with a queue of its own.
    """

    def __init__(self, rate: float | None, burst: float, clock: Clock, wait: Wait = wait_for) -> None:
        self._clock = clock
        self._wait = wait
        self._bucket = Bucket(rate, burst, clock.monotonic())
        # The threads that held the lock or stood in the queue are not in a child.
        self._lines = OfProcess(_Line)

    @property
    def limited(self) -> bool:
        """Whether there is a limit now."""
        return self._bucket.rate is not None

    @property
    def piece(self) -> int:
        """How much at most should pass at a time, so that a flow is even: a tenth of a second's worth, 4 KiB to 1 MiB."""
        rate = self._bucket.rate
        return _MOST if rate is None else min(max(int(rate / 10), _LEAST), _MOST)

    @property
    def room(self) -> float:
        """How much may pass at once after a pause."""
        return self._bucket.room

    def change(self, rate: float | None, burst: float) -> None:
        """Another limit from now on, also for those that wait already."""
        line = self._lines.mine()
        with line.lock:
            self._bucket.change(rate, burst, self._clock.monotonic())
            _wake_first(line)

    def pass_through(self, amount: float) -> None:
        """Wait for the turn of ``amount``. Raises what ends the surrounding scope; then nothing is counted."""
        if self.try_pass(amount):
            return
        line, place, scope = self._lines.mine(), threading.Event(), current_scope()
        try:
            with line.lock:
                line.queue.append(place)
            with scope.on_cancel(place.set):
                while True:
                    # Before the look at the scope: who cancels after it sets the event again.
                    place.clear()
                    scope.check()
                    wait = self._turn(line, place, amount)
                    if wait == 0:
                        return
                    left = scope.remaining()
                    self._wait(place, wait if left is None else left if wait is None else min(wait, left))
        finally:
            with line.lock:
                # An interrupt may have come before it had its place.
                if place in line.queue:
                    line.queue.remove(place)
                _wake_first(line)

    def try_pass(self, amount: float) -> bool:
        """Let ``amount`` through if it need not wait, and nobody waits before it."""
        if self._bucket.rate is None:
            return True
        line = self._lines.mine()
        with line.lock:
            now = self._clock.monotonic()
            if line.queue or self._bucket.delay(amount, now) > 0:
                return False
            self._bucket.take(amount, now)
            return True

    def count(self, amount: float) -> None:
        """Note what has passed already: those who come next wait for it."""
        if self._bucket.rate is not None:
            with self._lines.mine().lock:
                self._bucket.take(amount, self._clock.monotonic())

    def _turn(self, line: _Line, place: threading.Event, amount: float) -> float | None:
        """How long to wait: 0 when ``amount`` has passed, None while others come before it."""
        with line.lock:
            if line.queue[0] is not place:
                return None
            now = self._clock.monotonic()
            wait = self._bucket.delay(amount, now)
            if wait == 0:
                self._bucket.take(amount, now)
            return wait


def _wake_first(line: _Line) -> None:
    if line.queue:
        line.queue[0].set()
