"""The cache: what it asks the storage, what it keeps, and that it never shows what is not right (131, 133)."""

from __future__ import annotations

import pickle
import threading
from dataclasses import FrozenInstanceError, replace
from itertools import count

import pytest

from mediagit_storage.backend import BatchLimits, DeleteOperation, PutOperation, ReadOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    ChecksumError,
    ConfigError,
    InvalidRangeError,
    NotFoundError,
    PreconditionError,
    StorageTimeoutError,
    UnavailableError,
)
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.opening import open_storage
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities
from mediagit_storage.types import (
    PLAIN_PUT,
    Attributes,
    ByteRange,
    CopyOptions,
    DeleteOptions,
    ReadOptions,
)

K = 1024
PLAIN = ReadOptions()


class FakeClock:
    """Time that goes on when it is told to, and by a nanosecond at every look: two moments are never the same."""

    def __init__(self):
        self.seconds = 1_000_000.0
        self._looks = count()

    def now_ns(self):
        return int(self.seconds * 1_000_000_000) + next(self._looks)

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


class Watched(Layer):
    """Writes down each read of the storage: its range, and whether bytes came."""

    layer_name = "watched"

    def __init__(self, inner):
        super().__init__(inner, CacheConfig())
        self.reads = []
        self.before = lambda: None

    def read(self, key, options):
        self.before()
        self.reads.append(None)
        got = self.inner.read(key, options)
        self.reads[-1] = (got.start, len(got.data))
        return got

    def stream(self, key, options):
        self.before()
        body = self.inner.stream(key, options)
        self.reads.append((body.start, body.length))
        return body

    @property
    def fetched(self):
        """The reads that brought bytes."""
        return [each for each in self.reads if each is not None]


@pytest.fixture
def inner():
    return MemoryBackend("inner")


@pytest.fixture
def watched(inner):
    return Watched(inner)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def cached(watched, clock):
    """Makes a cache over the watched storage."""

    def make(**options):
        return CacheLayer(watched, CacheConfig(**{"chunk_size": K, "read_ahead": 0, **options}), clock=clock)

    return make


def put(backend, key, data, **options):
    return backend.put(key, BytesSource(data), replace(PLAIN_PUT, **options))


def part(offset=None, length=None, suffix=None, **options):
    return ReadOptions(ByteRange(offset, length, suffix), **options)


# ---- what is asked


def test_a_read_again_brings_no_bytes(cached, watched, inner):
    put(inner, "k", content(5000))
    layer = cached()
    for _ in range(3):
        assert layer.read("k", PLAIN).data == content(5000)
    assert watched.reads == [(0, 5000), None, None]
    stats = layer.stats()
    assert (stats.validations, stats.memory_hits, stats.misses) == (2, 10, 5)


@covers(131)
def test_a_range_fetches_its_chunks_and_a_whole_read_only_the_rest(cached, watched, inner):
    data = content(5000)
    put(inner, "k", data)
    layer = cached()
    assert layer.read("k", part(1500, 10)).data == data[1500:1510]
    assert layer.read("k", part(2040, 40)).data == data[2040:2080]
    assert layer.read("k", PLAIN).data == data
    # The first fetches a chunk; the second misses the next one; the whole read misses all between the first and last.
    assert watched.fetched == [(1024, 1024), (2048, 1024), (0, 5000)]
    assert layer.read("k", part(suffix=3)).data == data[-3:]
    assert layer.read("k", part(4999)).data == data[4999:]
    assert layer.read("k", part(4990, 1000)).data == data[4990:]
    assert len(watched.fetched) == 3


def test_what_is_missing_at_the_end_is_all_that_is_fetched(cached, watched, inner):
    data = content(5000)
    put(inner, "k", data)
    layer = cached()
    layer.read("k", part(0, 2048))
    assert layer.read("k", part(100, 4000)).data == data[100:4100]
    assert watched.fetched == [(0, 2048), (2048, 2952)]


def test_a_suffix_fetches_whole_chunks(cached, watched, inner):
    data = content(5000)
    put(inner, "k", data)
    layer = cached()
    assert layer.read("k", part(suffix=10)).data == data[-10:]
    assert layer.read("k", part(4200, 100)).data == data[4200:4300]
    assert len(watched.fetched) == 1


