"""Doing something for several arguments or objects: each failure is told, the others are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediagit_storage.cli.advice import advice_for
from mediagit_storage.cli.exit_codes import SOME_FAILED
from mediagit_storage.cli.failure import report_item
from mediagit_storage.cli.session import Session
from mediagit_storage.errors import CancelledError, StorageError

__all__ = ["Failures", "each_reported"]


class Failures:
    """What failed among several: kept until the end, when each is named."""

    #: More than these are counted, not kept.
    LIMIT = 10_000

    def __init__(self) -> None:
        self.count = 0
        self._errors: list[Exception] = []

    def add(self, error: Exception) -> None:
        """One more failed."""
        self.count += 1
        if len(self._errors) < self.LIMIT:
            self._errors.append(error)

    def tell(self, this: Session) -> int:
        """Name them all; returns the exit code."""
        if not self.count:
            return 0
        for error in self._errors:
            report_item(this.out, error, hint=False)
        if self.count > len(self._errors):
            this.out.note(f"and {self.count - len(self._errors):,} more")
        # What to do is the same for many: it is said once.
        for advice in dict.fromkeys(advice_for(error) for error in self._errors):
            if advice:
                this.out.note(advice)
        return SOME_FAILED


def each_reported(this: Session, items: Sequence[str], action: Callable[[str], None]) -> int:
    """Do ``action`` for each item; returns the exit code: that of the error for a single item, else 6 when some failed."""
    if len(items) == 1:
        action(items[0])
        return 0
    code = 0
    for item in items:
        try:
            action(item)
        except (StorageError, OSError) as error:
            if isinstance(error, BrokenPipeError | CancelledError):
                raise
            report_item(this.out, error)
            code = SOME_FAILED
    return code
