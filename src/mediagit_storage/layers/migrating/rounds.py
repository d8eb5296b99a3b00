"""A batch over two storages: rounds in which one of them works off what it is to be asked.

The batch of a storage runs in one thread and must not be left waiting with transfers in flight. So a round ends, and all
of it is answered, before the other storage has its turn: when that one has enough to do, or when the caller waits for
something that it has to answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from mediagit_storage.backend import Completion, Operation
from mediagit_storage.layers.migrating.courses import Answer, Course, Side, course_of

__all__ = ["ROUND", "Rounds"]

#: How many operations make a round worth its while: what services delete with one request.
ROUND: Final = 1000


class _Running(NamedTuple):
    """An operation of the caller's, its course, and what is asked for it now."""

    operation: Operation
    course: Course
    asked: Operation


class Rounds:
    """The operations of one batch on their courses. For one thread."""

    def __init__(self, operations: Iterator[Operation | None]) -> None:
        self._operations = operations
        self._over = False
        self._waiting: dict[Side, deque[_Running]] = {Side.NEW: deque(), Side.OLD: deque()}
        # By identity: two operations may be equal, and a source need not be hashable. The value keeps both alive.
        self._asked: dict[int, _Running] = {}

    def side(self) -> Side | None:
        """Whose turn it is, that with more to do; None when everything is answered."""
        while not self._over and not any(self._waiting.values()):
            self._begin_next()
        new, old = self._waiting[Side.NEW], self._waiting[Side.OLD]
        if not new and not old:
            return None
        return Side.NEW if len(new) >= len(old) else Side.OLD

    def asked(self, side: Side) -> Iterator[Operation | None]:
        """What the batch of one storage is to do in this round."""
        own, other = self._waiting[side], self._waiting[Side.OLD if side is Side.NEW else Side.NEW]
        while True:
            if own:
                running = own.popleft()
                self._asked[id(running.asked)] = running
                running.asked.scope = running.operation.scope
                yield running.asked
            elif self._over or len(other) >= ROUND:
                return
            elif not self._begin_next():
                if other:
                    # The caller may be waiting for one of these.
                    return
                yield None

    def answered(self, completions: Iterator[Completion]) -> Iterator[tuple[Operation, Side, Answer]]:
        """The caller's operations that came to their end in this round."""
        for asked, value, error in completions:
            running = self._asked.pop(id(asked))
            try:
                side, operation = running.course.send(Answer(value, error))
            except StopIteration as end:
                yield (running.operation, *end.value)
            else:
                self._waiting[side].append(running._replace(asked=operation))

    def _begin_next(self) -> bool:
        """Begin the caller's next operation, if there is one; False where it has nothing now."""
        operation = next(self._operations, _END)
        if operation is None:
            return False
        if isinstance(operation, _End):
            self._over = True
            return True
        course = course_of(operation)
        side, asked = next(course)
        self._waiting[side].append(_Running(operation, course, asked))
        return True


class _End:
    """What `next` returns for operations that are over."""


_END: Final = _End()
