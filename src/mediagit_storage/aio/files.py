"""Objects as files, for tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from mediagit_storage.aio.engine import Course, Engine
from mediagit_storage.errors import ClosedError
from mediagit_storage.reader import ObjectReader
from mediagit_storage.types import BytesLike, ObjectInfo
from mediagit_storage.writer import ObjectWriter

__all__ = ["AsyncReader", "AsyncWriter", "Opening"]

T = TypeVar("T")
F = TypeVar("F", "AsyncReader", "AsyncWriter")

#: Small writes are joined to pieces of this size before a thread is asked.
_PIECE_BYTES: Final = 256 * 1024


class AsyncReader:
    """A seekable file over one version of one object: an `ObjectReader` for tasks.

    `read_at` neither uses nor moves the position and may be called by several tasks at once; everything else is for one
    task at a time.
    """

    def __init__(self, engine: Engine, reader: ObjectReader) -> None:
        self.info = reader.info
        self._engine = engine
        self._reader = reader

    async def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, fewer only at the end; all the rest without a size."""
        return await self._engine.in_thread(lambda: self._reader.read(size))

    async def read_at(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer only at the end, none past it. One request."""
        return await self._engine.in_thread(lambda: self._reader.read_at(offset, length), settles=False)

    async def readline(self, size: int | None = -1, /) -> bytes:
        """The bytes up to and with the next line end, at most ``size`` of them; none at the end."""
        return await self._engine.in_thread(lambda: self._reader.readline(size))

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; a place past the end is allowed and reads nothing. No request."""
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        """Where the next read begins."""
        return self._reader.tell()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._reader.closed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def close(self) -> None:
        """Drop what was read ahead. Idempotent."""
        self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncWriter:
    """A binary file to write to: an `ObjectWriter` for tasks.

    `close` commits; an exception in an ``async with`` block, a cancelled `write`, `abort`, or losing the writer without
    closing it leaves the old object and nothing new. One task at a time. A thread sends what is written.
    """

    def __init__(self, engine: Engine, writer: ObjectWriter, course: Course) -> None:
        self.name = writer.name
        self._engine = engine
        self._writer = writer
        self._course = course
        self._parts: list[bytes] = []
        self._pending = 0

    async def write(self, data: BytesLike, /) -> int:
        """Take in all of ``data`` and return its length. Raises what the storage raised, as soon as it is known."""
        self._require_open()
        piece = bytes(memoryview(data))  # a private copy; a str has no memory to view and is a TypeError
        self._parts.append(piece)
        self._pending += len(piece)
        if self._pending >= _PIECE_BYTES:
            await self._step(self._hand_over)
        return len(piece)

    async def flush(self) -> None:
        """Hand over what was written so far. It becomes visible only with `close`."""
        self._require_open()
        await self._step(self._flush)

    async def close(self) -> None:
        """Commit: the object is complete, durable and visible when this returns. Closing again does nothing.

        Raises what the put raised; nothing is stored then.
        """
        if self._writer.closed:
            return
        try:
            await self._step(self._commit)
        except BaseException as error:
            # Cut off before it began. A coroutine that is dropped must not wait.
            if not isinstance(error, GeneratorExit):
                await self.abort()
            raise

    async def abort(self) -> None:
        """Give up: nothing is stored, the old object stays."""
        self._parts.clear()
        self._course.scope.cancel()
        if not self._writer.closed:
            await self._engine.see_through(self._writer.abort)

    @property
    def info(self) -> ObjectInfo:
        """What was stored, after `close`."""
        return self._writer.info

    @property
    def closed(self) -> bool:
        """Whether `close` or `abort` was called."""
        return self._writer.closed

    def tell(self) -> int:
        """Bytes written so far."""
        return self._writer.tell() + self._pending

    async def __aenter__(self) -> Self:
        self._require_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            await self.abort()

    async def _step(self, work: Callable[[], T]) -> T:
        try:
            return await self._engine.step(work, self._course)
        except BaseException:
            # Nobody knows what of it was taken in: nothing may follow on it.
            self._course.scope.cancel()
            raise

    def _hand_over(self) -> None:
        if self._pending:
            data = b"".join(self._parts)
            self._parts.clear()
            self._pending = 0
            self._writer.write(data)

    def _flush(self) -> None:
        self._hand_over()
        self._writer.flush()

    def _commit(self) -> None:
        self._hand_over()
        self._writer.close()

    def _require_open(self) -> None:
        if self._writer.closed:
            raise ClosedError("the writer is closed")


class Opening(Generic[F]):
    """A file that is about to be opened: ``async with store.open(key) as file``, or ``file = await store.open(key)``."""

    def __init__(self, engine: Engine, explain: AbstractContextManager[None], begin: Callable[[Course], F]) -> None:
        self._engine = engine
        self._explain = explain
        self._begin: Callable[[Course], F] = begin
        self._file: F | None = None

    def __await__(self) -> Generator[object, None, F]:
        return self._open().__await__()

    async def __aenter__(self) -> F:
        self._file = await self._open()
        return self._file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            await self._file.__aexit__(kind, error, trace)

    async def _open(self) -> F:
        course = self._engine.course()
        with self._explain:
            return await self._engine.step(lambda: self._begin(course), course)
