"""Migrating: everything arrives and is proven, what changes meanwhile too, and nothing that was proven is done again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from mediagit_storage import Attributes, Storage
from mediagit_storage.backends.local.backend import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError, UnavailableError
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.killed_processes import kill_after
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.migrate import Migrating, MigrationCounts, migrate
from mediagit_storage.tools.plan import Action, SyncRules
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side

DATA = {"a": b"1", "b/c": b"", "b/d": b"d" * 3000, "large": os.urandom((1 << 20) + 7), "ü/x y": b"u"}


class Watched(MemoryBackend):
    """Counts reads and writes, and has somebody else act before them."""

    def __init__(self):
        super().__init__()
        self.reads: list[str] = []
        self.puts: list[str] = []
        self.before_read = lambda key: None
        self.after_put = lambda key: None

    @property
    def capabilities(self):
        return replace(super().capabilities, batch=False)

    def read(self, key, options):
        self.before_read(key)
        self.reads.append(key)
        return super().read(key, options)

    def stream(self, key, options):
        self.before_read(key)
        self.reads.append(key)
        return super().stream(key, options)

    def put(self, key, source, options):
        info = super().put(key, source, options)
        self.puts.append(key)
        self.after_put(key)
        return info


def filled(data=DATA):
    store = Storage(Watched())
    for key, content in data.items():
        store.put(key, content)
    store.backend.puts.clear()
    return store


def run(source, target, *, journal=None, **options):
    counts = MigrationCounts()
    steps = [*migrate(Side(source), Side(target), Migrating(**options), journal, counts)]
    return steps, counts


def held(store):
    return {info.key: store.get(info.key) for info in store.list()}


def test_attributes_of_empty_objects_are_compared_too():
    source, target = filled({}), filled({})
    source.put("empty", b"", attributes=Attributes(metadata={"of": "1"}))
    target.put("empty", b"")
    _, counts = run(source, target)
    assert (counts.complete, counts.copied) == (True, 1)
    assert target.stat("empty").attributes.metadata == {"of": "1"}


def test_everything_is_copied_once_and_then_proven():
    source, target = filled(), filled({"more": b"m"})
    _, counts = run(source, target)
    assert counts == MigrationCounts(len(DATA), sum(map(len, DATA.values())), len(DATA), 1, 0, 2, complete=True)
    assert held(target) == {**DATA, "more": b"m"}
    assert sorted(target.backend.puts) == sorted(DATA)


def test_what_changes_meanwhile_is_copied_again():
    source, target = filled(), filled({})
    writes = iter([b"2", b"3"])

    def write(key):
        if key == "a" and (data := next(writes, None)) is not None:
            source.put("a", data)

    target.backend.after_put = write
    _, counts = run(source, target)
    assert counts.complete
    assert counts.passes == 4
    assert held(target) == {**DATA, "a": b"3"} == held(source)


def test_a_source_that_is_never_quiet_ends_with_an_error():
    source, target = filled(), filled({})
    numbers = iter(range(1000))
    target.backend.after_put = lambda key: source.put("a", b"%d" % next(numbers))
    with pytest.raises(UnavailableError, match="more quickly"):
        run(source, target, passes=3)


def test_what_the_target_damages_is_found_and_copied_again():
    source, target = filled(), filled({})
    damaged = []

    def damage(key):
        if key == "b/d" and not damaged:
            damaged.append(key)
            target.put("b/d", b"D" + b"d" * 2999)

    target.backend.after_put = damage
    _, counts = run(source, target)
    assert counts.complete
    assert held(target) == DATA


def test_other_attributes_are_found_and_copied_again():
    source, target = filled(), filled({})
    source.put("typed", b"t", attributes=Attributes(content_type="text/x", metadata={"a": "b"}))
    target.put("typed", b"t", attributes=Attributes(content_type="text/y"))
    steps, counts = run(source, target)
    assert counts.complete
    assert [step.synced.reason for step in steps if step.synced.name == "typed"] == ["attributes"]
    assert target.stat("typed").attributes == source.stat("typed").attributes


class Stubborn(Watched):
    """A storage with a content type of its own for some objects."""

    def stat(self, key, version=None):
        info = super().stat(key, version)
        if key == "typed":
            info = replace(info, attributes=replace(info.attributes, content_type="text/x; charset=utf-8"))
        return info


def test_an_attribute_that_the_target_spells_otherwise_fails_alone():
    source, target = filled(), Storage(Stubborn())
    source.put("typed", b"t", attributes=Attributes(content_type="text/x"))
    steps, counts = run(source, target)
    (failed,) = [step.synced for step in steps if step.synced.error]
    assert (failed.name, "another content type" in str(failed.error)) == ("typed", True)
    assert (counts.complete, counts.failed, counts.proven, counts.passes) == (False, 1, len(DATA), 3)
    assert held(target) == held(source)


def test_without_overwriting_newer_objects_stay():
    source, target = filled(), filled({"a": b"newer"})
    steps, counts = run(source, target, copying=CopyRules(overwrite=False))
    assert [step.synced.name for step in steps if step.synced.action is Action.LEAVE] == ["a"]
    assert (counts.complete, counts.kept, counts.proven, counts.failed) == (True, 1, len(DATA) - 1, 0)
    assert held(target) == {**DATA, "a": b"newer"}


def test_what_was_proven_is_not_read_again(tmp_path):
    for name, data in DATA.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1e9, 1e9))
    source = Storage(LocalBackend(tmp_path / "files"))
    target = filled({})

    def journal():
        return Remembered(tmp_path / "state", ("a", "b"))

    target.backend._clock = Past()  # what was written long ago is remembered
    with journal() as memory:
        assert run(source, target, journal=memory)[1].complete
    target.backend.reads.clear()
    with journal() as memory:
        _, counts = run(source, target, journal=memory)
    assert (counts.complete, counts.copied, target.backend.reads) == (True, 0, [])
    source.close()


class Past:
    """A clock an hour ago."""

    def now_ns(self):
        return time.time_ns() - 3600 * 10**9

    def monotonic(self):
        return time.monotonic()

    def sleep(self, seconds):
        time.sleep(seconds)


def test_a_failure_leaves_it_incomplete_and_the_next_run_goes_on():
    source, target = filled(), filled({})

    def fail(key):
        if key == "b/d":
            raise UnavailableError("the line is down")

    source.backend.before_read = fail
    steps, counts = run(source, target)
    assert (counts.complete, counts.failed, counts.passes) == (False, 1, 1)
    assert [step.synced.name for step in steps if step.synced.error] == ["b/d"]
    source.backend.before_read = lambda key: None
    _, counts = run(source, target)
    assert (counts.complete, counts.copied) == (True, 1)


def test_a_dry_run_writes_nothing():
    source, target = filled(), filled({"a": b"1"})
    steps, counts = run(source, target, dry=True)
    assert sorted(step.synced.name for step in steps) == sorted(DATA.keys() - {"a"})
    assert not counts.complete
    assert target.backend.puts == []


@pytest.mark.parametrize("rules", [SyncRules(delete=True), SyncRules(size_only=True)])
def test_a_migration_neither_deletes_nor_guesses(rules):
    with pytest.raises(ConfigError):
        run(filled(), filled({}), rules=rules)


KILLED = """
import sys
from mediagit_storage import Storage
from mediagit_storage.backends.local.backend import LocalBackend
from mediagit_storage.tools.migrate import MigrationCounts, migrate
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side
from pathlib import Path

