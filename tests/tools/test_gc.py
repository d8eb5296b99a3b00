"""Collecting garbage: what goes, what stays, and what may happen in between."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mediagit_storage import Storage, open_storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    ConfigError,
    IntegrityError,
    LimitExceededError,
    NotFoundError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.tools.filters import Filter, Filters
from mediagit_storage.tools.gc import CollectionCounts, CollectionRules, Deleting, State, collect, mark_of
from mediagit_storage.tools.manifest import entries_of, manifest_lines
from mediagit_storage.tools.marks import Mark, open_marks
from mediagit_storage.tools.plan import DeletionLimit
from mediagit_storage.tools.references import CommandReferences, FileReferences, function_references, sorted_names
from mediagit_storage.tools.sides import Side
from mediagit_storage.types import ObjectInfo

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Place:
    """A storage whose clock and references are in the test's hands, and the marks of its collections."""

    def __init__(self, folder, keys=("a", "b", "c", "d"), prefix=""):
        self.clock = ManualClock(NOW.timestamp())
        self.store = Storage(MemoryBackend(clock=self.clock))
        self.prefix = prefix
        self.needed: set[str] = set()
        self.marks = folder / "marks"
        for key in keys:
            self.store.put(prefix + key, key.encode())

    @property
    def now(self):
        return datetime.fromtimestamp(self.clock.now, UTC)

    def keys(self, prefix=None):
        lead = self.prefix if prefix is None else prefix
        return [info.key[len(lead) :] for info in self.store.list(lead)]

    def collect(self, *, after=timedelta(), sources=None, counts=None, **rules):
        self.clock.sleep(after.total_seconds())
        given = CollectionRules(**{"grace": 7 * DAY, "delete": True, "limit": DeletionLimit(1000), **rules})
        references = [lambda: sorted(self.needed, reverse=True)] if sources is None else sources
        with open_marks(self.marks, "here") as marks:
            side = Side(self.store, self.prefix)
            return [*collect(side, references, marks, given, now=self.now, counts=counts)]


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    found.needed = {"a", "b"}
    found.clock.sleep(DAY.total_seconds())
    return found


def shown(keys):
    """Keys, with a star for the folder of the run in the trash."""
    return [re.sub(r"^trash/[^/]+Z/", "trash/*/", key) for key in keys]


def states(collected):
    return {each.name: each.state for each in collected if each.error is None}


# ---- marking and deleting


def test_an_object_goes_when_its_grace_is_over_and_not_before(place):
    assert states(place.collect()) == {"c": State.MARKED, "d": State.MARKED}
    assert states(place.collect(after=6 * DAY)) == {"c": State.WAITING, "d": State.WAITING}
    assert place.keys() == ["a", "b", "c", "d"]
    assert states(place.collect(after=2 * DAY)) == {"c": State.DELETED, "d": State.DELETED}
    assert place.keys() == ["a", "b"]


def test_without_delete_it_is_only_told(place):
    place.collect()
    assert states(place.collect(after=8 * DAY, delete=False)) == {"c": State.DUE, "d": State.DUE}
    assert place.keys() == ["a", "b", "c", "d"]


def test_even_without_any_grace_two_runs_lie_before_the_end(place):
    assert set(states(place.collect(grace=timedelta())).values()) == {State.MARKED}
    assert set(states(place.collect(grace=timedelta(), after=DAY)).values()) == {State.DELETED}


def test_a_reference_that_comes_back_takes_the_mark_away(place):
    place.collect()
    place.needed.add("c")
    place.collect(after=6 * DAY)
    place.needed.remove("c")
    assert states(place.collect(after=2 * DAY)) == {"c": State.MARKED, "d": State.DELETED}


def test_an_object_that_was_written_again_begins_anew(place):
    place.collect()
    place.clock.sleep(5 * DAY.total_seconds())
    place.store.put("c", b"c")
    assert states(place.collect(after=3 * DAY)) == {"c": State.MARKED, "d": State.DELETED}


