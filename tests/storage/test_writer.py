"""Writing piece by piece: bounded, all or nothing, and every error comes out where somebody sees it."""

import gc
import io
import threading
import time

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, CapacityError, ClosedError, StorageTimeoutError
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers


class Slow(MemoryBackend):
    """Takes a piece when it is told to."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.taken = 0

    def put(self, key, source, options):
        pieces = []
        for chunk in source.chunks():
            self.go.wait(60)
            self.taken += len(chunk)
            pieces.append(bytes(chunk))
        return super().put(key, BytesSource(b"".join(pieces)), options)


class Full(MemoryBackend):
    """Has room for a million bytes."""

    def put(self, key, source, options):
        count = 0
        for chunk in source.chunks():
            count += len(chunk)
            if count > 1_000_000:
                raise CapacityError("the disk is full")
        return super().put(key, source, options)


@covers(108)
def test_a_fast_writer_waits_for_a_slow_storage():
    backend = Slow()
    store, written = Storage(backend), []

    def write():
        with store.open("k", "wb") as file:
            for _ in range(64):
                file.write(bytes(1_000_000))
                written.append(1_000_000)

    thread = threading.Thread(target=write)
    thread.start()
    deadline = time.monotonic() + 60
    while len(written) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert 8 <= len(written) <= 20, "the pipe holds a bounded number of bytes"
    backend.go.set()
    thread.join()
    assert len(store.get("k")) == 64_000_000


def write_for_ever(store, before=lambda: None):
    with store.open("k", "wb") as file:
        file.write(bytes(300_000))
        before()
        for _ in range(200):
            file.write(bytes(300_000))


def test_the_storages_error_comes_out_of_write():
    store = Storage(Full())
    with pytest.raises(CapacityError) as caught:
        write_for_ever(store)
    assert (caught.value.operation, caught.value.key) == ("put", "k")
    assert not store.exists("k")


def test_the_storages_error_comes_out_of_close():
    store = Storage(Full())
    file = store.open("k", "wb")
    file.write(bytes(1_500_000))
    with pytest.raises(CapacityError):
        file.close()
    file.close()
    assert not store.exists("k")
    with pytest.raises(ValueError, match="close"):
        _ = file.info


def test_the_storages_error_comes_out_of_close_again():
    """Who went on after `write` had raised does not take half of it for stored."""
    store = Storage(Full())
    file = store.open("k", "wb")
    with pytest.raises(CapacityError):
        [file.write(bytes(300_000)) for _ in range(200)]
    with pytest.raises(CapacityError):
        file.close()
    file.close()
    assert not store.exists("k")


def test_what_is_small_takes_no_thread():
    store, before = Storage(MemoryBackend()), threading.active_count()
    files = [store.open(f"k/{number}", "wb") for number in range(50)]
    for file in files:
        file.write(b"x")
    assert threading.active_count() <= before
    for file in files:
        file.close()
    assert len(list(store.list("k/"))) == 50


def test_what_was_written_is_copied_at_once():
    store, buffer = Storage(MemoryBackend()), bytearray(b"first")
    with store.open("k", "wb") as file:
        file.write(buffer)
        buffer[:] = b"xxxxx"
        file.write(memoryview(b"a-b-c-")[::2])
    assert store.get("k") == b"firstabc"


@pytest.mark.parametrize("wrong", ["text", 7, None, [b"x"]])
def test_only_bytes_are_written(wrong):
    store = Storage(MemoryBackend())
    file = store.open("k", "wb")
    with pytest.raises(TypeError):
        file.write(wrong)
    file.write(b"x")
    file.close()
    assert store.get("k") == b"x"


def test_a_closed_writer_says_so():
    store = Storage(MemoryBackend())
    file = store.open("k", "wb")
    assert (file.readable(), file.seekable(), file.writable(), file.mode, file.name) == (False, False, True, "wb", "k")
    file.close()
    assert file.closed
    file.abort()
    assert store.exists("k"), "aborting after the close takes nothing back"
    for call in (lambda: file.write(b"x"), file.flush, file.__enter__):
        with pytest.raises(ClosedError):
            call()


def test_a_cancelled_scope_stops_the_writing():
    store = Storage(MemoryBackend())
    with scope() as inside, pytest.raises(CancelledError):
        write_for_ever(store, inside.cancel)
    with scope(timeout=0.02), pytest.raises(StorageTimeoutError):
        write_for_ever(store, lambda: time.sleep(0.05))
    assert not store.exists("k")


def test_flush_hands_over_and_shows_nothing():
    store = Storage(MemoryBackend())
    with store.open("k", "wb") as file:
        file.write(b"x")
        file.flush()
        assert not store.exists("k")
    assert store.get("k") == b"x"


def write_text_and_fail(store):
    with store.open("l", "wb") as file:
        text = io.TextIOWrapper(file, "utf-8")
        try:
            text.write("half")
            _ = 1 / 0
        finally:
            text.detach()


def test_text_goes_through_a_wrapper_that_is_detached_or_closed():
    """A `TextIOWrapper` closes what it wraps, also when the garbage collector takes it: closing is committing."""
    store = Storage(MemoryBackend())
    with io.TextIOWrapper(store.open("k", "wb"), "utf-8", newline="") as text:
        text.write("é\n" * 1000)
    assert store.get("k") == "é\n".encode() * 1000
    with pytest.raises(ZeroDivisionError):
        write_text_and_fail(store)
    assert not store.exists("l")


@covers(109)
def test_losing_a_writer_in_a_cycle_stores_nothing():
    store = Storage(MemoryBackend())
    file = store.open("k", "wb")
    file.write(bytes(600_000))
    thread = file._thread
    file.me = file
    del file
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
    assert not store.exists("k")