folder = Path(sys.argv[1])
counts = MigrationCounts()
source, target = Storage(LocalBackend(folder / "from")), Storage(LocalBackend(folder / "to", durability="none"))
with Remembered(folder / "state", ("a", "b")) as journal:
    for step in migrate(Side(source), Side(target), journal=journal, counts=counts):
        print(step.synced.name, flush=True)
print("complete" if counts.complete else "incomplete")
"""


def killed_and_run_again(folder, rounds, seed):
    """Kill a migration at random moments until it completes; returns how often each name was copied and acknowledged."""
    chance, copied = random.Random(seed), []
    for _ in range(rounds):
        copied += kill_after([sys.executable, "-c", KILLED, str(folder)], chance.randrange(1, 61))
        if copied and copied[-1] == "complete":
            break
    last = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=True, capture_output=True, text=True)
    return [*copied, *last.stdout.splitlines()]


@covers(235)
@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.long)])
def test_killed_at_any_point_and_run_again(tmp_path, rounds):
    (tmp_path / "to").mkdir()
    for number in range(rounds * 30):
        path = tmp_path / "from" / f"{number % 7}/{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(number).encode() * (number % 50))
        os.utime(path, (1e9, 1e9))
    copied = killed_and_run_again(tmp_path, rounds, seed=rounds)
    assert copied[-1] == "complete"
    names = [name for name in copied if "/" in name]
    # What a killed run had copied without being able to say so is not said by the next one, either.
    assert len(names) == len(set(names))
    for path in (tmp_path / "from").rglob("*"):
        if path.is_file():
            assert (tmp_path / "to" / path.relative_to(tmp_path / "from")).read_bytes() == path.read_bytes()
