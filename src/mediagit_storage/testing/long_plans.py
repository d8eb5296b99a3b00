"""Storages that list any number of objects without having them, and what tools plan for them: time and memory at size.

``python -m mediagit_storage.testing.long_plans TASK COUNT`` plans once, and prints one line of JSON: how many things it
has decided, the seconds of wall and of processor time, and the most memory that the process held, in MiB.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.storage import Storage
from mediagit_storage.tools.gc import CollectionRules, collect
from mediagit_storage.tools.marks import open_marks
from mediagit_storage.tools.plan import DeletionLimit, SyncRules
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync import SyncCounts, Syncing, sync_objects
from mediagit_storage.types import ListOptions, ObjectInfo

__all__ = ["TASKS", "LongListing"]

_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


class LongListing(MemoryBackend):
    """Lists ``count`` objects in folders of a thousand, or every ``step``-th of them; it has none of them."""

    def __init__(self, count: int, step: int = 1) -> None:
        super().__init__()
        self._count = count
        self._step = step

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All of them, as S3 lists objects in one part; told nothing else than that it begins at the start."""
        assert not prefix
        assert options.start_after is None
        for number in range(0, self._count, self._step):
            key = name_of(number)
            etag = hashlib.md5(key.encode("ascii"), usedforsecurity=False).hexdigest()
            yield ObjectInfo(key, 1000, 1000, _LONG_AGO, f'"{etag}"')


def name_of(number: int) -> str:
    """The name of an object, as long as names of photographs are."""
    return f"projects/{number // 1000:07}/photographs/IMG_{number:010}.jpg"


def _synced(source: LongListing, target: LongListing, *, delete: bool) -> int:
    counts, rules = SyncCounts(), SyncRules(delete=delete)
    syncing = Syncing(rules, limit=DeletionLimit(sys.maxsize), dry=True)
    steps = sync_objects(Side(Storage(source)), Side(Storage(target)), syncing, counts=counts)
    return sum(1 for _ in steps) + counts.equal


def _copy_all(count: int) -> int:
    return _synced(LongListing(count), LongListing(0), delete=False)


def _copy_none(count: int) -> int:
    return _synced(LongListing(count), LongListing(count), delete=False)


def _delete_half(count: int) -> int:
    return _synced(LongListing(count, step=2), LongListing(count), delete=True)


def _collect(count: int) -> int:
    """Half of the objects are referenced; the others are marked, and found again by a second run."""
    side = Side(Storage(LongListing(count)))

    def references() -> Iterator[str]:
        return (name_of(number) for number in reversed(range(0, count, 2)))

    found = 0
    with tempfile.TemporaryDirectory() as folder, open_marks(Path(folder, "marks"), "here") as marks:
        for now in (_NOW, _NOW + timedelta(days=30)):
            found += sum(1 for _ in collect(side, [references], marks, CollectionRules(), now=now))
    return found


#: What is planned: a function of the number of objects, which gives how many things were decided.
TASKS: Final[Mapping[str, Callable[[int], int]]] = MappingProxyType(
    {
        "sync, all to be copied": _copy_all,
        "sync, all equal": _copy_none,
        "sync, half to be deleted": _delete_half,
        "gc, half marked and then due": _collect,
    }
)


def main() -> None:
    """Plan once, and print what it took."""
    task, count = TASKS[sys.argv[1]], int(sys.argv[2])
    started, worked = time.perf_counter(), time.process_time()
    decided = task(count)
    figures = {"decided": decided, "seconds": time.perf_counter() - started, "cpu": time.process_time() - worked}
    # Not what getrusage tells: a child counts the memory of the process that started it.
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    json.dump({**figures, "peak_mib": int(peak[1]) / 1024 if peak else 0.0}, sys.stdout)


if __name__ == "__main__":
    main()
