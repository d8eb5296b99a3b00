"""Threads for what blocks: at most so many, started as they are needed, and gone when nobody needs them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Final, TypeVar

from mediagit_storage.aio.calls import Call, Port
from mediagit_storage.errors import CancelledError, ClosedError
from mediagit_storage.scope import Scope

__all__ = ["WorkCall", "Workers"]

T = TypeVar("T")

#: Seconds after which a thread without work ends.
_IDLE: Final = 1.0


class WorkCall(Call[T]):
    """A function to be called in a thread, in the context that it was asked for in."""

    __slots__ = ("context", "work")

    def __init__(
        self, port: Port, workers: Workers, scope: Scope, context: Context, work: Callable[[], T], *, settles: bool
    ) -> None:
        super().__init__(port, workers, scope, settles=settles)
        self.context = context
        self.work = work

    def perform(self) -> None:
        """Do it, and keep what comes of it."""
        try:
            value = self.context.run(self._checked)
        except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
            self.answer = self.answer or (None, error)
        else:
            self.answer = self.answer or (value, None)

    def _checked(self) -> T:
        self.scope.check()
        return self.work()


class Workers:
    """A pool of daemon threads. What must not wait for the others runs in a thread of its own, while it lasts."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._waiting: deque[WorkCall[object]] = deque()
        self._running: set[WorkCall[object]] = set()
        self._threads: set[threading.Thread] = set()
        self._shared = 0
        self._idle = 0
        self._closed = False

    def begin(self, call: Call[T]) -> None:
        """Take in a call; it runs when a thread is free."""
        own = _own(call)
        with self._lock:
            self._require_open()
            self._waiting.append(own)
            if self._idle >= len(self._waiting):
                self._work.notify()
            elif self._shared < self._most:
                self._start_shared(own)
            else:
                self._work.notify()

    def begin_apart(self, call: Call[T]) -> None:
        """Take in a call that has a thread for itself."""
        own = _own(call)
        with self._lock:
            self._require_open()
            self._start(lambda: self._perform(own))

    def leave(self, work: Callable[[], None]) -> None:
        """Do something in a thread of its own that nobody waits for; at once when closed."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._start(work)
        if closed:
            work()

    def stop(self, call: Call[T]) -> bool:
        """See `Carrier.stop`."""
        own = _own(call)
        with self._lock:
            if own in self._waiting:
                self._waiting.remove(own)
                return True
        own.scope.cancel()
        return False

    def close(self) -> set[threading.Thread]:
        """End everything with a `ClosedError`. Returns at once, with the threads that are about to end."""
        with self._lock:
            self._closed = True
            waiting, running = [*self._waiting], [*self._running]
            self._waiting.clear()
            self._work.notify_all()
            threads = set(self._threads)
        for call in waiting:
            call.answer = (None, ClosedError("the storage was closed"))
            call.port.deliver(call)
        for call in running:
            call.scope.cancel()
        return threads

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the storage is closed")

    def _start_shared(self, call: WorkCall[object]) -> None:
        try:
            self._start(self._take_turns)
        except RuntimeError:
            # No thread is to be had: it waits for one of those there are, or is refused, and then not done later.
            if not self._shared:
                self._waiting.remove(call)
                raise
        else:
            self._shared += 1

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._run, args=(target,), name=self._name, daemon=True)
        thread.start()
        self._threads.add(thread)

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _take_turns(self) -> None:
        while (call := self._next()) is not None:
            self._perform(call)
            del call

    def _next(self) -> WorkCall[object] | None:
        with self._lock:
            self._idle += 1
            try:
                self._work.wait_for(lambda: self._waiting or self._closed, _IDLE)
            finally:
                self._idle -= 1
            if not self._waiting:
                self._shared -= 1
                return None
            return self._waiting.popleft()

    def _perform(self, call: WorkCall[object]) -> None:
        with self._lock:
            self._running.add(call)
            closed = self._closed
        if closed:
            call.scope.cancel()
        call.perform()
        with self._lock:
            self._running.discard(call)
            closed = self._closed
        if closed and call.answer is not None and isinstance(call.answer[1], CancelledError):
            call.answer = (None, ClosedError("the storage was closed"))
        call.port.deliver(call)


def _own(call: Call[T]) -> WorkCall[object]:
    if not isinstance(call, WorkCall):
        raise TypeError("workers carry out functions")
    return call
