"""Which ranges of a download are in its unfinished file, remembered in a journal so that a later run can go on.

A range counts as there in two ways: written, which survives the end of this process but not of this machine's uptime,
and synced, which survives a power cut. The journal holds both, and the identity of the uptime.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from mediagit_storage.ending import Pool
from mediagit_storage.journal import Journal
from mediagit_storage.types import JSON

__all__ = ["Ledger", "Ranges", "UnfinishedFile", "missing_ranges", "with_range"]

#: Spans ``(start, end)`` in order, that neither touch nor overlap.
Ranges = Sequence[tuple[int, int]]

#: The least time between two writings of the journal, in seconds.
_SAVE_EVERY: Final = 0.5
#: How much is written between two syncs, in bytes.
_SYNC_EVERY: Final = 128 * 1024 * 1024
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_data_sync: Final = getattr(os, "fdatasync", os.fsync)


class UnfinishedFile(Protocol):
    """An open file that is being filled by position, which a later run finds again."""

    @property
    def descriptor(self) -> int:
        """Where to write, and to ask for what is there."""
        ...

    def leftover(self) -> Path | None:
        """The file to be swept with the journal; None where somebody else sweeps."""
        ...

    def remove(self) -> None:
        """Give its space back. Never raises."""
        ...

    def close(self) -> None:
        """Leave it as it is. The descriptor is closed."""
        ...


def with_range(done: Ranges, start: int, end: int) -> Ranges:
    """``done`` with one more span in it."""
    before = [each for each in done if each[1] < start]
    after = [each for each in done if each[0] > end]
    met = [each for each in done if each[1] >= start and each[0] <= end]
    merged = (min([start, *(each[0] for each in met)]), max([end, *(each[1] for each in met)]))
    return [*before, merged, *after]


def missing_ranges(done: Ranges, size: int, part: int) -> Iterator[tuple[int, int]]:
    """What of ``size`` bytes is not in ``done``, as ``(offset, length)`` in order, none longer than ``part``."""
    position = 0
    for start, end in [*done, (size, size)]:
        while position < start:
            length = min(part, start - position)
            yield position, length
            position += length
        position = max(position, end)


class Ledger:
    """The ranges that are there, as a context manager: leaving it saves them, and waits for what is being synced.

    Without a journal it only counts. ``sync`` False never syncs: then only an end of the process can be survived.
    """

    def __init__(
        self, journal: Journal | None, about: Mapping[str, JSON], part: UnfinishedFile, size: int, *, sync: bool
    ) -> None:
        self._journal = journal
        self._about = about
        self._part = part
        self._sync = sync and journal is not None
        self._boot = _boot_id()
        self._saved_at = 0.0
        self._unsynced = 0
        self._threads: Pool | None = None
        self._syncing: Future[None] | None = None
        self._kept = journal is not None
        self.done: Ranges = () if journal is None else self._recall(journal, size)
        self._synced: Ranges = self.done
        if not self.done:
            os.ftruncate(part.descriptor, 0)

    @property
    def held(self) -> int:
        """How many bytes are there."""
        return sum(end - start for start, end in self.done)

    @property
    def worth_keeping(self) -> bool:
        """Whether a later run can go on from here."""
        return self._kept and bool(self.done)

    def add(self, start: int, length: int) -> None:
        """A range was written. Raises what went wrong with a sync: the file is then not to be trusted."""
        self.done = with_range(self.done, start, start + length)
        self._unsynced += length
        if self._syncing is not None and self._syncing.done():
            self._syncing.result()
            self._syncing = None
        if self._sync and self._unsynced >= _SYNC_EVERY and self._syncing is None:
            self._unsynced = 0
            self._threads = self._threads or Pool(1, thread_name_prefix="mgs-sync")
            self._syncing = self._threads.submit(self._sync_now, self.done)
        if time.monotonic() - self._saved_at >= _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the journal now."""
        if self._journal is None or not self._kept:
            return
        state: dict[str, JSON] = {
            "part": _identity(self._part),
            "boot": self._boot,
            "written": _to_json(self.done),
            "synced": _to_json(self._synced),
        }
        self._kept = self._journal.write(self._about, state, leftover=self._part.leftover())
        self._saved_at = time.monotonic()

    def forget(self) -> None:
        """The download is complete, or cannot be continued."""
        if self._journal is not None:
            self._journal.clear()

    def __enter__(self) -> Self:
        # Also before anything has come: whoever sweeps has to find the file.
        self.save()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        if kind is None and self._syncing is not None:
            self._syncing.result()
        self.save()

    def _sync_now(self, done: Ranges) -> None:
        _data_sync(self._part.descriptor)
        self._synced = done

    def _recall(self, journal: Journal, size: int) -> Ranges:
        """What an earlier run of the same download left in this very file."""
        found = journal.read()
        if found is None or found.about != self._about or found.state.get("part") != _identity(self._part):
            return ()
        same_boot = bool(self._boot) and found.state.get("boot") == self._boot
        done = _from_json(found.state.get("written" if same_boot else "synced"))
        length = os.fstat(self._part.descriptor).st_size
        return done if done and done[-1][1] <= length <= size else ()


def _identity(part: UnfinishedFile) -> list[JSON]:
    """Which file this is, whatever its name."""
    status = os.fstat(part.descriptor)
    return [status.st_dev, status.st_ino]


def _boot_id() -> str:
    """What is another at each start of the machine; empty where it cannot be known."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _to_json(ranges: Ranges) -> list[JSON]:
    return [[start, end] for start, end in ranges]


def _from_json(value: JSON) -> Ranges:
    """The ranges, or none where it is anything else."""
    found: list[tuple[int, int]] = []
    for each in value if isinstance(value, list) else []:
        match each:
            case [int(start), int(end)] if (found[-1][1] if found else -1) < start < end:
                found.append((start, end))
            case _:
                return ()
    return found