def test_reading_in_order_fetches_ahead(cached, watched, inner):
    data = content(20 * K)
    put(inner, "k", data)
    layer = cached(read_ahead=4 * K)
    for start in range(0, 10 * K, 512):
        assert layer.read("k", part(start, 512)).data == data[start : start + 512]
    # One chunk, and then each time five.
    assert watched.fetched == [(0, K), (K, 5 * K), (6 * K, 5 * K)]
    layer.read("k", part(18 * K, 10))
    assert watched.fetched[3:] == [(18 * K, K)]


@covers(131)
def test_edges_of_ranges_are_those_of_the_storage(cached, inner):
    put(inner, "k", content(3000))
    put(inner, "empty", b"")
    layer = cached()
    for _ in range(2):
        for options in (part(3000, 1), part(3000), part(9999, 1), part(3071, 1)):
            with pytest.raises(InvalidRangeError):
                layer.read("k", options)
            with pytest.raises(InvalidRangeError):
                layer.stream("k", options)
        assert layer.read("k", part(3000, 0)).data == b""
        assert layer.read("empty", PLAIN).data == b""
        assert layer.read("empty", part(None, 10)).data == b""
        with pytest.raises(InvalidRangeError):
            layer.read("empty", part(0, 10))
        with pytest.raises(NotFoundError):
            layer.read("missing", part(9999, 1))


def test_a_replaced_object_is_seen_at_once(cached, watched, inner):
    layer = cached()
    for number in range(3):
        put(inner, "k", b"%d" % number * 3000)
        assert layer.read("k", part(2000, 10)).data == b"%d" % number * 10
        assert layer.read("k", PLAIN).data == b"%d" % number * 3000
        assert b"".join(layer.stream("k", PLAIN)) == b"%d" % number * 3000
    inner.delete("k", DeleteOptions())
    for read in (layer.read, layer.stream):
        with pytest.raises(NotFoundError):
            read("k", PLAIN)


def test_parts_of_two_objects_are_never_mixed(cached, inner):
    layer = cached()
    put(inner, "k", b"a" * 5000)
    layer.read("k", part(0, 2000))
    put(inner, "k", b"b" * 5000)
    assert layer.read("k", PLAIN).data == b"b" * 5000
    put(inner, "k", b"c" * 1500)
    assert layer.read("k", part(0, 4000)).data == b"c" * 1500
    assert b"".join(layer.stream("k", PLAIN)) == b"c" * 1500


def test_a_pinned_read_of_a_replaced_object_is_refused(cached, inner):
    layer = cached()
    old = put(inner, "k", b"a" * 5000).etag
    for offset in (0, 2048):
        assert layer.read("k", part(offset, 10, if_match=old)).data == b"a" * 10
    put(inner, "k", b"b" * 5000)
    for options in (part(0, 10), part(0, 3000), part(4999, 1), PLAIN):
        for read in (layer.read, layer.stream):
            with pytest.raises(PreconditionError):
                read("k", replace(options, if_match=old))


def test_attributes_are_those_of_now(cached, watched):
    """An ETag may stay while attributes change: they are asked for, and bytes are not fetched again."""
    layer = cached()
    put(layer, "k", b"a" * 3000, attributes=Attributes(metadata={"n": "1"}))
    for read in (layer.read, layer.stream):
        got = read("k", ReadOptions(attributes=True))
        assert got.info.attributes.metadata == {"n": "1"}
    assert watched.fetched == []


def test_without_conditional_reads_a_stat_asks(inner, clock):
    log = CallLog(inner)
    layer = CacheLayer(WithoutCapabilities(log, "read_conditions"), CacheConfig(chunk_size=K), clock=clock)
    put(inner, "k", b"a" * 3000)
    for _ in range(2):
        assert layer.read("k", PLAIN).data == b"a" * 3000
        assert b"".join(layer.stream("k", PLAIN)) == b"a" * 3000
    assert log.calls == ["read", "stat", "stat", "stat"]
    put(inner, "k", b"b" * 3000)
    assert layer.read("k", part(0, 10)).data == b"b" * 10
    put(inner, "k", b"c" * 3000)
    assert layer.read("k", PLAIN).data == b"c" * 3000
    inner.delete("k", DeleteOptions())
    with pytest.raises(NotFoundError):
        layer.read("k", PLAIN)


