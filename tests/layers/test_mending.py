"""Damage that a layer outside of a cache finds in what the cache gave: it is forgotten, and read once more from below."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace

import pytest

from mediagit_storage import downloading
from mediagit_storage.backend import BatchLimits, Body, Completion, DeleteOperation, ReadOperation, StatOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ChecksumError, IntegrityError, KeyUnavailableError, NotFoundError
from mediagit_storage.events import on_event
from mediagit_storage.fetching import FetchLimits
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.encrypt.keys import generate_identity
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.mending import mended
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.stacking import make_layer
from mediagit_storage.tools.contents import opened
from mediagit_storage.types import PLAIN_PUT, Checksum, DeleteOptions, ReadOptions

K = 1024
DATA = content(20 * K)
VERIFYING = ["checksum", "compress", "encrypt"]


class Counting(MemoryBackend):
    """Counts what is read of it, and gives wrong bytes while it is ``broken``."""

    reads = 0
    broken = False

    def read(self, key, options):
        self.reads += 1
        found = super().read(key, options)
        return found._replace(data=flipped(found.data)) if self.broken else found

    def stream(self, key, options):
        self.reads += 1
        return super().stream(key, options)


def cache_over(inner, **options) -> CacheLayer:
    return CacheLayer(inner, CacheConfig(validate="immutable", chunk_size=4 * K, read_ahead=0, **options))


def flipped(data: bytes) -> bytes:
    """One bit in the middle is another."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def damage(cache: CacheLayer) -> None:
    """Flip a bit in every chunk that is in memory, as a fault of the memory would."""
    chunks = cache._shelf.memory._chunks
    for name, data in chunks.items():
        chunks[name] = flipped(data)


@pytest.fixture(params=VERIFYING)
def stack(request):
    """A storage that verifies outside of a cache, the cache, and what is below both. The object ``k`` is kept."""
    backend = Counting()
    cache = cache_over(backend)
    store = Storage(make_layer(request.param, cache))
    store.put("k", DATA)
    assert store.get("k") == DATA
    damage(cache)
    backend.reads = 0
    return store, cache, backend


READS = {
    "get": lambda store, _: store.get("k"),
    "range": lambda store, _: store.get("k", offset=0, length=len(DATA)),
    "stream": lambda store, _: b"".join(store.stream("k")),
    "open": lambda store, _: store.open("k").read(),
    "many": lambda store, _: next(iter(store.get_many(["k"]))).value,
    "tools": lambda store, _: b"".join(opened(store, "k")),
    "download": lambda store, folder: store.download("k", folder / "k") and (folder / "k").read_bytes(),
}


@pytest.mark.parametrize("how", READS)
def test_damage_is_read_once_more_from_below(stack, how, tmp_path):
    store, cache, backend = stack
    assert READS[how](store, tmp_path) == DATA
    assert backend.reads
    backend.reads = 0
    assert store.get("k") == DATA
    assert not backend.reads, "what came from below is kept instead"
    assert cache.stats().misses


def test_damage_below_the_cache_is_an_error_after_one_more_read(stack):
    store, _, backend = stack
    backend.broken = True
    for _ in range(2):
        backend.reads = 0
        with pytest.raises(IntegrityError):
            store.get("k")
        # The second call first finds what the first one kept.
        assert 0 < backend.reads <= 3
    backend.broken = False
    assert store.get("k") == DATA


def test_a_look_that_meets_damage_is_made_again():
    """The size of a compressed object stands at its end, which is read through the cache."""
    backend = Counting()
    cache = cache_over(backend)
    store = Storage(make_layer("compress", cache))
    store.put("k", DATA)
    assert store.get("k") == DATA
    for number in range(6):
        damage_chunk(cache, number)
    assert store.stat("k").size == len(DATA)


def test_damage_on_disk_that_was_proven_before(tmp_path):
    """A medium that returns other bytes and says nothing: what the checksum of the files no longer looks at."""
    (tmp_path / "objects").mkdir()
    with closing(LocalBackend(tmp_path / "objects")) as backend:
        cache = cache_over(backend, memory_bytes=0, folder=str(tmp_path / "cache"))
        store = Storage(make_layer("encrypt", cache))
        store.put("k", DATA)
        assert store.get("k") == store.get("k") == DATA
        tier = cache._shelf.disk
        real = tier._files.read

        def other(descriptor, count, offset):
            found = real(descriptor, count, offset)
            return found if count < K else found[:-1] + bytes([found[-1] ^ 1])

        tier._files.read = other
        before = cache.stats().misses
        assert store.get("k") == DATA
        assert cache.stats().misses > before
        assert cache.stats().heals == 0


