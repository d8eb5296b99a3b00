"""What the cache must not believe: ETags that repeat, folders of others, slow reads, writes of unknown outcome."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediagit_storage.backend import BatchLimits, Completion, Content, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.backends.webdav.services import SERVICES, capabilities_of
from mediagit_storage.errors import NotFoundError, UnavailableError
from mediagit_storage.events import on_event
from mediagit_storage.journal import lock_file
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache import CacheConfig, CacheLayer, DiskTier
from mediagit_storage.layers.cache.entries import Moment, disk_name, head_of
from mediagit_storage.layers.cache.frames import FRAME
from mediagit_storage.layers.cache.ledger import _LOCK_TRIES
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.stacking import make_layer
from mediagit_storage.types import PLAIN_PUT, DeleteOptions, ObjectInfo, ReadOptions

K = 1024
PLAIN = ReadOptions()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Both clocks, each set by hand."""

    def __init__(self):
        self.wall = NOW.timestamp()
        self.seconds = 1000.0
        self.slept = 0

    def now_ns(self):
        return int(self.wall * 1_000_000_000)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.slept += 1

    def go_on(self, seconds):
        self.wall += seconds
        self.seconds += seconds


class Watched(Layer):
    """Counts reads, and lets a test come between a read and its answer."""

    layer_name = "watched"

    def __init__(self, inner):
        super().__init__(inner, CacheConfig())
        self.reads = 0
        self.before_answer = lambda: None

    def read(self, key, options):
        self.reads += 1
        try:
            return self.inner.read(key, options)
        finally:
            meanwhile, self.before_answer = self.before_answer, lambda: None
            meanwhile()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def inner():
    return MemoryBackend("inner")


def put(backend, key, data):
    return backend.put(key, BytesSource(data), PLAIN_PUT)


# ---- batches


@pytest.mark.timeout(20)
@pytest.mark.parametrize("outer", ["encrypt", "retry"])
def test_a_batch_whose_last_answers_are_believed_ends(inner, outer):
    """Nothing travels below, and the layer outside has nothing more to ask until it has these answers."""
    layer = CacheLayer(inner, CacheConfig(validate="immutable"))
    store = Storage(make_layer(outer, layer))
    for key in ("a", "b", "c"):
        store.put(key, key.encode())
    for _ in range(3):
        got = {each.key: each.value for each in store.get_many(["a", "b", "c"])}
        assert got == {"a": b"a", "b": b"b", "c": b"c"}


def test_what_a_closed_batch_still_does_is_not_believed(clock):
    """An operation that was under way takes effect while the storage's batch is being closed."""

    class Closing(Watched):
        def batch(self, operations, limits):
            try:
                for operation in operations:
                    if isinstance(operation, ReadOperation):
                        yield Completion(operation, self.inner.read(operation.key, operation.options), None)
            finally:
                clock.go_on(1)
                layer.read("k", PLAIN)
                put(self.inner, "k", b"new")

    inner = MemoryBackend("closing")
    put(inner, "k", b"old")
    put(inner, "other", b"x")
    layer = CacheLayer(Closing(inner), CacheConfig(validate="immutable"), clock=clock)
    operations = iter([PutOperation("k", BytesSource(b"new")), ReadOperation("other")])
    batch = layer.batch(operations, BatchLimits())
    next(batch)
    batch.close()
    assert layer.read("k", PLAIN).data == b"new"


def test_a_batch_of_stats_is_heeded(inner, clock):
    layer = CacheLayer(inner, CacheConfig(validate="immutable"), clock=clock)
    for key in ("k", "gone"):
        put(inner, key, b"old")
        layer.read(key, PLAIN)
    put(inner, "k", b"new")
    inner.delete("gone", DeleteOptions())
    list(layer.batch(iter([StatOperation("k"), StatOperation("gone")]), BatchLimits()))
    assert layer.read("k", PLAIN).data == b"new"
    with pytest.raises(NotFoundError):
        layer.read("gone", PLAIN)


# ---- ETags that repeat