def test_a_version_is_asked_for_once(clock):
    inner = MemoryBackend("v", versioning=True)
    watched = Watched(inner)
    layer = CacheLayer(watched, CacheConfig(chunk_size=K), clock=clock)
    versions = [put(layer, "k", b"%d" % number * 2000).version for number in range(2)]
    for _ in range(2):
        for number, version in enumerate(versions):
            assert layer.read("k", ReadOptions(version=version)).data == b"%d" % number * 2000
            assert b"".join(layer.stream("k", ReadOptions(version=version))) == b"%d" % number * 2000
    assert len(watched.reads) == 2
    layer.delete("k", DeleteOptions(versions[0]))
    with pytest.raises(NotFoundError):
        layer.read("k", ReadOptions(version=versions[0]))


def test_the_version_that_s3_overwrites_is_always_asked_for(cached, watched):
    layer = cached()
    for _ in range(2):
        with pytest.raises(NotFoundError):
            layer.read("k", ReadOptions(version="null"))
    assert len(watched.reads) == 2


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_what_has_no_strong_etag_is_not_kept(inner, clock, etag):
    class Weak(Watched):
        def read(self, key, options):
            got = super().read(key, options)
            return got._replace(info=replace(got.info, etag=etag))

    layer = CacheLayer(Weak(inner), CacheConfig(validate="immutable", chunk_size=K), clock=clock)
    put(inner, "k", b"a" * 3000)
    assert layer.read("k", PLAIN).data == b"a" * 3000
    put(inner, "k", b"b" * 3000)
    assert layer.read("k", PLAIN).data == b"b" * 3000


# ---- what is believed


@covers(131)
def test_immutable_asks_once(cached, watched, inner):
    put(inner, "k", b"a" * 3000)
    layer = cached(validate="immutable")
    for _ in range(3):
        assert layer.read("k", PLAIN).data == b"a" * 3000
        assert layer.read("k", part(1, 1)).data == b"a"
        assert b"".join(layer.stream("k", PLAIN)) == b"a" * 3000
    assert len(watched.reads) == 1
    # That is what it is: others are not seen, until a stat tells of them.
    put(inner, "k", b"b" * 3000)
    assert layer.read("k", PLAIN).data == b"a" * 3000
    assert layer.stat("k").etag == inner.stat("k").etag
    assert layer.read("k", PLAIN).data == b"b" * 3000


@covers(133)
def test_ttl_asks_when_the_answer_is_old(cached, watched, inner, clock):
    put(inner, "k", b"a" * 10)
    layer = cached(validate="ttl", ttl=60)
    for _ in range(2):
        layer.read("k", PLAIN)
        clock.sleep(59)
        assert layer.read("k", PLAIN).data == b"a" * 10
        clock.sleep(2)
    assert watched.reads == [(0, 10), None]
    put(inner, "k", b"b" * 10)
    assert layer.read("k", PLAIN).data == b"b" * 10
    put(inner, "k", b"c" * 10)
    clock.seconds -= 10_000  # a clock that was put back makes nothing younger
    assert layer.read("k", PLAIN).data == b"c" * 10