@pytest.mark.parametrize(
    ("modified", "etag", "seen", "kept"),
    [
        (NOW - 9 * DAY, "e", NOW - 8 * DAY, True),
        (NOW - 7 * DAY, "e", NOW - 8 * DAY, False),
        (NOW - 8 * DAY - timedelta(minutes=30), "e", NOW - 8 * DAY, False),
        (NOW - 9 * DAY, "other", NOW - 8 * DAY, False),
        (NOW - 9 * DAY, "e", NOW + DAY, False),
        (None, "e", NOW - 8 * DAY, True),
    ],
)
def test_the_time_of_a_mark(modified, etag, seen, kept):
    old = Mark("n", 1, "e", seen)
    mark = mark_of("n", ObjectInfo("n", 1, modified=modified, etag=etag), old, NOW)
    assert mark.seen == (seen if kept else NOW)


def test_only_below_the_folder_and_only_what_the_filters_take(tmp_path):
    place = Place(tmp_path, ["a", "b.tmp", "c"], prefix="objects/")
    place.store.put("elsewhere", b"e")
    place.needed = {"a"}
    filters = Filters([Filter(include=True, pattern="*.tmp")])
    place.collect(after=DAY, filters=filters)
    assert states(place.collect(after=8 * DAY, filters=filters)) == {"b.tmp": State.DELETED}
    assert place.keys("") == ["elsewhere", "objects/a", "objects/c"]


def test_references_that_lead_nowhere_are_counted(place):
    place.needed |= {"gone", "away"}
    counts = CollectionCounts()
    place.collect(counts=counts)
    assert (counts.objects, counts.referenced, counts.missing) == (4, 2, 2)


# ---- when nothing may be deleted


def later(place, **rules):
    place.collect()
    place.clock.sleep(8 * DAY.total_seconds())
    return lambda sources: place.collect(sources=sources, **rules)


@covers(233)
@pytest.mark.parametrize("failing", [1, 2])
def test_nothing_goes_when_references_cannot_be_read(place, failing):
    collected = later(place)
    asked = 0

    def unreadable():
        nonlocal asked
        asked += 1
        yield "a"
        if asked == failing:
            raise UnavailableError("the database is down")
        yield "b"

    with pytest.raises(UnavailableError):
        collected([lambda: ["b"], unreadable])
    assert place.keys() == ["a", "b", "c", "d"]


@covers(233)
def test_a_listing_that_breaks_off_deletes_nothing_and_keeps_the_marks(place, monkeypatch):
    collected = later(place)
    whole = place.store.backend.list

    def broken(prefix, options):
        yield next(whole(prefix, options))
        raise UnavailableError("the line is down")

    with monkeypatch.context() as patch:
        patch.setattr(place.store.backend, "list", broken)
        with pytest.raises(UnavailableError):
            collected(None)
    assert place.keys() == ["a", "b", "c", "d"]
    assert states(place.collect()) == {"c": State.DELETED, "d": State.DELETED}


@covers(233)
@pytest.mark.parametrize(
    "content",
    [b"a\nb", b"a\n\xff\n", None, b'{"manifest":1,"digest":"blake3"}\n', b"\xef\xbb\xbfa\nb\n", b"a\nb\r\n", b"a\rb"],
)
def test_a_file_of_references_that_is_not_whole_deletes_nothing(place, tmp_path, content):
    collected = later(place)
    path = tmp_path / "references"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ConfigError, IntegrityError)):
        collected([FileReferences(path)])
    assert place.keys() == ["a", "b", "c", "d"]


def test_a_command_that_fails_deletes_nothing(place):
    collected = later(place)
    with pytest.raises(StorageError, match="exit code 3"):
        collected([CommandReferences("echo a; echo b; exit 3")])
    assert place.keys() == ["a", "b", "c", "d"]


