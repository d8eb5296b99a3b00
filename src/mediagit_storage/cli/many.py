"""Doing something for several arguments or objects: each failure is told, the others are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mediagit_storage.cli.advice import advice_for
from mediagit_storage.cli.exit_codes import SOME_FAILED
from mediagit_storage.cli.failure import report_item
from mediagit_storage.cli.session import Session
from mediagit_storage.cli.text import human_bytes, plural
from mediagit_storage.errors import CancelledError, StorageError
from mediagit_storage.types import JSON

__all__ = ["Failures", "Tally", "each_reported", "tallied"]


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


class Tally:
    """Counts what a command did to things of one kind (``what``, such as "upload"), and says so at its end."""

    def __init__(self, this: Session, what: str) -> None:
        self._this = this
        self._what = what
        self._started = time.monotonic()
        self._failures = Failures()
        self._count = 0
        self._bytes = 0
        self._unknown = False
        #: How many were left alone, because what was asked for does not mean them.
        self.kept = 0

    @property
    def begun(self) -> bool:
        """Whether anything was done yet."""
        return self._count > 0

    def add(self, size: int | None) -> None:
        """One more is done; ``size`` in bytes, None where nobody knows it."""
        self._count += 1
        self._bytes += size or 0
        self._unknown |= size is None

    def failed(self, error: Exception) -> None:
        """One more failed. What ends the whole command is raised."""
        if isinstance(error, CancelledError):
            raise error
        self._failures.add(error)

    def close(self, verb: str) -> int:
        """Name what failed, write the closing line, and return the exit code."""
        code = self._failures.tell(self._this)
        counts: dict[str, int] = {"kept": self.kept, "failed": self._failures.count}
        if self._this.run.json:
            fields: dict[str, JSON] = {"verb": verb, "objects": self._count, "bytes": self._bytes}
            seconds = round(time.monotonic() - self._started, 3)
            self._this.out.record("summary", {**fields, "seconds": seconds, **counts})
        else:
            rest = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
            self._this.out.note(f"{verb} {plural(self._count, self._what)}{self._amount()}{rest}")
        return code

    def _amount(self) -> str:
        if not self._bytes:
            return ""
        return f", {'at least ' if self._unknown else ''}{human_bytes(self._bytes)}"


@contextmanager
def tallied(this: Session, what: str, verb: str, wish: str) -> Iterator[Tally]:
    """A `Tally` for the block. One that ends early still tells what is done; ``verb`` says it, ``wish`` in a dry run."""
    tally = Tally(this, what)
    try:
        yield tally
    except BaseException:
        if tally.begun:
            tally.close(wish if this.run.dry_run else verb)
        raise