MODES = [{"validate": "etag"}, {"validate": "immutable"}, {"validate": "ttl", "ttl": 60.0}]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    "write",
    [
        lambda layer: put(layer, "k", b"new"),
        lambda layer: layer.put("k", IterableSource([b"new"]), PLAIN_PUT),
        lambda layer: layer.copy("other", "k", CopyOptions()),
        lambda layer: layer.rename("other", "k"),
        lambda layer: list(layer.batch(iter([PutOperation("k", BytesSource(b"new"))]), BatchLimits())),
        lambda layer: layer.replace_head("k", b"n", 1, if_match=layer.stat("k").etag),
    ],
    ids=["put", "stream", "copy", "rename", "batch", "head"],
)
def test_own_writes_are_seen_in_every_mode(cached, inner, mode, write):
    put(inner, "k", b"oew")
    put(inner, "other", b"new")
    layer = cached(**mode)
    assert layer.read("k", PLAIN).data == b"oew"
    write(layer)
    for _ in range(2):
        assert layer.read("k", PLAIN).data == b"new"
        assert b"".join(layer.stream("k", part(1))) == b"ew"


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    "delete",
    [
        lambda layer: layer.delete("k", DeleteOptions()),
        lambda layer: list(layer.batch(iter([DeleteOperation("k")]), BatchLimits())),
        lambda layer: layer.rename("k", "z"),
    ],
    ids=["delete", "batch", "rename"],
)
def test_own_deletes_are_seen_in_every_mode(cached, inner, mode, delete):
    put(inner, "k", b"old")
    layer = cached(**mode)
    layer.read("k", PLAIN)
    delete(layer)
    with pytest.raises(NotFoundError):
        layer.read("k", PLAIN)


class Unsure(Watched):
    """Stores what is put, and then loses the answer."""

    def put(self, key, source, options):
        self.inner.put(key, source, options)
        raise UnavailableError("the answer was lost")

    def delete(self, key, options):
        self.inner.delete(key, options)
        raise UnavailableError("the answer was lost")

    def batch(self, operations, limits):
        for operation in operations:
            put(self.inner, operation.key, b"new")
            raise UnavailableError("the answer was lost")
        yield


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_write_whose_outcome_is_unknown_is_forgotten_as_well(inner, clock, mode):
    layer = CacheLayer(Unsure(inner), CacheConfig(**mode), clock=clock)
    put(inner, "k", b"old")
    assert layer.read("k", PLAIN).data == b"old"
    with pytest.raises(UnavailableError):
        put(layer, "k", b"new")
    assert layer.read("k", PLAIN).data == b"new"
    with pytest.raises(UnavailableError):
        layer.delete("k", DeleteOptions())
    with pytest.raises(NotFoundError):
        layer.read("k", PLAIN)
    put(inner, "k", b"old")
    layer.read("k", PLAIN)
    with pytest.raises(UnavailableError):
        list(layer.batch(iter([PutOperation("k", BytesSource(b"new"))]), BatchLimits()))
    assert layer.read("k", PLAIN).data == b"new"


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_read_that_began_before_a_write_ended_proves_nothing(inner, watched, clock, mode):
    """A slow read of the old object comes back after the put: the new one is seen all the same."""
    layer = CacheLayer(watched, CacheConfig(**mode), clock=clock)
    put(inner, "k", b"old")
    reached, go_on = threading.Event(), threading.Event()
    slow = watched.inner.read

    def read(key, options):
        got = slow(key, options)
        reached.set()
        assert go_on.wait(30)
        return got

    watched.inner.read = read
    thread = threading.Thread(target=layer.read, args=("k", PLAIN))
    thread.start()
    assert reached.wait(30)
    put(layer, "k", b"new")
    go_on.set()
    thread.join()
    assert layer.read("k", PLAIN).data == b"new"


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_racing_writers_leave_what_is_stored(inner, mode):
    layer = CacheLayer(inner, CacheConfig(**mode))
    for _ in range(20):
        barrier = threading.Barrier(4)

        def race(number, barrier=barrier):
            barrier.wait()
            put(layer, "k", b"%d" % number * 100)
            layer.read("k", PLAIN)

        threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert layer.read("k", PLAIN).data == inner.read("k", PLAIN).data


def test_a_put_is_kept_and_asked_about(cached, watched):
    layer = cached(validate="immutable")
    data = content(5000)
    put(layer, "k", bytearray(data))
    for _ in range(3):
        assert layer.read("k", PLAIN).data == data
    assert watched.reads == [None]
    layer.put("s", IterableSource([b"streamed"]), PLAIN_PUT)
    layer.read("s", PLAIN)
    assert watched.fetched == [(0, 8)]


