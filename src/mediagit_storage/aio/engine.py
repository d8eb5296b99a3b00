"""What an `AsyncStorage` works with in one process: its threads, and a port for each event loop that uses it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import Context
from typing import NamedTuple, TypeVar

from mediagit_storage.aio.calls import Port
from mediagit_storage.aio.lane import Lane, OperationCall, Value
from mediagit_storage.aio.workers import WorkCall, Workers
from mediagit_storage.backend import BatchLimits, DeleteOperation, Operation, PutOperation, StorageBackend
from mediagit_storage.errors import ClosedError
from mediagit_storage.events import Listener, current_actor, current_listener
from mediagit_storage.scope import Scope, context_inside, inner_scope

__all__ = ["Course", "Engine"]

T = TypeVar("T")


class Course(NamedTuple):
    """What the steps of one call have in common. ``scope.cancel()`` ends it."""

    scope: Scope
    context: Context


class Engine:
    """Two lanes, since writes may be slow where reads are not, and a pool of threads. All of them start when needed."""

    def __init__(
        self, backend: StorageBackend, limits: BatchLimits, threads: int, listener: Listener | None = None
    ) -> None:
        self._listener = listener
        self._batches = backend.capabilities.batch
        self._reading = Lane(backend, limits, listener, "mgs-async-read")
        self._writing = Lane(backend, limits, listener, "mgs-async-write")
        self._workers = Workers(threads, "mgs-async")
        self._ports: dict[object, Port] = {}
        self._closed = False

    @property
    def travels(self) -> bool:
        """Whether an operation of the running task may go with others: the storage has batches, events reach whom they
        would reach from a thread of its own, and the audit log needs no name of who acts.
        """
        return self._batches and current_listener() == self._listener and current_actor() is None

    async def carry_out(self, operation: Operation) -> Value:
        """One operation, with others. Only where it `travels`."""
        port = self.port()
        settles = type(operation) is PutOperation or type(operation) is DeleteOperation
        lane = self._writing if settles else self._reading
        scope = operation.scope = inner_scope()
        call = OperationCall(port, lane, scope, settles=settles)
        call.operation = operation
        return await port.wait(call, lane.begin)

    async def in_thread(self, work: Callable[[], T], *, settles: bool = True) -> T:
        """What ``work`` returns, called in a thread, in the context of the running task.

        ``settles``: it may change something, so who cancels it waits for its end.
        """
        return await self.step(work, self.course(), settles=settles)

    async def step(self, work: Callable[[], T], course: Course, *, settles: bool = True) -> T:
        """The same for one of several steps, which are taken one after the other."""
        port = self.port()
        call = WorkCall(port, self._workers, course.scope, course.context, work, settles=settles)
        return await port.wait(call, self._workers.begin)

    async def see_through(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, called in a thread of its own, outside of all scopes, even where the task is cancelled.

        For cleaning up, which must be done however a task ends, and must not wait for those whose end it may be. Where the
        storage is closed it is done at once.
        """
        if self._closed:
            return work()
        port, scope = self.port(), Scope()
        context = Context().run(context_inside, scope)
        call = WorkCall(port, self._workers, scope, context, work, settles=True)
        return await port.see_through(call, self._workers.begin_apart)

    @staticmethod
    def course() -> Course:
        """What the steps of one call have in common: the context of the running task, and a scope in it."""
        scope = inner_scope()
        return Course(scope, context_inside(scope))

    def leave(self, work: Callable[[], None]) -> None:
        """Have something done in a thread that nobody waits for; at once when the storage is closed."""
        self._workers.leave(work)

    def port(self) -> Port:
        """The port of the event loop that runs now. `RuntimeError` outside of any."""
        if self._closed:
            raise ClosedError("the storage is closed")
        loop = _running_loop()
        port = self._ports.get(loop)
        if port is None:
            self._ports = {known: each for known, each in self._ports.copy().items() if not each.over}
            port = self._ports.setdefault(loop, _port_of(loop))
        return port

    def close(self) -> list[threading.Thread]:
        """End everything that is under way with a `ClosedError`. Returns at once, with the threads that are about to end."""
        self._closed = True
        lanes = [thread for lane in (self._reading, self._writing) if (thread := lane.close()) is not None]
        return [*lanes, *self._workers.close()]


def _running_loop() -> object:
    """What stands for the event loop around the running task: of trio its token."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        token: object = trio.lowlevel.current_trio_token()
        return token
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        raise RuntimeError("there is no event loop: an AsyncStorage is for tasks of asyncio or trio")
    loop: object = asyncio.get_running_loop()
    return loop


def _port_of(loop: object) -> Port:
    # Neither library is imported but where it runs already.
    trio = sys.modules.get("trio")
    if trio is not None and isinstance(loop, trio.lowlevel.TrioToken):
        from mediagit_storage.aio.trio_port import TrioPort  # noqa: PLC0415  # as above

        return TrioPort(loop)
    from mediagit_storage.aio.asyncio_port import AsyncioPort  # noqa: PLC0415  # as above

    return AsyncioPort(loop)
