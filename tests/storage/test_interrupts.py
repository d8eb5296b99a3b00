"""Ctrl-C that falls into the wait for a thread: nothing goes on behind the back of whoever was told of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

#: What every program begins with. `interrupt` sends a real signal when the main thread stands in one of the functions
#: that are named; the other thread works on then, until the main thread has told something or long enough to be caught.
PRELUDE = """
import dataclasses, os, signal, sys, threading, time
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.scope import current_scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage

main = threading.main_thread().ident
told = threading.Event()
WAITS = ("_wait_for_tstate_lock", "join", "uninterrupted")

def interrupt(*places):
    while True:
        frame, names = sys._current_frames()[main], []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        # Before that it has only begun to wait.
        begun = names[0] != "uninterrupted" or any(each.name == "mgs-end" for each in threading.enumerate())
        if begun and (names[0] in places or "send" in places and "send" in names):
            break
        time.sleep(0.001)
    signal.pthread_kill(main, signal.SIGINT)

def tell(word):
    print(word, flush=True)
    told.set()
"""

CLOSED = """
class Store(MemoryBackend):
    def put(self, key, source, options):
        data = b"".join(map(bytes, source.chunks()))
        try:
            for _ in range(2):  # the first may come just before the wait, where Python does not look
                interrupt(*WAITS)
                current_scope().sleep(5)
            return super().put(key, BytesSource(data), options)
        finally:
            print("ended", flush=True)

store = Storage(Store())
file = store.open("k", "wb")
file.write(bytes(600_000))
try:
    file.close()
except KeyboardInterrupt:
    tell("told")
time.sleep(0.1)
print("stored" if store.exists("k") else "not stored", file.closed)
"""

GIVEN_UP = """
class Store(MemoryBackend):
    def put(self, key, source, options):
        try:
            return super().put(key, source, options)
        finally:
            interrupt(*WAITS)
            told.wait(0.5)
            print("ended", flush=True)

store = Storage(Store())
try:
    with store.open("k", "wb") as file:
        file.write(bytes(600_000))
        raise ValueError
except KeyboardInterrupt:
    tell("told")
print("stored" if store.exists("k") else "not stored", file.closed)
"""

WRITTEN = """
class Store(MemoryBackend):
    def put(self, key, source, options):
        interrupt("send")
        told.wait()
        return super().put(key, source, options)

store = Storage(Store())
file = store.open("k", "wb")
try:
    for _ in range(60):
        file.write(bytes(300_000))
except KeyboardInterrupt:
    tell("told")
try:
    file.close()
except Exception as error:
    print(type(error).__name__)
print("stored" if store.exists("k") else "not stored", file.closed)
"""

POOLED = """
class Store(MemoryBackend):
    @property
    def capabilities(self):
        return dataclasses.replace(super().capabilities, batch=False)

    def stat(self, key, version=None):
        if key == "b":
            begun.set()
            interrupt(*WAITS)
            told.wait(0.5)
            print("ended", flush=True)
        return super().stat(key, version)

store = Storage(Store())
store.put("a", b"a")
begun = threading.Event()
found = iter(store.stat_many(["a", "b"]))
next(found)
begun.wait()
try:
    found.close()
except KeyboardInterrupt:
    tell("told")
print("not stored", True)
"""

LISTED = """
from mediagit_storage.tools.ahead import LookAhead

begun = threading.Event()

def items():
    try:
        yield 1
        begun.set()
        interrupt(*WAITS)
        told.wait(0.5)
        yield 2
    finally:
        print("ended", flush=True)

ahead = LookAhead(items(), int)
begun.wait()
try:
    ahead.close()
except KeyboardInterrupt:
    tell("told")
print("not stored", True)
"""

MIRRORED = """
from mediagit_storage.errors import ConnectionLostError
from mediagit_storage.layers.mirror import MirrorLayer

class Failing(MemoryBackend):
    def put(self, key, source, options):
        next(iter(source.chunks()))
        begun.wait()
        raise ConnectionLostError("gone")

class Replica(MemoryBackend):
    def put(self, key, source, options):
        begun.set()
        try:
            return super().put(key, source, options)
        finally:
            interrupt(*WAITS, "wait")
            told.wait(0.5)
            print("ended", flush=True)

begun, replica = threading.Event(), Replica()
try:
    Storage(MirrorLayer(Failing(), [replica])).put("k", iter([b"1", b"2"]))
except KeyboardInterrupt:
    tell("told")
print("stored" if Storage(replica).exists("k") else "not stored", True)
"""

SERVED = """
from mediagit_storage.serve.app import build
from mediagit_storage.serve.running import Listener
from mediagit_storage.serve.settings import ServeSettings

class Slow(Listener):
    def _run_threaded(self):
        interrupt(*WAITS, "wait")
        super()._run_threaded()
        print("ended", flush=True)

try:
    with Slow(build(Storage(MemoryBackend()), ServeSettings())):
        print("entered")
except KeyboardInterrupt:
    tell("told")
print("not stored", True)
"""

#: name -> the program, and what it prints.
ORDER = {
    "a writer is closed": (CLOSED, ["ended", "told", "not stored True"]),
    "a writer is given up": (GIVEN_UP, ["ended", "told", "not stored True"]),
    "a piece is handed over": (WRITTEN, ["told", "CancelledError", "not stored True"]),
    "a listing ahead is closed": (LISTED, ["ended", "told", "not stored True"]),
    "a replica is given up": (MIRRORED, ["ended", "told", "not stored True"]),
    "a gateway begins": (SERVED, ["ended", "told", "not stored True"]),
    "a batch is closed": (POOLED, ["ended", "told", "not stored True"]),
}


def run(program: str, *arguments: object) -> list[str]:
    """What a program prints. It ends by itself."""
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


@pytest.mark.parametrize("where", ORDER)
def test_nothing_goes_on_when_the_interrupt_is_told(where):
    program, printed = ORDER[where]
    assert run(program) == printed


DESCRIPTOR = """
from mediagit_storage import fetching
from mediagit_storage.fetching import Fetched, FetchLimits, fetch_ranges
from mediagit_storage.progress import NO_TRANSFER
from mediagit_storage.types import ReadOptions

way, path, other = sys.argv[1:]

class Store(MemoryBackend):
    @property
    def capabilities(self):
        return dataclasses.replace(super().capabilities, batch=way == "batch")

write_at = fetching.write_at

def slow(descriptor, data, offset):
    if offset:
        interrupt(*WAITS)
        told.wait(0.5)
    write_at(descriptor, data, offset)

fetching.write_at = slow
backend = Store()
Storage(backend).put("k", bytes(3_000_000))
descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
wanted = Fetched("k", ReadOptions(), 3_000_000, descriptor)
ranges = fetch_ranges(backend, wanted, (), FetchLimits(0, 1_000_000, 2), NO_TRANSFER)
next(ranges)
try:
    ranges.close()
except KeyboardInterrupt:
    pass
os.close(descriptor)
again = os.open(other, os.O_RDWR | os.O_CREAT)
assert again == descriptor
os.write(again, b"precious")
tell("told")
for each in threading.enumerate():
    if each.name.startswith("mgs-"):
        each.join()
time.sleep(0.3)
print(os.fstat(again).st_size)
"""


@pytest.mark.parametrize("way", ["threads", "batch"])
def test_a_download_that_was_given_up_writes_into_no_other_file(tmp_path, way):
    """Its descriptor is closed then, and the number may be that of the next file that is opened."""
    assert run(DESCRIPTOR, way, tmp_path / "part", tmp_path / "other") == ["told", "8"]