class Judged(Body):
    """Says that there is damage at the first piece that is not what was put."""

    def __init__(self, inner):
        self.info, self.start, self.length = inner.info, inner.start, inner.length
        self.inner = inner

    def __iter__(self):
        given = self.start
        for piece in self.inner:
            if piece != LARGE[given : given + len(piece)]:
                raise ChecksumError("not what was put")
            given += len(piece)
            yield piece

    def close(self):
        self.inner.close()


class Judging(Layer):
    """Finds damage while a body is given, as decryption does."""

    layer_name = "judging"

    def __init__(self, inner):
        super().__init__(inner, None)

    def stream(self, key, options):
        return Judged(self.inner.stream(key, options))


LARGE = content(3 * K * K)


def large_stack():
    backend = Counting()
    cache = CacheLayer(backend, CacheConfig(validate="immutable", chunk_size=512 * K))
    store = Storage(Judging(cache))
    backend.put("k", BytesSource(LARGE), PLAIN_PUT)
    assert b"".join(store.stream("k")) == LARGE
    return store, cache


def damage_chunk(cache: CacheLayer, number: int) -> None:
    chunks = cache._shelf.memory._chunks
    name = next(each for each in chunks if each[2] == number)
    chunks[name] = b"x" * len(chunks[name])


def test_a_large_stream_begins_anew_where_nothing_was_given():
    store, cache = large_stack()
    damage_chunk(cache, 0)
    assert b"".join(store.stream("k")) == LARGE


def test_a_large_stream_that_has_given_bytes_ends_and_the_next_one_is_right():
    store, cache = large_stack()
    damage_chunk(cache, 3)
    given = b""
    with pytest.raises(ChecksumError):  # noqa: PT012  # what came before counts
        for piece in store.stream("k"):
            given += piece
    assert given == LARGE[: len(given)]
    assert given
    assert b"".join(store.stream("k")) == LARGE


def test_a_stream_that_begins_anew_over_another_object_keeps_its_error():
    store, cache = large_stack()
    damage_chunk(cache, 0)
    with store.stream("k") as stream:
        cache.inner.put("k", BytesSource(LARGE[:-1]), PLAIN_PUT)
        with pytest.raises(ChecksumError):
            b"".join(stream)


class Doubting(Layer):
    """Finds damage in everything, in batches."""

    layer_name = "doubting"

    def __init__(self, inner):
        super().__init__(inner, None)

    def batch(self, operations, limits):
        for operation in operations:
            yield Completion(operation, None, ChecksumError("not what was put"))


def test_in_a_batch_each_is_done_once_more_where_something_was_kept():
    backend = MemoryBackend()
    cache = cache_over(backend)
    for key in ("kept", "unknown"):
        backend.put(key, BytesSource(DATA), PLAIN_PUT)
    operations = [ReadOperation("kept"), ReadOperation("unknown"), DeleteOperation("kept"), StatOperation("kept")]
    stack = mended(Doubting(cache))
    for number, operation in enumerate(operations):
        cache.read("kept", ReadOptions())
        [(done, value, error)] = stack.batch(iter([operation]), BatchLimits())
        assert done is operation
        assert (error is None) == (number in {0, 3})
        if number == 0:
            assert value.data == DATA
        if number == 3:
            assert value.size == len(DATA)
    cache.read("kept", ReadOptions())
    backend.delete("kept", DeleteOptions())
    [(_, _, error)] = stack.batch(iter(operations[:1]), BatchLimits())
    assert isinstance(error, NotFoundError)


def test_a_version_is_forgotten_by_its_name():
    backend = MemoryBackend(versioning=True)
    cache = cache_over(backend)
    version = backend.put("k", BytesSource(DATA), PLAIN_PUT).version
    assert cache.read("k", ReadOptions(version=version)).data == DATA
    assert not cache.forget("k")
    assert cache.forget("k", version)
    assert cache.stats().memory_entries == 0