@covers(131)
def test_absence_is_asked_again_unless_it_is_chosen_otherwise(cached, watched, inner, clock):
    for seconds, asked in ((0.0, 3), (60.0, 1)):
        watched.reads.clear()
        layer = cached(negative_ttl=seconds)
        for _ in range(3):
            with pytest.raises(NotFoundError):
                layer.read("k", PLAIN)
        assert len(watched.reads) == asked
    for look in (layer.stream, layer.read):
        with pytest.raises(NotFoundError):
            look("k", PLAIN)
    with pytest.raises(NotFoundError):
        layer.stat("k")
    assert len(watched.reads) == 1
    put(inner, "k", b"theirs")
    clock.sleep(61)
    assert layer.read("k", PLAIN).data == b"theirs"
    layer.delete("k", DeleteOptions())
    with pytest.raises(NotFoundError):
        layer.stat("k")
    put(layer, "k", b"mine")
    assert layer.read("k", PLAIN).data == b"mine"


# ---- what is kept


@covers(131)
def test_a_failed_read_keeps_nothing(cached, watched, inner):
    layer = cached()

    def fail():
        raise UnavailableError("down")

    put(inner, "k", b"a" * 3000)
    watched.before = fail
    with pytest.raises(UnavailableError):
        layer.read("k", PLAIN)
    watched.before = lambda: None
    assert layer.read("k", PLAIN).data == b"a" * 3000
    assert watched.fetched == [(0, 3000)]


def test_a_body_that_turns_out_wrong_leaves_no_chunk(inner, clock):
    class Wrong(Watched):
        wrong = True

        def stream(self, key, options):
            body = super().stream(key, options)
            pieces = list(body)

            class Flipped(type(body)):
                def __init__(self):
                    self.info, self.start, self.length = body.info, body.start, body.length

                def __iter__(inside):
                    yield from [b"x" * len(piece) for piece in pieces]
                    raise ChecksumError("other bytes")

                def close(self):
                    pass

            return Flipped() if self.wrong else self.inner.stream(key, options)

    wrong = Wrong(inner)
    layer = CacheLayer(wrong, CacheConfig(chunk_size=K), clock=clock)
    put(inner, "k", b"a" * 5000)
    with pytest.raises(ChecksumError):
        list(layer.stream("k", PLAIN))
    wrong.wrong = False
    assert b"".join(layer.stream("k", PLAIN)) == b"a" * 5000
    assert layer.read("k", PLAIN).data == b"a" * 5000


@covers(133)
def test_larger_than_the_cache_passes_through(cached, watched, inner):
    put(inner, "k", content(10 * K))
    layer = cached(memory_bytes=4 * K)
    for _ in range(2):
        assert layer.read("k", PLAIN).data == content(10 * K)
        assert b"".join(layer.stream("k", PLAIN)) == content(10 * K)
        assert layer.read("k", part(1, 5 * K)).data == content(10 * K)[1 : 5 * K + 1]
    assert layer.stats().memory_bytes == 0
    layer.read("k", part(0, 10))
    layer.read("k", part(0, 10))
    assert layer.stats().memory_bytes == K


def test_larger_than_max_object_is_not_kept(cached, watched, inner):
    put(inner, "k", content(5000))
    put(inner, "s", content(1000))
    layer = cached(max_object=2000)
    for _ in range(2):
        layer.read("k", part(0, 10))
        layer.read("s", PLAIN)
        list(layer.stream("k", part(0, 10)))
    assert layer.stats().memory_entries == 1
    # Once it is known to be large, no more than what is asked for is fetched.
    assert watched.fetched[-1] == (0, 10)


@covers(133)
def test_bounds_hold_under_concurrency(inner):
    keys = [f"k{number}" for number in range(40)]
    for key in keys:
        put(inner, key, key.encode() * 400)
    layer = CacheLayer(inner, CacheConfig(chunk_size=K, memory_bytes=20 * K, memory_entries=15))
    over: list[object] = []

    def work(seed):
        for number in range(150):
            key = keys[(number * seed) % len(keys)]
            assert layer.read(key, PLAIN).data == key.encode() * 400
            stats = layer.stats()
            if stats.memory_bytes > 20 * K or stats.memory_entries > 15:
                over.append(stats)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not over
    memory = layer._shelf.memory
    assert memory._bytes == sum(map(len, memory._chunks.values()))
    assert layer.stats().evictions > 0


