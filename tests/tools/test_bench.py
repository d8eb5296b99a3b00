"""A benchmark measures what it says, checks what comes back, and leaves nothing behind whatever happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mediagit_storage.backend import Content, DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    ConfigError,
    IntegrityError,
    PermissionDeniedError,
    UnavailableError,
)
from mediagit_storage.http.resuming import ReadyBody
from mediagit_storage.layers.base import Layer
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.text import printable
from mediagit_storage.tools import bench as bench_module
from mediagit_storage.tools.bench import BENCH_PREFIX, Benchmark, BenchPlan, BenchRules, Measured, Way
from mediagit_storage.tools.bench_chart import draw_png, seconds_text, text_chart
from mediagit_storage.types import PendingUpload

SMALL = BenchRules(objects=5, size=10, large=2_500_000)


@pytest.fixture(autouse=True)
def quick_servers(monkeypatch):
    monkeypatch.setattr(bench_module, "_AFTERMATH", 0.0)


class Counting(Layer):
    """Counts what is asked of a storage."""

    layer_name = "counting"

    def __init__(self, inner):
        super().__init__(inner, None)
        self.calls: dict[str, int] = {}

    def _count(self, name):
        self.calls[name] = self.calls.get(name, 0) + 1

    def put(self, key, source, options):
        self._count("puts")
        return self.inner.put(key, source, options)

    def read(self, key, options):
        self._count("reads")
        return self.inner.read(key, options)

    def stream(self, key, options):
        self._count("reads")
        return self.inner.stream(key, options)

    def stat(self, key, version=None):
        self._count("reads")
        return self.inner.stat(key, version)

    def list(self, prefix, options):
        self._count("lists")
        return self.inner.list(prefix, options)

    def delete(self, key, options):
        self._count("deletes")
        self.inner.delete(key, options)

    def batch(self, operations, limits):
        kinds = {PutOperation: "puts", ReadOperation: "reads", StatOperation: "reads", DeleteOperation: "deletes"}

        def counted():
            for each in operations:
                if each is not None:
                    self._count(kinds[type(each)])
                yield each

        return self.inner.batch(counted(), limits)


class Unversioned(MemoryBackend):
    """Keeps no old versions."""

    @property
    def capabilities(self):
        return replace(super().capabilities, versions=False)


def test_every_measurement_comes_once_and_counts_what_it_did():
    store = Storage(MemoryBackend())
    store.put("other", b"x")
    bench = Benchmark(store, "folder/", SMALL)
    found = {(each.operation, each.way): each for each in bench.run()}
    assert [*found] == [
        *((name, Way.ALONE) for name in ("put", "stat", "get", "list", "delete")),
        *((name, Way.TOGETHER) for name in ("put", "stat", "get", "delete")),
        *((name, Way.LARGE) for name in ("upload", "download", "ranges")),
    ]
    assert {each.count for key, each in found.items() if key[1] is Way.TOGETHER} == {5}
    assert found["put", Way.ALONE].size == found["get", Way.TOGETHER].size == 50
    assert found["upload", Way.LARGE].size == found["download", Way.LARGE].size == 2_500_000
    assert found["ranges", Way.LARGE].count == 3
    for each in found.values():
        assert len(each.samples) == (each.count if each.way is Way.ALONE else 0)
        assert each.seconds >= sum(each.samples) * 0.999 >= 0
    assert [info.key for info in store.list(versions=True)] == ["other"]
    assert bench.prefix.startswith(f"folder/{BENCH_PREFIX}")
    assert not bench.left


@pytest.mark.parametrize("rules", [SMALL, BenchRules(objects=1, size=0, large=0), BenchRules(objects=7, large=1)])
def test_the_plan_tells_of_every_request_before(rules):
    counting = Counting(Unversioned())
    [*Benchmark(Storage(counting), rules=rules).run()]
    plan = BenchPlan.of(rules)
    assert counting.calls["puts"] == plan.puts
    assert counting.calls["reads"] == plan.reads
    assert counting.calls["lists"] <= plan.lists
    # Deleted together, and once more where it may be there still: the large object.
    assert counting.calls["deletes"] <= plan.deletes


def test_time_bounds_every_measurement():
    rules = BenchRules(objects=100_000, size=1, large=10**12, seconds=0.01)
    bench = Benchmark(Storage(MemoryBackend()), rules=rules)
    with scope(timeout=300):
        found = [*bench.run()]
    assert all(each.count < 100_000 for each in found)
    assert found[-1].size < 10**12
    assert not bench.left


class Wrong(MemoryBackend):
    """Gives other bytes from the moment on that ``wrong`` is set."""

    wrong = False

    def read(self, key, options):
        found = super().read(key, options)
        return found._replace(data=bytes(len(found.data))) if self.wrong else found


def test_other_bytes_are_an_error_and_nothing_is_left():
    backend = Wrong()
    backend.wrong = True
    with pytest.raises(IntegrityError, match="other bytes"):
        [*Benchmark(Storage(backend), rules=SMALL).run()]
    backend.wrong = False

    def until_the_ranges():
        for each in Benchmark(Storage(backend), rules=SMALL).run():
            backend.wrong = each.operation == "download"

    with pytest.raises(IntegrityError, match="other bytes"):
        until_the_ranges()
    assert [*Storage(backend).list()] == []


class Failing(MemoryBackend):
    """Fails each call of a name from the Nth on."""

    name, left = "", 0

    def _fail(self, name):
        if self.name == name:
            self.left -= 1
            if self.left < 0:
                raise UnavailableError("broken")

    def put(self, key, source, options):
        self._fail("put")
        return super().put(key, source, options)

    def stat(self, key, version=None):
        self._fail("stat")
        return super().stat(key, version)

    def delete(self, key, options):
        self._fail("delete")
        super().delete(key, options)


@pytest.mark.parametrize(("name", "left"), [("put", 0), ("put", 3), ("put", 7), ("put", 10), ("stat", 1), ("stat", 7)])
def test_whatever_fails_nothing_is_left(name, left):
    backend = Failing()
    backend.name, backend.left = name, left
    bench = Benchmark(Storage(backend), rules=SMALL)
    with pytest.raises(UnavailableError):
        [*bench.run()]
    backend.name = ""
    assert [*Storage(backend).list()] == []
    assert not bench.left


def test_what_a_server_stores_after_the_deletion_goes_too():
    class Late(MemoryBackend):
        """Takes a put whose answer nobody waits for, and carries it out when all is deleted."""

        late = ()

        def put(self, key, source, options):
            if "together" in key:
                self.late = (key, options)
                raise CancelledError("cut off")
            return super().put(key, source, options)

        def list(self, prefix, options):
            if self.late:
                key, put_options = self.late
                self.late = ()
                super().put(key, BytesSource(b"late"), put_options)
            return super().list(prefix, options)

    backend = Late()
    bench = Benchmark(Storage(backend), rules=SMALL)
    with pytest.raises(CancelledError):
        [*bench.run()]
    assert [*Storage(backend).list()] == []
    assert not bench.left


def test_what_cannot_be_removed_is_named():
    backend = Failing()
    backend.name, backend.left = "delete", 2
    bench = Benchmark(Storage(backend), rules=SMALL)
    with pytest.raises(UnavailableError):
        [*bench.run()]
    backend.name = ""
    there = [info.key for info in Storage(backend).list()]
    assert len(there) == 3
    assert list(bench.left) == there


def test_a_benchmark_that_is_cancelled_or_given_up_leaves_nothing(tmp_path):
    store = Storage(LocalBackend(tmp_path))

    def cancelled(inside):
        for number, _ in enumerate(Benchmark(store, rules=SMALL).run()):
            if number == 6:
                inside.cancel()

    with scope() as inside, pytest.raises(CancelledError):
        cancelled(inside)
    run = Benchmark(store, rules=SMALL).run()
    next(run)
    assert [*store.list()]
    run.close()
    assert [*store.list()] == []
    assert [*store.pending_uploads()] == []


def test_old_versions_and_unfinished_uploads_go_too():
    backend = MemoryBackend()
    store = Storage(backend)
    store.create(versioning=True)
    bench = Benchmark(store, rules=SMALL)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for key in (f"{bench.prefix}x", "other"):
        backend._uploads[key] = PendingUpload(key, key, moment, 5, moment)
    [*bench.run()]
    assert [*store.list(versions=True)] == []
    assert [each.key for each in store.pending_uploads()] == ["other"]


def test_versions_that_may_not_be_deleted_are_named_and_the_rest_goes():
    class Keeping(MemoryBackend):
        def delete(self, key, options):
            if options.version is not None:
                raise PermissionDeniedError("no")
            super().delete(key, options)

    backend = Keeping(versioning=True)
    bench = Benchmark(Storage(backend), rules=SMALL)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    backend._uploads["U"] = PendingUpload(f"{bench.prefix}x", "U", moment, 5, moment)
    [*bench.run()]
    assert bench.left == [f"old versions of {bench.prefix}"]
    assert [*Storage(backend).pending_uploads()] == []


def test_who_may_not_look_for_what_is_not_there_has_left_nothing():
    class Refusing(MemoryBackend):
        def list(self, prefix, options):
            if options.versions:
                raise PermissionDeniedError("no")
            return super().list(prefix, options)

        def pending_uploads(self, prefix):
            raise PermissionDeniedError("no")

    bench = Benchmark(Storage(Refusing()), rules=SMALL)
    [*bench.run()]
    assert bench.left == []


def test_a_stream_that_brings_other_bytes_is_found():
    class Swapping(MemoryBackend):
        def stream(self, key, options):
            info, data, start = self.read(key, options)
            return ReadyBody(Content(info, data[:-1] + bytes([data[-1] ^ 1]), start))

    with pytest.raises(IntegrityError, match="other bytes"):
        [*Benchmark(Storage(Swapping()), rules=replace(SMALL, large=3 * 2**20 + 5)).run()]


def test_what_is_refused_at_once_is_told_as_it_is():
    class Refusing(MemoryBackend):
        def put(self, key, source, options):
            raise PermissionDeniedError("no")

    bench = Benchmark(Storage(Refusing()), rules=SMALL)
    with pytest.raises(PermissionDeniedError):
        [*bench.run()]
    assert [*Storage(bench.store.backend).list()] == []


def test_in_a_bucket_that_is_not_there_nothing_is_left():
    class Missing(MemoryBackend):
        def put(self, key, source, options):
            raise BucketNotFoundError("no such bucket")

        def delete(self, key, options):
            raise BucketNotFoundError("no such bucket")

        def pending_uploads(self, prefix):
            raise BucketNotFoundError("no such bucket")

    bench = Benchmark(Storage(Missing()), rules=SMALL)
    with pytest.raises(BucketNotFoundError):
        [*bench.run()]
    assert bench.left == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"objects": 0},
        {"objects": 10**6},
        {"size": -1},
        {"size": 2**30},
        {"large": -1},
        {"seconds": 0},
        {"seconds": float("nan")},
    ],
)
def test_rules_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        BenchRules(**wrong)


# ---- drawn

MEASURED = [
    Measured("put", Way.ALONE, 3, 12, 0.6, (0.1, 0.2, 0.3)),
    Measured("get", Way.ALONE, 1, 4, 0.0, (0.0,)),
    Measured("put", Way.TOGETHER, 3, 12, 0.2),
    Measured("upload", Way.LARGE, 1, 10**9, 2.0),
    Measured("ranges", Way.LARGE, 10, 10**9, 1.0),
]


def test_the_text_shows_how_latencies_are_spread():
    lines = text_chart(MEASURED, 60, block="#")
    assert "put, one at a time:" in lines
    assert any(line.split() == ["100", "ms", "-", "200", "ms", "#" * 22, "1"] for line in lines)
    assert lines[-1].endswith(f"{'#' * 22} 1.0 GB/s")
    assert max(map(len, lines)) <= 60
    assert all(printable(line) == line for line in lines)


@pytest.mark.parametrize("measured", [MEASURED, MEASURED[:1], MEASURED[3:], []])
def test_a_picture_is_drawn_of_whatever_there_is(measured):
    picture = draw_png(measured, "mgs bench s3://büchér " + "x" * 200)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 20_000


def test_short_times():
    assert [seconds_text(each) for each in (0, 1e-6, 0.0099, 0.9994, 0.9996, 9.94, 9.96, 120)] == [
        "0.0 us", "1.0 us", "9.9 ms", "999 ms", "1.0 s", "9.9 s", "10 s", "120 s",
    ]  # fmt: skip
