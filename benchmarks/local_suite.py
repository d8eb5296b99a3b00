"""The suite of the local backend: its cases, and what they read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turns import Case, Figures, measured

SCRIPT = str(Path(__file__).with_name("local.py"))
NO_SYNC = [
    "plain Python",
    "mediagit-storage",
    "mediagit-storage, batch",
    "mediagit-storage, sharded",
    "obstore",
    "fsspec",
]
SYNC = ["plain Python, fsync", "mediagit-storage, fsync", "mediagit-storage, batch, fsync"]
LARGE = ["plain Python", "mediagit-storage", "obstore", "fsspec"]

CASES = [
    Case("put 10,000 objects of 16 KiB, without fsync", "put-small", 10_000, NO_SYNC),
    Case("put 2,000 objects of 16 KiB, durable", "put-small", 2_000, SYNC),
    Case("get 10,000 objects of 16 KiB", "get-small", 10_000, NO_SYNC),
    Case("put 1 GiB, without fsync", "put-large", 1, LARGE),
    Case("put 1 GiB, durable", "put-large", 1, ["plain Python, fsync", "mediagit-storage, fsync"]),
    Case("get 1 GiB", "get-large", 1, LARGE),
    Case("list 1,000,000 objects in 1,000 folders", "list", 1_000_000, LARGE, most_rounds=3),
]
NOTE = "Files are in the page cache."


class LocalSuite:
    """Measures in folders under ``scratch``; what is read or listed is made once for each case and layout."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._trees: dict[tuple[str, bool], Path] = {}

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once."""
        reads = not case.task.startswith("put")
        # What was written stays until the end: after many deletions ext4 is slow to create files for minutes,
        # because it avoids the numbers of recently deleted ones, and that would fall on whoever comes next.
        folder = self._tree(case, name) if reads else self._new() / "store"
        os.sync()  # nobody pays for what the one before left unwritten
        figures = measured(SCRIPT, *_words(case, name, folder))
        if not reads:
            (folder / "large.bin").unlink(missing_ok=True)
        return figures

    def _tree(self, case: Case, name: str) -> Path:
        sharded = name.endswith("sharded")
        if (case.title, sharded) not in self._trees:
            tree = self._trees[case.title, sharded] = self._new() / "tree"
            measured(SCRIPT, *_words(case, name, tree), "--prepare")
        return self._trees[case.title, sharded]

    def _new(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._scratch))


def _words(case: Case, name: str, folder: Path) -> list[str]:
    return [case.task, name, "--count", str(case.count), "--folder", str(folder)]


@contextmanager
def opened(scratch: Path) -> Iterator[LocalSuite]:
    """The suite, ready to measure."""
    yield LocalSuite(scratch)
