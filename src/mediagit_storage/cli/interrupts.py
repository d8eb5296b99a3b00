"""Ctrl-C and SIGTERM end the work in order: what is in flight is cancelled and cleaned up, then the command ends.

An exception that a signal raises at any place could skip a clean-up that was about to begin. So the first signal cancels
the scope, which stops transfers where they are prepared for it; only work that does not stop soon, or a second signal,
is broken off where it stands.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from mediagit_storage.cli.framework import Interrupted, Terminated
from mediagit_storage.scope import Scope

__all__ = ["cancelling"]

#: Seconds that cancelled work may take to stop by itself.
_PATIENCE: Final = 1.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelling(inside: Scope) -> Iterator[None]:
    """Let signals cancel ``inside``; then `Interrupted` or `Terminated` is raised, whatever the cancelled work raised.

    Does nothing outside of the main thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise _ending(received[0])

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reader, inside, done), name="mgs-signals", daemon=True)
    watcher.start()
    before = [(number, signal.signal(number, handle)) for number in _SIGNALS]
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    except Exception:
        if received:
            raise _ending(received[0]) from None
        raise
    finally:
        done.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before:
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, inside: Scope, done: threading.Event) -> None:
    """Cancel on the first signal, from here: the main thread may hold the locks that this takes."""
    while number := os.read(reader, 1):
        if number[0] in _SIGNALS:
            inside.cancel()
            if not done.wait(_PATIENCE):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return


def _ending(number: int) -> BaseException:
    return Terminated() if number == signal.SIGTERM else Interrupted()
