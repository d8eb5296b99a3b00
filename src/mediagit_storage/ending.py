"""Waiting for the end of threads through interrupts: who goes on after one of these calls goes on alone.

Ctrl-C in the midst of `threading.Thread.join` raises there, and CPython before 3.13 takes the thread for ended from then
on: later joins return at once, while it still writes into what its maker believes to be his alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final

__all__ = ["PATIENCE", "Pool", "uninterrupted"]

#: Seconds for which the end of threads is still waited for after an interrupt.
PATIENCE: Final = 3.0


def uninterrupted(
    work: Callable[[], object], *, stop: Callable[[], None] | None = None, patience: float = PATIENCE
) -> None:
    """Do something that a first interrupt does not stop: it is raised when all is done. A second one is raised at once.

    The first one calls ``stop``, if there is one, and is raised after ``patience`` seconds at the latest; what is not done
    by then goes on beside the caller. Only the main thread is ever interrupted: there ``work`` runs in a daemon thread of
    its own, in the caller's context; or where no thread is to be had in this one.
    """
    # A thread that is started while the interpreter ends never runs, and its start would be waited for without end.
    if threading.current_thread() is not threading.main_thread() or sys.is_finalizing():
        work()
        return
    context, outcome = copy_context(), list[BaseException | None]()
    # No Event: an interrupt inside of one may leave its inner lock held, and then nobody can set it.
    over = threading.Lock()
    over.acquire()

    def inside() -> None:
        error: BaseException | None = None
        try:
            context.run(work)
        except BaseException as caught:  # noqa: BLE001  # raised below, in the thread that asked for it
            error = caught
        outcome.append(error)
        over.release()

    thread = threading.Thread(target=inside, name="mgs-end", daemon=True)
    try:
        try:
            thread.start()
        except RuntimeError:
            inside()
        over.acquire()
        if thread.ident is not None:
            # Nothing is left to be interrupted in it.
            thread.join()
    except BaseException:
        if stop is not None:
            stop()
        if not outcome:
            over.acquire(timeout=patience)
        raise
    if outcome[0] is not None:
        raise outcome[0]


class Pool(ThreadPoolExecutor):
    """A pool of threads none of which works any more when `shutdown` has returned or raised, with the exception that
    `uninterrupted` makes: an interrupt is raised afterwards, a second one or a thread that hangs is not waited for.
    """

    _seen_through = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # as it was
        """See `concurrent.futures.Executor.shutdown`. It waits once: who was interrupted is not held up again."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        if wait and not self._seen_through:
            self._seen_through = True
            uninterrupted(super().shutdown)
