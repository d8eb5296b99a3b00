"""The disk tier: what is damaged heals, what is full or gone fails nothing, bounds hold."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.clock import SYSTEM_CLOCK
from mediagit_storage.errors import PreconditionError
from mediagit_storage.events import on_event
from mediagit_storage.layers.cache import CacheConfig, CacheLayer, DiskTier, shelf
from mediagit_storage.layers.cache.entries import disk_name
from mediagit_storage.layers.cache.files import DiskFiles
from mediagit_storage.layers.cache.frames import FRAME
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.source import BytesSource
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import content
from mediagit_storage.types import PLAIN_PUT, ByteRange, ReadOptions

K = 1024
PLAIN = ReadOptions()


def put(backend, key, data):
    return backend.put(key, BytesSource(data), PLAIN_PUT)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def inner(tmp_path):
    (tmp_path / "objects").mkdir()
    with closing(LocalBackend(tmp_path / "objects")) as backend:
        yield backend


@pytest.fixture
def cached(inner, folder):
    """Makes a cache that keeps nothing in memory but heads."""

    def make(backend=None, *, files=None, clock=SYSTEM_CLOCK, **options):
        given = {"chunk_size": K, "memory_bytes": 0, "folder": str(folder), "read_ahead": 0, **options}
        return CacheLayer(backend or inner, CacheConfig(**given), files=files, clock=clock)

    return make


@pytest.fixture
def events():
    heard = []
    with on_event(heard.append):
        yield heard


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "entries").rglob("*") if path.is_file())


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in files_in(folder))


def broken(backend):
    """The storage without its objects: what is read now can come from the cache only."""
    backend.read = backend.stream = None


def test_another_layer_finds_what_one_left(cached, inner, folder):
    data = content(3000)
    put(inner, "k", data)
    cached(validate="immutable").read("k", PLAIN)
    later = cached(validate="immutable")
    broken(inner)
    assert later.read("k", PLAIN).data == data
    assert later.read("k", ReadOptions(ByteRange(10, 2000))).data == data[10:2010]
    assert b"".join(later.stream("k", PLAIN)) == data
    assert later.stats().disk_hits == 3 + 2 + 3
    assert folder.stat().st_mode & 0o077 == 0
    assert len(files_in(folder)) == 4


def test_what_comes_from_disk_is_in_memory_afterwards(cached, inner):
    put(inner, "k", content(3000))
    cached(validate="immutable").read("k", PLAIN)
    later = cached(validate="immutable", memory_bytes=10_000)
    for _ in range(3):
        later.read("k", PLAIN)
    assert (later.stats().disk_hits, later.stats().memory_hits) == (3, 6)


def test_storages_share_a_folder_without_meeting(cached, tmp_path, inner):
    """The same key, and even the same ETag, of another place or behind another layer."""
    (tmp_path / "others").mkdir()
    with closing(LocalBackend(tmp_path / "others")) as other:
        first, second = cached(validate="immutable"), cached(other, validate="immutable")
        part = cached(PrefixLayer(inner, "p/"), validate="immutable")
        for number, layer in enumerate((first, second, part)):
            put(layer, "k", b"%d" % number)
            layer.read("k", PLAIN)
        for number, layer in enumerate((first, second, part)):
            assert layer.read("k", PLAIN).data == b"%d" % number


def test_what_lives_in_memory_only_is_not_met_again(cached):
    """Two memory storages of one name have different objects under equal ETags."""
    for data in (b"one", b"two"):
        backend = MemoryBackend("same")
        put(backend, "k", data)
        assert cached(backend, validate="immutable").read("k", PLAIN).data == data


def test_a_stream_whose_files_vanish(cached, inner, folder, monkeypatch):
    """What it held it gives; for the rest the storage is asked for this very object, and for no other."""
    monkeypatch.setattr(shelf, "_HELD", 3 * K)
    data = content(10 * K)
    put(inner, "k", data)
    layer = cached()
    layer.read("k", PLAIN)
    with layer.stream("k", PLAIN) as body:
        for path in files_in(folder):
            path.unlink()
        assert b"".join(body) == data
    layer.read("k", PLAIN)
    with layer.stream("k", PLAIN) as body:
        for path in files_in(folder):
            path.unlink()
        put(inner, "k", b"other" * K)
        pieces = iter(body)
        assert b"".join(next(pieces) for _ in range(3)) == data[: 3 * K]
        with pytest.raises(PreconditionError):
            next(pieces)


def test_every_damaged_byte_is_found_and_heals(cached, inner, folder):
    data = content(200)
    put(inner, "k", data)
    cached().read("k", PLAIN)
    files = files_in(folder)
    assert len(files) == 2
    for path in files:
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            layer = cached()
            assert layer.read("k", PLAIN).data == data
            assert layer.stats().heals == 1, place
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            assert cached().read("k", PLAIN).data == data
        path.write_bytes(whole + b"x")
        assert cached().read("k", PLAIN).data == data
    # Healed: it is all there again.
    layer = cached()
    layer.read("k", PLAIN)
    assert (layer.stats().heals, layer.stats().misses) == (0, 0)


def test_a_file_in_the_place_of_another_is_found(cached, inner, folder):
    put(inner, "k", b"a" * K + b"b" * K)
    cached(validate="immutable").read("k", PLAIN)
    one, two = [path for path in files_in(folder) if path.stat().st_size == K + FRAME]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    layer = cached(validate="immutable")
    assert layer.read("k", PLAIN).data == b"a" * K + b"b" * K
    assert layer.stats().heals == 2


def test_a_link_in_the_place_of_a_file_is_not_followed(cached, inner, folder, tmp_path, events):
    put(inner, "k", content(200))
    cached().read("k", PLAIN)
    for path in files_in(folder):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    layer = cached()
    assert layer.read("k", PLAIN).data == content(200)
    assert layer.stats().disk_hits == 0


@covers(133)
def test_bytes_and_files_stay_within_their_bounds(cached, inner, folder):
    layer = cached(disk_bytes=20 * K, disk_entries=12)
    for number in range(60):
        put(inner, f"k{number}", content(1500, number))
        layer.read(f"k{number}", PLAIN)
        assert held(folder) <= 20 * K
        assert len(files_in(folder)) <= 12
    assert layer.stats().evictions > 60
    assert held(folder) > 5 * K


def test_the_least_used_files_go_first(folder):
    tier = DiskTier(folder, 10 * (K + FRAME), 10, clock=SYSTEM_CLOCK)
    names = [disk_name("x", number) for number in range(12)]
    for name in names[:10]:
        tier.write(name, b"x" * K)
    for place, path in enumerate(tier._path(name) for name in names[:10]):
        os.utime(path, ns=(place, os.stat(path).st_mtime_ns))
    assert tier.read(names[0]) == b"x" * K
    tier.write(names[10], b"x" * K)
    assert tier.read(names[0]) is not None
    assert tier.read(names[1]) is None
    assert tier.read(names[10]) is not None
    usage = tier.usage()
    assert usage.entries == 10 - tier.evictions + 1
    assert usage.bytes == usage.entries * (K + FRAME)


def test_a_larger_file_than_all_room_is_not_kept(folder):
    tier = DiskTier(folder, 100, 10, clock=SYSTEM_CLOCK)
    tier.write(disk_name("x"), b"x" * 100)
    assert not folder.exists()


def test_replacing_and_removing_keep_the_count_right(folder):
    tier = DiskTier(folder, 100 * K, 10, clock=SYSTEM_CLOCK)
    name = disk_name("x")
    for number in range(50):
        tier.write(name, b"%02d" % number * 100)
        assert tier.read(name) == b"%02d" % number * 100
    assert tier.evictions == 0
    tier.remove(name)
    assert tier.read(name) is None
    assert tier.usage()[:2] == (0, 0)


def test_a_damaged_ledger_is_counted_anew(folder):
    tier = DiskTier(folder, 5 * (K + FRAME), 100, clock=SYSTEM_CLOCK)
    names = [disk_name("x", number) for number in range(20)]
    for damage in (b"", b"junk" * 20, bytes(60)):
        for name in names[:4]:
            tier.write(name, b"x" * K)
        (folder / "usage").write_bytes(damage)
        for name in names:
            tier.write(name, b"x" * K)
            assert held(folder) <= 5 * (K + FRAME)


def test_what_a_dead_process_left_is_cleared_away(folder):
    tier = DiskTier(folder, 5 * (K + FRAME), 100, clock=SYSTEM_CLOCK)
    tier.write(disk_name("x"), b"x" * K)
    (folder / "new" / "left").write_bytes(b"x" * 100)
    for number in range(10):
        tier.write(disk_name("y", number), b"x" * K)
    assert [*(folder / "new").iterdir()] == []


def test_clearing_takes_its_own_files_and_no_others(folder):
    tier = DiskTier(folder, 100 * K, 100, clock=SYSTEM_CLOCK)
    for number in range(3):
        tier.write(disk_name("x", number), b"x" * K)
    (folder / "mine.txt").write_text("mine")
    assert tier.clear()[:2] == (3 * (K + FRAME), 3)
    assert tier.usage()[:2] == (0, 0)
    assert tier.read(disk_name("x", 1)) is None
    assert (folder / "mine.txt").read_text() == "mine"


def test_counts_outlive_the_process(cached, inner, folder):
    put(inner, "k", content(100))
    layer = cached(validate="immutable")
    layer.read("k", PLAIN)
    layer.read("k", PLAIN)
    layer.close()
    tier = DiskTier(folder, K, 10, clock=SYSTEM_CLOCK)
    assert tier.usage().hits == 1


# ---- trouble


class Failing(DiskFiles):
    """Calls of the operating system that fail, by their names."""

    def __init__(self, number, *calls):
        self.number = number
        self.calls = set(calls)
        self.failed = 0

    def _may(self, call):
        if call in self.calls:
            self.failed += 1
            raise OSError(self.number, os.strerror(self.number))

    def open(self, path, flags):
        self._may("create" if flags & os.O_CREAT else "open")
        return super().open(path, flags)

    def read(self, descriptor, count, offset):
        self._may("read")
        return super().read(descriptor, count, offset)

    def write(self, descriptor, data):
        # A disk that fills up takes a part first.
        if "write" in self.calls and len(data) > 1:
            return super().write(descriptor, data[: len(data) // 2])
        self._may("write")
        return super().write(descriptor, data)

    def replace(self, source, target):
        self._may("replace")
        super().replace(source, target)


@pytest.mark.parametrize("call", ["create", "write", "replace", "open", "read"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_trouble_with_the_disk_fails_no_read_and_is_told_once(cached, inner, folder, events, call, number):
    data = content(3000)
    put(inner, "k", data)
    cached().read("k", PLAIN)
    files = Failing(number, call)
    layer = cached(files=files)
    for turn in range(4):
        put(inner, "n", content(2500, turn))
        assert layer.read("n", PLAIN).data == content(2500, turn)
        assert layer.read("k", PLAIN).data == data
        assert b"".join(layer.stream("k", PLAIN)) == data
    assert files.failed
    assert [event.kind for event in events] == ["cache.disk"]
    assert os.strerror(number) in events[0].message
    assert [*(folder / "new").iterdir()] == []


def test_a_disk_that_recovers_is_used_again(cached, inner, folder, events):
    class Later:
        seconds = 0.0
        now_ns = staticmethod(SYSTEM_CLOCK.now_ns)
        sleep = staticmethod(SYSTEM_CLOCK.sleep)

        def monotonic(self):
            return self.seconds

    clock, files = Later(), Failing(errno.ENOSPC, "write")
    layer = cached(files=files, clock=clock)
    put(inner, "k", content(2000))
    layer.read("k", PLAIN)
    tried = files.failed
    layer.read("k", ReadOptions(ByteRange(0, 10)))
    assert files.failed == tried, "nothing is tried for a while"
    files.calls.clear()
    clock.seconds += 60
    layer.read("k", PLAIN)
    assert len(files_in(folder)) >= 2
    assert len(events) == 1


def test_a_folder_that_others_may_write_to_is_not_used(cached, inner, folder, events):
    folder.mkdir()
    folder.chmod(0o777)
    put(inner, "k", content(3000))
    layer = cached()
    assert layer.read("k", PLAIN).data == layer.read("k", PLAIN).data == content(3000)
    assert [*folder.iterdir()] == []
    assert [event.kind for event in events] == ["cache.disk"]


def test_a_file_in_the_place_of_the_folder(cached, inner, folder, events):
    folder.write_text("a file")
    put(inner, "k", content(3000))
    layer = cached()
    for _ in range(2):
        assert layer.read("k", PLAIN).data == content(3000)
    assert [event.kind for event in events] == ["cache.disk"]
    assert folder.read_text() == "a file"


def test_a_folder_that_vanishes_is_made_again(cached, inner, folder, tmp_path):
    layer = cached(validate="immutable")
    put(inner, "k", content(3000))
    layer.read("k", PLAIN)
    folder.rename(tmp_path / "moved")
    assert layer.read("k", PLAIN).data == content(3000)
    assert len(files_in(folder)) == 4
    broken(inner)
    assert layer.read("k", PLAIN).data == content(3000)


def test_a_lock_that_is_held_costs_the_keeping_and_not_the_read(cached, inner, folder):
    from mediagit_storage.journal import lock_file

    put(inner, "a", content(100))
    put(inner, "b", content(100))
    layer = cached()
    layer.read("a", PLAIN)
    lock = lock_file(folder / "usage")
    try:
        assert layer.read("b", PLAIN).data == content(100)
        assert layer.read("a", PLAIN).data == content(100)
    finally:
        os.close(lock)
    assert len(files_in(folder)) == 2


def test_threads_share_a_folder(cached, inner, folder):
    keys = [f"k{number}" for number in range(12)]
    for key in keys:
        put(inner, key, key.encode() * 500)
    layers = [cached(disk_bytes=12 * K, validate="immutable") for _ in range(3)]
    wrong: list[object] = []

    def work(layer, step):
        for number in range(60):
            key = keys[number * step % len(keys)]
            if layer.read(key, PLAIN).data != key.encode() * 500:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(layer, step)) for layer in layers for step in (1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert held(folder) <= 12 * K
