"""An `AsyncStorage` that looks like a `Storage`, so that what tests the one tests the other."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import TracebackType
from typing import Self, TypeVar

from mediagit_storage.aio import AsyncBatch, AsyncItems, AsyncObjectStream, AsyncReader, AsyncStorage, AsyncWriter
from mediagit_storage.aio.files import Opening
from mediagit_storage.backend import StorageBackend
from mediagit_storage.keys import KeyRules
from mediagit_storage.storage import Storage

__all__ = ["AsyncFace", "running_loop"]

T = TypeVar("T")

#: With the process whose thread runs it.
_LOOPS: list[tuple[int, asyncio.AbstractEventLoop]] = []


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, in which the faces made inside run their calls."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mgs-test-loop")
    thread.start()
    _LOOPS.append((os.getpid(), loop))
    try:
        yield loop
    finally:
        _LOOPS.pop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _result(make: Callable[[], Awaitable[T]]) -> T:
    """What an awaitable gives, awaited in the loop as a task in the caller's context."""
    pid, loop = _LOOPS[-1]
    context = copy_context()

    async def waited() -> T:
        return await make()

    async def started() -> T:
        return await asyncio.create_task(waited(), context=context)

    if pid != os.getpid():
        # The thread of the loop did not come along.
        return asyncio.run(started())
    return asyncio.run_coroutine_threadsafe(started(), loop).result()


class _Facing:
    """Has what is awaitable of ``hidden`` awaited, and its iterators iterated over, in the loop."""

    def __init__(self, hidden: object) -> None:
        self._hidden = hidden

    def __getattr__(self, name: str) -> object:
        return _faced(getattr(self._hidden, name))

    def __iter__(self) -> Iterator[object]:
        return _items(self._hidden.__aiter__())  # type: ignore[attr-defined]  # asked only of what has it

    def close(self) -> None:
        """Close it, in the loop."""
        close = getattr(self._hidden, "aclose", None) or self._hidden.close  # type: ignore[attr-defined]  # as above
        _result(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _result(lambda: self._hidden.__aexit__(kind, error, trace))  # type: ignore[attr-defined]  # as above


class _FacingReader(_Facing):
    """A reader's other methods, in terms of those that tasks have."""

    def readinto(self, buffer: bytearray) -> int:
        """Fill ``buffer`` as far as the object goes."""
        data = _result(lambda: self._hidden.read(len(buffer)))  # type: ignore[attr-defined]  # it is a reader
        buffer[: len(data)] = data
        return len(data)


class _FacingWriter(_Facing):
    """A writer, with the thread that the suite wants to see the end of."""

    def __init__(self, hidden: AsyncWriter) -> None:
        super().__init__(hidden)
        self._writer = hidden

    @property
    def _thread(self) -> threading.Thread | None:
        return self._writer._writer._thread  # noqa: SLF001  # as the suite does


def _items(source: AsyncIterator[T]) -> Generator[T, None, None]:
    end = object()

    async def following() -> T | object:
        return await anext(source, end)

    while (item := _result(following)) is not end:
        yield item  # type: ignore[misc]  # not the end


def _faced(value: object) -> object:
    if inspect.iscoroutinefunction(value):
        return functools.wraps(value)(lambda *args, **options: _result(lambda: value(*args, **options)))
    return value


def _shown(value: object) -> object:
    """What a method of `AsyncStorage` returned, as that of `Storage` would have."""
    if isinstance(value, Opening):
        opened = _result(lambda: value)
        return _FacingReader(opened) if isinstance(opened, AsyncReader) else _FacingWriter(opened)
    if isinstance(value, AsyncItems):
        # What is wrong with what was asked for raises where it was asked.
        _result(value.__aenter__)
        return _Facing(value) if isinstance(value, AsyncObjectStream) else _items(value)
    if isinstance(value, AsyncBatch):
        return _Facing(value)
    return value


class AsyncFace(Storage):
    """Every public method is that of an `AsyncStorage`, called by a task of its own. Only inside of `running_loop`."""

    def __init__(self, backend: StorageBackend, *, keys: KeyRules = "strict", owned: bool = True) -> None:
        super().__init__(backend, keys=keys, owned=owned)
        self._tasks = AsyncStorage(Storage(backend, keys=keys, owned=owned))
        self._below: list[AsyncFace] = []

    def close(self) -> None:
        """Close both, and the faces that were made of this one: no thread is to stay for its second of idleness."""
        for each in self._below:
            each.close()
        _result(self._tasks.close)
        super().close()

    def with_layer(self, layer: Callable[[StorageBackend], StorageBackend]) -> Storage:
        """Another face."""
        return self._beside(self._tasks.with_layer(layer))

    def with_prefix(self, prefix: str) -> Storage:
        """Another face."""
        return self._beside(self._tasks.with_prefix(prefix))

    def _beside(self, tasks: AsyncStorage) -> AsyncFace:
        face = AsyncFace(tasks.backend, owned=False)
        self._below.append(face)
        return face

    def __reduce__(self) -> tuple[object, ...]:
        return (_face_of, (self._tasks,))


def _face_of(tasks: AsyncStorage) -> AsyncFace:
    return AsyncFace(tasks.backend)


async def _called(tasks: AsyncStorage, name: str, args: tuple[object, ...], options: dict[str, object]) -> object:
    # In a task, also what is no coroutine: as it is used.
    value = getattr(tasks, name)(*args, **options)
    return await value if inspect.iscoroutine(value) else value


def _forwarded(name: str) -> Callable[..., object]:
    return functools.wraps(getattr(Storage, name))(
        lambda face, *args, **options: _shown(_result(lambda: _called(face._tasks, name, args, options)))  # noqa: SLF001
    )


#: What `Storage` has of its own there: properties, which are asked of the same backend.
_OWN = frozenset({"backend", "capabilities", "close", "description", "with_layer", "with_prefix"})

for _name in vars(Storage):
    if not _name.startswith("_") and _name not in _OWN:
        setattr(AsyncFace, _name, _forwarded(_name))
