"""Batches: every operation is completed once, and puts that share their syncs are durable when they are completed."""

import errno

import pytest

from mediagit_storage.backend import BatchLimits, DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.errors import CancelledError, CapacityError, InvalidKeyError, NotFoundError, StorageError
from mediagit_storage.scope import scope
from mediagit_storage.source import as_source
from mediagit_storage.testing.manual_clock import ManualClock
from mediagit_storage.testing.os_faults import Fault, FaultyOS, RecordingOS
from mediagit_storage.types import PutOptions

LIMITS = BatchLimits()
DURABILITIES = pytest.mark.parametrize("durability", ["full", "batch", "none"])


def puts(count, size=10, prefix="key"):
    return [PutOperation(f"{prefix}{number:04}", as_source(b"x" * size)) for number in range(count)]


def run(store, operations, limits=LIMITS):
    return list(store.backend.batch(iter(operations), limits))


@DURABILITIES
def test_every_kind_of_operation(open_store, durability):
    store = open_store(durability=durability)
    store.put("there", b"1")
    operations = [
        *puts(3),
        ReadOperation("there"),
        StatOperation("there"),
        ReadOperation("absent"),
        DeleteOperation("absent"),
        PutOperation("a//b", as_source(b"")),
    ]
    completions = run(store, operations)
    assert len(completions) == len(operations)
    by_operation = {id(each.operation): each for each in completions}
    outcome = [by_operation[id(operation)] for operation in operations]
    assert [type(each.error) for each in outcome[:3]] == [type(None)] * 3
    assert outcome[3].value.data == b"1"
    assert outcome[4].value.size == 1
    assert isinstance(outcome[5].error, NotFoundError)
    assert outcome[6].error is None
    assert isinstance(outcome[7].error, InvalidKeyError)
    assert store.keys() == ["key0000", "key0001", "key0002", "there"]
    assert store.backend.stat("key0001").etag == outcome[1].value.etag
    assert store.temps() == []


def test_a_group_is_synced_once_before_its_names_and_once_after(open_store):
    system = RecordingOS()
    store = open_store(os=system, durability="batch")
    seen = []
    for completion in store.backend.batch(iter(puts(50, prefix="new/key")), LIMITS):
        assert completion.error is None
        seen.append(system.names().count("syncfs"))
    assert seen == [2] * 50
    order = [name for name in system.names() if name in {"write", "rename", "syncfs", "fsync"}]
    assert order == ["write"] * 50 + ["syncfs"] + ["rename"] * 50 + ["syncfs"]


def test_a_single_put_with_durability_batch_is_synced_at_once(open_store):
    system = RecordingOS()
    open_store(os=system, durability="batch").put("key")
    assert system.names().count("fsync") == 2


def test_a_group_ends_at_its_bounds(open_store):
    system = RecordingOS()
    store = open_store(os=system, durability="batch", clock=ManualClock())
    run(store, puts(1030, size=0))
    assert system.names().count("syncfs") == 4
    system.calls.clear()
    run(store, puts(6, size=1000), BatchLimits(buffer_bytes=2000))
    assert system.names().count("syncfs") == 6


def test_nothing_now_ends_the_group(open_store):
    store = open_store(durability="batch")
    done = []

    def operations():
        yield puts(1)[0]
        yield None
        assert len(done) == 1
        yield None
        yield puts(1)[0]

    for completion in store.backend.batch(operations(), LIMITS):
        done.append(completion)
    assert len(done) == 2


def test_without_syncfs_every_file_is_synced_by_itself(open_store):
    system = FaultyOS([Fault("syncfs", 1, errno.ENOTSUP, persistent=True)])
    store = open_store(os=system, durability="batch")
    assert all(each.error is None for each in run(store, puts(3)))
    assert [name for name in system.names() if name in {"write", "rename", "fsync"}] == [
        *["write"] * 3,
        *["fsync"] * 3,
        *["rename", "fsync"] * 3,
    ]


@pytest.mark.parametrize(("nth", "visible"), [(1, 0), (2, 3)])
def test_a_failing_sync_fails_the_whole_group(open_store, nth, visible):
    system = FaultyOS([Fault("syncfs", nth, errno.EIO)])
    store = open_store(os=system, durability="batch")
    completions = run(store, puts(3))
    assert all(isinstance(each.error, StorageError) and each.value is None for each in completions)
    assert len(store.keys()) == visible
    assert store.temps() == []


def test_one_failing_put_fails_alone(open_store):
    system = FaultyOS([Fault("write", 2, errno.ENOSPC)])
    store = open_store(os=system, durability="batch")
    errors = [type(each.error) for each in run(store, puts(3))]
    assert sorted(errors, key=str) == sorted([CapacityError, type(None), type(None)], key=str)
    assert store.keys() == ["key0000", "key0002"]


def test_conditions_hold_in_a_group(open_store):
    store = open_store(durability="batch")
    store.put("key", b"old")
    operations = [
        PutOperation("key", as_source(b"new"), PutOptions(if_absent=True)),
        PutOperation("fresh", as_source(b"1"), PutOptions(if_absent=True)),
        PutOperation("fresh", as_source(b"2"), PutOptions(if_absent=True)),
    ]
    assert sorted(each.error is None for each in run(store, operations)) == [False, False, True]
    assert store.get("key") == b"old"
    assert store.get("fresh") == b"1"


@DURABILITIES
def test_closing_a_batch_leaves_nothing(open_store, durability, open_files):
    store = open_store(durability=durability)
    store.put("warm")
    before = open_files()
    batch = store.backend.batch((yield_none_after(puts(5))), LIMITS)
    next(batch)
    batch.close()
    assert store.temps() == []
    assert open_files() == before


def yield_none_after(operations):
    for operation in operations:
        yield operation
        yield None


@DURABILITIES
def test_a_failing_feeder_passes_unchanged_and_leaves_nothing(open_store, durability):
    store = open_store(durability=durability)

    def operations():
        yield puts(1)[0]
        raise RuntimeError("of the feeder")

    with pytest.raises(RuntimeError, match="of the feeder"):
        run(store, operations())
    assert store.temps() == []


def test_a_cancelled_batch_stops(open_store):
    store = open_store(durability="batch")
    with scope() as bounds:

        def operations():
            yield puts(1)[0]
            bounds.cancel()
            yield puts(2)[1]

        with pytest.raises(CancelledError):
            run(store, operations())
    assert store.keys() == []
    assert store.temps() == []


def test_a_missing_root_is_each_operations_error(open_store, tmp_path):
    store = open_store(tmp_path / "missing", durability="batch")
    completions = run(store, [*puts(2), ReadOperation("x")])
    assert [type(each.error).__name__ for each in completions] == ["BucketNotFoundError"] * 3
