"""The frame of commands that deal with many objects: each outcome is told as it comes, and what there was of them at the end."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Generic, NamedTuple, TypeVar

from mediagit_storage.cli.many import Failures
from mediagit_storage.cli.report_file import ReportFile
from mediagit_storage.cli.session import Session
from mediagit_storage.errors import CancelledError
from mediagit_storage.types import JSON

__all__ = ["Outcomes", "Sum"]

T = TypeVar("T")


class Sum(NamedTuple):
    """What the closing line says: what was done, to how many objects of how many bytes, and what else there is to count."""

    verb: str
    objects: int
    size: int
    others: Mapping[str, int]


class Outcomes(ABC, Generic[T]):
    """Tells of objects as records of one ``kind``, keeps those that failed for the end, and has the last word.

    A command says in `add` what it tells of one, and in `sum` what of all. One that ends early still tells what was done.
    """

    def __init__(self, this: Session, report: ReportFile, kind: str) -> None:
        self.failures = Failures()
        self._this = this
        self._report = report
        self._kind = kind
        self._started = time.monotonic()
        self._any = False

    @property
    def begun(self) -> bool:
        """Whether there is anything to tell of, should it end now."""
        return self._any

    @abstractmethod
    def add(self, each: T) -> None:
        """One more is done, found, or failed."""

    @abstractmethod
    def sum(self) -> Sum:
        """What there was until now."""

    def words(self) -> Iterator[str]:
        """What else is to be said when all went to its end."""
        return iter(())

    def carry_out(self, results: Generator[T, None, None]) -> int:
        """Take all results; then tell of all together. Returns the exit code."""
        with self.told_at_the_end():
            self.take(results)
        return self.close()

    def take(self, results: Generator[T, None, None]) -> None:
        """Take all results, and close them whatever happens."""
        with closing(results):
            for each in results:
                self._any = True
                self.add(each)

    @contextmanager
    def told_at_the_end(self) -> Iterator[None]:
        """What raises here is raised again when it was told what was done until then."""
        try:
            yield
        except BaseException:
            if self.begun:
                self._close()
            raise

    def close(self) -> int:
        """Name what failed, write the closing line, and return the exit code."""
        code = self._close()
        for text in self.words():
            self._this.out.note(text)
        return code

    def failed(self, error: Exception) -> None:
        """One more failed. What ends the whole command is raised."""
        if isinstance(error, CancelledError):
            raise error
        self.failures.add(error)
        self._report.error(error)

    def told(self, fields: Mapping[str, JSON]) -> bool:
        """One more is done, or found. Whether that was said on standard output, where people would have it in words."""
        self._report.record(self._kind, fields)
        if self._this.run.json:
            self._this.out.record(self._kind, fields)
        return self._this.run.json

    def _close(self) -> int:
        code = self.failures.tell(self._this)
        found = self.sum()
        counts = {**found.others, **self._this.left_out.counted()}
        self._this.out.summary(found.verb, found.objects, found.size, time.monotonic() - self._started, counts)
        for text in self._this.left_out.words():
            self._this.out.note(text)
        return code
