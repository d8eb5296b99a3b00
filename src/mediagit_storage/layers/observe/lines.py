"""Log lines: one for each operation, by the standard library's logging."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Final

from mediagit_storage.events import HTTP_ATTEMPT, Event
from mediagit_storage.layers.observe.hooks import Hook, Record

__all__ = ["LogHook"]

_LOGGER: Final = "mediagit_storage.operations"
_FIELDS: Final = tuple(each.name for each in fields(Record))


class LogHook(Hook):
    """A line for each operation at ``level``, for a failed one at least at WARNING, to ``mediagit_storage.operations``.

    A line shows keys escaped, so that none can forge another line. Each field of the `Record` is an attribute of the
    `logging.LogRecord` as well, its name led by ``mgs_`` (``mgs_key`` is the key as it is), for formatters that write
    JSON. Costs next to nothing where the level is off.

    With ``http`` there is a line of each request over HTTP as well, before that of its operation, with the fields of
    the event (``mgs_status``, ``mgs_url`` and so on).
    """

    def __init__(self, level: int = logging.INFO, logger: logging.Logger | None = None, *, http: bool = False) -> None:
        self.details = http
        self._level = level
        self._logger = logger or logging.getLogger(_LOGGER)

    def ended(self, record: Record) -> None:
        """Write the line."""
        level = self._level if record.outcome != "failed" else max(self._level, logging.WARNING)
        if self._logger.isEnabledFor(level):
            told = {f"mgs_{name}": getattr(record, name) for name in _FIELDS}
            self._logger.log(level, "%s", line_of(record), extra=told)

    def event(self, event: Event) -> None:
        """Write the line of a request."""
        if event.kind == HTTP_ATTEMPT and self._logger.isEnabledFor(self._level):
            told = {f"mgs_{name}": value for name, value in event.fields.items()}
            self._logger.log(self._level, "%s", event.message, extra=told)

    def batch_event(self, store: str, event: Event) -> None:
        """Write the line of a request that belongs to one of many operations."""
        self.event(event)


def line_of(record: Record) -> str:
    """The text for people, for example ``put 'a/b.png' on memory://x: ok in 0.002 s, 1,024 bytes written``."""
    words = [record.operation, *([] if record.key is None else [repr(record.key)])]
    if record.target is not None:
        words += ["to", repr(record.target)]
    if record.detail is not None:
        words.append(f"({record.detail!r})")
    told = [f"{record.outcome} in {record.seconds:.3f} s"]
    if record.bytes_read:
        told.append(f"{record.bytes_read:,} bytes read")
    if record.bytes_written:
        told.append(f"{record.bytes_written:,} bytes written")
    if record.items:
        told.append(f"{record.items:,} listed")
    if record.attempts is not None and record.attempts > 1:
        told.append(f"{record.attempts} attempts")
    if record.actor is not None:
        told.append(f"for {record.actor!r}")
    if record.error is not None and record.outcome == "failed":
        told.append(f"{record.error}: {record.message}")
    return f"{' '.join(words)} on {record.store}: {', '.join(told)}"
