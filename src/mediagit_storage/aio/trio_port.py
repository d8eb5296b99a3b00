"""Tasks of trio that wait for threads. Imported only where trio runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import trio

from mediagit_storage.aio.calls import Call, Port, scope_cancelled, task_cancelled, time_over
from mediagit_storage.scope import Scope, current_scope

__all__ = ["TrioPort"]

T = TypeVar("T")


class TrioPort(Port):
    """The port of one `trio.run`."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        super().__init__()
        self._token = token

    @property
    def over(self) -> bool:
        """Whether that run has ended."""
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except trio.RunFinishedError:
            return True
        return False

    async def wait(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """See `Port.wait`. A cancelled call that may change something is waited for until it has ended."""
        scope = current_scope()
        if scope.endless:
            return await self._wait(call, begin)
        with ExitStack() as watched:
            watched.enter_context(scope.on_cancel(lambda: self.call_soon(lambda: self._end(call, scope))))
            left = scope.remaining()
            with trio.move_on_after(float("inf") if left is None else left):
                return await self._wait(call, begin)
            raise time_over()

    async def see_through(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """See `Port.see_through`."""
        with trio.CancelScope(shield=True):
            value = await self._wait(call, begin)
        return value  # noqa: RET504  # to the type checker, a scope of trio may swallow what is raised inside

    # Ctrl-C between the beginning and the wait would have an answer wake a task that waits for something else.
    @trio.lowlevel.enable_ki_protection
    async def _wait(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        cancelled = False

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            nonlocal cancelled
            cancelled = True
            call.abandon(task_cancelled())
            return trio.lowlevel.Abort.SUCCEEDED if call.over else trio.lowlevel.Abort.FAILED

        call.waiter = trio.lowlevel.current_task()
        begin(call)
        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
            if cancelled:
                await trio.lowlevel.checkpoint_if_cancelled()
        finally:
            self._gone_on(call)
        return call.taken()

    def _end(self, call: Call[T], scope: Scope) -> None:
        if call.abandon(scope_cancelled() if scope.cancelled else time_over()):
            self._resume(call)  # type: ignore[arg-type]  # as in `deliver`

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See `Port.call_soon`."""
        self._token.run_sync_soon(callback)

    def _resume(self, call: Call[object]) -> None:
        waiter = call.waiter
        if isinstance(waiter, trio.lowlevel.Task):
            trio.lowlevel.reschedule(waiter)


def _nothing() -> None:
    """Only to see whether the run takes it."""
