"""What a mirror remembers of missed changes, and how a repair finds and mends what its replicas lack."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import warnings
from dataclasses import replace
from datetime import timedelta

import pytest

from mediagit_storage import on_event
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AccessError,
    BucketNotFoundError,
    CapacityError,
    ChecksumError,
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    KeyConflictError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.layers.checksum import ChecksumLayer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, RepairRules, pending, repairing
from mediagit_storage.layers.mirror.pending import Pending
from mediagit_storage.storage import Storage
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities
from mediagit_storage.types import Attributes


class Case:
    """A mirror of two memories, either of which can be reached past it."""

    def __init__(self, primary=None, replica=None):
        self.clock = ManualClock(1_700_000_000)
        self.primary = primary or MemoryBackend("primary", clock=self.clock)
        self.replica = replica or MemoryBackend("replica", clock=self.clock)
        self.mirror = MirrorLayer(self.primary, [self.replica], MirrorConfig(require=0))
        self.store = Storage(self.mirror)
        self.ours, self.theirs = Storage(self.primary, owned=False), Storage(self.replica, owned=False)

    def repair(self, **rules):
        return {each.key: (each.kind, each.repaired) for each in self.mirror.repair(RepairRules(**rules))}

    def in_step(self):
        return self.held(self.ours) == self.held(self.theirs)

    @staticmethod
    def held(store):
        return {info.key: (store.get(info.key), store.stat(info.key).attributes) for info in store.list()}


@pytest.fixture
def case():
    made = Case()
    yield made
    made.store.close()


# ---- what a listing shows


def test_a_repair_copies_what_is_missing_or_changed_and_only_tells_of_the_rest(case):
    case.store.put("same", b"1")
    case.ours.put("missing", b"12", attributes=Attributes(content_type="image/png", metadata={"a": "b"}))
    case.ours.put("longer", b"123")
    case.theirs.put("longer", b"1")
    case.theirs.put("extra", b"1")
    expected = {"missing": ("missing", False), "longer": ("changed", False), "extra": ("extra", False)}
    assert case.repair(dry_run=True) == expected
    assert case.theirs.get("longer") == b"1"
    assert case.repair() == {"missing": ("missing", True), "longer": ("changed", True), "extra": ("extra", False)}
    assert case.repair() == {"extra": ("extra", False)}
    assert case.theirs.get("extra") == b"1"
    assert case.theirs.stat("missing").attributes == case.ours.stat("missing").attributes
    assert case.repair(remove_extra=True) == {"extra": ("extra", True)}
    assert case.in_step()


def test_a_replica_that_is_older_than_what_it_copies_is_behind(case):
    """Of the same size, so that only the time tells. Clocks may be apart by minutes."""
    case.theirs.put("k", b"old")
    case.clock.sleep(timedelta(minutes=10).total_seconds())
    case.ours.put("k", b"new")
    assert case.repair() == {}
    case.clock.sleep(timedelta(minutes=10).total_seconds())
    case.ours.put("k", b"new")
    assert case.repair() == {"k": ("changed", True)}
    assert case.theirs.get("k") == b"new"
    assert case.repair() == {}


def test_random_differences_are_all_mended(case):
    dice = random.Random(7)
    for key in (f"{dice.choice('aé😀/')}{number % 40}".strip("/") for number in range(200)):
        for store in dice.choice([(case.ours,), (case.theirs,), (case.ours, case.theirs)]):
            store.put(key, bytes(dice.randrange(60)))
    case.repair(remove_extra=True, remove_most=True)
    assert case.in_step()


def test_a_prefix_bounds_what_is_looked_at(case):
    case.ours.put("a/x", b"1")
    case.ours.put("b/x", b"1")
    assert case.repair(prefix="a/") == {"a/x": ("missing", True)}
    assert [info.key for info in case.theirs.list()] == ["a/x"]


def test_a_repair_that_is_stopped_goes_on_with_what_is_left(case):
    for number in range(30):
        case.ours.put(f"{number:02}", b"1")
    differences = case.mirror.repair(RepairRules(concurrency=2))
    assert [next(differences).key for _ in range(3)] == ["00", "01", "02"]
    differences.close()
    left = set(case.repair())
    assert left
    assert left < {f"{number:02}" for number in range(30)}
    assert case.in_step()


def test_a_replica_without_its_bucket_is_not_said_to_be_repaired():
    case = Case(replica=MemoryBackend("replica", created=False))
    case.ours.put("k", b"1")
    note(case, "k")
    [difference] = case.mirror.repair(RepairRules(noted=True))
    assert not difference.repaired
    assert isinstance(difference.error, BucketNotFoundError)
    with pytest.raises(BucketNotFoundError):
        case.repair()
    assert case.mirror.status().replicas[0].behind == 1


def test_an_object_that_goes_while_it_is_copied_is_looked_at_again(case):
    case.ours.put("k", b"1")
    read = case.primary.read

    def going(key, options):
        case.primary.read = read
        case.ours.delete("k")
        return read(key, options)

    case.primary.read = going
    assert case.repair() == {"k": ("missing", True)}
    assert not case.theirs.exists("k")


# ---- what must not be destroyed


def test_an_empty_primary_takes_nothing_from_a_replica(case):
    """A disk that is not mounted looks like a primary from which everything was deleted."""
    for number in range(9):
        case.theirs.put(str(number), b"1")
    case.ours.put("0", b"1")
    with pytest.raises(StorageError, match=r"8 of 9 objects .* more than half"):
        case.repair(remove_extra=True)
    assert len([*case.theirs.list()]) == 9
    case.repair(remove_extra=True, remove_most=True)
    assert len([*case.theirs.list()]) == 1


@pytest.mark.parametrize(
    "rules", [{}, {"noted": True}, {"remove_extra": True, "remove_most": True}, {"thorough": True}]
)
def test_a_missing_bucket_of_the_primary_takes_nothing_from_a_replica(rules):
    case = Case(primary=MemoryBackend("primary", created=False))
    case.theirs.put("k", b"1")
    with pytest.raises(BucketNotFoundError):
        case.store.put("k", b"2")
    ticket = case.mirror._following.pending.begin([1], ["k"])
    case.mirror._following.pending.missed(ticket, [1])
    if rules.get("noted"):
        [difference] = case.mirror.repair(RepairRules(**rules))
        assert isinstance(difference.error, BucketNotFoundError)
    else:
        with pytest.raises(BucketNotFoundError):
            case.repair(**rules)
    assert case.theirs.get("k") == b"1"


def test_what_was_written_behind_the_listing_is_not_taken_for_extra(case):
    """The primary's listing has passed the place already when an object is written to both."""
    case.store.put("a", b"1")
    case.store.put("z", b"1")
    listed = case.primary.list

    def late(prefix, options):
        entries = [*listed(prefix, options)]
        case.store.put("m", b"1")
        return iter(entries)

    case.primary.list = late
    assert case.repair(remove_extra=True, remove_most=True) == {}
    assert case.theirs.get("m") == b"1"


