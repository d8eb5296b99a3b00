"""Tasks of asyncio that wait for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from mediagit_storage.aio.calls import Call, Port, scope_cancelled, task_cancelled, time_over
from mediagit_storage.scope import current_scope

__all__ = ["AsyncioPort"]

T = TypeVar("T")


class AsyncioPort(Port):
    """The port of one asyncio loop."""

    def __init__(self, loop: object) -> None:
        super().__init__()
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise TypeError("an event loop of asyncio is expected")
        self._loop = loop

    @property
    def over(self) -> bool:
        """Whether the loop was closed."""
        return self._loop.is_closed()

    async def wait(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """See `Port.wait`. A cancelled call that may change something is waited for until it has ended."""
        if not current_scope().endless:
            return await self._wait_in_scope(call, begin)
        return await self._wait(call, begin)

    async def _wait(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        future = call.waiter = self._loop.create_future()
        begin(call)
        try:
            await future
        except BaseException as error:
            # Cancelled; or the coroutine was dropped, and must not wait.
            call.abandon(task_cancelled())
            while not call.over and isinstance(error, asyncio.CancelledError):
                await self._settled(call)
            self._gone_on(call)
            raise
        self._gone_on(call)
        return call.taken()

    async def _wait_in_scope(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """The same, ended also by the scope around: by its time, or from any thread."""
        scope, loop = current_scope(), self._loop

        def end() -> None:
            if call.abandon(scope_cancelled() if scope.cancelled else time_over()):
                self._resume(call)  # type: ignore[arg-type]  # as in `deliver`

        with ExitStack() as watched:
            left = scope.remaining()
            if left is not None:
                watched.callback(loop.call_later(left, end).cancel)
            watched.enter_context(scope.on_cancel(lambda: self.call_soon(end)))
            return await self._wait(call, begin)

    async def see_through(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """See `Port.see_through`. A task that is cancelled meanwhile hears of it afterwards."""
        begin(call)
        cancelled: asyncio.CancelledError | None = None
        while not call.over:
            cancelled = await self._settled(call) or cancelled
        self._gone_on(call)
        value = call.taken()
        if cancelled is not None:
            raise cancelled
        return value

    async def _settled(self, call: Call[T]) -> asyncio.CancelledError | None:
        """Wait on for the answer. Being cancelled (once more) does not end the call, and is what this returns."""
        future = call.waiter = self._loop.create_future()
        try:
            await future
        except asyncio.CancelledError as error:
            return error
        return None

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See `Port.call_soon`."""
        self._loop.call_soon_threadsafe(callback)

    def _resume(self, call: Call[object]) -> None:
        waiter = call.waiter
        if isinstance(waiter, asyncio.Future) and not waiter.done():
            waiter.set_result(None)