def test_the_least_used_goes_first(cached, watched, inner):
    layer = cached(memory_bytes=3 * K)
    for key in "abc":
        put(inner, key, b"x" * K)
        layer.read(key, PLAIN)
    layer.read("a", PLAIN)
    put(inner, "d", b"x" * K)
    layer.read("d", PLAIN)
    watched.reads.clear()
    for key in "acd":
        layer.read(key, PLAIN)
    assert watched.fetched == []
    layer.read("b", PLAIN)
    assert len(watched.fetched) == 1


def test_memory_is_bounded_in_objects_as_well(cached, inner):
    layer = cached(memory_entries=5)
    for number in range(20):
        put(inner, f"k{number}", b"")
        layer.read(f"k{number}", PLAIN)
    assert len(layer._shelf.memory._heads) == 5


# ---- streams


def test_a_stream_fills_the_cache_chunk_by_chunk(cached, watched, inner):
    data = content(10 * K + 5)
    put(inner, "k", data)
    layer = cached()
    assert b"".join(layer.stream("k", part(1500, 3000))) == data[1500:4500]
    assert layer.stats().memory_entries == 4
    assert b"".join(layer.stream("k", PLAIN)) == data
    assert layer.stats().memory_entries == 11
    # Kept chunks, one request from the first to the last missing one.
    assert watched.fetched == [(K, 4 * K), (0, len(data))]
    assert layer.read("k", PLAIN).data == data
    assert len(watched.fetched) == 2


def test_a_stream_takes_kept_chunks_from_both_ends(cached, watched, inner):
    data = content(10 * K)
    put(inner, "k", data)
    layer = cached()
    layer.read("k", part(0, 2 * K))
    layer.read("k", part(8 * K, 2 * K))
    watched.reads.clear()
    assert b"".join(layer.stream("k", part(100, 10 * K - 200))) == data[100:-100]
    assert watched.fetched == [(2 * K, 6 * K)]


def test_a_stream_stays_with_its_object(cached, inner):
    data = content(10 * K)
    put(inner, "k", data)
    layer = cached()
    layer.read("k", part(3 * K, K))
    for warm in (False, True):
        put(inner, "k", data)
        if warm:
            layer.read("k", PLAIN)
        with layer.stream("k", PLAIN) as body:
            pieces = iter(body)
            got = next(pieces)
            put(layer, "k", b"other")
            assert got + b"".join(pieces) == data


def test_a_stream_holds_what_it_found_in_memory(cached, inner):
    data = content(10 * K)
    put(inner, "k", data)
    layer = cached()
    layer.read("k", PLAIN)
    with layer.stream("k", PLAIN) as body:
        put(inner, "k", b"other" * K)
        layer._shelf.memory._chunks.clear()
        assert b"".join(body) == data


def test_a_closed_stream_ends(cached, inner):
    put(inner, "k", content(10 * K))
    layer = cached()
    for _ in range(2):
        body = layer.stream("k", PLAIN)
        next(iter(body))
        body.close()
        assert list(body) == []
        body = layer.stream("k", PLAIN)
        body.close()
        assert list(body) == []
        list(layer.stream("k", PLAIN))


# ---- together