def test_a_damaged_primary_is_not_copied_over_a_good_replica(case):
    """Whose bytes are right is only known where the primary keeps a digest."""
    case.store.put("k", b"right")
    case.primary._versions["k"][-1] = replace(case.primary._versions["k"][-1], data=b"WRONG")
    assert case.repair() == {}, "no listing shows it"
    [difference] = case.mirror.repair(RepairRules(thorough=True))
    assert (difference.kind, difference.repaired) == ("content", False)
    assert isinstance(difference.error, IntegrityError)
    assert case.theirs.get("k") == b"right"
    assert case.repair(thorough=True, trust_primary=True) == {"k": ("content", True)}
    assert case.theirs.get("k") == b"WRONG"


def test_digests_decide_which_of_two_is_right():
    case = Case(primary=ChecksumLayer(MemoryBackend("primary")), replica=ChecksumLayer(MemoryBackend("replica")))
    for key in ("good", "ours", "theirs"):
        case.store.put(key, b"right")
    for member, key in ((case.primary, "ours"), (case.replica, "theirs")):
        versions = member.inner._versions[key]
        versions[-1] = replace(versions[-1], data=b"WRONG")
    found = {each.key: each for each in case.mirror.repair(RepairRules(thorough=True))}
    assert {key: (each.kind, each.repaired) for key, each in found.items()} == {
        "ours": ("unreadable", False),
        "theirs": ("content", True),
    }
    assert isinstance(found["ours"].error, ChecksumError)
    assert case.theirs.get("ours") == case.theirs.get("theirs") == b"right"


