"""A collection is killed at any moment, again and again: nothing that is needed goes, and all else does in the end."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.storage import Storage
from mediagit_storage.testing.killed_processes import run_for
from mediagit_storage.testing.sources import content
from mediagit_storage.tools.marks import open_marks

#: Collects a folder. ``late`` are references that come while it deletes: only its third look sees them.
COLLECTOR = """
from datetime import datetime, timedelta
from pathlib import Path
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.storage import Storage
from mediagit_storage.tools.gc import CollectionRules, collect
from mediagit_storage.tools.marks import open_marks
from mediagit_storage.tools.plan import DeletionLimit
from mediagit_storage.tools.sides import Side

looks = iter([given["needed"], given["needed"], given["needed"] + given["late"]])
rules = CollectionRules(
    grace=timedelta(hours=1), delete=True, limit=DeletionLimit(1000), trash=given["trash"] or None, concurrency=4
)
with Storage(LocalBackend(given["folder"])) as store, open_marks(Path(given["marks"]), "here") as marks:
    begin()
    now = datetime.fromisoformat(given["now"])
    for each in collect(Side(store), [lambda: next(looks)], marks, rules, now=now):
        assert each.error is None, each
        tell(str(each.state), each.name)
"""


class Garden:
    """A folder with objects that are needed and others, and how often each was told of as deleted or brought back."""

    def __init__(self, folder: Path, seed: int, trash: str) -> None:
        self.chance = random.Random(seed)
        self.folder, self.marks, self.trash = folder / "objects", folder / "marks", trash
        self.folder.mkdir()
        self.store = Storage(LocalBackend(self.folder))
        # Later than any object is written, by more than clocks may be apart.
        self.now = datetime.now(UTC) + timedelta(days=2)
        self.needed: set[str] = set()
        self.garbage: set[str] = set()
        self.told: Counter[str] = Counter()
        #: How many calls a run makes that deletes what there is.
        self.length = 1

    def grow(self, count: int) -> None:
        """New objects, one in three of them needed."""
        start = len(self.needed) + len(self.garbage)
        for number in range(start, start + count):
            name = f"f{number % 5}/ü{number:04}"
            self.store.put(name, content(number * 31))
            (self.needed if number % 3 == 0 else self.garbage).add(name)

    def collect(self, calls: int = 0) -> bool:
        """One run, which is killed after so many calls; whether it came to its end."""
        self.now += timedelta(days=1)
        late = self.chance.sample(sorted(self.present()), 2) if self.trash and self.present() else []
        given = {
            "folder": str(self.folder),
            "marks": str(self.marks),
            "trash": self.trash,
            "now": self.now.isoformat(),
            "needed": sorted(self.needed),
            "late": late,
        }
        told = run_for(COLLECTOR, given, calls)
        for state, name in told.lines:
            assert state in {"restored", "kept"} or name not in self.needed
            self.told[name] += {"deleted": 1, "trashed": 1, "restored": -1}.get(state, 0)
        self.needed |= set(late)
        self.garbage -= set(late)
        self.look(restored=told.calls is not None)
        if told.calls is not None:
            self.length = max(self.length, told.calls)
        return told.calls is not None

    def present(self) -> set[str]:
        """The garbage that lies in its place."""
        return {info.key for info in self.store.list()} & self.garbage

    def look(self, *, restored: bool) -> None:
        """Nothing needed is lost, and what is kept between runs can be read. After a whole run all is in its place."""
        held = {info.key: info for info in self.store.list()}
        for name in self.needed:
            places = [name] if restored else [name, *(key for key in held if key.endswith(f"Z/{name}"))]
            found = [place for place in places if place in held]
            assert found, f"{name} is lost"
            assert all(self.store.get(place) == content(self.number(name) * 31) for place in found)
        with open_marks(self.marks, "here") as marks:
            names = [mark.name for mark in marks.read()]
            assert names == sorted(set(names), key=str.encode)
            assert not restored or [*marks.deletions.read()] == []

    def number(self, name: str) -> int:
        """What an object was made from."""
        return int(name[-4:])


def killed_collections(folder: Path, rounds: int, trash: str) -> None:
    """Collect until so many runs were killed, with new objects in between; then to the end."""
    garden = Garden(folder, rounds, trash)
    garden.grow(30)
    # One that marks, and one that deletes, to learn how long that takes.
    assert garden.collect()
    assert garden.collect()
    assert not garden.present()
    killed = 0
    while killed < rounds:
        if len(garden.present()) < 8:
            garden.grow(20)
        killed += not garden.collect(garden.chance.randrange(1, garden.length))
    for _ in range(2):
        assert garden.collect()
    assert garden.present() == set()
    # A run that was killed between a deed and its word has not told of it, and no other one tells of it again.
    assert all(garden.told[name] in {0, 1} for name in garden.garbage)
    held = [info.key for info in garden.store.list()]
    assert garden.needed <= set(held)
    if trash:
        kept = Counter(key.partition("Z/")[2] for key in held if key.startswith(trash))
        assert garden.garbage <= kept.keys()
        for key in (key for key in held if key.startswith(trash)):
            assert garden.store.get(key) == content(garden.number(key) * 31)
    else:
        assert set(held) == garden.needed


@pytest.mark.parametrize("trash", ["", "trash/"])
def test_a_collection_that_is_killed_three_times(tmp_path, trash):
    killed_collections(tmp_path, 3, trash)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("trash", ["", "trash/"])
def test_a_collection_that_is_killed_fifty_times(tmp_path, trash):
    killed_collections(tmp_path, 50, trash)
