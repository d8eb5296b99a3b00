"""One thread in which a batch of the storage carries out what tasks ask for, one operation each, as they ask for it."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, nullcontext
from contextvars import Context
from typing import Final, TypeVar

from mediagit_storage.aio.calls import Call, Port
from mediagit_storage.backend import BatchLimits, Completion, Content, Operation, ReadOperation, StorageBackend
from mediagit_storage.bell import Bell, hang_up
from mediagit_storage.closable import closable
from mediagit_storage.errors import CancelledError, ClosedError, StorageError
from mediagit_storage.events import Listener, on_event
from mediagit_storage.scope import Scope, context_inside
from mediagit_storage.types import ObjectInfo

__all__ = ["Lane", "OperationCall", "Value"]

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

Value = Content | ObjectInfo | None

#: Seconds after which a lane that nobody asks for anything lets go of its connections, and of its thread.
_IDLE: Final = 1.0


class OperationCall(Call[Value]):
    """One operation of a task's."""

    __slots__ = ("operation",)

    operation: Operation


class Lane:
    """A batch that is fed by any number of tasks. Its thread runs only while there is something to do, and 1 s more.

    While results of 64 MiB (``limits.buffer_bytes``) wait for the tasks of one event loop, no further reads are begun for
    that loop; those of other loops go on, so nobody waits for somebody who waits for him.
    """

    def __init__(self, backend: StorageBackend, limits: BatchLimits, listener: Listener | None, name: str) -> None:
        self._backend = backend
        self._limits = limits
        self._listener = listener
        self._name = name
        self._pending: deque[OperationCall] = deque()
        # By identity of the operation, which the call keeps alive.
        self._given: dict[int, OperationCall] = {}
        self._held_up: dict[Port, deque[OperationCall]] = {}
        self._lock = threading.Lock()
        self._roused = threading.Event()
        self._bell = Bell()
        self._scope = Scope()
        #: Whether the thread waits for `_roused`, and whether the batch was told that there is nothing now.
        self._asleep = False
        self._hungry = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._last_error: Exception | None = None
        self._pulled = False

    def begin(self, call: Call[Value]) -> None:
        """Take in a call, from any thread. Its answer comes, whatever happens."""
        if not isinstance(call, OperationCall):
            raise TypeError("a lane carries out operations")
        self._pending.append(call)
        if self._asleep or self._hungry or self._thread is None or self._closed:
            try:
                self._rouse()
            except RuntimeError:
                # No thread is to be had. What is refused must not be done later, when there is one again.
                if self._withdrawn(call):
                    raise

    def stop(self, call: Call[T]) -> bool:
        """See `Carrier.stop`."""
        call.scope.cancel()
        if self._withdrawn(call):
            return True
        self._rouse(look=True)
        return False

    def _withdrawn(self, call: Call[T]) -> bool:
        """Take back a call; False where it was begun."""
        for waiting in (self._pending, *self._held_up.copy().values()):
            try:
                waiting.remove(call)  # type: ignore[arg-type]  # found only where it is one of its own
            except ValueError:
                continue
            return True
        return False

    def close(self) -> threading.Thread | None:
        """End everything with a `ClosedError`. Returns at once, with the thread that is about to end."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._scope.cancel()
        self._rouse(look=True)
        return thread

    # ---- the thread

    def _rouse(self, *, look: bool = False) -> None:
        with self._lock:
            if self._thread is None and not self._closed and (self._pending or self._held_up):
                run = Context().run(context_inside, self._scope).run
                thread = threading.Thread(target=run, args=(self._work,), name=self._name, daemon=True)
                # Where the system has no thread left, the next call tries again.
                thread.start()
                self._thread = thread
            alone = self._thread is None
        if alone and self._closed:
            self._fail([*self._taken_out()], ClosedError("the storage is closed"))
        # Once is enough, however many come before the thread has its turn.
        self._asleep = False
        self._roused.set()
        if self._hungry or look:
            self._hungry = False
            self._bell.ring(look=look)

    def _work(self) -> None:
        hang_up(self._bell)
        with (
            nullcontext()
            if self._listener is None
            else on_event(self._listener.callback, details=self._listener.details)
        ):
            while True:
                self._run_batch()
                with self._lock:
                    # Not there before the last look: who asks for something after it starts another thread.
                    thread, self._thread = self._thread, None
                    if self._closed or not self._pending:
                        break
                    self._thread = thread
        if self._closed:
            self._fail([*self._taken_out()], ClosedError("the storage is closed"))

    def _run_batch(self) -> None:
        failure: BaseException
        self._pulled = False
        try:
            with closing(closable(self._backend.batch(self._operations(), self._limits))) as completions:
                for completion in completions:
                    self._complete(completion)
                    # What was read is not kept until the next one comes.
                    del completion
            failure = StorageError("the storage's batch ended without an answer")
        except BaseException as error:  # noqa: BLE001  # it is raised in every task that waits
            failure = ClosedError("the storage was closed") if self._closed else error
        given, self._given, self._last_error = [*self._given.values()], {}, None
        if not self._pulled and self._pending:
            # A batch that asks for nothing will not do so the next time either.
            given.append(self._pending.popleft())
        self._fail(given, failure)

    def _operations(self) -> Iterator[Operation | None]:
        """What the batch pulls from. It ends when nothing was asked for in a while."""
        self._pulled = True
        while True:
            call = self._next()
            if call is not None:
                self._hungry = False
                self._given[id(call.operation)] = call
                yield call.operation
                continue
            self._last_error = None
            # First the flag, then the look: who comes in between sees the flag.
            if self._given:
                self._hungry = True
                if not self._pending:
                    yield None
            elif not self._wait():
                return

    def _wait(self) -> bool:
        """Sleep until there may be something to do; False when it is time to end."""
        self._roused.clear()
        self._asleep = True
        try:
            return not self._closed and (bool(self._pending) or self._has_room() or self._roused.wait(_IDLE))
        finally:
            self._asleep = False

    def _next(self) -> OperationCall | None:
        """The next call that may begin now, if there is one."""
        if self._closed:
            raise ClosedError("the storage was closed")
        if self._held_up and self._has_room():
            self._let_on()
        while self._pending:
            try:
                call = self._pending.popleft()
            except IndexError:
                break
            if call.scope.cancelled:
                self._answer(call, None, CancelledError("cancelled before it began"))
            elif isinstance(call.operation, ReadOperation) and self._is_full(call.port):
                self._held_up.setdefault(call.port, deque()).append(call)
                call.port.on_room = self._rouse
            else:
                return call
        return None

    # ---- bytes that wait for their tasks

    def _is_full(self, port: Port) -> bool:
        return port.held > self._limits.buffer_bytes and not port.over

    def _has_room(self) -> bool:
        return any(not self._is_full(port) for port in self._held_up)

    def _let_on(self) -> None:
        for port, calls in [*self._held_up.items()]:
            if not self._is_full(port):
                del self._held_up[port]
                self._pending.extendleft(reversed(calls))

    # ---- answers

    def _complete(self, completion: Completion) -> None:
        operation, value, error = completion
        call = self._given.pop(id(operation), None)
        if call is None:
            raise StorageError("the storage's batch answered what nobody asked")
        if error is None:
            if type(value) is Content and not call.over:
                call.size = len(value.data)
        elif error is self._last_error:
            error = _another(error)
        else:
            self._last_error = error
        self._answer(call, value, error)

    def _answer(self, call: OperationCall, value: Value, error: BaseException | None) -> None:
        if self._closed and isinstance(error, CancelledError):
            error = ClosedError("the storage was closed")
        if call.answer is None:
            call.answer = (value, None) if error is None else (None, error)
        call.port.deliver(call)

    def _fail(self, calls: list[OperationCall], failure: BaseException) -> None:
        for call in calls:
            self._answer(call, None, _another(failure))

    def _taken_out(self) -> Iterator[OperationCall]:
        """Everything that waits."""
        while self._pending:
            yield self._pending.popleft()
        while self._held_up:
            yield from self._held_up.popitem()[1]


def _another(error: E) -> E:
    """One failure of several operations: each task gets an error of its own, to be filled in with its own key."""
    try:
        other = copy.copy(error)
    except Exception:  # noqa: BLE001  # of somebody else's error, which may not be made to be copied
        return error
    if isinstance(other, StorageError):
        other.operation = other.key = other.store = None
    return other
