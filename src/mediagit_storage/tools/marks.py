"""The marks of a collection: which objects nobody referenced, and since when. One sorted file, replaced as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.errors import AlreadyExistsError, ConfigError
from mediagit_storage.journal import lock_file
from mediagit_storage.tools.counted import counted_lines, read_counted, refuse_line
from mediagit_storage.types import JSON

__all__ = ["Mark", "Marks", "open_marks"]

_FORMAT: Final = 1
_WHAT: Final = "file of marks"


class Mark(NamedTuple):
    """An object that nobody referenced: its name, size and ETag, and when that was first seen (aware UTC)."""

    name: str
    size: int | None
    etag: str | None
    seen: datetime


class Marks:
    """The file of one folder's marks, locked while it is open: see `open_marks`."""

    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self._head: dict[str, JSON] = {"marks": _FORMAT, "place": place}

    def read(self) -> Iterator[Mark]:
        """The marks in the order of their names; none where there is no file yet.

        Raises `IntegrityError` for a file that was cut off or changed, `ConfigError` for one of another folder.
        """
        if self._path.exists():
            yield from (_mark(record, self._path) for record in read_counted(self._path, self._head, _WHAT))

    def replace(self, marks: Iterable[Mark]) -> None:
        """Write other marks in place of these, in one step. They may be made out of these while they are read."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        records = ({**mark._asdict(), "seen": mark.seen.isoformat()} for mark in marks)
        try:
            with temporary.open("w", encoding="ascii") as file:
                file.writelines(counted_lines(self._head, records))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


@contextmanager
def open_marks(path: Path, place: str) -> Iterator[Marks]:
    """The marks of ``place`` in a file, for this collector alone. `AlreadyExistsError` while another one has them."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_file(path.with_name(f"{path.name}.lock"))
    except OSError as error:
        raise ConfigError(f"the marks {path} cannot be used: {error.strerror}") from None
    if lock is None:
        raise AlreadyExistsError(f"another collection of this folder is going on: it holds {path}")
    try:
        yield Marks(path, place)
    finally:
        os.close(lock)


def _mark(record: Mapping[str, JSON], path: Path) -> Mark:
    name, size, etag, seen = (record.get(field) for field in Mark._fields)
    try:
        moment = datetime.fromisoformat(str(seen)).astimezone(UTC)
    except ValueError:
        refuse_line(path, _WHAT)
    if not isinstance(name, str) or not isinstance(size, int | None) or not isinstance(etag, str | None):
        refuse_line(path, _WHAT)
    return Mark(name, size, etag, moment)
