"""Listing ahead of the work, so that the total of what is to come is known early, and reporting the progress of it all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Final, Generic, Protocol, TypeVar

from mediagit_storage.ending import uninterrupted
from mediagit_storage.progress import Progress, ProgressCallback, current_progress
from mediagit_storage.scope import context_inside, current_scope, inner_scope

__all__ = ["LookAhead", "Report", "reported"]

T = TypeVar("T")


class _Sized(Protocol):
    @property
    def size(self) -> int | None: ...


R = TypeVar("R", bound=_Sized)

#: Items that may be waiting; a longer listing waits for the work, and its total stays unknown until then.
_AHEAD: Final = 20_000


class LookAhead(Generic[T]):
    """An iterator over the same items in the same order, fetched by a thread of its own.

    ``total`` adds up ``size_of`` each item, and is None until the last one was seen. An exception of the source comes
    where the source raised it; ``ahead`` items may wait. Close it, or use it as a context manager: the thread ends then.
    """

    def __init__(self, items: Iterator[T], size_of: Callable[[T], int], *, ahead: int = _AHEAD) -> None:
        self._items = items
        self._size_of = size_of
        self._inside = inner_scope()
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._sum = 0
        self._complete = False
        # A daemon, because a source that never answers must not keep a program that was interrupted alive.
        self._thread = threading.Thread(
            target=context_inside(self._inside).run, args=(self._fetch,), name="mgs-look-ahead", daemon=True
        )
        self._thread.start()

    @property
    def total(self) -> int | None:
        """The sum of all sizes, or None while the end is not in sight."""
        return self._sum if self._complete else None

    def __iter__(self) -> Iterator[T]:
        scope = current_scope()
        while True:
            found = self._queue.get()
            scope.check()
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found[0]

    def close(self) -> None:
        """Stop fetching, also in the middle of a request. Idempotent."""
        self._stopped.set()
        self._inside.cancel()
        while not self._queue.empty():  # let a thread that waits for room see that it is over
            self._queue.get_nowait()
        uninterrupted(self._thread.join)

    def _fetch(self) -> None:
        try:
            for item in self._items:
                if self._stopped.is_set():
                    return
                self._sum += self._size_of(item)
                self._queue.put((item,))
            self._complete = True
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001  # it is raised again where the items are used
            self._queue.put(error)
        finally:
            # Here, not when somebody collects it: what it holds open belongs to this thread.
            close = getattr(self._items, "close", None)
            if close is not None:
                close()


class Report:
    """The progress of work on many objects as one transfer, from any number of threads."""

    def __init__(self, verb: str, callback: ProgressCallback | None, total: Callable[[], int | None]) -> None:
        self._verb = verb
        self._callback = callback
        self._total = total
        self._completed = 0
        self._lock = threading.Lock()
        self.advance(0)

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""
        if self._callback is not None:
            with self._lock:
                self._completed += count
                self._callback(Progress(self._verb, self._completed, self._total()))

    def end(self) -> None:
        """Report once more what was reached, now that the total is known."""
        self.advance(0)


def reported(
    verb: str, items: Iterator[T], size_of: Callable[[T], int], work: Callable[[Iterator[T]], Iterator[R]]
) -> Generator[R, None, None]:
    """What ``work`` makes of the items, reported as one transfer by the sizes of what it yields, if anybody listens."""
    callback = current_progress()
    if callback is None:
        yield from work(items)
        return
    with closing(LookAhead(items, size_of)) as ahead:
        report = Report(verb, callback, lambda: ahead.total)
        try:
            for done in work(iter(ahead)):
                report.advance(done.size or 0)
                yield done
        finally:
            report.end()