def test_references_that_all_lead_nowhere_delete_nothing_unless_allowed(place):
    wrong = [lambda: ["objects/a", "./b"]]
    with pytest.raises(ConfigError, match="leads to an object"):
        place.collect(sources=wrong)
    assert not place.marks.exists()
    assert len(place.collect(sources=wrong, allow_empty=True)) == 4


@pytest.mark.parametrize("fewer", [[], ["a"]])
def test_references_that_are_being_written_again_delete_nothing(place, fewer):
    place.needed = {"a", "b", "c"}
    collected = later(place)
    answers = iter([["a", "b", "c"], fewer])
    with pytest.raises(StorageError, match="3 references at first"):
        collected([lambda: next(answers)])
    assert place.keys() == ["a", "b", "c", "d"]


def test_what_somebody_else_deleted_is_not_counted_as_freed(place):
    collected = later(place)
    asked = 0

    def references():
        nonlocal asked
        asked += 1
        if asked == 2:
            place.store.delete("c")
        return ["a", "b"]

    assert states(collected([references])) == {"c": State.GONE, "d": State.DELETED}


def test_a_storage_that_vanishes_is_not_taken_for_deleted_objects(place, monkeypatch):
    collected = later(place)

    def unmounted(key, version=None):
        raise BucketNotFoundError("the folder is not there")

    monkeypatch.setattr(place.store.backend, "stat", unmounted)
    with pytest.raises(BucketNotFoundError):
        collected(None)


def test_names_that_are_no_text_are_in_the_order_of_their_bytes(tmp_path):
    names = ["a", "\U0001f600", "\udcff"]
    for name in names:
        (tmp_path / "store").mkdir(exist_ok=True)
        path = tmp_path / "store" / name
        path.write_bytes(b"1")
        os.utime(path, (1, 1))
    with open_storage(str(tmp_path / "store")) as store, open_marks(tmp_path / "marks", "here") as marks:
        rules = CollectionRules(grace=timedelta(), delete=True, limit=DeletionLimit(9))
        answers = iter([names[::-1], *[["a"]] * 4])
        looks = [lambda: next(answers)]
        runs = [states(collect(Side(store), looks, marks, rules, now=NOW + days * DAY)) for days in range(3)]
        left = [info.key for info in store.list()]
    assert runs == [{}, dict.fromkeys(names[1:], State.MARKED), dict.fromkeys(names[1:], State.DELETED)]
    assert left == ["a"]


def test_no_reference_at_all_deletes_nothing_unless_allowed(place):
    with pytest.raises(ConfigError, match="nothing at all"):
        place.collect(sources=[list])
    with pytest.raises(ConfigError, match="what references"):
        place.collect(sources=[])
    assert place.collect(sources=[list], allow_empty=True)


def test_more_than_half_stays_unless_told(place):
    place.needed = {"a"}
    place.collect()
    with pytest.raises(LimitExceededError, match="3 of 4"):
        place.collect(after=8 * DAY, limit=DeletionLimit())
    assert place.keys() == ["a", "b", "c", "d"]
    place.collect(limit=DeletionLimit(3))
    assert place.keys() == ["a"]


def test_one_collector_at_a_time(place):
    with open_marks(place.marks, "here"), pytest.raises(AlreadyExistsError, match="another collection"):
        place.collect()


@pytest.mark.parametrize("damage", ["cut", "other", "torn"])
def test_marks_that_are_damaged_or_of_another_folder_are_refused(place, damage):
    place.collect()
    text = place.marks.read_text()
    place.marks.write_text(
        {"cut": text[: text.rindex("{")], "other": text.replace('"here"', '"there"'), "torn": text[:-9]}[damage]
    )
    with pytest.raises((ConfigError, IntegrityError)):
        place.collect(after=8 * DAY)
    assert place.keys() == ["a", "b", "c", "d"]


# ---- while others work


def test_what_is_referenced_between_two_looks_stays(place):
    collected = later(place)
    answers = iter([["a", "b"], ["a", "b", "c"], ["a", "b", "c"]])
    assert states(collected([lambda: next(answers)])) == {"c": State.KEPT, "d": State.DELETED}


