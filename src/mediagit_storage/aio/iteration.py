"""Iterators of `Storage` for tasks: pulled by threads, a few items at a time, and closed however they are left."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from mediagit_storage.aio.calls import Port
from mediagit_storage.aio.engine import Engine
from mediagit_storage.batches import Batch
from mediagit_storage.errors import CancelledError, ClosedError
from mediagit_storage.storage import ObjectStream
from mediagit_storage.types import ObjectInfo, Outcome

__all__ = ["AsyncBatch", "AsyncItems", "AsyncObjectStream"]

T = TypeVar("T")
V = TypeVar("V")

#: What one visit to a thread brings at most: items, bytes of them, and seconds after which it does not wait for more.
_MOST_ITEMS: Final = 1000
_MOST_BYTES: Final = 1024 * 1024
_ENOUGH: Final = 0.002


class _Source(Generic[T]):
    """The iterator in the threads. For one thread at a time; apart from its owner, which may be gone when it is closed."""

    def __init__(self, make: Callable[[], Iterator[T]], weigh: Callable[[T], int]) -> None:
        self._make = make
        self._weigh = weigh
        self._items: Iterator[T] | None = None
        # Who closes it waits for the thread that is in it, which its scope has told to stop.
        self._lock = threading.Lock()
        self.over = False
        self._let_go = False
        #: Of the loop that it was begun in.
        self.port: Port | None = None

    def begin(self) -> None:
        """Have the iterator. What is wrong with what was asked for raises here."""
        with self._lock:
            self._begin()

    def some(self) -> tuple[list[T], BaseException | None]:
        """The next items, at least one while there are any, and the error that came after them."""
        with self._lock:
            try:
                return self._some()
            finally:
                if self._let_go:
                    self._close()

    def close(self) -> None:
        """Stop what it has under way."""
        with self._lock:
            self._close()

    def let_go(self) -> None:
        """The same without waiting: who is in there closes it."""
        self._let_go = True
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _close(self) -> None:
        items, self._items, self.over = self._items, None, True
        close = getattr(items, "close", None)
        if close is not None:
            close()

    def _begin(self) -> None:
        if self._items is None and not self.over:
            self._items = self._make()

    def _some(self) -> tuple[list[T], BaseException | None]:
        found: list[T] = []
        began, held = time.monotonic(), 0
        try:
            self._begin()
            for item in self._items or ():
                found.append(item)
                held += self._weigh(item)
                if len(found) >= _MOST_ITEMS or held >= _MOST_BYTES or time.monotonic() - began > _ENOUGH:
                    return found, None
        except BaseException as error:  # noqa: BLE001  # it comes in its turn
            self.over = True
            return found, error
        self.over = True
        return found, None


class AsyncItems(Generic[T]):
    """What a method of `Storage` iterates over, for ``async for``. Iterate once.

    Left early, it is closed as soon as nobody holds it any more; ``async with`` closes it at once, and tells what is wrong
    with what was asked for before the first item.
    """

    def __init__(
        self,
        engine: Engine,
        explain: AbstractContextManager[None],
        begin: Callable[[], Iterator[T]],
        weigh: Callable[[T], int] = lambda _: 0,
    ) -> None:
        self._engine = engine
        self._explain = explain
        self._course = engine.course()
        self._source = _Source(begin, weigh)
        self._found: deque[T] = deque()
        self._error: BaseException | None = None
        self._closed = False
        self._cut_off = False
        self._dropped = weakref.finalize(self, _drop, engine, self._source)
        self._dropped.atexit = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        with self._explain:
            if not self._closed:
                self._course.scope.check()
                if self._cut_off:
                    raise CancelledError("an earlier step was cut off, and what it brought is lost")
            while not self._found:
                if self._error is not None:
                    error, self._error = self._error, None
                    try:
                        raise error
                    finally:
                        # As in `Call.taken`: not to stay until a collection.
                        del error
                if self._source.over or self._closed:
                    raise StopAsyncIteration
                await self._fetch()
        return self._found.popleft()

    async def aclose(self) -> None:
        """Stop: what is under way is aborted. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._found.clear()
        self._dropped.detach()
        self._course.scope.cancel()
        if not self._source.over:
            await self._engine.see_through(self._source.close)

    async def __aenter__(self) -> Self:
        with self._explain:
            self._source.port = self._engine.port()
            await self._engine.step(self._source.begin, self._course)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _fetch(self) -> None:
        self._source.port = self._engine.port()
        try:
            found, self._error = await self._engine.step(self._source.some, self._course)
        except BaseException:
            # Cancelled: what came is lost, so nothing can follow on it, and the end must not look like a good one.
            self._cut_off = True
            raise
        self._found.extend(found)
        if self._source.over:
            self._dropped.detach()


class AsyncObjectStream(AsyncItems[bytes]):
    """The pieces of one object, for ``async for``, fetched as they are asked for; `info` tells of it once it is opened.

    ``async with store.stream(key) as stream`` opens it at once, and closes it; else it is opened with the first piece.
    """

    def __init__(
        self, engine: Engine, explain: AbstractContextManager[None], begin: Callable[[], ObjectStream]
    ) -> None:
        # Not in this object: the source must not lead to its owner, or it would never be let go of.
        opened: list[ObjectStream] = []
        self._opened = opened

        def pieces() -> Iterator[bytes]:
            opened.append(begin())
            return iter(opened[0])

        super().__init__(engine, explain, pieces, len)

    @property
    def info(self) -> ObjectInfo:
        """The object as it was when the stream was opened."""
        if not self._opened:
            raise ClosedError("the stream is not open yet: use `async with`, or take a piece")
        return self._opened[0].info


class AsyncBatch(Generic[V]):
    """The outcomes of many operations, in the order given, each as soon as its turn comes.

    Nothing happens before the first outcome is asked for: iterate with ``async for``, or await `run`. A batch that is
    dropped without either warns, because the work was not done. What was handed over is iterated over in a thread.
    """

    def __init__(self, engine: Engine, explain: AbstractContextManager[None], batch: Batch[V]) -> None:
        self._engine = engine
        self._explain = explain
        self._batch = batch
        self._outcomes: AsyncItems[Outcome[V]] | None = None

    def __aiter__(self) -> AsyncIterator[Outcome[V]]:
        if self._outcomes is None:
            outcomes = iter(self._batch)
            self._outcomes = AsyncItems(self._engine, self._explain, lambda: outcomes, _weight)
        return self._outcomes

    async def run(self) -> int:
        """Carry everything out and return how many items there were.

        Errors of items are collected, and raised at the end as one `ExceptionGroup`; every other item is done.
        """
        with self._explain:
            return await self._engine.in_thread(self._batch.run)

    async def aclose(self) -> None:
        """Stop: what is in flight is aborted, what was not begun is not done."""
        if self._outcomes is None:
            self._batch.close()
        else:
            await self._outcomes.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _weight(outcome: Outcome[V]) -> int:
    return len(outcome.value) if isinstance(outcome.value, bytes) else 0


def _drop(engine: Engine, source: _Source[T]) -> None:
    """Close what nobody iterates over any more, without making a loop wait for it.

    The garbage collector calls this, whatever the thread is about to do: no lock may be taken here, so the loop does it.
    """
    if source.port is None or source.over:
        return
    try:
        source.port.call_soon(lambda: engine.leave(source.close))
    except RuntimeError:
        source.let_go()
