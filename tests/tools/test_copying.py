"""Copying and moving many objects between two storages."""

from __future__ import annotations

import itertools
import os
import threading

import pytest

from mediagit_storage import Attributes, ConnectionInfo, Storage, on_progress, open_storage, scope
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.backends.s3 import MinIOBackend, S3Backend
from mediagit_storage.errors import CancelledError, CapacityError, UnavailableError, UnsupportedError
from mediagit_storage.layers.base import Layer
from mediagit_storage.testing.remote import Remote
from mediagit_storage.tools.ahead import LookAhead
from mediagit_storage.tools.comparing import other_attributes
from mediagit_storage.tools.copying import CopyRules, CopyTask, copy_objects, move_objects
from mediagit_storage.tools.places import same_service
from mediagit_storage.tools.sync import lost_attributes

DATA = {"a": b"1", "b/c": b"", "large": os.urandom((1 << 20) + 7), "p.png": b"\x00" * 500, "z": os.urandom(1 << 20)}


@pytest.fixture
def source():
    store = Storage(MemoryBackend())
    for key, data in DATA.items():
        store.put(key, data)
    return store


@pytest.fixture
def target():
    return Storage(MemoryBackend())


def tasks(*, known: bool = True) -> list[CopyTask]:
    return [CopyTask(key, f"to/{key}", len(data) if known else None) for key, data in DATA.items()]


def held(store: Storage) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list()}


@pytest.mark.parametrize("known", [True, False])
def test_everything_arrives(source, target, known):
    outcomes = list(copy_objects(source, target, tasks(known=known)))
    assert {each.task.source for each in outcomes} == set(DATA)
    assert all(each.error is None and each.info is not None for each in outcomes)
    assert held(target) == {f"to/{key}": data for key, data in DATA.items()}
    assert held(source) == DATA


def test_within_one_storage_the_server_copies(source):
    outcomes = list(copy_objects(source, source, tasks()))
    assert all(each.error is None for each in outcomes)
    assert held(source) == DATA | {f"to/{key}": data for key, data in DATA.items()}


@pytest.mark.parametrize("same", [True, False])
def test_moving_leaves_nothing_behind(source, target, same):
    there = source if same else target
    assert all(each.error is None for each in move_objects(source, there, tasks()))
    assert held(there) == {f"to/{key}": data for key, data in DATA.items()}
    assert same or held(source) == {}


def test_a_missing_object_fails_alone(source, target):
    wanted = [*tasks(), CopyTask("none", "to/none", 5), CopyTask("none2", "to/none2", None)]
    outcomes = list(copy_objects(source, target, wanted))
    failed = {each.task.source: each.error for each in outcomes if each.error is not None}
    assert set(failed) == {"none", "none2"}
    assert failed["none"].operation == "get"
    assert failed["none"].key == "none"
    assert len(held(target)) == len(DATA)


@pytest.mark.parametrize("size", [1, None])
def test_a_key_that_must_not_be_written_fails_alone(source, target, size):
    (outcome,) = copy_objects(source, target, [CopyTask("a", "../a", size)])
    assert outcome.error is not None
    assert outcome.error.key == "../a"
    assert held(target) == {}


class _Test(Layer):
    layer_name = "test"

    def __init__(self, inner):
        super().__init__(inner, None)


class _Changing(_Test):
    """Somebody overwrites each object right after it was read."""

    def stream(self, key, options):
        body = self.inner.stream(key, options)
        Storage(self.inner, owned=False).put(key, b"newer")
        return body

    @property
    def capabilities(self):
        from dataclasses import replace

        return replace(self.inner.capabilities, batch=False)


def test_an_object_that_changes_while_it_is_moved_stays(source, target):
    changing = source.with_layer(_Changing)
    (outcome,) = move_objects(changing, target, [CopyTask("a", "a", 1)])
    assert outcome.error is not None
    assert outcome.info is None
    assert target.get("a") == b"1"
    assert source.get("a") == b"newer"


