"""``--report FILE``: what became of every object, as JSON Lines, for those who look later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mediagit_storage.cli.advice import advice_for, message_of
from mediagit_storage.cli.exit_codes import code_for
from mediagit_storage.cli.output import encoded_line, error_record
from mediagit_storage.errors import ConfigError
from mediagit_storage.types import JSON

__all__ = ["ReportFile", "report_file"]


class ReportFile:
    """The file; without one nothing is written. Each line is there for other programs once it is written."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    def record(self, kind: str, fields: Mapping[str, JSON]) -> None:
        """One more line."""
        if self._file is not None:
            self._file.write(encoded_line(kind, fields))

    def error(self, error: Exception) -> None:
        """Something failed."""
        self.record("error", error_record(error, code_for(error), message_of(error), advice_for(error)))


@contextmanager
def report_file(path: Path | None) -> Iterator[ReportFile]:
    """The report at ``path``, made anew; None makes none. One that cannot be written is a `ConfigError` at once."""
    if path is None:
        yield ReportFile(None)
        return
    try:
        file = path.open("w", encoding="ascii", buffering=1)
    except OSError as error:
        raise ConfigError(f"the report {path} cannot be written: {error.strerror}") from None
    with file:
        yield ReportFile(file)