class Seconds(Layer):
    """A storage whose ETags are made of whole seconds and the size."""

    layer_name = "seconds"

    def __init__(self, inner, clock):
        super().__init__(inner, CacheConfig())
        self.clock = clock
        self.written = {}

    @property
    def capabilities(self):
        return replace(self.inner.capabilities, exact_etags=False, read_conditions=False, batch=False)

    def _told(self, info):
        when = self.written[info.key]
        return replace(info, modified=when, etag=f"{int(when.timestamp())}-{info.size}")

    def put(self, key, source, options):
        self.written[key] = datetime.fromtimestamp(int(self.clock.wall), UTC)
        return self._told(self.inner.put(key, source, options))

    def stat(self, key, version=None):
        return self._told(self.inner.stat(key, version))

    def read(self, key, options):
        info, data, start = self.inner.read(key, options)
        return Content(self._told(info), data, start)


@pytest.mark.parametrize("mode", ["etag", "immutable"])
def test_an_etag_of_whole_seconds_is_trusted_when_it_has_settled(inner, clock, mode):
    storage = Seconds(inner, clock)
    layer = CacheLayer(storage, CacheConfig(validate=mode), clock=clock)
    put(layer, "k", b"one")
    assert layer.read("k", PLAIN).data == b"one"
    put(storage, "k", b"two")
    assert layer.read("k", PLAIN).data == b"two", "the same second, the same size"
    assert layer.stats().memory_entries == 0
    clock.go_on(61)
    assert layer.read("k", PLAIN).data == b"two"
    assert layer.stats().memory_entries == 1
    assert layer.read("k", PLAIN).data == b"two"
    assert layer.stats().misses == 1


def test_webdav_has_no_exact_etags():
    assert not any(capabilities_of(each, dead_properties=True).exact_etags for each in SERVICES.values())


@pytest.mark.parametrize(("age", "exact", "kept"), [(59, False, False), (61, False, True), (0, True, True)])
def test_tokens(age, exact, kept):
    info = ObjectInfo("k", 1, modified=NOW - timedelta(seconds=age), etag="e")
    head = head_of(info, None, Moment(1, int(NOW.timestamp() * 1_000_000_000)), exact=exact)
    assert (head.token is not None) == kept


def test_a_chunk_of_another_length_is_not_used(inner, clock):
    """One ETag for two sizes: the length at least is compared."""
    put(inner, "k", b"x" * 1500)
    layer = CacheLayer(inner, CacheConfig(chunk_size=K), clock=clock)
    head = layer.read("k", PLAIN) and layer._shelf.head("k")
    layer._shelf.memory.keep_chunk(("k", head.token, 1), b"short")
    assert layer.read("k", PLAIN).data == b"x" * 1500


# ---- orders


def test_the_clock_of_the_wall_does_not_decide_in_one_process(inner, clock):
    """It is put back between a read and a write, and on again."""
    watched = Watched(inner)
    layer = CacheLayer(watched, CacheConfig(validate="immutable"), clock=clock)
    put(inner, "k", b"old")

    def write_and_put_the_clock_back():
        clock.wall -= 3600
        put(layer, "k", b"new")

    watched.before_answer = write_and_put_the_clock_back
    layer.read("k", PLAIN)
    clock.wall += 3600
    assert layer.read("k", PLAIN).data == b"new"


def test_an_older_proof_does_not_replace_a_newer_one(inner, clock):
    watched = Watched(inner)
    layer = CacheLayer(watched, CacheConfig(validate="immutable"), clock=clock)
    put(inner, "k", b"old")

    def others_write_and_a_read_sees_it():
        put(inner, "k", b"new")
        assert layer._reads._cold("k", PLAIN, 0).data == b"new"

    watched.before_answer = others_write_and_a_read_sees_it
    layer.read("k", PLAIN)
    assert layer.read("k", PLAIN).data == b"new"


def test_after_an_unknown_outcome_nothing_is_believed_for_a_while(inner, clock):
    """The storage does a write minutes after its answer was given up on."""

    class Late(Watched):
        def put(self, key, source, options):
            raise UnavailableError("the answer was lost")

    watched = Late(inner)
    layer = CacheLayer(watched, CacheConfig(validate="immutable"), clock=clock)
    put(inner, "k", b"old")
    with pytest.raises(UnavailableError):
        put(layer, "k", b"new")
    assert layer.read("k", PLAIN).data == b"old"
    clock.go_on(600)
    assert layer.read("k", PLAIN).data == b"old"
    put(inner, "k", b"new")
    assert layer.read("k", PLAIN).data == b"new"
    clock.go_on(301)
    layer.read("k", PLAIN)
    asked = watched.reads
    layer.read("k", PLAIN)
    assert watched.reads == asked


