"""Every kind of network fault at every kind of request, on two servers: the operation does what it says, or it says no.

A fault of the network or a failing server is gone through without a word. A lie (a wrong length or range, half a
document, an error that calls itself a success) may be refused, but never yields other data or another state.
"""

from __future__ import annotations

import inspect
import random
import threading
from collections import Counter
from functools import partial

import pytest

from mediagit_storage.backend import DEFAULT_LIMITS, DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.errors import AlreadyExistsError, IntegrityError, NotFoundError, StorageError
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators.known_faults import KNOWN_FAULTS
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, Storm
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import (
    Bandwidth,
    CutAnswer,
    Fail,
    FailAfterwards,
    Latency,
    OneByteAtATime,
    ResetBefore,
    ResetWhileSending,
    SlowClose,
    SwallowAnswer,
    error_in_ok,
    truncated_xml,
    wrong_length,
    wrong_range,
)

MIB = 1024 * 1024
#: Parts as small as S3 has them.
SMALL = {"part_size": 5 * MIB, "multipart_threshold": 6 * MIB}
#: What travels is the same for both: the second is for the long tests.
SERVERS = pytest.mark.parametrize("server", ["seaweedfs", pytest.param("moto", marks=pytest.mark.long)], indirect=True)


@pytest.fixture
def through(server, bucket, open_s3):
    """Opens the bucket through a proxy with these faults."""

    def enter(*faults, storm=None, **options):
        proxy = FaultProxy(server.host, faults, storm=storm)
        return proxy, Storage(open_s3(server, bucket, endpoint=proxy.url, **SMALL, **options))

    return enter


# ---- the operations: each prepares over a sound connection, acts through the spoilt one, and looks again


class Put:
    def prepare(self, plain):
        plain.put("k", b"old")

    def act(self, store):
        store.put("k", content(50_000))

    def look(self, plain):
        return plain.get("k") == content(50_000)


class CreateOnly:
    """A create whose answer is lost is found to be our own, and a second one is refused."""

    def prepare(self, plain):
        pass

    def act(self, store):
        store.put("k", content(3000), if_absent=True)
        with pytest.raises(AlreadyExistsError):
            store.put("k", b"later", if_absent=True)

    def look(self, plain):
        return plain.get("k") == content(3000)


class Get:
    def prepare(self, plain):
        plain.put("k", content(50_000))

    def act(self, store):
        assert store.get("k") == content(50_000)

    def look(self, plain):
        return True


class Ranges(Get):
    def act(self, store):
        data = content(50_000)
        assert store.get("k", offset=100, length=20_000) == data[100:20_100]
        assert store.get("k", suffix=5000) == data[-5000:]
        assert store.get_ranges("k", [(0, 10), (40_000, 9000)]) == [data[:10], data[40_000:49_000]]


class Stream(Get):
    def act(self, store):
        with store.stream("k") as pieces:
            assert b"".join(pieces) == content(50_000)


class List:
    keys = [f"a/{number:03}" for number in range(40)]

    def prepare(self, plain):
        plain.put_many((key, b"x") for key in self.keys).run()

    def act(self, store):
        assert [info.key for info in store.list()] == self.keys
        assert [entry.prefix for entry in store.list_dir()] == ["a/"]

    def look(self, plain):
        return True


class Delete:
    def prepare(self, plain):
        plain.put("k", b"x")
        plain.put("kept", b"x")

    def act(self, store):
        store.delete("k")

    def look(self, plain):
        return [info.key for info in plain.list()] == ["kept"]


class DeleteMany(List):
    def act(self, store):
        assert all(outcome.error is None for outcome in store.delete_many(self.keys[:-1]))

    def look(self, plain):
        return [info.key for info in plain.list()] == self.keys[-1:]


class Copy:
    def prepare(self, plain):
        plain.put("k", content(9000))

    def act(self, store):
        store.copy("k", "l")

    def look(self, plain):
        return plain.get("l") == plain.get("k") == content(9000)


class Parts:
    def prepare(self, plain):
        plain.put("k", b"old")

    def act(self, store):
        store.put("k", content(11 * MIB))

    def look(self, plain):
        return plain.get("k") == content(11 * MIB)


