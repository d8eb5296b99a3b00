"""``--report FILE``: what became of every object, as JSON Lines, for those who look later."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from mediagit_storage.cli.advice import advice_for, message_of
from mediagit_storage.cli.exit_codes import FULL, code_for
from mediagit_storage.cli.output import encoded_line, error_record
from mediagit_storage.errors import CapacityError, ConfigError
from mediagit_storage.types import JSON

__all__ = ["ReportFile", "report_file"]


class ReportFile:
    """The file; without one nothing is written. Each line is there for other programs once it is written.

    What an earlier run wrote goes with the first line. One that cannot be written is a `CapacityError` where the disk is
    full and a `ConfigError` otherwise, with its path: it is not the storage that failed.
    """

    def __init__(self, path: Path | None = None, descriptor: int | None = None) -> None:
        self._path = path
        self._descriptor = descriptor
        self._begun = False
        self._ahead = b""

    def announce(self, kind: str, fields: Mapping[str, JSON]) -> None:
        """A line that stands before the first one, once there is a first one."""
        self._ahead += encoded_line(kind, fields).encode("ascii")

    def record(self, kind: str, fields: Mapping[str, JSON]) -> None:
        """One more line."""
        if self._descriptor is None:
            return
        self.begin()
        # Not through a buffer: it would try again, and fail again, when it is closed.
        left, self._ahead = self._ahead + encoded_line(kind, fields).encode("ascii"), b""
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            problem = CapacityError if error.errno in FULL else ConfigError
            raise problem(f"the report {self._path} cannot be written: {error.strerror}") from None

    def error(self, error: Exception) -> None:
        """Something failed."""
        self.record("error", error_record(error, code_for(error), message_of(error), advice_for(error)))

    def begin(self) -> None:
        """Empty the file, unless this run did so before or it is no plain one."""
        if not self._begun and self._descriptor is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, 0)
        self._begun = True


@contextmanager
def report_file(path: Path | None) -> Iterator[ReportFile]:
    """The report at ``path``, made anew; None makes none. One that cannot be opened is a `ConfigError` at once.

    Where an argument turns out to be wrong before the first line, an earlier report stays as it is.
    """
    if path is None:
        yield ReportFile()
        return
    try:
        # Appended to, so that lines of two runs into one file stay whole.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ConfigError(f"the report {path} cannot be written: {error.strerror}") from None
    report = ReportFile(path, descriptor)
    try:
        yield report
    except (ConfigError, click.UsageError):
        raise
    except BaseException:
        report.begin()
        raise
    else:
        report.begin()
    finally:
        os.close(descriptor)