def test_a_write_forgets_the_versions_of_its_key(clock):
    """A bucket without versions may still name them, and a delete takes them along."""
    inner = MemoryBackend("versions", versioning=True)
    layer = CacheLayer(inner, CacheConfig(), clock=clock)
    version = put(layer, "k", b"a").version
    assert layer.read("k", ReadOptions(version=version)).data == b"a"
    layer.delete("k", DeleteOptions())
    inner.delete("k", DeleteOptions(version))
    with pytest.raises(NotFoundError):
        layer.read("k", ReadOptions(version=version))


# ---- the folder


@pytest.fixture
def objects(tmp_path):
    (tmp_path / "objects").mkdir()
    with closing(LocalBackend(tmp_path / "objects")) as backend:
        yield backend


def on_disk(backend, tmp_path, clock, **options):
    config = CacheConfig(**{"memory_bytes": 0, "validate": "immutable", "folder": str(tmp_path / "c"), **options})
    return CacheLayer(backend, config, clock=clock)


@pytest.mark.parametrize("place", ["", "entries", "new"])
def test_a_folder_that_others_may_write_to_is_not_read(objects, tmp_path, clock, place):
    put(objects, "k", b"a")
    on_disk(objects, tmp_path, clock).read("k", PLAIN)
    (tmp_path / "c" / place).chmod(0o777)
    put(objects, "k", b"b")
    heard = []
    with on_event(heard.append):
        layer = on_disk(objects, tmp_path, clock)
        assert layer.read("k", PLAIN).data == b"b"
        assert layer.read("k", PLAIN).data == b"b"
    assert layer.stats().disk_hits == 0
    assert [event.kind for event in heard] == ["cache.disk"]


def test_a_stat_makes_the_folder_forget(objects, tmp_path, clock):
    put(objects, "k", b"old")
    on_disk(objects, tmp_path, clock).read("k", PLAIN)
    put(objects, "k", b"newer")
    clock.go_on(1)
    layer = on_disk(objects, tmp_path, clock)
    layer.stat("k")
    assert layer.read("k", PLAIN).data == b"newer"
    assert on_disk(objects, tmp_path, clock).read("k", PLAIN).data == b"newer"


def test_a_slow_read_of_another_does_not_put_the_old_object_back(objects, tmp_path, clock):
    slow = Watched(objects)
    put(objects, "k", b"old")
    config = {"validate": "ttl", "ttl": 60.0}
    mine, other = (on_disk(each, tmp_path, clock, **config) for each in (objects, slow))
    # Watched is a layer of the identity: both see one storage all the same.
    other._shelf._identity = mine._shelf._identity
    mine.read("k", PLAIN)

    def write():
        clock.go_on(1)
        put(mine, "k", b"new")

    clock.go_on(61)
    slow.before_answer = write
    other.read("k", PLAIN)
    clock.go_on(1)
    assert on_disk(objects, tmp_path, clock, **config).read("k", PLAIN).data == b"new"


def test_a_lock_that_is_held_is_waited_for_once_in_a_while(tmp_path, clock):
    tier = DiskTier(tmp_path / "c", 100 * K, 100, clock=clock)
    assert tier.write(disk_name("x"), b"x")
    lock = lock_file(tmp_path / "c" / "usage")
    try:
        for number in range(5):
            assert not tier.write(disk_name("y", number), b"x")
        assert clock.slept == _LOCK_TRIES
    finally:
        os.close(lock)
    clock.go_on(2)
    assert tier.write(disk_name("y"), b"x")


def test_a_file_longer_than_any_is_not_read(tmp_path, clock):
    tier = DiskTier(tmp_path / "c", 100 * K, 100, clock=clock, largest=K)
    tier.write(disk_name("x"), b"x")
    path = tier._path(disk_name("x"))
    os.truncate(path, FRAME + 10 * K)
    asked = []
    tier._files.read = lambda descriptor, count, offset: asked.append(count) or os.pread(descriptor, count, offset)
    assert tier.read(disk_name("x")) is None
    assert asked == []