@covers(131)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_many_that_miss_the_same_at_once_fetch_it_once(inner, watched, mode):
    data = content(5000)
    put(inner, "k", data)
    layer = CacheLayer(watched, CacheConfig(**mode, chunk_size=K))
    arrived = threading.Semaphore(0)
    go_on = threading.Event()

    def hold():
        arrived.release()
        assert go_on.wait(30)

    watched.before = hold
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(layer.read("k", part(0, 4000)).data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert arrived.acquire(timeout=30)
    go_on.set()
    for thread in threads:
        thread.join()
    assert results == [data[:4000]] * 8
    assert len(watched.fetched) == 1


def test_the_failure_of_one_is_not_that_of_those_who_waited(inner, watched):
    put(inner, "k", b"a")
    layer = CacheLayer(watched, CacheConfig())
    reached, go_on = threading.Event(), threading.Event()
    first = iter([True])

    def fail_once():
        if next(first, False):
            reached.set()
            assert go_on.wait(30)
            raise UnavailableError("down")

    watched.before = fail_once
    errors: list[Exception] = []

    def lead():
        try:
            layer.read("k", PLAIN)
        except UnavailableError as error:
            errors.append(error)

    leader = threading.Thread(target=lead)
    leader.start()
    assert reached.wait(30)
    got: list[bytes] = []
    waiting = threading.Thread(target=lambda: got.append(layer.read("k", PLAIN).data))
    waiting.start()
    with scope(timeout=0.2), pytest.raises(StorageTimeoutError):
        layer.read("k", PLAIN)
    go_on.set()
    leader.join()
    waiting.join()
    assert got == [b"a"]
    assert len(errors) == 1


def test_batches_take_what_is_kept(cached, watched, inner):
    for number in range(100):
        put(inner, f"k{number}", b"%d" % number)
    for mode in MODES:
        store = Storage(cached(**mode), owned=False)
        keys = [f"k{number}" for number in range(100)]
        for _ in range(2):
            assert [each.value for each in store.get_many(keys, limits=BatchLimits(4))] == [
                b"%d" % number for number in range(100)
            ]
        put(inner, "k7", b"other")
        expected = b"other" if mode["validate"] == "etag" else b"7"
        assert [each.value for each in store.get_many(["k7", "k8"])] == [expected, b"8"]
        put(inner, "k7", b"7")


def test_a_batch_of_kept_objects_pulls_no_more_than_it_gives(cached, inner):
    put(inner, "k", b"a")
    layer = cached(validate="immutable")
    layer.read("k", PLAIN)
    pulled = []

    def operations():
        for number in range(1000):
            pulled.append(number)
            yield ReadOperation("k")

    batch = layer.batch(operations(), BatchLimits(concurrency=4))
    next(batch)
    next(batch)
    assert len(pulled) < 20
    batch.close()


# ---- what it is


def test_stats_are_frozen(cached):
    with pytest.raises(FrozenInstanceError):
        cached().stats().misses = 1
    assert cached().stats().hits == 0


@pytest.mark.parametrize(
    "options",
    [
        {"validate": "never"},
        {"validate": "ttl"},
        {"ttl": 5.0},
        {"validate": "ttl", "ttl": 0.0},
        {"negative_ttl": -1.0},
        {"memory_bytes": 0},
        {"chunk_size": 10},
        {"max_object": -1},
        {"disk_bytes": -1},
        {"memory_entries": 0},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError):
        CacheConfig(**options)


class Encrypting(Layer):
    layer_name = "encrypt"


def test_plain_text_on_disk_is_refused_outside_of_encryption(inner, tmp_path):
    folder = str(tmp_path / "cache")
    with pytest.raises(ConfigError, match="plaintext_on_disk"):
        CacheLayer(Encrypting(inner, CacheConfig()), CacheConfig(folder=folder))
    CacheLayer(Encrypting(inner, CacheConfig()), CacheConfig())
    CacheLayer(Encrypting(inner, CacheConfig()), CacheConfig(folder=folder, plaintext_on_disk=True))
    Encrypting(CacheLayer(inner, CacheConfig(folder=folder)), CacheConfig())
    assert not (tmp_path / "cache").exists()


def test_it_opens_by_name_and_tells_how(tmp_path):
    (tmp_path / "objects").mkdir()
    spec = {"layer": "cache", "validate": "ttl", "ttl": 5, "folder": str(tmp_path / "cache")}
    with open_storage(tmp_path / "objects", layers=[spec]) as store:
        store.put("k", b"a")
        assert store.get("k") == b"a"
        assert store.connection_info().config["layers"] == [spec]
        again = pickle.loads(pickle.dumps(store))
        assert again.get("k") == b"a"
        again.close()
        assert "CacheLayer 'ttl' over <LocalBackend" in repr(store.backend)
        assert store.capabilities == LocalBackend(tmp_path / "objects").capabilities
