"""The operations of a batch, each handed on again as often as it is worth it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.backend import (
    Completion,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StorageBackend,
)
from mediagit_storage.http.retry import Rules
from mediagit_storage.layers.retry.trials import HARMLESS, Trials, deleting
from mediagit_storage.layers.retry.writes import Write
from mediagit_storage.types import ObjectInfo

__all__ = ["Feed"]

_Attempts: TypeAlias = Write | Trials


class _Course(NamedTuple):
    """One operation of the caller's, what the inner batch gets for it, and its attempts."""

    outer: Operation
    inner: Operation
    attempts: _Attempts


class _Waiting(NamedTuple):
    due: float
    number: int
    course: _Course


class Feed:
    """Feeds one inner batch: what waited long enough first, then new operations. For one thread."""

    def __init__(self, inner: StorageBackend, operations: Iterator[Operation | None], rules: Rules) -> None:
        self._inner = inner
        self._outer = operations
        self._rules = rules
        self._numbers = itertools.count()
        self._waiting: list[_Waiting] = []
        # By identity of the inner operation, which its course keeps alive.
        self._flying: dict[int, _Course] = {}
        self._exhausted = False

    def operations(self) -> Iterator[Operation | None]:
        """What the inner batch pulls from; it ends when nothing can need another attempt any more."""
        while True:
            course = self._due()
            if course is None and not self._exhausted:
                operation = next(self._outer, _END)
                if operation is None:
                    yield None
                    continue
                if isinstance(operation, _End):
                    self._exhausted = True
                    continue
                course = self._course(operation)
            if course is not None:
                self._flying[id(course.inner)] = course
                yield course.inner
            elif self._flying:
                yield None
            elif self._waiting:
                self._rules.sleep(max(0.0, self._waiting[0].due - self._rules.clock.monotonic()))
            else:
                return

    def settled(self, completions: Iterator[Completion]) -> Iterator[Completion]:
        """The caller's operations as they end for good."""
        for operation, value, error in completions:
            course = self._flying.pop(id(operation))
            if error is None:
                yield Completion(course.outer, value, None)
                continue
            if _over(course.outer):
                # Its own time is over: another attempt would end like this one.
                yield Completion(course.outer, None, error)
                continue
            meaning = course.attempts.after(error)
            if isinstance(meaning, ObjectInfo):
                yield Completion(course.outer, meaning, None)
                continue
            if meaning is None or isinstance(meaning, Exception):
                yield Completion(course.outer, None, meaning or error)
                continue
            due = self._rules.clock.monotonic() + meaning
            heapq.heappush(self._waiting, _Waiting(due, next(self._numbers), course))

    def _due(self) -> _Course | None:
        if not self._waiting:
            return None
        if self._waiting[0].due <= self._rules.clock.monotonic():
            return heapq.heappop(self._waiting).course
        # The storage below says so of one whose scope has ended meanwhile.
        ended = next((each for each in self._waiting if _over(each.course.outer)), None)
        if ended is None:
            return None
        self._waiting.remove(ended)
        heapq.heapify(self._waiting)
        return ended.course

    def _course(self, operation: Operation) -> _Course:
        if isinstance(operation, PutOperation):
            write = Write(self._inner, operation.key, operation.source, operation.options, self._rules)
            inner = write.operation
            inner.scope = operation.scope
            return _Course(operation, inner, write)
        traits = deleting(operation.options) if isinstance(operation, DeleteOperation) else HARMLESS
        reads = isinstance(operation, ReadOperation)
        return _Course(operation, operation, Trials(repr(operation.key), self._rules, traits, reads=reads))


def _over(operation: Operation) -> bool:
    scope = operation.scope
    return scope is not None and (scope.cancelled or scope.remaining() == 0)


class _End:
    """What `next` returns for operations that are over."""


_END: Final = _End()