def test_what_is_referenced_while_it_is_deleted_comes_back_from_the_trash(place):
    collected = later(place, trash="trash/")
    answers = iter([["a", "b"], ["a", "b"], ["a", "b", "c"]])
    results = collected([lambda: next(answers)])
    assert [(each.name, each.state) for each in results] == [
        ("c", State.TRASHED), ("d", State.TRASHED), ("c", State.RESTORED)
    ]  # fmt: skip
    assert shown(place.keys()) == ["a", "b", "c", "trash/*/c", "trash/*/d"]
    assert place.store.get("c") == b"c"
    assert not list(place.marks.parent.glob("*.deletions"))


def test_without_a_trash_that_is_an_error(place):
    collected = later(place)
    answers = iter([["a", "b"], ["a", "b"], ["a", "b", "c"]])
    (failed,) = [each for each in collected([lambda: next(answers)]) if each.error]
    assert (failed.name, failed.state) == ("c", State.RESTORED)


def test_the_trash_is_no_garbage(place):
    place.collect(trash="trash/")
    place.collect(after=8 * DAY, trash="trash/")
    for trash in ("trash/", "other/", None, None):
        assert states(place.collect(after=8 * DAY, trash=trash)) == {}
    assert shown(place.keys()) == ["a", "b", "trash/*/c", "trash/*/d"]


def test_the_trash_never_loses_what_it_has(place):
    for content in (b"first", b"second"):
        place.store.put("c", content)
        place.collect(after=DAY, trash="trash/")
        place.collect(after=8 * DAY, trash="trash/")
    kept = [info.key for info in place.store.list("trash/") if info.key.endswith("/c")]
    assert [place.store.get(key) for key in kept] == [b"first", b"second"]


@pytest.mark.parametrize("create_only", [True, False])
def test_what_is_in_the_way_in_the_trash_stays(place, monkeypatch, create_only):
    place.collect(trash="trash/")
    place.clock.sleep(8 * DAY.total_seconds())
    taken = f"trash/{place.now:%Y-%m-%dT%H%M%S.%fZ}/c"
    place.store.put(taken, b"older")
    able = dataclasses.replace(place.store.backend.capabilities, copy_if_absent=create_only)
    monkeypatch.setattr(type(place.store.backend), "capabilities", property(lambda _self: able))
    stat = place.store.backend.stat

    def written_after_the_look(key, version=None):
        if create_only and key == taken:
            raise NotFoundError("not yet")
        return stat(key, version)

    with monkeypatch.context() as patch:
        patch.setattr(place.store.backend, "stat", written_after_the_look)
        failed, done = place.collect(trash="trash/")
    assert (failed.name, type(failed.error), done.name, done.error) == ("c", AlreadyExistsError, "d", None)
    assert (place.store.get("c"), place.store.get(taken)) == (b"c", b"older")


@pytest.mark.parametrize("trash", ["", "old-", "objects/", "objects/deep/"])
def test_a_trash_that_is_no_folder_or_holds_the_collected_one_is_refused(tmp_path, trash):
    place = Place(tmp_path, ["a", "x"], prefix="objects/deep/")
    with pytest.raises(ConfigError, match="trash"):
        place.collect(trash=trash, sources=[lambda: ["a"]])


# ---- runs that end early


def broken_off(place, **rules):
    """The second of two runs, closed after its first result."""
    place.collect(**rules)
    place.clock.sleep(8 * DAY.total_seconds())
    given = CollectionRules(grace=7 * DAY, delete=True, **rules)
    with open_marks(place.marks, "here") as marks:
        run = collect(Side(place.store), [lambda: sorted(place.needed)], marks, given, now=place.now)
        next(run)
        run.close()


