"""Progress of transfers, reported to whoever asked for it around the call.

``with on_progress(print): store.upload(...)`` gets one `Progress` per step of every transfer inside: 0 first, the
total last; a transfer that fails reports last what it had reached. Workers inherit the callback.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

__all__ = ["NO_TRANSFER", "Progress", "ProgressCallback", "Transfer", "current_progress", "on_progress", "transfer"]


class Progress(NamedTuple):
    """One step of one transfer: what it is, and how many of how many bytes are done.

    ``total`` is None while nobody knows it; the last report of a complete transfer has ``completed == total``.
    """

    description: str
    completed: int
    total: int | None


ProgressCallback = Callable[[Progress], None]

_callback: ContextVar[ProgressCallback | None] = ContextVar("mediagit_storage_progress", default=None)


@contextmanager
def on_progress(callback: ProgressCallback) -> Iterator[None]:
    """Report every transfer inside to ``callback``, which may be called from several threads at once."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


def current_progress() -> ProgressCallback | None:
    """The callback in force, or None: implementers report nothing, at no cost, when it is None."""
    return _callback.get()


class Transfer:
    """The running report of one transfer. Thread-safe: parallel parts may all call `advance`."""

    def __init__(self, description: str, total: int | None, callback: ProgressCallback | None) -> None:
        self._description = description
        self._total = total
        self._callback = callback
        self._completed = 0
        self._lock = threading.Lock()
        self._report()

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""
        if self._callback is not None and count:
            with self._lock:
                self._completed += count
                self._report()

    def restart(self) -> None:
        """A retry reads the source from its start again: what was counted does not count."""
        with self._lock:
            self._completed = 0

    def finish(self, total: int | None = None) -> None:
        """All is done: report the total last, once."""
        with self._lock:
            final = total if total is not None else self._total if self._total is not None else self._completed
            if final != self._completed or self._total != final:
                self._completed = self._total = final
                self._report()

    def fail(self) -> None:
        """It ended early: report once more what was reached."""
        with self._lock:
            self._report()

    def _report(self) -> None:
        if self._callback is not None:
            self._callback(Progress(self._description, self._completed, self._total))


#: A transfer that nobody watches.
NO_TRANSFER: Final = Transfer("", None, None)


@contextmanager
def transfer(description: str, total: int | None) -> Iterator[Transfer]:
    """Report one transfer: 0 on entry, the total on a clean exit, what was reached when the body raises."""
    callback = _callback.get()
    if callback is None:
        yield NO_TRANSFER
        return
    report = Transfer(description, total, callback)
    try:
        yield report
    except BaseException:
        report.fail()
        raise
    report.finish()
