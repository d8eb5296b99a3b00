"""Several processes share one folder, and any of them may be killed at any point."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.clock import SYSTEM_CLOCK
from mediagit_storage.layers.cache import CacheConfig, CacheLayer, DiskTier
from mediagit_storage.source import BytesSource
from mediagit_storage.types import PLAIN_PUT, ReadOptions

K = 1024
OBJECTS = 12
DISK_BYTES = 24 * K

#: Reads all objects again and again through a cache that is too small for them, and looks at every byte.
WORKER = """
import sys
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.types import ReadOptions

objects, folder, seed, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
config = CacheConfig(chunk_size=1024, memory_bytes=0, folder=folder, disk_bytes=24 * 1024, disk_entries=30)
layer = CacheLayer(LocalBackend(objects), config)
print("begun", flush=True)
for number in range(rounds):
    place = number * seed % 12
    data = layer.read(f"k{place}", ReadOptions()).data
    # All bytes of an object are equal: torn or mixed ones are seen.
    assert len(data) == 4000 and data == data[:1] * 4000, place
layer.close()
"""


@pytest.fixture
def objects(tmp_path):
    folder = tmp_path / "objects"
    folder.mkdir()
    with closing(LocalBackend(folder, durability="none")) as backend:
        for number in range(OBJECTS):
            backend.put(f"k{number}", BytesSource(bytes([number]) * 4000), PLAIN_PUT)
        yield backend


def start(tmp_path: Path, seed: int, rounds: int) -> subprocess.Popen[str]:
    arguments = [
        sys.executable,
        "-c",
        WORKER,
        str(tmp_path / "objects"),
        str(tmp_path / "cache"),
        str(seed),
        str(rounds),
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "entries").rglob("*") if path.is_file())


def assert_sound(tmp_path: Path, objects: LocalBackend) -> None:
    """Nothing damaged, nothing over its bound, and the next reader finds the right bytes."""
    folder = tmp_path / "cache"
    assert held(folder) <= DISK_BYTES
    config = CacheConfig(chunk_size=K, memory_bytes=0, folder=str(folder), disk_bytes=DISK_BYTES, disk_entries=30)
    layer = CacheLayer(objects, config)
    for number in range(OBJECTS):
        assert layer.read(f"k{number}", ReadOptions()).data == bytes([number]) * 4000
    assert layer.stats().heals == 0
    assert held(folder) <= DISK_BYTES
    # A write finds the lock free, and clears away what a dead process left.
    DiskTier(folder, DISK_BYTES, 30, clock=SYSTEM_CLOCK).clear()
    assert held(folder) == 0
    assert [*(folder / "new").iterdir()] == []


def test_processes_share_a_folder(tmp_path, objects):
    workers = [start(tmp_path, seed, 100) for seed in (1, 5, 7)]
    for worker in workers:
        _, errors = worker.communicate(timeout=100)
        assert worker.returncode == 0, errors
    assert_sound(tmp_path, objects)


def kill_again_and_again(tmp_path: Path, objects: LocalBackend, times: int) -> None:
    chance = random.Random(7)
    for _ in range(times):
        workers = [start(tmp_path, seed, 1_000_000) for seed in (5, 7)]
        # Where exactly is left to chance: any moment has to do.
        time.sleep(chance.uniform(0.0, 0.1))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            _, errors = worker.communicate()
            assert worker.returncode == -signal.SIGKILL, errors
        assert held(tmp_path / "cache") <= DISK_BYTES
    assert_sound(tmp_path, objects)


def test_killed_readers_leave_a_sound_cache(tmp_path, objects):
    kill_again_and_again(tmp_path, objects, 3)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_readers_leave_a_sound_cache_for_long(tmp_path, objects):
    kill_again_and_again(tmp_path, objects, 150)


@pytest.mark.parametrize("call", ["open", "write", "close", "replace", "pwrite", "flock", "mkdir", "unlink", "utime"])
def test_a_process_that_dies_before_or_after_any_call(tmp_path, objects, call):
    """A child ends itself around each of its calls of one kind in turn, as a kill would end it there."""
    config = CacheConfig(chunk_size=K, memory_bytes=0, folder=str(tmp_path / "cache"), disk_bytes=DISK_BYTES)
    for nth in range(1, 40, 3):
        child = os.fork()
        if child == 0:
            _die_at(call, nth, CacheLayer(objects, config))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in {0, 9}
        assert held(tmp_path / "cache") <= DISK_BYTES
    assert_sound(tmp_path, objects)


def _die_at(call: str, nth: int, layer: CacheLayer) -> None:
    """In the child: read everything, and be gone without a word at the ``nth`` call."""
    import fcntl

    module = fcntl if call == "flock" else os
    real = getattr(module, call)
    calls = 0

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == nth and nth % 2:
            os._exit(9)
        result = real(*arguments, **options)
        if calls == nth:
            os._exit(9)
        return result

    setattr(module, call, counted)
    try:
        for number in range(OBJECTS):
            layer.read(f"k{number}", ReadOptions())
    finally:
        os._exit(0)


def test_a_child_reads_while_the_parents_threads_are_busy(tmp_path, objects):
    """A fork in the middle of whatever other threads do leaves no lock held for ever."""
    config = CacheConfig(chunk_size=K, memory_bytes=8 * K, folder=str(tmp_path / "cache"), disk_bytes=DISK_BYTES)
    layer = CacheLayer(objects, config)
    stop = threading.Event()

    def work(seed):
        number = 0
        while not stop.is_set():
            number += seed
            layer.read(f"k{number % OBJECTS}", ReadOptions())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 5)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                code = 1
                try:
                    for number in range(OBJECTS):
                        assert layer.read(f"k{number}", ReadOptions()).data == bytes([number]) * 4000
                    code = 0
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