def test_a_run_that_was_killed_is_made_good_by_the_next(place):
    broken_off(place, trash="trash/")
    place.needed.add("c")
    # Half a line: the machine went down while it was written, and nothing of it was deleted.
    with place.marks.with_name("marks.deletions").open("a") as file:
        file.write('{"name":"a')
    assert states(place.collect(delete=False))["c"] == State.RESTORED
    assert place.store.get("c") == b"c"
    assert "c" not in states(place.collect(delete=False))


def test_without_a_trash_the_next_run_can_only_tell(place):
    broken_off(place)
    place.needed.add("c")
    (failed,) = [each for each in place.collect(delete=False) if each.error]
    assert (failed.state, failed.name) == (State.RESTORED, "c")
    assert "no trash" in str(failed.error)


def test_a_third_look_that_fails_is_made_good_by_the_next_run(place):
    collected = later(place, trash="trash/")
    answers = iter([["a", "b"], ["a", "b"], []])
    with pytest.raises(StorageError, match="2 references at first, and 0 now"):
        collected([lambda: next(answers)])
    assert states(collected([lambda: ["a", "b", "d"]])) == {"d": State.RESTORED}


def test_what_could_not_be_brought_back_is_tried_again_and_nothing_goes_before(place, monkeypatch):
    place.collect()
    place.store.put("e", b"e")
    place.collect(after=2 * DAY, delete=False)
    answers = iter([["a", "b"], ["a", "b"], []])
    with pytest.raises(StorageError, match="at first"):
        place.collect(after=6 * DAY, trash="trash/", sources=[lambda: next(answers)])
    place.needed.add("c")

    def refused(source, target, options):
        raise UnavailableError("the line is down")

    with monkeypatch.context() as patch:
        patch.setattr(place.store.backend, "copy", refused)
        failed, due = place.collect(after=2 * DAY)
    assert (failed.state, failed.name, type(failed.error)) == (State.RESTORED, "c", UnavailableError)
    assert (due.state, due.name) == (State.DUE, "e")
    assert states(place.collect()) == {"c": State.RESTORED, "e": State.DELETED}


@pytest.mark.parametrize("content", ["[]\n", '{"deletions":1,"place":"there","trash":null}\n', "\n"])
def test_a_record_of_deletions_that_is_damaged_or_of_another_folder_is_refused(place, content):
    collected = later(place)
    place.marks.with_name("marks.deletions").write_text(content)
    with pytest.raises((ConfigError, IntegrityError)):
        collected(None)
    assert place.keys() == ["a", "b", "c", "d"]


def test_what_is_written_right_before_its_deletion_stays(place, monkeypatch):
    collected = later(place)
    stat = place.store.backend.stat

    def rewritten(key, version=None):
        found = stat(key, version)
        place.store.put(key, b"new")
        return found

    monkeypatch.setattr(place.store.backend, "stat", rewritten)
    assert set(states(collected(None)).values()) == {State.KEPT}
    assert place.store.get("c") == b"new"