class Mixed:
    """Reads, puts, stats and deletes in one batch."""

    def prepare(self, plain):
        for name in ("read", "gone", "seen"):
            plain.put(name, content(2000))

    def act(self, store):
        operations = [
            ReadOperation("read"),
            PutOperation("new", BytesSource(content(4000))),
            StatOperation("seen"),
            DeleteOperation("gone"),
            ReadOperation("missing"),
        ]
        done = {each.operation.key: each for each in store.backend.batch(iter(operations), DEFAULT_LIMITS)}
        errors = [each.error for each in done.values() if each.error is not None]
        assert isinstance(done["missing"].error, StorageError)
        for error in errors:
            if not isinstance(error, NotFoundError):
                raise error
        assert len(errors) == 1
        assert done["read"].value.data == content(2000)
        assert done["seen"].value.size == 2000

    def look(self, plain):
        return [info.key for info in plain.list()] == ["new", "read", "seen"] and plain.get("new") == content(4000)


OPERATIONS = [Put, CreateOnly, Get, Ranges, Stream, List, Delete, DeleteMany, Copy, Parts, Mixed]

#: What networks and servers in trouble do.
TROUBLES = [
    OneByteAtATime(3000),
    ResetBefore(),
    ResetWhileSending(0),
    ResetWhileSending(1500),
    CutAnswer(0),
    CutAnswer(40),
    CutAnswer(700, reset=True),
    SwallowAnswer(),
    SwallowAnswer(reset=False),
    Fail(500, "InternalError"),
    Fail(503, "SlowDown", "0"),
    Fail(429, "TooManyRequests", "0"),
    FailAfterwards(500),
    FailAfterwards(503, "SlowDown"),
    SlowClose(0.0),
    Latency(0.05),
    Bandwidth(4_000_000),
]
#: What a server says that is not so.
LIES = [wrong_length(50), wrong_length(-7), wrong_range(3), truncated_xml(), error_in_ok(), error_in_ok("SlowDown")]
#: Those that are consistent in themselves: only a document's own form, or a checksum of the object, shows them.
SMOOTH = [lie for lie in LIES if lie.name not in {"length +50", "range +3"}]


def can_be_seen(request, lie, server):
    """Whether anybody could notice: a HEAD has no body to compare with, and few servers send checksums."""
    if request.method == "HEAD":
        return False
    whole = request.method == "GET" and "?" not in request.target and request.value("range") is None
    if lie in SMOOTH and whole:
        return server.name not in KNOWN_FAULTS["sends-no-checksums"].servers and "200 with" not in lie.name
    return "200 with" not in lie.name or request.value("range") is None


@SERVERS
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("toxic", TROUBLES, ids=repr)
def test_trouble_is_gone_through(store, through, operation, toxic):
    """Whatever the operation asks for first meets it."""
    go_through(store, through, operation(), toxic, nth=1)


@SERVERS
@pytest.mark.parametrize("operation", [CreateOnly, Ranges, Copy, Parts, Mixed], ids=lambda each: each.__name__)
@pytest.mark.parametrize("toxic", [ResetWhileSending(0), SwallowAnswer(), CutAnswer(40), FailAfterwards(500)], ids=repr)
def test_trouble_in_the_middle_is_gone_through(store, through, operation, toxic):
    """The second request of an operation that has several meets it."""
    go_through(store, through, operation(), toxic, nth=2)


def go_through(store, through, check, toxic, *, nth):
    check.prepare(store)
    proxy, spoilt = through(Fault(toxic, nth=nth), attempts=4)
    with proxy:
        check.act(spoilt)
    assert check.look(store)
    # An upload whose begin was answered, and the answer lost, is nobody's.
    lost = isinstance(check, Parts) and isinstance(
        toxic, SwallowAnswer | FailAfterwards | CutAnswer | ResetWhileSending
    )
    assert len([*store.pending_uploads()]) <= int(lost)


@SERVERS
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_a_lie_is_never_believed(server, store, through, operation, lie):
    check = operation()
    check.prepare(store)
    proxy, spoilt = through(attempts=4)
    with proxy:
        fault = Fault(lie, matches=partial(can_be_seen, lie=lie, server=server))
        proxy.faults.append(fault)
        try:
            check.act(spoilt)
            refused = False
        except IntegrityError:
            refused = True
        proxy.faults = [] if not fault.used else proxy.faults
    # What was refused may be done or not; what was reported as done is.
    assert refused or check.look(store)
    if refused:
        check.act(store)
        assert check.look(store)


def test_every_operation_of_the_matrix_is_its_own():
    assert len({inspect.getsource(each) for each in OPERATIONS}) == len(OPERATIONS)


# ---- a long storm, with an oracle

STORM = [*TROUBLES[1:-1], wrong_length(20), CutAnswer(10)]


