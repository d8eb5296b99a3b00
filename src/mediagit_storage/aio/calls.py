"""One thing that a task waits for while a thread does it, and where the answers for the tasks of one event loop arrive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from mediagit_storage.errors import CancelledError, StorageTimeoutError
from mediagit_storage.scope import Scope

__all__ = ["Answer", "Call", "Carrier", "Port"]

T = TypeVar("T")

#: What came of a call: a value or an error.
Answer = tuple[T, None] | tuple[None, BaseException]


class Carrier(Protocol):
    """What carries calls out, in threads of its own."""

    def stop(self, call: Call[T], /) -> bool:
        """End a call early, from any thread; True where it had not begun and never will, so that no answer comes."""
        ...


class Call(Generic[T]):
    """One piece of work for a thread, in a scope of its own. Begun by its port, answered by its carrier, once each.

    A call that ``settles`` may change something: whoever waits for it goes on when it is certain that nothing more happens.
    Others are left to themselves when they are no longer wanted. ``size`` counts the bytes of the answer that are in memory.
    """

    __slots__ = ("abandoned", "answer", "carrier", "over", "port", "reason", "scope", "settles", "size", "waiter")

    def __init__(self, port: Port, carrier: Carrier, scope: Scope, *, settles: bool) -> None:
        self.port = port
        self.carrier = carrier
        self.scope = scope
        self.settles = settles
        self.answer: Answer[T] | None = None
        self.size = 0
        #: Whether the task has its answer, or wants none any more. Changed in the loop's thread only.
        self.over = False
        #: Whether that is so although its own answer, if any comes, is not there yet.
        self.abandoned = False
        #: Why it is being stopped.
        self.reason: BaseException | None = None
        #: What the port wakes the task by.
        self.waiter: object = None

    def abandon(self, error: BaseException) -> bool:
        """Have it stopped. True where ``error`` is its answer from now on; else its own answer is still to come."""
        if self.over:
            return False
        self.reason = error
        withdrawn = self.carrier.stop(self)
        if not withdrawn and self.settles:
            return False
        self.answer = (None, error)
        self.over = self.abandoned = True
        return True

    def taken(self) -> T:
        """The answer's value, or its error raised. What is in memory no longer counts."""
        answer, self.answer = self.answer, None
        if answer is None:
            raise AssertionError("a call is over when it has its answer")
        value, error = answer
        if error is not None:
            if self.reason is not None and isinstance(error, CancelledError):
                # It was stopped, and says so in its own words.
                error = self.reason
            try:
                raise error
            finally:
                # An error that knows a frame which knows the error would stay until a collection.
                self.reason = None
                del answer, error
        return value  # type: ignore[return-value]  # the type of the pair is not narrowed by one half


class Port(ABC):
    """One event loop, as threads see it: they `deliver` answers, and it wakes the tasks, many at a time."""

    def __init__(self) -> None:
        self._answered: deque[Call[object]] = deque()
        self._called = False
        self._delivered = 0
        self._taken = 0
        #: Told once, when a task has taken bytes that waited for it.
        self.on_room: Callable[[], None] | None = None

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether the loop has ended: nobody waits for anything any more."""

    @abstractmethod
    async def wait(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """Begin a call and wait for its answer. A task that is cancelled meanwhile has the call stopped."""

    @abstractmethod
    async def see_through(self, call: Call[T], begin: Callable[[Call[T]], None]) -> T:
        """Begin a call and wait for its answer, also in a task that is cancelled, before or meanwhile: nothing stops it."""

    @abstractmethod
    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the loop call ``callback``, from any thread. `RuntimeError` when it has ended."""

    @abstractmethod
    def _resume(self, call: Call[object]) -> None:
        """Wake the task, from the loop's thread."""

    @property
    def held(self) -> int:
        """Bytes of answers that no task has taken yet."""
        return self._delivered - self._taken

    def deliver(self, call: Call[T]) -> None:
        """Hand over a call that has its answer, from any thread.

        Only one thread may deliver such as count bytes: the counters are kept without a lock.
        """
        if call.size:
            self._delivered += call.size
        self._answered.append(call)  # type: ignore[arg-type]  # a call is not asked for its value here
        if not self._called:
            # The loop empties the whole queue at once: one awakening for all that came until then.
            self._called = True
            try:
                self.call_soon(self._drain)
            except RuntimeError:
                self._answered.clear()

    def _drain(self) -> None:
        self._called = False
        answered = self._answered
        while answered:
            call = answered.popleft()
            if call.over:
                self._take(call)
            else:
                call.over = True
                self._resume(call)

    def _gone_on(self, call: Call[T]) -> None:
        """A task has gone on. What it did not wait for is seen to when it comes."""
        if call.over and not call.abandoned:
            self._take(call)

    def _take(self, call: Call[T]) -> None:
        """The bytes of an answer are the task's own from now on."""
        if call.size:
            self._taken += call.size
            call.size = 0
            tell = self.on_room
            if tell is not None:
                self.on_room = None
                tell()


CANCELLED: Final = "the task was cancelled"


def task_cancelled() -> CancelledError:
    """Why a call ends whose task was cancelled."""
    return CancelledError(CANCELLED)


def time_over() -> StorageTimeoutError:
    """Why a call ends when the time of the scope around it is over."""
    return StorageTimeoutError("the surrounding scope's time is over")


def scope_cancelled() -> CancelledError:
    """Why a call ends when the scope around it is cancelled."""
    return CancelledError("cancelled by the surrounding scope")
