"""What a batch method returns: outcomes to iterate over, or to run to the end."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from mediagit_storage.types import Outcome

__all__ = ["Batch"]

V = TypeVar("V")


class Batch(Generic[V]):
    """The outcomes of many operations, in the order given, each as soon as its turn comes.

    Nothing happens before the first outcome is asked for: iterate, or call `run`. A batch that is dropped without
    either warns, because the work was not done. Leaving the iteration early stops what is in flight.
    """

    def __init__(self, outcomes: Generator[Outcome[V], None, None], what: str) -> None:
        self._outcomes = outcomes
        self._unused = weakref.finalize(self, _warn_unused, what)
        self._unused.atexit = False

    def __iter__(self) -> Iterator[Outcome[V]]:
        self._unused.detach()
        return self._outcomes

    def run(self) -> int:
        """Carry everything out and return how many items there were.

        Errors of items are collected, and raised at the end as one `ExceptionGroup`; every other item is done.
        """
        self._unused.detach()
        count, errors = 0, list[Exception]()
        for outcome in self._outcomes:
            count += 1
            if outcome.error is not None:
                errors.append(outcome.error)
        if errors:
            raise ExceptionGroup(f"{len(errors):,} of {count:,} items failed", errors)
        return count

    def close(self) -> None:
        """Stop: what is in flight is aborted, what was not begun is not done."""
        self._unused.detach()
        self._outcomes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _warn_unused(what: str) -> None:
    warnings.warn(f"{what}() was never iterated over nor run(): nothing was done", ResourceWarning, stacklevel=2)