def test_what_is_there_is_skipped_on_demand(source, target):
    target.put("to/a", b"mine")
    target.put("to/large", b"mine")
    outcomes = list(move_objects(source, target, tasks(), CopyRules(overwrite=False)))
    assert {each.task.source for each in outcomes if each.skipped} == {"a", "large"}
    assert target.get("to/a") == b"mine"
    assert set(held(source)) == {"a", "large"}


class _Without(_Test):
    """A storage with fewer abilities."""

    @property
    def capabilities(self):
        from dataclasses import replace

        return replace(self.inner.capabilities, if_absent=False, attributes=frozenset({"metadata"}))


def test_sparing_what_is_there_needs_create_only_writes(source, target):
    with pytest.raises(UnsupportedError, match="create-only"):
        list(copy_objects(source, target.with_layer(_Without), tasks(), CopyRules(overwrite=False)))


@pytest.mark.parametrize("size", [1, None])
def test_attributes_that_cannot_be_kept(source, target, size):
    described = Attributes(content_type="x/y", metadata={"a": "b"}, tags={"t": "u"}, storage_class="COLD")
    source.put("a", b"1", attributes=described)
    wanted = [CopyTask("a", "a", size)]
    (refused,) = copy_objects(source, target.with_layer(_Without), wanted)
    assert isinstance(refused.error, UnsupportedError)
    assert "content_type, storage_class, tags" in str(refused.error)
    (dropped,) = copy_objects(source, target.with_layer(_Without), wanted, CopyRules(drop_attributes=True))
    assert dropped.error is None
    assert target.stat("a").attributes == Attributes(metadata={"a": "b"})
    (kept,) = copy_objects(source, target, wanted)
    assert kept.error is None
    assert target.stat("a").attributes == described


@pytest.mark.parametrize("size", [1, None])
def test_a_storage_class_stays_behind_between_two_services(source, tmp_path, size):
    class Elsewhere(MemoryBackend):
        def connection_info(self):
            return ConnectionInfo("elsewhere", {})

    target = Storage(Elsewhere())
    described = Attributes(content_type="x/y", storage_class="COLD")
    source.put("a", b"1", attributes=described)
    (kept,) = copy_objects(source, target, [CopyTask("a", "a", size)])
    assert kept.error is None
    assert target.stat("a").attributes == Attributes(content_type="x/y")
    assert other_attributes(source, source.stat("a"), target, target.stat("a")) == []
    assert "storage_class" not in lost_attributes(source, target)
    assert same_service(source, source.with_prefix("b/"))
    assert not same_service(source, target)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"service": "aws"}, True),
        ({"endpoint": "http://127.0.0.1:1"}, {"endpoint": "http://127.0.0.1:1", "service": "generic"}, True),
        ({"endpoint": "http://127.0.0.1:1"}, {"endpoint": "http://127.0.0.1:2"}, False),
        ({"endpoint": "http://127.0.0.1:1"}, {}, False),
        ({"endpoint": "s3.eu-west-1.amazonaws.com"}, {}, True),
        (
            {"endpoint": "http://127.0.0.1:1", "service": "minio"},
            {"endpoint": "http://127.0.0.1:2", "service": "minio"},
            True,
        ),
        ({"service": "b2", "region": "us-west-004"}, {}, False),
    ],
)
def test_what_is_one_service(one, other, same):
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    with (
        open_storage("s3://some-bucket", options=one, environ=environ) as source,
        open_storage("s3://other-bucket", options=other, environ=environ) as target,
    ):
        assert same_service(source, target) is same


