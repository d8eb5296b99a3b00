"""Two ways to one answer: the second is tried when the first is slow, and the first good answer ends the other one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from mediagit_storage.backend import Body
from mediagit_storage.scope import Scope, context_inside, current_scope, inner_scope

__all__ = ["Answer", "quicker"]

T = TypeVar("T")

_logger = logging.getLogger("mediagit_storage")


class Answer(NamedTuple, Generic[T]):
    """What was answered first: by the second way or not, and with what: a value, or the first way's error."""

    by_second: bool
    value: T | None
    error: BaseException | None


def quicker(
    first: Callable[[], T], second: Callable[[], T], *, after: float, may_help: Callable[[BaseException], bool]
) -> Answer[T]:
    """The answer of ``first``, or the value of ``second``, which is begun ``after`` seconds without one.

    An error of ``first`` is the answer, unless ``second`` runs by then and ``may_help`` with it. Each runs in a thread and
    a scope of its own, which ends when there is an answer, or when the wait does; a body that comes too late is closed.
    """
    race = _Race[T](may_help)
    with current_scope().on_cancel(race.look):
        try:
            race.start(first)
            if race.wait(after) is None:
                race.start(second)
            while (found := race.wait(None)) is None:
                pass
            return found
        finally:
            race.end()


class _Race(Generic[T]):
    """Who has answered what."""

    def __init__(self, may_help: Callable[[BaseException], bool]) -> None:
        self._may_help = may_help
        self._answers: list[Answer[T] | None] = []
        self._changed = threading.Condition()
        self._scopes: list[Scope] = []
        self._over = False

    def start(self, way: Callable[[], T]) -> None:
        """Let one more run."""
        number, own = len(self._answers), inner_scope()
        self._answers.append(None)
        self._scopes.append(own)
        run = context_inside(own).run
        threading.Thread(target=run, args=(self._run, number, way), name="mgs-race", daemon=True).start()

    def wait(self, timeout: float | None) -> Answer[T] | None:
        """The answer, once it is decided; None where that takes longer. Raises when the scope around ends first."""
        around = current_scope()
        limits = [each for each in (timeout, around.remaining()) if each is not None]
        with self._changed:
            self._changed.wait_for(lambda: self._winner() or around.cancelled, min(limits, default=None))
            found = self._winner()
        if found is None:
            around.check()
        return found

    def look(self) -> None:
        """Wake who waits."""
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        """Stop who still runs, and close what is not taken. Not the winner's scope: its body may work in it."""
        with self._changed:
            self._over = True
            winner = self._winner()
            found = list(self._answers)
        for answer, own in zip(found, self._scopes, strict=True):
            if answer is None or answer is not winner:
                own.cancel()
                _close(answer)

    def _winner(self) -> Answer[T] | None:
        first, second = [*self._answers, None][:2]
        if first is not None and (first.error is None or not self._may_help(first.error)):
            return first
        if second is not None and second.error is None:
            return second
        runs = len(self._answers) > 1 and second is None
        return None if runs else first

    def _run(self, number: int, way: Callable[[], T]) -> None:
        try:
            answer = Answer(number > 0, way(), None)
        except BaseException as error:  # noqa: BLE001  # it is the answer
            answer = Answer(number > 0, None, error)
        with self._changed:
            late = self._over
            self._answers[number] = answer
            self._changed.notify_all()
        if late:
            _close(answer)


def _close(answer: Answer[T] | None) -> None:
    if answer is not None and isinstance(answer.value, Body):
        try:
            answer.value.close()
        except Exception:
            # The caller has another answer, and would lose it by this.
            _logger.exception("a body that came too late could not be closed")