def test_a_replica_that_holds_other_bytes_is_found_by_reading(case):
    """The same size, a later time: nothing but the bytes tells."""
    case.store.put("k", b"right")
    case.store.put("described", b"1", attributes=Attributes(metadata={"a": "1"}))
    case.theirs.put("k", b"WRONG")
    case.theirs.put("described", b"1", attributes=Attributes(metadata={"a": "2"}))
    assert case.repair() == {}
    found = case.repair(thorough=True, trust_primary=True)
    assert found == {"k": ("content", True), "described": ("changed", True)}
    assert case.in_step()


def test_an_object_that_cannot_be_read_stops_no_other(case):
    for key in "abc":
        case.ours.put(key, b"1")
    read = case.primary.read

    def damaged(key, options):
        if key == "b":
            raise ChecksumError("damaged")
        return read(key, options)

    case.primary.read = damaged
    assert case.repair() == {"a": ("missing", True), "b": ("unreadable", False), "c": ("missing", True)}


def test_attributes_that_a_replica_cannot_keep_are_dropped_only_when_told():
    case = Case(replica=WithoutCapabilities(MemoryBackend("replica"), "attributes"))
    case.ours.put("k", b"1", attributes=Attributes(content_type="image/png"))
    [difference] = case.mirror.repair()
    assert isinstance(difference.error, UnsupportedError)
    assert case.repair(drop_attributes=True) == {"k": ("missing", True)}
    assert case.theirs.get("k") == b"1"


def test_the_storage_class_of_another_provider_means_nothing(tmp_path):
    case = Case(replica=LocalBackend(tmp_path, durability="none"))
    case.ours.put("k", b"1", attributes=Attributes(storage_class="STANDARD_IA", content_type="image/png"))
    assert "storage_class" not in case.mirror.capabilities.attributes
    assert case.repair() == {"k": ("missing", True)}
    assert case.theirs.stat("k").attributes == Attributes(content_type="image/png")
    case.store.close()


def test_a_member_that_lists_out_of_order_is_refused(case):
    for key in "ab":
        case.store.put(key, b"1")
    listed = case.replica.list
    case.replica.list = lambda prefix, options: reversed([*listed(prefix, options)])
    with pytest.raises(StorageError, match="does not list its keys in order"):
        case.repair()


def test_large_objects_are_copied_in_bounded_memory(case):
    data = os.urandom(3 * 1024 * 1024)
    case.ours.put("k", data)
    assert case.repair() == {"k": ("missing", True)}
    assert case.theirs.get("k") == data


# ---- what is remembered


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state" / "x.sqlite"


@pytest.fixture
def noted(place):
    made = Pending(place, ["one", "two"])
    yield made
    made.close()


def test_rows_are_there_from_before_a_change_until_its_end(noted, place):
    ticket = noted.begin([1, 2], ["k"])
    other = Pending(place, ["one", "two"])
    assert (other.is_behind(1, "k"), other.is_behind(2, "k"), other.is_behind(1, "l")) == (True, True, False)
    noted.done(ticket, [1])
    noted.missed(ticket, [2])
    assert (other.is_behind(1, "k"), other.is_behind(2, "k")) == (False, True)
    assert other.count(2) == (1, False)
    other.close()


def test_rows_of_a_replica_are_its_own_wherever_it_stands(noted, place):
    noted.missed(noted.begin([2], ["k"]), [2])
    other = Pending(place, ["three", "two", "one"])
    assert [other.is_behind(number, "k") for number in (1, 2, 3)] == [False, True, False]
    other.close()


def test_a_change_that_succeeds_makes_up_for_missed_ones_and_not_for_running_ones(noted):
    noted.missed(noted.begin([1], ["k"]), [1])
    running = noted.begin([1], ["k"])
    noted.done(noted.begin([1], ["k"]))
    assert noted.count(1) == (1, False)
    noted.undone(running)
    assert noted.count(1) == (0, False)


def test_a_change_makes_up_for_nothing_that_was_missed_after_it_began(noted):
    """Numbers follow the beginnings: the one that began first may have been the primary's last."""
    newest, older = noted.begin([1], ["k"]), noted.begin([1], ["k"])
    noted.missed(newest, [1])
    noted.done(older)
    assert noted.count(1) == (1, False)


