"""Of many threads that want the same thing at once one fetches it, and the others wait for it once."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from mediagit_storage.scope import current_scope

__all__ = ["Flights"]

#: How often a waiting thread looks whether its scope has ended, in seconds.
_LOOK: Final = 0.05


class Flights:
    """What is being fetched now. Nobody gets another's answer: who waited looks again, and finds what was kept.

    So a failure is only the failure of the one that it happened to, and a read never shows what was current before it
    began.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing is being fetched: what a forked child begins with."""
        self._lock = threading.Lock()
        self._running: dict[Hashable, threading.Event] = {}

    @contextmanager
    def leading(self, what: Hashable | None) -> Iterator[bool]:
        """Whether the block is the one to fetch ``what``. False only after somebody else's fetch has ended.

        None is what nobody else fetches: for who has waited once, and still has to fetch.
        """
        if what is None:
            yield True
            return
        with self._lock:
            other = self._running.get(what)
            if other is None:
                own = self._running[what] = threading.Event()
        if other is not None:
            _wait(other)
            yield False
            return
        try:
            yield True
        finally:
            with self._lock:
                self._running.pop(what, None)
            own.set()


def _wait(event: threading.Event) -> None:
    """Until it is set, or the scope of this very call ends."""
    scope = current_scope()
    if scope.endless:
        event.wait()
        return
    while not event.wait(_LOOK):
        scope.check()