class Writer:
    """One user of the bucket, with keys of its own: what it was told is what there has to be."""

    def __init__(self, store, number, seed):
        self.store = store
        self.number = number
        self.chance = random.Random(f"{seed}-{number}")
        self.held = {}
        #: Keys whose last write failed: either state is right.
        self.wrong = []
        self.done = Counter()

    def work(self, turns):
        for turn in range(turns):
            action = self.chance.choices(
                [self.put, self.create, self.get, self.range, self.delete, self.copy, self.list, self.many, self.large],
                [20, 8, 20, 12, 8, 6, 4, 3, 1],
            )[0]
            key = f"{self.number}/{self.chance.randrange(12)}"
            try:
                action(key, turn)
            except StorageError as error:
                self.wrong.append(f"{action.__name__} {key}: {error!r}")
            self.done[action.__name__] += 1

    def body(self, turn, most=4000):
        return content(self.chance.randrange(most), seed=turn)

    def put(self, key, turn):
        data = self.body(turn)
        self.store.put(key, data)
        self.held[key] = data

    def large(self, key, turn):
        data = content(6 * MIB + self.chance.randrange(6 * MIB), seed=turn)
        self.store.put(key, data)
        self.held[key] = data

    def create(self, key, turn):
        data = self.body(turn)
        try:
            self.store.put(key, data, if_absent=True)
        except AlreadyExistsError:
            if key not in self.held:
                self.wrong.append(f"{key} was not there")
        else:
            if key in self.held:
                self.wrong.append(f"{key} was overwritten")
            self.held[key] = data

    def get(self, key, turn):
        self.expect(key, lambda: self.store.get(key), self.held.get(key))

    def range(self, key, turn):
        start, length = self.chance.randrange(500), self.chance.randrange(1, 3000)
        held = self.held.get(key)
        if held is not None and start < len(held):
            got = self.store.get(key, offset=start, length=length)
            if got != held[start : start + length]:
                self.wrong.append(f"{key} {start}+{length} is torn")

    def expect(self, key, read, held):
        try:
            got = read()
        except NotFoundError:
            got = None
        if got != held:
            self.wrong.append(f"{key}: {'lost' if got is None else 'torn or back'}")

    def delete(self, key, turn):
        self.store.delete(key)
        self.held.pop(key, None)

    def copy(self, key, turn):
        target = f"{self.number}/copied"
        if key in self.held and len(self.held[key]) < MIB:
            self.store.copy(key, target)
            self.held[target] = self.held[key]

    def list(self, key, turn):
        listed = {(info.key, info.size) for info in self.store.list(f"{self.number}/")}
        held = {(each, len(data)) for each, data in self.held.items()}
        if listed != held:
            self.wrong.append(f"listed {listed - held} for {held - listed}")

    def many(self, key, turn):
        new = {f"{self.number}/m{each}": self.body(turn + each, 300) for each in range(10)}
        self.store.put_many(new.items()).run()
        for outcome in self.store.get_many(new):
            if outcome.value != new[outcome.key]:
                self.wrong.append(f"{outcome.key} is torn in a batch")
        self.store.delete_many(new).run()


def weather_the_storm(store, through, *, seed, turns, workers=4):
    storm = Storm(STORM, seed=seed, rate=0.25, in_a_row=3)
    proxy, spoilt = through(storm=storm, attempts=10)
    writers = [Writer(spoilt, number, seed) for number in range(workers)]
    with proxy:
        threads = [threading.Thread(target=writer.work, args=(turns,)) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wrong = [each for writer in writers for each in writer.wrong]
        assert not wrong, "\n".join(wrong)
    assert {type(toxic).__name__ for toxic in STORM} <= set(storm.used)
    held = {key: data for writer in writers for key, data in writer.held.items()}
    assert {info.key: store.get(info.key) for info in store.list()} == held
    # What may be left is what nobody knows of: uploads whose begin was answered with a lie, or not at all.
    begins = sum(request.method == "POST" and "uploads" in request.target for request in proxy.requests)
    large = sum(writer.done["large"] for writer in writers)
    pending = [*store.pending_uploads()]
    assert len(pending) <= begins - large
    for upload in pending:
        store.abort_upload(upload)
    assert [*store.pending_uploads()] == []
    return sum(sum(writer.done.values()) for writer in writers)


@SERVERS
@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_loses_and_tears_nothing(store, through, seed):
    assert weather_the_storm(store, through, seed=seed, turns=150) == 600


@pytest.mark.long
@pytest.mark.timeout(1200)
@SERVERS
def test_a_long_storm_loses_and_tears_nothing(store, through):
    assert weather_the_storm(store, through, seed=random.randrange(10**9), turns=1500) == 6000
