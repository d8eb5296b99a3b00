"""A mirror: who is asked, what is acknowledged, what is remembered, and what is never shown."""

from __future__ import annotations

import logging
import pickle
import threading
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from mediagit_storage import on_event, scope
from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    ChecksumError,
    ConfigError,
    ConnectionLostError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    ThrottledError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.checksum import ChecksumLayer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, RepairRules, members
from mediagit_storage.layers.observe import Hook, MetricsHook, ObserveLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities
from mediagit_storage.types import Attributes, Checksum, PresignOptions, PutOptions


@dataclass(frozen=True)
class NoOptions:
    """A layer of this module alone."""


class BreaksOff(Body):
    """A body that ends after its first byte."""

    def __init__(self, inner):
        self.info, self.start, self.length = inner.info, inner.start, inner.length
        self.inner = inner

    def __iter__(self):
        for piece in self.inner:
            yield piece[:1]
            raise ConnectionLostError("broke off")

    def close(self):
        self.inner.close()


class Member(Layer):
    """Memory that fails with ``error`` in every call, or in those that ``only`` names; or lies."""

    layer_name = "trouble"

    def __init__(self, name="", **options):
        super().__init__(MemoryBackend(name, **options), NoOptions())
        self.error = None
        self.only = None
        self.lie = None
        self.breaks_off = False
        self.calls = []
        self.closed = 0

    def _meet(self, name):
        self.calls.append(name)
        if self.error is not None and (self.only is None or name in self.only):
            raise self.error

    def read(self, key, options):
        self._meet("read")
        content = self.inner.read(key, options)
        return content if self.lie is None else content._replace(data=self.lie)

    def stream(self, key, options):
        self._meet("stream")
        body = self.inner.stream(key, options)
        return BreaksOff(body) if self.breaks_off else body

    def close(self):
        self.closed += 1
        super().close()


def _meeting(name):
    def method(self, *args, **kwargs):
        self._meet(name)
        return getattr(self.inner, name)(*args, **kwargs)

    return method


for each in ("put", "stat", "list", "list_dir", "delete", "copy", "rename", "create"):
    setattr(Member, each, _meeting(each))


class Case:
    """A mirror of members in memory, and what it told."""

    def __init__(self, count=1, members=None, **options):
        self.primary, *self.replicas = members or [Member(str(number)) for number in range(count + 1)]
        self.replica = self.replicas[0]
        self.clock = ManualClock()
        self.mirror = MirrorLayer(self.primary, self.replicas, MirrorConfig(**options), clock=self.clock)
        self.store = Storage(self.mirror)
        self.events = []

    def __enter__(self):
        self.listening = on_event(self.events.append)
        self.listening.__enter__()
        return self

    def __exit__(self, *error):
        self.listening.__exit__(*error)
        self.store.close()

    def kinds(self):
        return [event.kind for event in self.events]

    def behind(self):
        return [each.behind for each in self.mirror.status().replicas]

    def repair(self, **rules):
        return [(each.key, each.kind, each.repaired) for each in self.mirror.repair(RepairRules(**rules))]


@pytest.fixture
def make(monkeypatch):
    """Makes cases that are closed at the end, in which one failure is enough to be taken to be down."""
    monkeypatch.setattr(members, "PATIENCE", 1)
    cases = []

    def making(*args, **options):
        cases.append(Case(*args, **options).__enter__())
        return cases[-1]

    yield making
    for case in reversed(cases):
        case.__exit__(None, None, None)


def held(member, key):
    return Storage(member, owned=False).get(key)


def keys(member):
    return [info.key for info in Storage(member.inner, owned=False).list()]


# ---- writes

