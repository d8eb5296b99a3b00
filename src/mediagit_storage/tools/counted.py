"""Files of one JSON object a line, between a line that says what they are and a line that counts them.

A file that was cut off, or of which a line is missing, is seen. The same records make the same bytes: ASCII, the fields in
the order in which they are given, and nothing of the time or place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn, TextIO

from mediagit_storage.errors import ConfigError, IntegrityError
from mediagit_storage.types import JSON

__all__ = ["counted_lines", "read_counted", "refuse_line"]

#: A line is a name of at most a few thousand characters and some numbers.
_LONGEST: Final = 64 * 1024


def counted_lines(head: Mapping[str, JSON], records: Iterable[Mapping[str, JSON]]) -> Iterator[str]:
    """The lines, each with its end. The last one tells how many records there are, and the sum of their ``size``."""
    objects = total = 0
    yield _line(head)
    for record in records:
        size = record.get("size")
        objects, total = objects + 1, total + (size if isinstance(size, int) else 0)
        yield _line(record)
    yield _line({"objects": objects, "bytes": total})


def read_counted(path: Path, head: Mapping[str, JSON], what: str) -> Iterator[dict[str, JSON]]:
    """The records of a file that begins with ``head``; ``what`` names its kind in errors.

    Raises `ConfigError` for a file of another kind or one that cannot be read, and `IntegrityError`, at its end at the
    latest, for one that was cut off or changed.
    """
    objects = total = 0
    with _open(path, what) as file:
        if _parsed(file.readline(_LONGEST), path, what) != dict(head):
            raise ConfigError(f"{path} is no {what} of a kind that is known here, or one of something else")
        while line := file.readline(_LONGEST):
            record = _parsed(line, path, what)
            if "objects" in record:
                if record != {"objects": objects, "bytes": total} or file.readline(1):
                    raise IntegrityError(f"the {what} {path} does not end as it counts: it was changed")
                return
            size = record.get("size")
            objects, total = objects + 1, total + (size if isinstance(size, int) else 0)
            yield record
    raise IntegrityError(f"the {what} {path} was cut off: its last line is missing")


def refuse_line(path: Path, what: str) -> NoReturn:
    """Say that a record is not what it should be: an `IntegrityError`."""
    raise IntegrityError(f"the {what} {path} holds a line that is none of its own: it was damaged or changed")


def _open(path: Path, what: str) -> TextIO:
    try:
        return path.open(encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigError(f"the {what} {path} cannot be read: {error.strerror}") from None


def _parsed(line: str, path: Path, what: str) -> dict[str, JSON]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        refuse_line(path, what)
    return fields


def _line(fields: Mapping[str, JSON]) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"
