"""Operations while they run: their clock, their counts, and hooks that are called so that none can fail an operation."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from mediagit_storage.events import Event, Overhearing, emit, overhear, stop_overhearing
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.http.redact import one_line, redact_answer, redact_text
from mediagit_storage.layers.observe.hooks import Hook, Record, Watch, current_actor, outcome_of

__all__ = ["Observer", "Running"]

logger: Final = logging.getLogger("mediagit_storage")

#: A message is for people; what is longer than this, in characters, is cut.
_LONGEST: Final = 1000


class Observer:
    """The hooks of one layer. ``lock`` guards what is counted by several threads."""

    def __init__(self, store: str, hooks: Sequence[Hook], actor: str | None) -> None:
        self.store = store
        self._hooks = tuple(hooks)
        self.actor = actor
        self.lock = ForkSafeLock()
        self._abandoned: deque[Running] = deque()
        self._told: set[int] = set()
        #: Whether one of them asks for details.
        self.details = any(hook.details for hook in self._hooks)

    def begin(
        self, operation: str, key: str | None = None, target: str | None = None, detail: str | None = None
    ) -> Running:
        """An operation begins. Use it with ``with``, or `Running.resume`, `Running.pause` and `Running.finish`."""
        if self._abandoned:
            self.settle()
        running = Running(self, operation, key, target, detail)
        for hook in self._hooks:
            try:
                watch = hook.begun(running)
                running.paced = running.paced or watch.paced
                running.watches.append((hook, watch))
            except Exception as error:  # noqa: BLE001  # a hook is not worth an operation
                self.failed(hook, error)
        return running

    def abandon(self, running: Running) -> None:
        """An operation whose holder has gone: it ends with the next one that begins, or with the layer.

        Not now: this is called by the garbage collector, perhaps in the midst of what holds a lock that a hook needs.
        """
        self._abandoned.append(running)

    def settle(self) -> None:
        """End what was abandoned."""
        while self._abandoned:
            try:
                running = self._abandoned.popleft()
            except IndexError:
                return  # another thread was quicker
            running.finish()

    def heard(self, event: Event) -> None:
        """An event that belongs to one of many operations, nobody knows which."""
        for hook in self._hooks:
            if event.detail and not hook.details:
                continue
            try:
                hook.batch_event(self.store, event)
            except Exception as error:  # noqa: BLE001  # as above
                self.failed(hook, error)

    def failed(self, hook: Hook, error: Exception) -> None:
        """Tell of a hook's first failure, and never again: it may fail a million times."""
        with self.lock.mine():
            if id(hook) in self._told:
                return
            self._told.add(id(hook))
        about = f"{type(hook).__name__} failed: {type(error).__name__}: {_shown(error)} (told once; operations go on)"
        logger.warning("an observing hook: %s", about)
        emit(Event("observe.hook-failed", about))


class Running(Record):
    """One operation, from its begin to its end. What it counts is set by who carries it out. For one thread at a time."""

    __slots__ = ("_observer", "_resumed", "_token", "paced", "watches")

    def __init__(
        self, observer: Observer, operation: str, key: str | None, target: str | None, detail: str | None
    ) -> None:
        actor = current_actor() or observer.actor
        super().__init__(observer.store, operation, key, target, detail, actor, time.time())
        self.watches: list[tuple[Hook, Watch]] = []
        #: Whether one of them is told of `resume` and `pause`.
        self.paced = False
        self._observer = observer
        self._resumed = 0.0
        self._token: Overhearing | None = None

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        self.finish(error)

    def resume(self) -> None:
        """The storage works now: its time runs, and its events are heard."""
        self._token = overhear(self._heard, details=self._observer.details)
        if self.paced:
            for hook, watch in self.watches:
                if watch.paced:
                    self._contain(hook, watch.resumed)
        self._resumed = time.perf_counter()

    def pause(self) -> None:
        """The storage waits for its caller."""
        self.seconds += time.perf_counter() - self._resumed
        if self.paced:
            for hook, watch in reversed(self.watches):
                if watch.paced:
                    self._contain(hook, watch.paused)
        if self._token is not None:
            stop_overhearing(self._token)
            self._token = None

    def join(self) -> None:
        """Run among others until the end: its time runs, and what is heard is nobody's."""
        self.attempts = None
        self._resumed = time.perf_counter()

    def finish(self, error: BaseException | None = None) -> None:
        """The end; to be called once."""
        if self.attempts is None:
            self.seconds = time.perf_counter() - self._resumed
        if error is not None:
            self.outcome = outcome_of(self.operation, error)
            self.error = type(error).__name__
            self.message = _shown(error)
        for hook, watch in self.watches:
            try:
                watch.ended(self)
            except Exception as failure:  # noqa: BLE001  # a hook is not worth an operation
                self._observer.failed(hook, failure)

    def _contain(self, hook: Hook, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # a hook is not worth an operation
            self._observer.failed(hook, error)

    def _heard(self, event: Event) -> None:
        if event.kind == "retry" and self.attempts is not None:
            # Several threads may carry out one operation.
            with self._observer.lock.mine():
                self.attempts += 1
        for hook, watch in self.watches:
            if event.detail and not watch.details:
                continue
            try:
                watch.event(event)
            except Exception as error:  # noqa: BLE001  # as above
                self._observer.failed(hook, error)


def _shown(error: BaseException) -> str:
    """An error's text in one line, without credentials: it may be that of a user's own source."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # of a class that cannot show itself, its name is all there is
        return "it has no text"
    return one_line(redact_answer(redact_text(text)), _LONGEST)