class Collections(RuleBasedStateMachine):
    """Writers follow the rule of such stores: an object is put, and referenced at once. Nothing that is referenced goes."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.place = Place(Path(self._folder.name), [])
        self.place.needed = {"root"}
        self.place.store.put("root", b"r")

    def teardown(self):
        self._folder.cleanup()

    @rule(key=st.sampled_from("abcd"))
    def write(self, key):
        self.place.store.put(key, key.encode())
        self.place.needed.add(key)

    @rule(key=st.sampled_from("abcd"))
    def forget(self, key):
        self.place.needed.discard(key)

    @rule(days=st.integers(1, 9))
    def wait(self, days):
        self.place.clock.sleep(days * DAY.total_seconds())

    @rule(key=st.sampled_from("abcd"), look=st.integers(1, 3))
    def collect_while_somebody_writes(self, key, look):
        """The writer comes right before one of the three looks at the references."""
        asked = 0

        def references():
            nonlocal asked
            asked += 1
            if asked == look:
                self.write(key)
            return sorted(self.place.needed)

        self.place.clock.sleep(1)
        self.place.collect(sources=[references], trash="trash/")

    @rule()
    def collect(self):
        self.place.clock.sleep(1)
        self.place.collect()

    @invariant()
    def nothing_that_is_referenced_is_gone(self):
        assert self.place.needed <= set(self.place.keys())


TestCollections = Collections.TestCase
TestCollections.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


# ---- references


@settings(max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))), st.integers(1, 4))
def test_names_are_sorted_and_told_once(sources, chunk):
    with sorted_names([function_references(lambda names=names: names) for names in sources], chunk=chunk) as found:
        assert [*found] == sorted({name for names in sources for name in names}, key=lambda name: name.encode())


def test_many_runs_are_merged_in_turns():
    names = [f"{number:05}" for number in range(1100)]
    with sorted_names([lambda: reversed(names)], chunk=1) as found:
        assert [*found] == names


def test_kinds_of_references(tmp_path):
    store = Storage(MemoryBackend())
    store.put("x", b"1")
    (tmp_path / "lines").write_bytes("a\n\nü b\n".encode())
    (tmp_path / "manifest").write_text("".join(manifest_lines(entries_of(Side(store)))))
    (tmp_path / "empty").write_bytes(b"")
    command = CommandReferences(f"{sys.executable} -c \"print('c')\"")
    files = [FileReferences(tmp_path / name) for name in ("lines", "manifest", "empty")]
    with sorted_names([*files, command]) as found:
        assert [*found] == ["a", "c", "x", "ü b"]


def test_what_a_command_prints_is_taken_as_it_is():
    assert [*CommandReferences("printf 'a\\rb\\n'")()] == ["a\rb"]
    with pytest.raises(ConfigError, match="carriage return"):
        [*CommandReferences("printf 'a\\r\\n'")()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="only bash tells that a part of a pipeline failed")
def test_a_part_of_a_pipeline_that_fails_is_seen():
    with pytest.raises(StorageError, match="exit code 7"):
        [*CommandReferences("(echo a; exit 7) | cat")()]


def test_where_there_is_no_bash_the_shell_of_the_system_runs_the_command(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert [*CommandReferences("echo a | cat")()] == ["a"]


def test_a_name_that_no_object_can_have_is_refused():
    with pytest.raises(ConfigError, match="cannot be the name"), sorted_names([lambda: ["a", "\ud800"]]):
        pass


def test_few_files_are_open_while_names_are_sorted(monkeypatch):
    made = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda *given, **named: made.append(make(*given, **named)) or made[-1]
    )
    open_at_once = 0

    def names():
        nonlocal open_at_once
        for number in range(200):
            open_at_once = max(open_at_once, sum(not file.closed for file in made))
            yield f"{number:05}"

    with sorted_names([names], chunk=1) as found:
        assert ([*found], found.count) == ([f"{number:05}" for number in range(200)], 200)
        assert [*found] == [*names()]
    assert open_at_once < 64
    assert all(file.closed for file in made)


def test_orphans_that_are_out_of_order_end_the_run(place):
    class Hasty:
        """Tells of ranges in the wrong order: a merge with the references would pass by some."""

        def orphans(self, side, names, trashes, rules, counts):
            counts.objects = counts.referenced = 2
            yield from reversed([*side.listed()])

    place.collect()
    before = place.marks.read_bytes()
    with open_marks(place.marks, "here") as marks, pytest.raises(StorageError, match="out of order"):
        list(collect(Side(place.store), [lambda: ["a"]], marks, CollectionRules(), now=place.now, engine=Hasty()))
    assert place.marks.read_bytes() == before


def test_a_deletion_that_is_repeated_knows_what_the_first_try_did(place):
    info = place.store.stat("c")
    mark = mark_of("c", info, None, place.now)
    for repeatable, state in ((True, State.TRASHED), (True, State.TRASHED), (False, State.GONE)):
        deleting = Deleting(Side(place.store), "t/", timedelta(), place.now, repeatable=repeatable)
        assert deleting((mark, False)) == (state, "c", info.size, None)
    assert place.store.get("t/c") == b"c"
