"""Scopes: a time limit and a cancel button around any number of calls.

``with scope(timeout=30) as s:`` bounds everything inside, also in the worker threads the library starts there.
``s.cancel()`` from any thread stops the transfers inside at once. Scopes nest: the nearest deadline counts, and
cancelling an outer scope cancels what is inside of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import CancelledError, StorageTimeoutError

__all__ = ["Scope", "aside", "context_inside", "current_scope", "inner_scope", "scope"]

T = TypeVar("T")

_logger = logging.getLogger("mediagit_storage")


class Scope:
    """A deadline and a cancel flag, shared by the calls made inside. Thread-safe.

    Implementers call `check` between the pieces of their work, pass `remaining` as the limit of a wait, and register
    `on_cancel` where they block in something that a callback can interrupt.
    """

    def __init__(
        self, timeout: float | None = None, *, parent: Scope | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError("a time-out is not negative")
        self._clock = clock
        self._parent = parent
        own = None if timeout is None else clock.monotonic() + timeout
        inherited = parent._deadline if parent else None
        limits = [limit for limit in (own, inherited) if limit is not None]
        self._deadline: float | None = min(limits) if limits else None
        self._timeout = timeout
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: dict[object, Callable[[], None]] = {}

    def cancel(self) -> None:
        """Stop everything inside, now, from any thread; calling it again does nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            _call(callback)

    @property
    def endless(self) -> bool:
        """Whether nothing can end this scope: no deadline, and nobody to cancel it. Then there is nothing to watch."""
        return False

    @property
    def cancelled(self) -> bool:
        """Whether this scope, or one around it, was cancelled."""
        return self._cancelled or (self._parent is not None and self._parent.cancelled)

    def remaining(self) -> float | None:
        """Seconds left, never below 0; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock.monotonic())

    def check(self) -> None:
        """Raise `CancelledError` or `StorageTimeoutError` when the work should stop; else return at once."""
        if self._cancelled or (self._parent is not None and self._parent.cancelled):
            raise CancelledError("cancelled by the surrounding scope")
        if self._deadline is not None and self._clock.monotonic() >= self._deadline:
            raise StorageTimeoutError("the surrounding scope's time is over")

    def sleep(self, seconds: float) -> None:
        """Wait, but wake early, with the error of `check`, when the scope ends first."""
        left = self.remaining()
        wait = seconds if left is None else min(seconds, left)
        woken = threading.Event()
        with self.on_cancel(woken.set):
            woken.wait(wait)
        self.check()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback`` (from the cancelling thread) when this or an outer scope is cancelled while inside.

        At once where that has happened already. It may be called twice; what it raises is logged and goes no further.
        """
        scopes: list[Scope] = []
        link: Scope | None = self
        while link is not None:
            scopes.append(link)
            link = link._parent
        token = object()
        for each in scopes:
            with each._lock:
                each._callbacks[token] = callback
        if self.cancelled:
            _call(callback)
        try:
            yield
        finally:
            for each in scopes:
                with each._lock:
                    each._callbacks.pop(token, None)


def _call(callback: Callable[[], None]) -> None:
    """One failing callback must not keep the others from stopping their transfers."""
    try:
        callback()
    except Exception:
        _logger.exception("a cancel callback failed")


class _Unbounded(Scope):
    """The scope outside of every scope: it never ends, so implementers need no None check."""

    @property
    def endless(self) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """Nothing to stop for: asked before every operation, so it costs nothing."""

    def cancel(self) -> None:
        """Refused: it would stop everything in this process, for ever."""
        raise RuntimeError("there is no scope around this call; cancel one made by scope()")


_UNBOUNDED = _Unbounded()
_current: ContextVar[Scope] = ContextVar("mediagit_storage_scope", default=_UNBOUNDED)


def current_scope() -> Scope:
    """The innermost scope around this call; one that never ends where there is none."""
    return _current.get()


def inner_scope(timeout: float | None = None, *, clock: Clock = SYSTEM_CLOCK) -> Scope:
    """A scope inside the current one that is not made current: for generators, which must not change their caller's."""
    outer = _current.get()
    return Scope(timeout, parent=None if outer is _UNBOUNDED else outer, clock=clock)


def context_inside(inner: Scope) -> Context:
    """A copy of the current context in which ``inner`` is the current scope, for one task of a worker."""
    context = copy_context()
    context.run(_current.set, inner)
    return context


def aside(work: Callable[[], T], timeout: float) -> T:
    """Do something that a cancelled or ended scope around must not keep from being done, such as cleaning up.

    It runs outside of all scopes, for at most ``timeout`` seconds, and nobody hears its events and progress.
    """

    def inside() -> T:
        with scope(timeout):
            return work()

    return Context().run(inside)


@contextmanager
def scope(timeout: float | None = None, *, clock: Clock = SYSTEM_CLOCK) -> Iterator[Scope]:
    """Bound everything inside by ``timeout`` seconds and make it cancellable.

    Calls inside raise `StorageTimeoutError` once the time is over and `CancelledError` after ``cancel()``; both leave
    stored objects as they were, like any failed call.
    """
    inner = inner_scope(timeout, clock=clock)
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)
