"""Many operations at once, their outcomes in the order given, in bounded memory.

Where a backend has a native `StorageBackend.batch` it runs in the caller's thread; elsewhere a pool of threads calls
the single methods. Either way at most ``buffer_bytes`` of bodies wait for the caller (and one object more, so that one
larger than the whole budget still comes through).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Final, NamedTuple

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    Content,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StorageBackend,
)
from mediagit_storage.ending import Pool
from mediagit_storage.errors import StorageError
from mediagit_storage.mending import mended
from mediagit_storage.progress import NO_TRANSFER, Transfer
from mediagit_storage.scope import context_inside, current_scope, inner_scope
from mediagit_storage.types import ObjectInfo

__all__ = ["Planned", "Result", "run_batch"]

#: Operations that may be begun beyond the one the caller waits for; their results are small or in the byte budget.
_WINDOW: Final = 4096


class Planned(NamedTuple):
    """One item of a batch: the key as the caller gave it, what to do or why it cannot be done, and its report."""

    key: str
    operation: Operation | Exception
    progress: Transfer = NO_TRANSFER


class Result:
    """What became of one `Planned`, or its place in the order until that is known."""

    __slots__ = ("error", "held", "item", "over", "value")

    def __init__(
        self, item: Planned, value: Content | ObjectInfo | None = None, error: Exception | None = None
    ) -> None:
        self.item = item
        self.value = value
        self.error = error
        #: Whether value and error are final, and how many bytes are in memory for it.
        self.over = False
        self.held = 0


def run_batch(backend: StorageBackend, items: Iterable[Planned], limits: BatchLimits) -> Generator[Result, None, None]:
    """Carry out ``items`` and yield a result for each, in their order.

    ``items`` is pulled from lazily; an exception it raises surfaces unchanged and stops the batch. Closing the
    iterator stops what is in flight.
    """
    backend = mended(backend)
    if backend.capabilities.batch:
        return _run_native(backend, iter(items), limits)
    return _run_threads(backend, iter(items), limits)


# ---- native: one thread, completions in any order, put back in order here


class _Feed:
    """Gives a native batch its operations, and None while the results that wait for the caller fill the budget."""

    def __init__(self, items: Iterator[Planned], limits: BatchLimits) -> None:
        self._items = items
        self._limits = limits
        self.exhausted = False
        self._open: dict[int, Result] = {}  # by identity of the operation, which the result's item keeps alive
        self.order: deque[Result] = deque()
        self._held = 0

    def operations(self) -> Iterator[Operation | None]:
        """The stream a native batch pulls from. It ends early at an item that cannot be done, to report that in turn."""
        order, most = self.order, self._limits.buffer_bytes
        for item in self._items:
            operation = item.operation
            result = Result(item)
            order.append(result)
            if isinstance(operation, Exception):
                result.error, result.over = operation, True
                return
            self._open[id(operation)] = result
            if isinstance(operation, PutOperation):
                result.held = operation.source.size or 0
                self._held += result.held
            yield operation
            while self._held > most or len(order) > _WINDOW:
                yield None
        self.exhausted = True

    def complete(self, completion: Completion) -> None:
        """Put a completion in its place."""
        operation, value, error = completion
        result = self._open.pop(id(operation))
        result.value, result.error, result.over = value, error, True
        if isinstance(value, Content):
            result.held += len(value.data)
            self._held += len(value.data)

    def ready(self) -> Iterator[Result]:
        """Take out the results whose turn it is, as far as they are there."""
        order = self.order
        while order and order[0].over:
            result = order.popleft()
            self._held -= result.held
            yield result


def _run_native(
    backend: StorageBackend, items: Iterator[Planned], limits: BatchLimits
) -> Generator[Result, None, None]:
    feed = _Feed(items, limits)
    while not feed.exhausted:
        completions = backend.batch(feed.operations(), limits)
        try:
            for completion in completions:
                feed.complete(completion)
                if feed.order[0].over:
                    yield from feed.ready()
        finally:
            close = getattr(completions, "close", None)
            if close is not None:
                close()
        yield from feed.ready()
        if feed.order:
            raise StorageError(f"the storage's batch ended without an answer for {len(feed.order):,} items")


# ---- threads: for backends without a native batch


class _Budget:
    """Bytes that bodies may hold. The item whose turn it is always gets through, so nobody waits for ever."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._turn = 0
        self._stopped = False
        self._changed = threading.Condition()

    def acquire(self, ticket: int, count: int) -> None:
        """Wait until ``count`` bytes fit, or until it is this ticket's turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or ticket == self._turn or self._used + count <= self._limit)
            self._used += count

    def release(self, count: int) -> None:
        """Give back what was acquired for nothing."""
        with self._changed:
            self._used -= count
            self._changed.notify_all()

    def yielded(self, ticket: int, count: int) -> None:
        """The caller is done with this ticket's bytes; the next one's turn begins."""
        with self._changed:
            self._turn = ticket + 1
        self.release(count)

    def stop(self) -> None:
        """Let everybody through: the batch is over."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class _Place(NamedTuple):
    budget: _Budget
    ticket: int


