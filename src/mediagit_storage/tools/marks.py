"""What a collection remembers: which objects nobody referenced, and since when; and beside it, what it is about to delete.

The marks are one sorted file, replaced as a whole. The deletions are a file that grows, each name on disk before its object
goes, and is there only from the first deletion until somebody looked whether any of them is needed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

from mediagit_storage.errors import AlreadyExistsError, ConfigError
from mediagit_storage.journal import lock_file
from mediagit_storage.private_files import replace_private_file
from mediagit_storage.tools.counted import counted_lines, read_counted, refuse_line
from mediagit_storage.types import JSON

__all__ = ["Deletion", "Deletions", "Mark", "Marks", "open_marks"]

_FORMAT: Final = 1
_WHAT: Final = "file of marks"
_DELETIONS: Final = "file of deletions"


class Mark(NamedTuple):
    """An object that nobody referenced: its name, size and ETag, and when that was first seen (aware UTC)."""

    name: str
    size: int | None
    etag: str | None
    seen: datetime


class Deletion(NamedTuple):
    """An object that was to be deleted: its name, its size, and the key of its copy in the trash, if one was to be made."""

    name: str
    size: int | None
    kept: str | None


class Deletions:
    """What a run deletes, on disk until it is known that nothing needs it: a run that was killed leaves it to the next."""

    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self._place = place

    def read(self) -> Iterator[Deletion]:
        """All that was recorded, in order; nothing where there is no file. What was only half recorded was not begun.

        Raises `IntegrityError` for a file that was changed, `ConfigError` for one of another folder.
        """
        if not self._path.exists():
            return
        with self._path.open(encoding="ascii", errors="replace") as file:
            head = self._parsed(file.readline())
            trash = head.get("trash")
            if head != {"deletions": _FORMAT, "place": self._place, "trash": trash}:
                raise ConfigError(f"{self._path} is no {_DELETIONS} of a kind that is known here, or of another folder")
            while (line := file.readline()).endswith("\n"):
                record = self._parsed(line)
                name, size = record.get("name"), record.get("size")
                if not isinstance(name, str) or not isinstance(size, int | None):
                    refuse_line(self._path, _DELETIONS)
                yield Deletion(name, size, trash + name if isinstance(trash, str) else None)

    @contextmanager
    def begun(self, trash: str | None) -> Iterator[Callable[[Sequence[Mark]], None]]:
        """Begin a new record of deletions, to the folder ``trash``; what it gives puts names on disk, and then returns."""
        head = {"deletions": _FORMAT, "place": self._place, "trash": trash}
        replace_private_file(self._path, f"{json.dumps(head)}\n".encode("ascii"))
        with self._path.open("a", encoding="ascii") as file:

            def record(marks: Sequence[Mark]) -> None:
                file.writelines(json.dumps({"name": mark.name, "size": mark.size}) + "\n" for mark in marks)
                _to_disk(file)

            yield record

    def drop(self) -> None:
        """Nothing of it is needed, or all that is was brought back."""
        self._path.unlink(missing_ok=True)

    def _parsed(self, line: str) -> dict[str, JSON]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            refuse_line(self._path, _DELETIONS)
        return record


class Marks:
    """The file of one folder's marks, locked while it is open: see `open_marks`. ``deletions`` is the record beside it."""

    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self._head: dict[str, JSON] = {"marks": _FORMAT, "place": place}
        self.deletions = Deletions(path.with_name(f"{path.name}.deletions"), place)

    def read(self) -> Iterator[Mark]:
        """The marks in the order of their names; none where there is no file yet.

        Raises `IntegrityError` for a file that was cut off or changed, `ConfigError` for one of another folder.
        """
        if self._path.exists():
            head: dict[str, JSON] = {**self._head, "trashes": [*self.trashes()]}
            yield from (_mark(record, self._path) for record in read_counted(self._path, head, _WHAT))

    def trashes(self) -> tuple[str, ...]:
        """The prefixes of all trash that runs with these marks were told of: nothing there is garbage."""
        if not self._path.exists():
            return ()
        with self._path.open(encoding="ascii", errors="replace") as file:
            try:
                head = json.loads(file.readline())
            except (ValueError, RecursionError):
                head = None
        found = head.get("trashes") if isinstance(head, dict) else None
        return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()

    def replace(self, marks: Iterable[Mark], trashes: Sequence[str] = ()) -> None:
        """Write other marks in place of these, in one step. They may be made out of these while they are read."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        records = ({**mark._asdict(), "seen": mark.seen.isoformat()} for mark in marks)
        try:
            with temporary.open("w", encoding="ascii") as file:
                file.writelines(counted_lines({**self._head, "trashes": [*trashes]}, records))
                _to_disk(file)
            temporary.replace(self._path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _to_disk(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


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
