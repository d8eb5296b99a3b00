"""A bell for batches that wait: rung by who has new operations for them, or wants one of them dropped.

A batch is pulled from, and so hears only of what it asks for. Whoever feeds one from another thread hangs up a bell in the
context that the batch runs in; what waits in there, below any number of layers, listens to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["Bell", "hang_up", "listening"]


class Bell:
    """Wakes all who listen, from any thread."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[bool], None]] = {}

    def ring(self, *, look: bool = False) -> None:
        """There are new operations; with ``look`` also one whose scope was cancelled. Never raises, never waits."""
        for listener in [*self._listeners.values()]:
            listener(look)

    @contextmanager
    def heard_by(self, listener: Callable[[bool], None]) -> Iterator[None]:
        """Call ``listener`` with ``look`` whenever it rings while inside."""
        token = object()
        self._listeners[token] = listener
        try:
            yield
        finally:
            del self._listeners[token]


_bell: Final[ContextVar[Bell | None]] = ContextVar("mediagit_storage_bell", default=None)


def hang_up(bell: Bell) -> None:
    """Let ``bell`` be heard by the batches of the current context."""
    _bell.set(bell)


@contextmanager
def listening(listener: Callable[[bool], None]) -> Iterator[None]:
    """Call ``listener`` when the bell of the current context rings; nothing where there is none."""
    bell = _bell.get()
    if bell is None:
        yield
        return
    with bell.heard_by(listener):
        yield