SOURCES = {
    "memory": lambda path: b"content" * 1000,
    "once": lambda path: iter([b"content" * 500, b"", bytearray(b"content" * 500)]),
    "again": lambda path: [b"content" * 500, b"content" * 500],
    "file": lambda path: path.open("rb"),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("count", [1, 3])
def test_every_kind_of_source_reaches_all_members(make, tmp_path, kind, count):
    case = make(count)
    path = tmp_path / "file"
    path.write_bytes(b"content" * 1000)
    attributes = Attributes(content_type="image/png", metadata={"a": "b"})
    data = SOURCES[kind](path)
    try:
        case.store.put("k", data, attributes=attributes)
    finally:
        getattr(data, "close", lambda: None)()
    for each in (case.primary, *case.replicas):
        assert held(each, "k") == b"content" * 1000
        assert each.stat("k").attributes == attributes
    assert case.behind() == [0] * count
    assert case.events == []


def test_a_condition_is_decided_by_the_primary_before_a_byte_is_read(make):
    case = make()
    case.store.put("k", b"1")
    case.replica.calls.clear()
    with pytest.raises(AlreadyExistsError):
        case.store.put("k", b"2", if_absent=True)
    with pytest.raises(PreconditionError):
        case.store.put("k", b"2", if_match="other")
    with pytest.raises(PreconditionError):
        case.store.delete("k", if_match="other")
    with pytest.raises(AlreadyExistsError):
        case.store.put("k", iter([b"2"]), if_absent=True)
    assert held(case.replica, "k") == b"1"
    assert case.behind() == [0]


def test_a_replica_takes_what_the_primary_has_accepted_whatever_it_held(make):
    case = make()
    case.replica.inner.put(
        "k",
        BytesSource(b"stray"),
        PutOptions(),
    )
    case.store.put("k", b"right", if_absent=True)
    assert held(case.replica, "k") == b"right"


def test_no_replica_has_an_object_before_the_primary(make):
    """A stream goes to all of them at once, and yet the replicas wait for the primary's word."""
    case = make(2)
    seen = []
    inner = case.primary.inner
    put = inner.put

    def watched(key, source, options):
        seen.append([keys(each) for each in case.replicas])
        info = put(key, source, options)
        seen.append([keys(each) for each in case.replicas])
        return info

    inner.put = watched
    case.store.put("k", iter([b"x" * 70_000] * 30))
    assert seen == [[[], []], [[], []]]
    assert [held(each, "k") for each in case.replicas] == [b"x" * 2_100_000] * 2


@pytest.mark.parametrize("kind", SOURCES)
def test_what_the_primary_refuses_leaves_the_replicas_as_they_were(make, tmp_path, kind):
    case = make(2)
    case.store.put("k", b"old")
    path = tmp_path / "file"
    path.write_bytes(b"content" * 1000)
    case.primary.error, case.primary.only = PermissionDeniedError("no"), {"put"}
    data = SOURCES[kind](path)
    try:
        with pytest.raises(PermissionDeniedError):
            case.store.put("k", data)
    finally:
        getattr(data, "close", lambda: None)()
    assert [held(each, "k") for each in case.replicas] == [b"old"] * 2
    assert case.behind() == [0, 0]


def test_a_failing_source_leaves_every_member_as_it_was(make):
    case = make(2)
    case.store.put("k", b"old")
    with pytest.raises(DeliberateError):
        case.store.put("k", failing(b"x" * 100_000))
    assert [held(each, "k") for each in (case.primary, *case.replicas)] == [b"old"] * 3
    assert [*case.repair(noted=True)] == [("k", "noted", True)] * 2
    assert case.behind() == [0, 0]


def test_a_wrong_declared_checksum_reaches_nobody(make):
    case = make()
    with pytest.raises(ChecksumError):
        case.store.put("k", iter([b"1"]), checksum=Checksum("sha256", bytes(32)))
    assert keys(case.primary) == keys(case.replica) == []


def test_what_a_replica_cannot_keep_is_refused_before_a_byte_is_sent(make):
    bare = WithoutCapabilities(MemoryBackend("bare"), "attributes", "retention")
    case = make(members=[Member("primary"), bare])
    with pytest.raises(UnsupportedError, match="does not keep content_type"):
        case.store.put("k", b"1", attributes=Attributes(content_type="image/png"))
    assert case.primary.calls == []
    assert case.mirror.capabilities.retention is False


# ---- members that are down, for writes


def test_a_write_that_too_few_replicas_took_is_no_success_and_is_remembered(make):
    case = make()
    case.replica.error = ConnectionLostError("gone")
    with pytest.raises(UnavailableError, match="the primary has taken the change, and 0 of the 1 replicas"):
        case.store.put("k", b"1")
    assert held(case.primary, "k") == b"1"
    assert case.behind() == [1]
    assert case.kinds() == ["mirror.missed"]


def test_while_it_is_known_that_too_few_would_take_it_nothing_is_changed(make):
    case = make()
    case.store.put("k", b"old")
    case.replica.error = ConnectionLostError("gone")
    with pytest.raises(UnavailableError):
        case.store.put("k", b"1")
    case.primary.calls.clear()
    for change in (
        lambda: case.store.put("k", b"2"),
        lambda: case.store.delete("k"),
        lambda: case.store.rename("k", "n"),
        lambda: case.store.copy("k", "n"),
    ):
        with pytest.raises(
            UnavailableError, match=r"replica 1 \(memory://1\) cannot be reached now; nothing was changed"
        ):
            change()
    assert case.primary.calls == []
    case.clock.sleep(11)
    case.replica.error = None
    case.store.put("k", b"3")
    assert held(case.replica, "k") == b"3"
    assert case.behind() == [0], "what is written again has made up for what was missed"


@pytest.mark.parametrize(
    "error", [ConnectionLostError("gone"), CapacityError("full"), PermissionDeniedError("no"), OSError("?")]
)
@pytest.mark.parametrize("kind", SOURCES)
def test_enough_replicas_are_enough(make, tmp_path, error, kind):
    case = make(2, require=1)
    case.store.put("k", b"old")
    case.replica.error, case.replica.only = error, {"put"}
    path = tmp_path / "file"
    path.write_bytes(b"content" * 1000)
    data = SOURCES[kind](path)
    try:
        case.store.put("k", data)
    finally:
        getattr(data, "close", lambda: None)()
    assert held(case.replicas[1], "k") == b"content" * 1000
    assert held(case.replica, "k") == b"old"
    assert case.behind() == [1, 0]
    [event] = case.events
    assert (event.kind, event.key, event.fields["replica"]) == ("mirror.missed", "k", 1)
    case.replica.error = None
    assert case.repair(noted=True) == [("k", "noted", True)]
    assert held(case.replica, "k") == b"content" * 1000
    assert case.behind() == [0, 0]


def test_a_member_that_is_down_is_left_alone_for_a_while_and_no_longer(make, caplog):
    caplog.set_level(logging.WARNING, "mediagit_storage")
    case = make(require=0)
    case.replica.error = ConnectionLostError("gone")
    for number in range(3):
        case.store.put(f"k{number}", b"1")
    assert case.replica.calls.count("put") == 1
    case.clock.sleep(10.5)
    case.replica.error = None
    case.store.put("k9", b"1")
    assert case.replica.calls.count("put") == 2
    assert keys(case.replica) == ["k9"]
    assert [record.message.partition(": ")[2].partition(" (")[0] for record in caplog.records] == ["replica 1"] * 2
    assert case.behind() == [3]


def test_one_lost_connection_is_no_outage(make, monkeypatch):
    monkeypatch.setattr(members, "PATIENCE", 3)
    case = make(require=0)
    for error in ("gone", "gone", None, "gone", "gone"):
        case.replica.error = error and ConnectionLostError(error)
        case.store.put("k", b"1")
        assert case.mirror.status().replicas[0].up
    case.store.put("k", b"1")
    assert not case.mirror.status().replicas[0].up
    case.clock.sleep(11)
    assert case.mirror.status().replicas[0].up
    case.store.put("k", b"1")
    assert not case.mirror.status().replicas[0].up, "it has not answered since"


def test_a_member_that_asks_for_less_is_not_taken_to_be_down(make):
    case = make(require=0)
    case.replica.error = ThrottledError("slow down")
    case.store.put("a", b"1")
    case.replica.error = None
    case.store.put("b", b"1")
    assert keys(case.replica) == ["b"]


def test_the_end_of_a_scope_is_nobodys_fault(make):
    case = make(require=0)
    with scope() as around:
        put = case.replica.inner.put

        def cancelled(*args):
            around.cancel()
            raise CancelledError("cancelled")

        case.replica.inner.put = cancelled
        with pytest.raises(CancelledError):
            case.store.put("k", b"1")
        case.replica.inner.put = put
    assert case.mirror.status().replicas[0].up
    assert case.behind() == [1]


# ---- deletes, copies, renames, versions


def test_a_delete_reaches_all_and_one_that_is_missed_is_remembered(make):
    case = make(2, require=1)
    case.store.put("k", b"1")
    case.replica.error = CapacityError("?")
    case.store.delete("k")
    assert keys(case.primary) == keys(case.replicas[1]) == []
    assert keys(case.replica) == ["k"]
    case.replica.error = None
    assert case.repair(noted=True) == [("k", "noted", True)]
    assert keys(case.replica) == []


def test_a_delete_that_the_primary_refuses_takes_nothing_from_the_replicas(make):
    case = make()
    case.store.put("k", b"1")
    case.primary.error, case.primary.only = PermissionDeniedError("retained"), {"delete"}
    with pytest.raises(PermissionDeniedError):
        case.store.delete("k")
    assert held(case.replica, "k") == b"1"


def test_a_copy_is_the_primarys_whatever_the_replica_has_under_the_source(make):
    case = make()
    case.store.put("k", b"right", attributes=Attributes(metadata={"m": "1"}))
    Storage(case.replica.inner, owned=False).put("k", b"stale")
    case.store.copy("k", "n")
    case.store.copy("k", "o", attributes=Attributes(metadata={"m": "2"}))
    assert held(case.replica, "n") == held(case.replica, "o") == b"right"
    assert case.replica.stat("o").attributes == case.primary.stat("o").attributes == Attributes(metadata={"m": "2"})


def test_a_rename_moves_it_everywhere(make):
    case = make(2)
    case.store.put("k", b"1")
    case.store.rename("k", "n")
    assert [keys(each) for each in (case.primary, *case.replicas)] == [["n"]] * 3
    case.store.rename("n", "n")
    assert [keys(each) for each in (case.primary, *case.replicas)] == [["n"]] * 3
    assert case.behind() == [0, 0]


def test_deleting_versions_leaves_the_replicas_with_what_is_current(make):
    case = make(members=[Member("primary", versioning=True), Member("replica")])
    one, two, three = (case.store.put("k", data) for data in (b"1", b"2", b"3"))
    case.store.delete("k", version=one.version)
    assert held(case.replica, "k") == b"3"
    case.store.delete("k", version=three.version)
    assert held(case.replica, "k") == b"2"
    case.store.delete("k")
    assert keys(case.replica) == []
    [mark] = [info for info in case.store.list("k", versions=True) if info.deleted]
    case.store.delete("k", version=mark.version)
    assert held(case.replica, "k") == held(case.primary, "k") == b"2"
    case.store.delete("k", version=two.version)
    assert keys(case.replica) == []
    assert case.behind() == [0]


def test_links_to_read_are_the_primarys_and_there_are_none_to_write(make):
    case = make()
    assert case.store.presign("k").startswith("memory://0/")
    for method in ("PUT", "DELETE"):
        with pytest.raises(UnsupportedError):
            case.store.presign("k", method=method)
        with pytest.raises(UnsupportedError, match="pass the replicas by"):
            case.mirror.presign("k", PresignOptions(method))


def test_a_primary_that_fails_while_it_is_copied_from_is_not_the_replicas_fault(make):
    case = make(require=0)
    case.store.put("k", b"1")
    case.primary.error, case.primary.only = ConnectionLostError("gone"), {"read"}
    case.store.copy("k", "n")
    assert case.mirror.status().replicas[0].up
    assert case.behind() == [1]
    assert case.events[-1].fields["error"] == "PrimaryFailedError"


def test_a_replica_that_stores_another_number_of_bytes_is_given_it_again(make):
    case = make()
    put = case.replica.inner.put

    def short(key, source, options):
        case.replica.inner.put = put
        return put(key, BytesSource(b"con"), options)

    case.replica.inner.put = short
    case.store.put("k", b"content")
    assert held(case.replica, "k") == b"content"


# ---- writers that meet


def test_an_older_write_that_comes_late_to_a_replica_is_put_right(make):
    """Two programs write the same key; the primary has the second, and its replica gets the first one last."""
    case = make()
    other = MirrorLayer(case.primary.inner, [case.replica.inner])
    put = case.replica.inner.put

    def late(key, source, options):
        case.replica.inner.put = put
        other.put(key, BytesSource(b"second"), options)
        return put(key, source, options)

    case.replica.inner.put = late
    case.store.put("k", b"first")
    assert held(case.primary, "k") == held(case.replica, "k") == b"second"
    assert case.behind() == [0]


def test_a_write_that_met_a_delete_is_taken_back_from_the_replica(make):
    case = make()
    put = case.replica.inner.put

    def late(key, source, options):
        case.replica.inner.put = put
        Storage(MirrorLayer(case.primary.inner, [case.replica.inner]), owned=False).delete(key)
        return put(key, source, options)

    case.replica.inner.put = late
    case.store.put("k", b"first")
    assert keys(case.primary) == keys(case.replica) == []


def test_many_writers_of_one_key_end_in_step(make):
    case = make(2)

    def write(number):
        for turn in range(15):
            case.store.put("k", b"%d.%d" % (number, turn) * 50)
            if turn % 5 == 4:
                case.store.delete("k")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    case.repair(noted=True)
    assert keys(case.primary) == keys(case.replicas[0]) == keys(case.replicas[1])
    if keys(case.primary):
        assert held(case.primary, "k") == held(case.replicas[0], "k") == held(case.replicas[1], "k")
    assert case.behind() == [0, 0]


# ---- reads


def failing_batch(operations, limits):
    """The batch of a storage that is down."""
    return (Completion(each, None, ConnectionLostError("gone")) for each in operations if each is not None)


READS = {
    "get": lambda store, key: store.get(key),
    "stream": lambda store, key: b"".join(store.stream(key)),
    "file": lambda store, key: store.open(key).read(),
    "ranges": lambda store, key: b"".join(store.get_ranges(key, [(0, 3), (3, 100)])),
    "many": lambda store, key: next(iter(store.get_many([key]))).value,
}


@pytest.mark.parametrize("read", READS)
def test_reads_do_not_fail_over_unless_they_may(make, read):
    case = make()
    case.store.put("k", b"content")
    case.primary.error = ConnectionLostError("gone")
    if read == "many":
        case.primary.inner.batch = failing_batch
        assert isinstance(next(iter(case.store.get_many(["k"]))).error, ConnectionLostError)
    else:
        with pytest.raises(ConnectionLostError):
            READS[read](case.store, "k")
    assert case.events == []


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("pause", [0, 10])
def test_a_replica_answers_for_a_primary_that_is_down_and_it_is_told(make, read, pause):
    case = make(2, failover=True, pause=pause)
    case.store.put("k", b"content")
    case.primary.error = ConnectionLostError("gone")
    case.primary.inner.batch = failing_batch
    case.replica.error = ConnectionLostError("gone, too")
    assert READS[read](case.store, "k") == b"content"
    assert set(case.kinds()) == {"mirror.failover"}
    assert case.events[0].fields == {"replica": 2, "error": "ConnectionLostError"}
    assert case.mirror.status().failovers == len(case.events)
    assert case.store.exists("k")


def test_the_primary_is_asked_again_after_a_while(make):
    case = make(failover=True)
    case.store.put("k", b"content")
    case.primary.error = ConnectionLostError("gone")
    case.store.get("k")
    case.primary.calls.clear()
    case.store.get("k")
    assert case.primary.calls == []
    case.primary.error = None
    case.clock.sleep(11)
    case.store.get("k")
    assert case.primary.calls == ["read"]
    assert case.mirror.status().failovers == 2


@pytest.mark.parametrize(
    "error", [NotFoundError("no"), BucketNotFoundError("no"), AccessError("no"), StorageError("?"), ValueError("?")]
)
def test_nothing_but_a_failure_to_reach_it_or_damage_makes_a_replica_answer(make, error):
    case = make(failover=True)
    case.store.put("k", b"content")
    case.primary.error = error
    for read in (case.store.get, case.store.stat, case.store.stream):
        with pytest.raises(type(error)):
            read("k")
    assert case.events == []


def test_damage_of_the_primary_is_answered_by_a_replica(make):
    case = make(failover=True)
    case.store.put("k", b"content")
    case.primary.error, case.primary.only = ChecksumError("damaged"), {"read"}
    assert case.store.get("k") == b"content"
    assert case.events[0].fields["error"] == "ChecksumError"
    assert case.mirror.status().replicas[0].up


def test_an_absence_is_never_proven_by_a_replica(make):
    case = make(failover=True)
    case.primary.error = ConnectionLostError("gone")
    for ask in (case.store.get, case.store.stat, case.store.exists, case.store.stream):
        with pytest.raises(ConnectionLostError):
            ask("k")


def test_listings_and_versions_are_the_primarys_alone(make):
    case = make(members=[Member("primary", versioning=True), Member("replica")], failover=True)
    version = case.store.put("k", b"content").version
    case.primary.error = ConnectionLostError("gone")
    for ask in (
        lambda: [*case.store.list()],
        lambda: [*case.store.list_dir()],
        lambda: case.store.get("k", version=version),
        lambda: case.store.stat("k", version=version),
    ):
        with pytest.raises(ConnectionLostError):
            ask()


def test_a_replica_never_shows_what_is_known_to_be_old(make):
    case = make(failover=True, require=0)
    case.store.put("k", b"old")
    case.store.put("gone", b"old")
    case.replica.error = CapacityError("full")
    case.store.put("k", b"new")
    case.store.delete("gone")
    case.replica.error = None
    case.primary.error = ConnectionLostError("down")
    for key in ("k", "gone"):
        with pytest.raises(ConnectionLostError):
            case.store.get(key)
    assert case.events[2:] == []


def test_parts_of_an_object_are_never_those_of_two_members(make):
    case = make(failover=True)
    case.store.put("k", b"content" * 1000)
    Storage(case.replica.inner, owned=False).put("k", b"another" * 1000)
    with case.store.open("k") as file:
        assert file.read(7) == b"content"
        case.primary.error = ConnectionLostError("down")
        with pytest.raises(ConnectionLostError):
            file.read_at(3500, 7)
    with case.store.open("k") as file:
        assert file.read_at(0, 7) == b"another"
        case.primary.error = None
        case.clock.sleep(11)
        assert file.read_at(3500, 7) == b"another", "the primary is back, and this is another object"
        Storage(case.replica.inner, owned=False).put("k", b"changed" * 1000)
        with pytest.raises(PreconditionError):
            file.read_at(700, 7)
    assert case.store.get("k", offset=0, length=7) == b"content"


def test_the_etag_of_a_replica_is_no_condition_for_a_write(make):
    case = make(failover=True)
    etag = case.store.put("k", b"content").etag
    case.primary.error = ConnectionLostError("down")
    info = case.store.stat("k")
    assert info.etag == f"mgs-replica-1:{case.replica.inner.stat('k').etag}"
    assert info.etag != etag
    case.primary.error = None
    case.clock.sleep(11)
    for change in (case.store.delete, lambda key, if_match: case.store.put(key, b"2", if_match=if_match)):
        with pytest.raises(PreconditionError):
            change("k", if_match=info.etag)


def test_a_cached_copy_is_asked_about_also_while_the_primary_is_down(make):
    """A condition that is met by an ETag of the primary means nothing to a replica: all of it comes."""
    case = make(failover=True)
    etag = case.store.put("k", b"content").etag
    case.primary.error = ConnectionLostError("down")
    assert case.store.get("k", if_none_match=etag) == b"content"
    own = case.store.stat("k").etag
    with pytest.raises(StorageError):
        case.store.get("k", if_none_match=own)


def test_a_stream_that_breaks_off_is_not_gone_on_with_elsewhere(make):
    case = make(failover=True)
    case.store.put("k", b"content")
    case.primary.breaks_off = True
    with pytest.raises(ConnectionLostError), case.store.stream("k") as stream:
        b"".join(stream)
    assert case.events == []


def test_a_member_that_lies_is_found_where_checksums_lie_outside(make):
    case = make(failover=True)
    store = Storage(ChecksumLayer(case.mirror), owned=False)
    store.put("k", b"content")
    case.primary.error = ConnectionLostError("down")
    case.replica.lie = b"CONTENT"
    with pytest.raises(ChecksumError):
        store.get("k")


def test_observers_hear_of_failovers(make):
    heard = []

    class Listening(Hook):
        def event(self, event):
            heard.append(event.kind)

    case = make(failover=True)
    store = Storage(ObserveLayer(case.mirror, [Listening()]), owned=False)
    store.put("k", b"content")
    case.primary.error = ConnectionLostError("down")
    store.get("k")
    assert heard == ["mirror.failover"]


def test_failovers_are_counted_by_the_metrics(make):
    registry = CollectorRegistry()
    case = make(failover=True)
    store = Storage(ObserveLayer(case.mirror, [MetricsHook(registry)]), owned=False)
    store.put("k", b"content")
    case.primary.error = ConnectionLostError("down")
    store.get("k")
    [*store.stream("k")]
    labels = {"store": "memory://0", "operation": "read"}
    assert registry.get_sample_value("mediagit_storage_failovers_total", labels) == 1
    assert registry.get_sample_value("mediagit_storage_failovers_total", {**labels, "operation": "stream"}) == 1


# ---- many at once


def test_a_batch_reads_in_the_primarys_own_and_changes_all_members(make):
    case = make(members=[CallLog(MemoryBackend("a")), CallLog(MemoryBackend("b"))], failover=True)
    assert case.mirror.capabilities.batch
    assert [each.error for each in case.store.put_many((f"{n}", b"%d" % n) for n in range(50))] == [None] * 50
    assert sorted(case.replica.calls) == ["put"] * 50
    case.primary.calls.clear()
    assert [each.value for each in case.store.get_many(f"{n}" for n in range(50))] == [b"%d" % n for n in range(50)]
    assert case.primary.calls == ["batch"]
    assert [each.error for each in case.store.delete_many(f"{n}" for n in range(0, 50, 2))] == [None] * 25
    assert [info.key for info in Storage(case.replica, owned=False).list()] == [info.key for info in case.store.list()]


def test_what_a_batch_cannot_read_fails_over_one_by_one(make):
    case = make(failover=True)
    for number in range(10):
        case.store.put(f"{number}", b"%d" % number)
    case.primary.error = ConnectionLostError("down")
    batch = case.primary.inner.batch
    case.primary.inner.batch = lambda operations, limits: (
        each if each.operation.key in "13" else each._replace(value=None, error=ConnectionLostError("down"))
        for each in batch(operations, limits)
    )
    assert [each.value for each in case.store.get_many("0123x")][:4] == [b"0", b"1", b"2", b"3"]
    assert isinstance(next(iter(case.store.get_many("x"))).error, ConnectionLostError), (
        "an absence is not proven by a replica"
    )
    assert [each.value.size for each in case.store.stat_many("02")] == [1, 1]


def test_a_batch_of_both_kinds_keeps_what_came_before_what(make):
    case = make()
    operations = [
        PutOperation("a", BytesSource(b"1")),
        ReadOperation("a"),
        None,
        DeleteOperation("a"),
        StatOperation("a"),
        PutOperation("b", BytesSource(b"2")),
        None,
        PutOperation("c", BytesSource(b"3")),
    ]
    done = [*case.mirror.batch(iter(operations), BatchLimits())]
    assert [each.operation for each in done] == [each for each in operations if each is not None]
    assert [type(each.error) for each in done] == [type(None)] * 3 + [NotFoundError] + [type(None)] * 2


# ---- the whole


def test_members_are_closed_once_each_and_all_of_them(make):
    case = make(2)
    case.replica.close = lambda: (_ for _ in ()).throw(OSError("?"))
    with pytest.raises(OSError, match=r"\?"):
        case.store.close()
    case.store.close()
    assert (case.primary.closed, case.replicas[1].closed) == (1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"require": -1}, "require is a number"),
        ({"require": 2}, "2 replicas are required to follow, and there are 1"),
        ({"pause": -1.0}, "pause is a number"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        MirrorLayer(MemoryBackend("a"), [MemoryBackend("b")], MirrorConfig(**options))


def test_members_that_cannot_be(tmp_path):
    one = MemoryBackend("a")
    with pytest.raises(ConfigError, match="at least one more storage"):
        MirrorLayer(one, [])
    with pytest.raises(ConfigError, match="holds nothing of another"):
        MirrorLayer(one, [one])
    with pytest.raises(ConfigError, match="holds nothing of another"):
        MirrorLayer(one, [MemoryBackend("b"), MemoryBackend("b")])
    with pytest.raises(ConfigError, match="holds nothing of another"):
        MirrorLayer(one, [MemoryBackend("b"), PrefixLayer(one, "copy/")])
    MirrorLayer(PrefixLayer(one, "one/"), [PrefixLayer(one, "other/")])
    with pytest.raises(ConfigError, match="holds nothing of another"):
        MirrorLayer(LocalBackend(tmp_path), [LocalBackend(tmp_path / "copy")])
    MirrorLayer(LocalBackend(tmp_path / "photos"), [LocalBackend(tmp_path / "photos2")])
    with pytest.raises(ConfigError, match="has no conditional reads"):
        MirrorLayer(one, [WithoutCapabilities(MemoryBackend("b"), "read_conditions")], MirrorConfig(failover=True))


def test_a_health_check_looks_at_every_member(make):
    case = make(2, require=0)
    case.replica.error = ConnectionLostError("gone")
    case.store.put("k", b"1")
    found = {finding.detail: finding.level for finding in case.store.check() if finding.name == "mirror"}
    assert found == {
        "replica 1 (memory://1) cannot be listed: gone": "failed",
        "replica 1 (memory://1) has missed changes of 2 keys": "warning",
        "replica 2 (memory://2) can be listed": "ok",
    }


def test_a_mirror_can_be_pickled_where_its_members_can(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    config = MirrorConfig(require=0, state=str(tmp_path / "state"))
    with Storage(MirrorLayer(LocalBackend(tmp_path / "a"), [LocalBackend(tmp_path / "b")], config)) as store:
        store.put("k", b"1")
        with pickle.loads(pickle.dumps(store)) as again:
            assert again.get("k") == b"1"
            assert again.backend.config == config


def test_a_log_of_calls_shows_what_a_put_costs():
    primary, replica = CallLog(MemoryBackend("a")), CallLog(MemoryBackend("b"))
    with Storage(MirrorLayer(primary, [replica])) as store:
        store.put("k", b"1")
        assert (primary.calls, replica.calls) == (["put", "stat"], ["put"])
        store.get("k")
        assert (primary.calls[2:], replica.calls[1:]) == (["read"], [])