def test_a_service_is_the_same_by_whichever_name_it_is_opened():
    there = {"endpoint": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b"}
    with (
        Storage(MinIOBackend("some-bucket", endpoint="http://127.0.0.1:1", access_key="a", secret_key="b")) as one,
        Storage(S3Backend("some-bucket", service="minio", **there)) as other,
        Storage(S3Backend("some-bucket", **there)) as unknown,
    ):
        assert same_service(one, other)
        assert not same_service(one, unknown)


def test_types_are_guessed_unless_told_otherwise(source, target):
    list(copy_objects(source, target, tasks()))
    assert target.stat("to/p.png").attributes.content_type == "image/png"
    list(copy_objects(source, target, tasks(), CopyRules(guess_types=False)))
    assert target.stat("to/p.png").attributes.content_type is None


class _Failing(_Test):
    """Every put fails."""

    error: Exception = UnavailableError("not now")

    def put(self, key, source, options):
        raise self.error

    @property
    def capabilities(self):
        from dataclasses import replace

        return replace(self.inner.capabilities, batch=False)


def test_temporary_failures_are_each_objects_own(source, target):
    outcomes = list(copy_objects(source, target.with_layer(_Failing), tasks()))
    assert [type(each.error) for each in outcomes] == [UnavailableError] * len(DATA)


def test_a_full_target_stops_everything(source, target):
    failing = type("_Full", (_Failing,), {"error": CapacityError("full")})
    with pytest.raises(CapacityError):
        list(copy_objects(source, target.with_layer(failing), tasks()))
    assert held(target) == {}


def test_objects_of_some_mib_are_received_side_by_side(tmp_path):
    data = {"one": os.urandom(3 << 20), "other": os.urandom(3 << 20)}
    both, pieces = threading.Barrier(2, timeout=20), itertools.count()

    def begin(_what: str, _count: int) -> None:
        # The first one waits for the second, which can only be the other object's.
        if next(pieces) < 2:
            both.wait()

    remote = Remote(MemoryBackend(), tmp_path, piece=1 << 20, native=True)
    with Storage(remote) as source, Storage(LocalBackend(tmp_path / "disk", durability="batch")) as target:
        target.create()
        for key, content in data.items():
            source.put(key, content)
        remote.wire = begin
        outcomes = list(copy_objects(source, target, [CopyTask(key, key, 3 << 20) for key in data]))
        assert [each.error for each in outcomes] == [None, None]
        assert held(target) == data


def test_leaving_early_stops_the_threads(source, target):
    before = threading.active_count()
    outcomes = copy_objects(source, target, tasks(known=False))
    next(outcomes)
    outcomes.close()
    assert threading.active_count() <= before


def test_cancelled_from_outside(source, target):
    with scope() as inside:
        outcomes = copy_objects(source, target, tasks())
        inside.cancel()
        with pytest.raises(CancelledError):
            list(outcomes)
    assert held(target) == {}


def test_progress_is_one_transfer_that_ends_at_the_total(source, target):
    seen = []
    with on_progress(seen.append):
        list(copy_objects(source, target, iter(tasks())))
    total = sum(len(data) for data in DATA.values())
    assert {each.description for each in seen} == {"copy"}
    assert seen[0].completed == 0
    assert [each.completed for each in seen] == sorted(each.completed for each in seen)
    assert (seen[-1].completed, seen[-1].total) == (total, total)


def test_a_listing_that_fails_is_not_taken_for_its_end(source, target):
    def listing():
        yield CopyTask("a", "a", 1)
        raise UnavailableError("the listing broke")

    with pytest.raises(UnavailableError, match="broke"):
        list(copy_objects(source, target, listing()))
    with on_progress(lambda progress: None), pytest.raises(UnavailableError, match="broke"):
        list(copy_objects(source, target, listing()))


def test_looking_ahead_keeps_the_order_and_knows_the_total():
    ahead = LookAhead(iter(range(50_000)), lambda number: number)
    assert list(ahead) == list(range(50_000))
    assert ahead.total == sum(range(50_000))
    ahead.close()


def test_looking_ahead_ends_when_nobody_looks_any_more():
    ahead = LookAhead(iter(range(10**9)), lambda number: 1)
    assert next(iter(ahead)) == 0
    assert ahead.total is None
    ahead.close()
    ahead.close()