class _Pool:
    """Threads that call the single methods, with the item whose turn it is always among the running ones."""

    def __init__(self, backend: StorageBackend, limits: BatchLimits) -> None:
        self._backend = backend
        self._budget = _Budget(limits.buffer_bytes)
        self._inside = inner_scope()
        self._threads = Pool(limits.concurrency, thread_name_prefix="mgs-batch")
        self._waiting: deque[tuple[int, Planned, Future[Result] | None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, ticket: int, item: Planned) -> None:
        """Queue one item; one that cannot be done only keeps its place in the order."""
        operation = item.operation
        future: Future[Result] | None = None
        if not isinstance(operation, Exception):
            run = context_inside(self._inside).run
            future = self._threads.submit(run, _carry_out, self._backend, item, operation, _Place(self._budget, ticket))
        self._waiting.append((ticket, item, future))

    def first(self) -> Iterator[Result]:
        """The next result in order; its bytes count until the caller comes back for more."""
        ticket, item, future = self._waiting.popleft()
        if future is not None:
            result = future.result()
        else:
            result = Result(item, error=item.operation if isinstance(item.operation, Exception) else None)
        yield result
        self._budget.yielded(ticket, len(result.value.data) if isinstance(result.value, Content) else 0)

    def stop(self) -> None:
        """Abort what runs, drop what waits, and wait for the threads to end."""
        self._inside.cancel()
        self._budget.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)


def _run_threads(
    backend: StorageBackend, items: Iterator[Planned], limits: BatchLimits
) -> Generator[Result, None, None]:
    pool = _Pool(backend, limits)
    try:
        for ticket, item in enumerate(items):
            pool.submit(ticket, item)
            if len(pool) >= limits.concurrency * 2:
                yield from pool.first()
        while len(pool):
            yield from pool.first()
    finally:
        pool.stop()


def _carry_out(backend: StorageBackend, item: Planned, operation: Operation, place: _Place) -> Result:
    try:
        current_scope().check()
        if isinstance(operation, ReadOperation):
            return Result(item, _read(backend.stream(operation.key, operation.options), place))
        if isinstance(operation, PutOperation):
            return Result(item, backend.put(operation.key, operation.source, operation.options))
        if isinstance(operation, DeleteOperation):
            backend.delete(operation.key, operation.options)
            return Result(item)
        return Result(item, backend.stat(operation.key, operation.version))
    except Exception as error:  # noqa: BLE001  # every failure belongs to its item
        return Result(item, error=error)


def _read(body: Body, place: _Place) -> Content:
    """Read a body once its bytes fit: the size is known before the first of them is fetched."""
    with body:
        place.budget.acquire(place.ticket, body.length)
        try:
            return Content(body.info, b"".join(body), body.start)
        except BaseException:
            place.budget.release(body.length)
            raise
