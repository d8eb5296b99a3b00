"""Syncing two folders: what ends up where, what is remembered, and what is never deleted."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediagit_storage import Attributes, Storage, open_storage
from mediagit_storage.backends.local.backend import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    ConfigError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
)
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.source import as_source
from mediagit_storage.testing.covers import covers
from mediagit_storage.tools import unlisted
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.plan import Action, DeletionLimit, SyncRules
from mediagit_storage.tools.remembered import Remembered, remembered_between
from mediagit_storage.tools.selecting import is_marker
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync import SyncCounts, Syncing, lost_attributes, sync_objects
from mediagit_storage.types import ObjectInfo, PutOptions

DATA = {"a": b"1", "b/c": b"", "b/d": b"d" * 3000, "large": os.urandom((1 << 20) + 7), "ü/x y": b"u"}


@dataclass(frozen=True, slots=True)
class CountedConfig:
    """Nothing to choose."""


class Counted(Layer):
    """Counts the reads of contents, and fails or interferes where it is told to."""

    layer_name = "counted"

    def __init__(self, inner):
        super().__init__(inner, CountedConfig())
        self.reads: list[str] = []
        self.before_read = lambda key: None
        self.before_stat = lambda key: None
        self.listing = lambda infos: infos

    def stat(self, key, version=None):
        self.before_stat(key)
        return self.inner.stat(key, version)

    def read(self, key, options):
        self.before_read(key)
        self.reads.append(key)
        return self.inner.read(key, options)

    def stream(self, key, options):
        self.before_read(key)
        self.reads.append(key)
        return self.inner.stream(key, options)

    @property
    def capabilities(self):
        # One by one, so that each read is seen, and fails alone.
        return replace(self.inner.capabilities, batch=False)

    def list(self, prefix, options):
        return self.listing(self.inner.list(prefix, options))


def filled(data: dict[str, bytes] = DATA, *, prefix: str = "") -> Storage:
    store = Storage(Counted(MemoryBackend()))
    for key, content in data.items():
        store.put(prefix + key, content)
    return store


def held(store: Storage, prefix: str = "") -> dict[str, bytes]:
    return {info.key[len(prefix) :]: store.get(info.key) for info in store.list(prefix)}


def sync(source, target, rules=None, *, memory=None, limit=None, dry=False, drop=False):
    """What was done, as (action, name, error), and the counts."""
    left = source if isinstance(source, Side) else Side(source)
    right = target if isinstance(target, Side) else Side(target)
    how = Syncing(rules or SyncRules(), CopyRules(drop_attributes=drop), limit or DeletionLimit(), dry)
    counts = SyncCounts()
    with memory or Remembered(None, ("", "")) as remembered:
        done = list(sync_objects(left, right, how, remembered, counts))
    return done, counts


def names(done, action=Action.COPY):
    return sorted(each.name for each in done if each.action is action and each.error is None)


def test_everything_arrives_below_the_prefixes():
    source, target = filled(prefix="from/"), filled({"else": b"x"})
    done, _ = sync(Side(source, "from/"), Side(target, "to/"))
    assert names(done) == sorted(DATA)
    assert held(target, "to/") == DATA
    assert target.get("else") == b"x"


def test_a_second_run_copies_nothing_and_a_third_only_what_changed():
    source, target = filled(), filled({})
    sync(source, target)
    done, counts = sync(source, target)
    assert (done, counts.equal) == ([], len(DATA))
    source.put("b/d", b"D" * 3000)
    done, _ = sync(source, target)
    assert [(each.name, each.reason) for each in done] == [("b/d", "content")]
    assert held(target) == {**DATA, "b/d": b"D" * 3000}


contents = st.dictionaries(
    st.sampled_from(["a", "a/b", "a-", "b", "é", "z/z"]), st.sampled_from([b"", b"1", b"2", b"22"]), max_size=6
)


@settings(max_examples=40)
@given(contents, contents)
def test_with_deletions_both_sides_become_the_same(ours, theirs):
    source, target = filled(ours), filled(theirs)
    done, counts = sync(source, target, SyncRules(delete=True), limit=DeletionLimit(100))
    assert held(target) == held(source) == ours
    assert names(done, Action.DELETE) == sorted(set(theirs) - set(ours))
    assert counts.equal == len([key for key in ours if ours[key] == theirs.get(key)])
    assert sync(source, target, SyncRules(delete=True))[0] == []


def test_without_delete_nothing_goes():
    source, target = filled({"a": b"1"}), filled({"b": b"2"})
    _, counts = sync(source, target)
    assert held(target) == {"a": b"1", "b": b"2"}
    assert counts.extra == 1


def test_filters_hold_for_both_sides():
    source, target = filled({"a.tmp": b"1", "b": b"2"}), filled({"c.tmp": b"3", "d": b"4", "b": b"2"})
    sync(source, target, SyncRules(Filters([Filter(include=False, pattern="*.tmp")]), delete=True))
    assert held(target) == {"b": b"2", "c.tmp": b"3"}


# ---- what is remembered


@pytest.fixture
def folders(tmp_path):
    """A local folder with files written long ago, a storage, and the memory between them."""
    long_ago = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    for name, data in DATA.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (long_ago, long_ago))
    source = Storage(Counted(LocalBackend(tmp_path / "files")))
    yield source, filled({}), lambda: Remembered(tmp_path / "state", ("a", "b"))
    source.close()


def test_what_was_copied_is_not_read_again(folders):
    source, target, memory = folders
    sync(source, target, memory=memory())
    source.backend.reads.clear()
    target.backend.reads.clear()
    done, counts = sync(source, target, memory=memory())
    assert (done, counts.equal) == ([], len(DATA))
    assert (source.backend.reads, target.backend.reads) == ([], [])


def aged(infos):
    """What a listing tells, as if it had been written yesterday."""
    for info in infos:
        info.modified = datetime.now(UTC) - timedelta(days=1)
        yield info


def test_what_was_compared_is_not_read_again(folders):
    source, target, memory = folders
    sync(source, target)
    target.backend.listing = aged
    sync(source, target, memory=memory())
    target.backend.reads.clear()
    assert sync(source, target, memory=memory())[1].equal == len(DATA)
    assert target.backend.reads == []


def test_a_file_of_the_same_size_and_an_older_time_is_seen(folders, tmp_path):
    source, target, memory = folders
    sync(source, target, memory=memory())
    path = tmp_path / "files" / "b/d"
    path.write_bytes(b"e" * 3000)
    os.utime(path, (1, 1))
    done, _ = sync(source, target, memory=memory())
    assert names(done) == ["b/d"]
    assert target.get("b/d") == b"e" * 3000


def test_a_target_that_somebody_changed_is_seen(folders):
    source, target, memory = folders
    sync(source, target, memory=memory())
    target.put("a", b"2")
    done, _ = sync(source, target, memory=memory())
    assert (names(done), target.get("a")) == (["a"], b"1")


def test_what_was_just_written_is_not_remembered(folders, tmp_path):
    source, target, memory = folders
    (tmp_path / "files" / "a").write_bytes(b"9")
    sync(source, target, memory=memory())
    source.backend.reads.clear()
    assert sync(source, target, memory=memory())[1].equal == len(DATA)
    assert source.backend.reads == ["a"]


@pytest.mark.parametrize("damage", [b"", b"no database at all, but some other file of this name" * 50])
def test_a_damaged_memory_is_made_anew(folders, tmp_path, damage):
    source, target, memory = folders
    sync(source, target, memory=memory())
    (path,) = (tmp_path / "state").glob("*.sqlite")
    path.write_bytes(damage)
    for _ in range(2):
        assert sync(source, target, memory=memory())[1].equal == len(DATA)
    source.put("a", b"5")
    sync(source, target, memory=memory())
    assert target.get("a") == b"5"


def test_a_damaged_page_is_found_once(folders, tmp_path):
    memory = folders[2]
    with memory() as facts:
        for number in range(3000):
            facts.add(f"{number:05}", b"x" * 16)
    (path,) = (tmp_path / "state").glob("*.sqlite")
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xa5" * 8 * 4096)
    with memory() as facts:
        assert not any(facts.known(f"{number:05}", b"y") for number in range(0, 3000, 50))
        facts.add("a", b"new")
    with memory() as facts:
        assert facts.known("a", b"new")
        assert not facts.known("00001", b"x" * 16)


@pytest.mark.parametrize(("size", "seconds"), [(1 << 28, 0.0), (0, 5.0)])
def test_what_took_long_is_written_down_at_once(tmp_path, size, seconds):
    now = [0.0]
    facts, others = (Remembered(tmp_path / "state", ("a", "b"), lambda: now[0]) for _ in range(2))
    facts.add("early", b"1")
    assert not others.known("early", b"1")
    now[0] = seconds
    facts.add("large", b"2", size)
    assert others.known("early", b"1")
    assert others.known("large", b"2")
    facts.close()
    others.close()


def test_names_that_cannot_be_encoded_are_remembered(tmp_path):
    with Remembered(tmp_path / "state", ("a", "b")) as facts:
        for name in ("\udcff", "\ud800"):
            facts.add(name, name.encode("utf-8", "surrogatepass"))
    with Remembered(tmp_path / "state", ("a", "b")) as facts:
        assert facts.known("\udcff", b"\xed\xb3\xbf")
        assert facts.known("\ud800", b"\xed\xa0\x80")


def test_what_was_compared_and_is_newer_than_its_listing_is_not_remembered(folders, tmp_path):
    source, target, memory = folders
    path, kept = tmp_path / "files" / "a", tmp_path / "kept"

    def write(key):
        if key == "a" and not kept.exists():
            path.rename(kept)
            path.write_bytes(b"2")

    target.put("a", b"2")
    for key in DATA.keys() - {"a"}:
        target.put(key, DATA[key])
    target.backend.listing = aged
    source.backend.before_read = write
    assert sync(source, target, memory=memory())[1].equal == len(DATA)
    source.backend.before_read = lambda key: None
    kept.replace(path)
    done, _ = sync(source, target, memory=memory())
    assert names(done) == ["a"]


def test_layers_have_memories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    views = [
        open_storage(str(tmp_path), layers=layers)
        for layers in ([], ["compress"], [{"layer": "prefix", "prefix": "a/"}])
    ]
    there = Side(views[0], "there/")
    raw, packed, inside = (Side(view) for view in views)
    for side, same in ((raw, True), (packed, False), (inside, False)):
        with remembered_between("syncs", Side(side.store, "a/"), there) as facts:
            if side is raw:
                facts.add("k", b"1")
        with remembered_between("syncs", Side(side.store, "a/"), there) as facts:
            assert facts.known("k", b"1") is same
    with remembered_between("syncs", inside, there) as facts:
        assert facts.known("k", b"1"), "the same folder, spelled as a prefix"
    for view in views:
        view.close()


def test_a_memory_that_cannot_be_kept_costs_nothing_but_time(folders, tmp_path):
    source, target, memory = folders
    (tmp_path / "state").write_bytes(b"a file where the folder should be")
    sync(source, target, memory=memory())
    assert sync(source, target, memory=memory())[1].equal == len(DATA)
    assert held(target) == DATA


def test_every_byte_is_compared_when_asked_for(folders):
    source, target, memory = folders
    sync(source, target, memory=memory())
    source.backend.reads.clear()
    assert sync(source, target, SyncRules(contents=True), memory=memory())[1].equal == len(DATA)
    assert len(source.backend.reads) == len(DATA) - 1, "all but the empty one"


# ---- what is never lost


@covers(230)
def test_nothing_is_deleted_where_a_copy_failed():
    source, target = filled({"a": b"1", "b": b"2"}), filled({"z": b"3", "y": b"4", "a": b"1", "x": b"5"})

    def fail(key):
        if key == "b":
            raise UnavailableError("the line is down")

    source.backend.before_read = fail
    done, counts = sync(source, target, SyncRules(delete=True), limit=DeletionLimit(9))
    assert [type(each.error) for each in done if each.error] == [UnavailableError]
    assert (counts.failed, counts.withheld) == (1, 3)
    assert set(held(target)) == {"a", "x", "y", "z"}


@covers(230)
@pytest.mark.parametrize("side", ["source", "target"])
def test_nothing_is_deleted_where_a_listing_broke_off(side):
    source, target = filled({"a": b"1"}), filled({"a": b"1", "y": b"2"})

    def broken(infos):
        yield next(iter(infos))
        raise UnavailableError("the line is down")

    (source if side == "source" else target).backend.listing = broken
    with pytest.raises(UnavailableError):
        sync(source, target, SyncRules(delete=True))
    assert set(held_through(target)) == {"a", "y"}


def held_through(store: Storage) -> dict[str, bytes]:
    store.backend.listing = lambda infos: infos
    return held(store)


@covers(230)
def test_nothing_is_deleted_where_a_listing_is_out_of_order():
    source, target = filled({"a": b"1", "b": b"2"}), filled({"a": b"1", "b": b"2", "c": b"3"})
    source.backend.listing = lambda infos: reversed(list(infos))
    with pytest.raises(StorageError, match="out of order"):
        sync(source, target, SyncRules(delete=True))
    assert len(held(target)) == 3


def test_more_than_half_of_the_target_stays_unless_told():
    source, target = filled({"a": b"1"}), filled({"a": b"1", "x": b"2", "y": b"3"})
    with pytest.raises(LimitExceededError, match="2 of the target's 3"):
        sync(source, target, SyncRules(delete=True))
    assert len(held(target)) == 3
    sync(source, target, SyncRules(delete=True), limit=DeletionLimit(2))
    assert held(target) == {"a": b"1"}


@pytest.mark.parametrize("many", [0, 10_000])
def test_what_a_link_in_the_source_hides_is_not_deleted(tmp_path, monkeypatch, many):
    monkeypatch.setattr(unlisted, "_MANY", many)
    source, target = open_storage(tmp_path / "f", create=True), filled({})
    for name in ("a", "d/x", "d-x", "e/film", "e/gone", "z"):
        source.put(f"in/{name}", name.encode())
    side = Side(source.with_prefix("in"), "/")
    sync(side, target)
    folder = tmp_path / "f" / "in"
    for name in ("d", "e/film"):
        (folder / name).rename(tmp_path / name.replace("/", "-"))
        (folder / name).symlink_to(tmp_path / name.replace("/", "-"))
    for name in ("d-x", "e/gone"):
        (folder / name).unlink()
    done, counts = sync(side, target, SyncRules(delete=True))
    assert names(done, Action.DELETE) == ["d-x", "e/gone"]
    assert set(held(target)) == {"a", "d/x", "e/film", "z"}
    assert (counts.extra, counts.left, counts.target) == (2, 2, 6)


@pytest.mark.parametrize("prefix", ["", "in/"])
@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("there", [{"a": b"1"}, {"a": b"older"}, {}])
def test_nothing_is_deleted_where_the_source_went_away_while_it_was_listed(prefix, there, dry):
    data, others = {"a": b"1", "b": b"2", "c": b"3"}, {"b": b"2", "c": b"3", "d": b"4"}
    source, target = filled(data, prefix=prefix), filled({**others, **there})

    def unmounted(infos):
        yield from islice(infos, 1)
        # What is read already comes to its end.
        source.backend.listing = lambda _: iter(())

    source.backend.listing = unmounted
    with pytest.raises(NotFoundError):
        sync(Side(source, prefix), target, SyncRules(delete=True, size_only=True), limit=DeletionLimit(9), dry=dry)
    assert set(held(target)) == {"b", "c", "d"} | ({"a"} if there or not dry else set())


def test_links_of_the_target_spare_nothing(tmp_path):
    source, target = filled({"a": b"1"}), open_storage(tmp_path / "f", create=True)
    target.put("a", b"1")
    target.put("b", b"2")
    (tmp_path / "f" / "c").symlink_to(tmp_path)
    sync(source, target, SyncRules(delete=True))
    assert set(held(target)) == {"a"}


def test_what_came_to_the_source_after_it_was_listed_is_not_deleted():
    source, target = filled({"a": b"1", "b": b"1"}), filled({"a": b"1", "b": b"2", "y": b"3", "z": b"4"})
    target.backend.before_read = lambda key: source.put("z", b"new")
    done, counts = sync(source, target, SyncRules(delete=True))
    assert (names(done), names(done, Action.DELETE)) == (["b"], ["y"])
    assert (set(held(target)), counts.extra, counts.left) == ({"a", "b", "z"}, 1, 1)


def test_where_the_source_cannot_tell_nothing_is_deleted():
    source, target = filled({"a": b"1", "b": b"1"}), filled({"a": b"1", "b": b"1", "z": b"4"})

    def fail(key):
        raise UnavailableError("the line is down")

    source.backend.before_stat = fail
    done, counts = sync(source, target, SyncRules(delete=True))
    assert [type(each.error) for each in done] == [UnavailableError]
    assert (set(held(target)), counts.failed) == ({"a", "b", "z"}, 1)


@pytest.mark.parametrize("problem", [BucketNotFoundError, UnauthenticatedError])
def test_where_nothing_else_could_be_deleted_either_it_ends(problem):
    source, target = filled({"a": b"1", "b": b"2", "c": b"3"}), filled({"a": b"1", "x": b"2", "y": b"3", "z": b"4"})

    def gone(key):
        raise problem("nothing works any more")

    source.backend.before_stat = gone
    with pytest.raises(problem):
        sync(source, target, SyncRules(delete=True), limit=DeletionLimit(9))
    assert set(held(target)) == {"a", "b", "c", "x", "y", "z"}


def test_what_somebody_else_deleted_first_is_done():
    source, target = filled({"a": b"1", "b": b"1"}), filled({"a": b"1", "z": b"old"})
    source.backend.before_read = lambda key: target.delete("z")
    done, counts = sync(source, target, SyncRules(delete=True))
    assert (names(done, Action.DELETE), counts.failed) == (["z"], 0)


def test_without_overwriting_what_is_there_stays():
    source, target = filled({"a": b"1", "b": b"2", "c": b"3"}), filled({"a": b"1", "b": b"newer"})
    counts = SyncCounts()
    how = Syncing(copying=CopyRules(overwrite=False))
    source.backend.before_read = lambda key: target.put("c", b"meanwhile") if key == "c" else None
    done = [*sync_objects(Side(source), Side(target), how, counts=counts)]
    assert sorted((each.action, each.name, each.reason) for each in done) == [
        (Action.LEAVE, "b", "size"),
        (Action.LEAVE, "c", "written meanwhile"),
    ]
    assert held(target) == {"a": b"1", "b": b"newer", "c": b"meanwhile"}
    assert (counts.kept, counts.equal, counts.failed) == (2, 1, 0)


def test_an_object_that_was_written_after_it_was_listed_is_not_deleted():
    source, target = filled({"a": b"1", "b": b"1"}), filled({"a": b"1", "z": b"old"})
    source.backend.before_read = lambda key: target.put("z", b"new")
    done, _ = sync(source, target, SyncRules(delete=True))
    (left,) = [each.error for each in done if each.action is Action.DELETE]
    assert isinstance(left, PreconditionError)
    assert "after it was listed" in left.message
    assert (left.key, target.get("z")) == ("z", b"new")


def test_a_source_that_is_not_there_deletes_nothing():
    source, target = filled({}), filled({"a": b"1"})
    with pytest.raises(NotFoundError):
        sync(Side(source, "mistyped/"), target, SyncRules(delete=True), limit=DeletionLimit(9))
    assert held(target) == {"a": b"1"}


@covers(231)
@pytest.mark.parametrize(("source", "target"), [("", ""), ("a/", "a/"), ("a/", "a/b/"), ("a/b/", "a/"), ("", "a/")])
def test_a_folder_and_what_is_inside_of_it_are_not_synced(source, target):
    store = filled({"a/b/c": b"1"})
    with pytest.raises(ConfigError, match="itself"):
        sync(Side(store, source), Side(store, target))


@covers(229)
def test_a_dry_run_writes_nothing():
    source, target = filled({"a": b"1", "b": b"2"}), filled({"a": b"0", "y": b"3", "z": b"4"})
    frozen = target.with_layer(ReadOnlyLayer)
    done, _ = sync(source, frozen, SyncRules(delete=True), limit=DeletionLimit(2), dry=True)
    assert (names(done), names(done, Action.DELETE)) == (["a", "b"], ["y", "z"])
    assert all(each.planned for each in done)
    assert set(held(target)) == {"a", "y", "z"}


# ---- attributes


@covers(228)
def test_attributes_travel_along_and_what_the_target_cannot_keep_is_known_before(tmp_path):
    source = filled({})
    rich = Attributes(content_type="text/x", metadata={"who": "me"}, tags={"t": "1"})
    source.put("a", b"1", attributes=rich)
    same, local = filled({}), Storage(LocalBackend(tmp_path))
    sync(source, same)
    assert same.stat("a").attributes == rich
    assert lost_attributes(source, same) == frozenset()
    missing = lost_attributes(source, local)
    # The names of storage classes are each service's own: they stay behind, and nothing fails because of them.
    assert missing == source.capabilities.attributes - local.capabilities.attributes - {"storage_class"}
    local.close()


# ---- while others write


@covers(226)
def test_a_source_that_changes_meanwhile_arrives_as_one_version_or_the_other():
    source, target = filled({f"k{number:03}": b"a" * 50 for number in range(40)}), filled({})
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            source.put(f"k{number % 40:03}", (b"a", b"b")[number % 2] * 50)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done, _ = sync(source, target)
    finally:
        stop.set()
        writer.join()
    assert all(each.error is None for each in done)
    assert all(data in {b"a" * 50, b"b" * 50} for data in held(target).values())
    sync(source, target)
    assert held(target) == held(source)


def test_content_under_a_name_like_a_folders_is_not_left_out():
    hidden = ObjectInfo("a/", None, 30)
    assert not is_marker(hidden)
    assert not is_marker(replace(hidden, stored_size=None))
    assert is_marker(replace(hidden, stored_size=0))
    assert is_marker(replace(hidden, size=0))
    source, target = filled({"a": b"1"}), filled({})
    source.backend.put("b/", as_source(b"kept"), PutOptions())
    source.backend.listing = lambda infos: (replace(info, size=None) for info in infos)
    done, counts = sync(source, target)
    assert (names(done), counts.failed) == (["a"], 1), "this target cannot hold such a name, and says so"


@pytest.mark.parametrize("delete", [False, True])
def test_what_is_left_over_is_written_down_only_to_be_deleted(monkeypatch, delete):
    opened = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *args, **options: opened.append(1) or real(*args, **options))
    sync(filled({"a": b"1"}), filled({"a": b"1", "b": b"2"}), SyncRules(delete=delete))
    assert len(opened) == delete


def test_a_sync_that_is_cancelled_while_it_compares_ends(folders):
    source, target, _ = folders
    for key, data in DATA.items():
        target.put(key, data)

    def cancel(key):
        source.backend.before_read = lambda key: None
        raise CancelledError("stop")

    source.backend.before_read = cancel
    with pytest.raises(CancelledError):
        sync(source, target)


@pytest.mark.parametrize(("ours", "theirs"), [("a/b/c", "a"), ("a", "a/b/c")])
def test_what_is_in_the_way_is_named(tmp_path, ours, theirs):
    source = filled({ours: b"1"})
    with Storage(LocalBackend(tmp_path, durability="none")) as target:
        target.put(theirs, b"2")
        ((done,), _) = sync(source, target)
    assert f"({theirs!r} is in the way)" in str(done.error)