def test_what_is_missed_again_and_again_is_one_row(noted):
    noted.missed(noted.begin([1], ["k"], deleting=["k"]), [1])
    for _ in range(3):
        noted.missed(noted.begin([1], ["k"]), [1])
    assert [(row.key, row.deleting) for row in noted.left(1)] == [("k", True)]


def dead(noted, place, *keys):
    """Rows of a process that there is not."""
    noted.begin([1], keys)
    database = sqlite3.connect(place)
    with database:
        database.execute("update behind set process = '999999999:1' where process is not null")
    database.close()


def test_a_change_makes_up_for_what_a_process_left_that_died(noted, place):
    dead(noted, place, "k")
    noted.done(noted.begin([1], ["k"]))
    assert noted.count(1) == (0, False)


def test_rows_of_processes_that_died_are_bounded_too(noted, place, monkeypatch):
    monkeypatch.setattr(pending, "MOST_ROWS", 5)
    dead(noted, place, *"abcdef")
    running = noted.begin([1], ["running"])
    noted.missed(noted.begin([1], ["k"]), [1])
    assert [row.key for row in noted.left(1)] == [None]
    noted.undone(running)
    assert noted.count(1) == (0, True)


def test_work_of_a_living_process_is_nobodys_to_repair(noted):
    noted.begin([1], ["running"])
    noted.missed(noted.begin([1], ["missed"]), [1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        noted.begin([1], ["died"])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [row.key for row in noted.left(1)] == ["died", "missed"]
    assert noted.is_behind(1, "running")


def test_keys_of_any_bytes_are_remembered(noted):
    keys = ["é", "a//b", "\udcff", "😀", "'; drop table behind; --"]
    noted.missed(noted.begin([1], keys), [1])
    assert {row.key for row in noted.left(1)} == set(keys)


def test_so_many_that_nobody_counts_them(noted, monkeypatch):
    monkeypatch.setattr(pending, "MOST_ROWS", 20)
    for number in range(40):
        noted.missed(noted.begin([1], [str(number)]), [1])
    count, everything = noted.count(1)
    assert count < 25
    assert everything
    assert noted.is_behind(1, "never heard of")
    assert not noted.is_behind(2, "never heard of")
    noted.forget(noted.left(1))
    assert noted.count(1) == (0, False)


def note(case, key, **options):
    rows = case.mirror._following.pending
    rows.missed(rows.begin([1], [key], **options), [1])
    return rows


def test_what_is_noted_is_mended_whatever_the_listings_show(case):
    """The same size and nearly the same time: only the note tells that the replica is old."""
    case.theirs.put("k", b"old")
    case.ours.put("k", b"new")
    rows = note(case, "k")
    assert case.repair(dry_run=True) == {"k": ("noted", False)}
    assert rows.count(1) == (1, False)
    assert case.repair(prefix="x") == {}
    assert case.repair() == {"k": ("noted", True)}
    assert case.theirs.get("k") == b"new"
    assert rows.count(1) == (0, False)


def test_only_a_delete_that_was_noted_is_passed_on(case):
    """An object that the primary has lost since is not taken from a replica that missed its last change."""
    for key in ("lost", "deleted"):
        case.theirs.put(key, b"1")
    rows = note(case, "lost")
    note(case, "deleted", deleting=["deleted"])
    for options in ({"noted": True}, {}):
        found = case.repair(**options)
        assert found.pop("deleted", ("noted", True)) == ("noted", True)
        assert found == {"lost": ("extra", False)}
    assert [info.key for info in case.theirs.list()] == ["lost"]
    assert rows.is_behind(1, "lost")
    assert case.repair(noted=True, remove_extra=True, remove_most=True) == {"lost": ("noted", True)}


def test_a_replica_that_missed_more_than_was_counted_is_read(case, monkeypatch):
    monkeypatch.setattr(pending, "MOST_ROWS", 3)
    for number in range(6):
        rows = note(case, f"{number}")
        case.theirs.put(f"{number}", b"old")
        case.ours.put(f"{number}", b"new")
    assert rows.count(1)[1]
    case.repair(noted=True)
    assert case.in_step()
    assert rows.count(1) == (0, False)


def test_what_was_deleted_stays_noted_also_when_nobody_counted(case, monkeypatch):
    """A repair leaves extra objects alone: a replica is not believed about them afterwards either."""
    rows = note(case, "counted")
    case.theirs.put("deleted", b"1")
    case.store.put("k", b"1")
    monkeypatch.setattr(pending, "MOST_ROWS", 1)
    note(case, "more")
    assert rows.count(1)[1]
    monkeypatch.setattr(pending, "MOST_ROWS", 9)
    assert case.repair() == {"deleted": ("extra", False)}
    assert (rows.is_behind(1, "deleted"), rows.is_behind(1, "k"), rows.count(1)) == (True, False, (1, False))
    assert case.repair(noted=True) == {"deleted": ("extra", False)}
    assert case.repair(remove_extra=True, remove_most=True) == {"deleted": ("noted", True)}
    assert rows.count(1) == (0, False)


def test_more_extra_objects_than_are_counted_leave_it_so(case, monkeypatch):
    monkeypatch.setattr(pending, "MOST_ROWS", 1)
    rows = note(case, "a")
    note(case, "b")
    for key in ("x", "y"):
        case.theirs.put(key, b"1")
    monkeypatch.setattr(repairing, "MOST_ROWS", 1)
    case.repair()
    assert rows.count(1)[1]


def test_a_repair_that_met_a_writer_and_lost_the_primary_is_noted(case):
    """What it copied is older than what was acknowledged meanwhile, and the last look failed."""
    case.ours.put("k", b"one")
    put, stat = case.replica.put, case.primary.stat

    def late(*args):
        case.replica.put = put
        case.store.put("k", b"newer")
        case.primary.stat = lambda *args: (_ for _ in ()).throw(ConnectionLostError("down"))
        return put(*args)

    case.replica.put = late
    assert case.repair() == {"k": ("missing", False)}
    assert case.theirs.get("k") == b"one"
    assert case.mirror.status().replicas[0].behind == 1
    case.primary.stat = stat
    assert case.repair(noted=True) == {"k": ("noted", True)}
    assert case.in_step()
    assert case.mirror.status().replicas[0].behind == 0


def test_a_repair_that_could_not_begin_to_copy_notes_nothing(case):
    """The replica was not touched, and may be the one that is right."""
    case.store.put("k", b"1")
    case.ours.put("k", b"22")
    case.primary.read = lambda *args: (_ for _ in ()).throw(ChecksumError("damaged"))
    assert case.repair() == {"k": ("unreadable", False)}
    assert case.mirror.status().replicas[0].behind == 0


@pytest.mark.parametrize("error", [IntegrityError, CapacityError, StorageError, AccessError, KeyConflictError])
def test_only_a_refusal_says_that_nothing_was_changed(case, error):
    """What was stored may be found to be wrong only afterwards."""
    put = case.primary.put

    def stored(*args):
        if error not in {AccessError, KeyConflictError}:
            put(*args)
        raise error("no")

    case.primary.put = stored
    with pytest.raises(error):
        case.store.put("k", b"1")
    assert case.mirror.status().replicas[0].behind == len([*case.ours.list()])


def test_a_noted_repair_asks_for_nothing_else():
    primary = CallLog(MemoryBackend("a"))
    case = Case(primary=primary)
    rows = case.mirror._following.pending
    rows.missed(rows.begin([1], ["k"]), [1])
    Storage(primary.inner._inner, owned=False).put("k", b"1")
    assert case.repair(noted=True, dry_run=True) == {"k": ("noted", False)}
    assert primary.calls == []
    assert case.repair(noted=True) == {"k": ("noted", True)}
    assert primary.calls == ["stat", "stat", "read", "stat"]
    case.store.close()


def down(*args):
    raise ConnectionLostError("down")


def full(*args):
    raise sqlite3.OperationalError("database or disk is full")


def lasting(folder, **options):
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    members = [LocalBackend(folder / name, durability="none") for name in ("a", "b")]
    return MirrorLayer(members[0], members[1:], MirrorConfig(**{"require": 0, **options}))


@pytest.mark.parametrize("harm", ["torn", "full"])
def test_a_file_that_fails_stops_no_write_and_no_replica_is_believed(tmp_path, harm, monkeypatch):
    """Reads do not fail over any more: nobody knows what the replica lacks."""
    state = tmp_path / "state"
    mirror = lasting(tmp_path, failover=True, state=str(state))
    if harm == "torn":
        state.mkdir(mode=0o700)
        mirror._following.pending._place.write_bytes(b"this is no database" * 100)
    if harm == "full":
        monkeypatch.setattr(pending, "_prepared", full)
    told = []
    with on_event(told.append), Storage(mirror) as store:
        store.put("k", b"1")
        store.put("l", b"1")
        assert [event.kind for event in told] == ["mirror.no-journal"]
        assert store.backend.status().replicas[0].everything
        mirror.inner.read = down
        with pytest.raises(ConnectionLostError):
            store.get("k")
    assert (tmp_path / "b" / "l").read_bytes() == b"1"


@pytest.mark.parametrize("failover", [False, True])
def test_a_change_that_can_nowhere_be_noted_is_refused_where_reads_fail_over(tmp_path, failover):
    state = tmp_path / "state"
    state.write_text("a file")
    with Storage(lasting(tmp_path, failover=failover, state=str(state))) as store:
        if failover:
            with pytest.raises(UnavailableError, match="nothing was changed"):
                store.put("k", b"1")
        else:
            store.put("k", b"1")
        assert store.backend.status().replicas[0].everything
    assert (tmp_path / "a" / "k").exists() is not failover


def test_what_could_not_be_noted_is_known_to_all_that_come_later(tmp_path, monkeypatch):
    """The file fails for the time of one change, and its process is gone afterwards."""
    options = {"failover": True, "state": str(tmp_path / "state")}
    with Storage(lasting(tmp_path, **options)) as store:
        store.put("k", b"1")
    with monkeypatch.context() as failing, Storage(lasting(tmp_path, **options)) as store:
        failing.setattr(pending, "_prepared", full)
        store.backend.replicas[0].delete = down
        store.delete("k")
    assert [*(tmp_path / "state").glob("*.behind")]
    for _ in range(2):
        with Storage(lasting(tmp_path, **options)) as store:
            assert store.backend.status().replicas[0].everything
            store.backend.inner.read = down
            with pytest.raises(ConnectionLostError):
                store.get("k")
    assert not [*(tmp_path / "state").glob("*.behind")], "it is a row by now"
    with Storage(lasting(tmp_path, **options)) as store:
        [*store.backend.repair(RepairRules(remove_extra=True, remove_most=True))]
        assert not store.backend.status().replicas[0].everything


def test_notes_that_cannot_be_read_are_no_reason_to_trust_the_primary(tmp_path, monkeypatch):
    with Storage(lasting(tmp_path, state=str(tmp_path / "state"))) as store:
        store.put("k", b"right")
        (tmp_path / "a" / "k").write_bytes(b"WRONG")
        (tmp_path / "b" / "k").write_bytes(b"right")
        store.backend._following.pending.close()
        monkeypatch.setattr(pending, "_prepared", full)
        [difference] = store.backend.repair(RepairRules(noted=True))
        assert (difference.kind, difference.repaired) == ("content", False)
    assert (tmp_path / "b" / "k").read_bytes() == b"right"


@pytest.fixture
def homeless(monkeypatch):
    for name in ("MGS_STATE_DIR", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("homeless")
def test_lasting_members_without_a_folder_for_notes(tmp_path):
    """Nothing fails over, it is told of, and a copy in another process knows of nothing."""
    with pytest.raises(ConfigError, match="no folder to remember in"):
        lasting(tmp_path, failover=True)
    told = []
    with on_event(told.append), Storage(lasting(tmp_path)) as store:
        assert [event.kind for event in told] == ["mirror.no-journal"]
        store.put("k", b"1")
        assert store.backend.status().replicas[0][3:] == (0, False)
        with pickle.loads(pickle.dumps(store)) as copied:
            assert copied.backend.status().replicas[0].everything


def test_a_child_of_a_fork_does_not_believe_replicas_without_a_file():
    rows = Pending(None, ["one"], believed=True)
    rows.begin([1], ["k"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if rows.is_behind(1, "k") and rows.is_behind(1, "other") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (rows.is_behind(1, "k"), rows.is_behind(1, "other")) == (True, False)
    rows.close()