def test_forgetting_goes_down_the_stack_under_the_key_that_is_there():
    backend = MemoryBackend()
    cache = cache_over(backend)
    stack = PrefixLayer(ReadOnlyLayer(cache), "p/")
    backend.put("p/k", BytesSource(DATA), PLAIN_PUT)
    assert not stack.forget("k")
    assert stack.read("k", ReadOptions()).data == DATA
    assert cache.stats().memory_entries == 5
    assert stack.forget("k")
    assert cache.stats().memory_entries == 0
    assert not stack.forget("k"), "nothing is there any more"
    assert not PrefixLayer(backend, "p/").forget("k")


def test_chunks_that_are_on_disk_alone_are_forgotten_too(tmp_path):
    (tmp_path / "objects").mkdir()
    with closing(LocalBackend(tmp_path / "objects")) as backend:
        backend.put("k", BytesSource(DATA), PLAIN_PUT)
        cache = cache_over(backend, memory_bytes=0, folder=str(tmp_path / "cache"))
        assert cache.read("k", ReadOptions()).data == DATA
        assert [cache.forget("k"), cache.forget("k")] == [True, False]


def encrypting() -> EncryptConfig:
    return EncryptConfig(identity=generate_identity().secret)


def one_of_many(store):
    [result] = store.get_many(["k"])
    if result.error is not None:
        raise result.error
    return result.value


ENCRYPTED = [lambda store: store.get("k"), lambda store: b"".join(store.stream("k")), one_of_many]


@pytest.mark.parametrize("read", ENCRYPTED)
def test_who_lacks_the_key_takes_nothing_from_those_who_have_it(read):
    backend = Counting()
    cache = cache_over(backend)
    owner, stranger = (Storage(EncryptLayer(cache, encrypting())) for _ in range(2))
    owner.put("k", DATA)
    assert owner.get("k") == DATA
    backend.reads = 0
    with pytest.raises(KeyUnavailableError):
        read(stranger)
    assert owner.get("k") == DATA
    assert not backend.reads


@pytest.mark.parametrize("read", ENCRYPTED)
def test_an_object_that_was_replaced_for_another_key_is_found_behind_the_kept_one(read):
    backend = Counting()
    cache = cache_over(backend)
    mine = encrypting()
    Storage(EncryptLayer(cache, encrypting())).put("k", DATA)
    cache.read("k", ReadOptions())
    Storage(EncryptLayer(backend, mine)).put("k", DATA[1:])
    assert read(Storage(EncryptLayer(cache, mine))) == DATA[1:]


class Digesting(Counting):
    """Keeps the digest of whole objects, is read in ranges, and gives as many wrong answers as ``wrong`` says."""

    capabilities = replace(MemoryBackend().capabilities, parallel_reads=True)
    wrong = 0

    def read(self, key, options):
        found = super().read(key, options)
        if self.wrong and found.start:
            self.wrong -= 1
            return found._replace(data=flipped(found.data))
        return found

    def content_checksum(self, key, options):
        return Checksum("sha256", hashlib.sha256(DATA).digest())


@pytest.mark.parametrize(("kept", "wrong", "right"), [(True, 1, True), (True, 9, False), (False, 1, False)])
@pytest.mark.parametrize("outside", [lambda inner: inner, ReadOnlyLayer])
def test_a_download_whose_digest_is_wrong_is_made_once_more_where_something_was_kept(
    tmp_path, monkeypatch, kept, wrong, right, outside
):
    monkeypatch.setattr(downloading, "LIMITS", FetchLimits(8 * K, 10 * K, 1, placed=10 * K))
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    backend = Digesting()
    backend.put("k", BytesSource(DATA), PLAIN_PUT)
    store = Storage(outside(cache_over(backend) if kept else backend))
    backend.wrong = wrong
    events = []
    with on_event(events.append):
        if right:
            store.download("k", tmp_path / "k")
            assert (tmp_path / "k").read_bytes() == DATA
        else:
            with pytest.raises(ChecksumError) as caught:
                store.download("k", tmp_path / "k")
            assert type(caught.value) is ChecksumError
            assert [*tmp_path.glob("*k*")] == []
    assert [each.kind for each in events if each.kind == "transfer.damaged"] == ["transfer.damaged"] * kept


def test_a_stack_that_keeps_nothing_inside_is_used_as_it_is():
    backend = MemoryBackend()
    for stack in (backend, cache_over(backend), PrefixLayer(backend, "p/")):
        assert mended(stack) is stack
    once = mended(PrefixLayer(cache_over(backend), "p/"))
    assert mended(once) is once
    assert repr(mended(PrefixLayer(cache_over(backend), "p/"))) == repr(PrefixLayer(cache_over(backend), "p/"))
