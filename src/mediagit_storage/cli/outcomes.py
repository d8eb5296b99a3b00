"""What became of each object of a tool, told where it is wanted: in the report, as JSON Lines, or in words."""

from __future__ import annotations

from collections.abc import Mapping

from mediagit_storage.cli.many import Failures
from mediagit_storage.cli.report_file import ReportFile
from mediagit_storage.cli.session import Session
from mediagit_storage.errors import CancelledError
from mediagit_storage.types import JSON

__all__ = ["Outcomes"]


class Outcomes:
    """Tells of objects as records of one ``kind``, and keeps those that failed for the end (``failures``)."""

    def __init__(self, this: Session, report: ReportFile, kind: str) -> None:
        self.failures = Failures()
        self._this = this
        self._report = report
        self._kind = kind

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
