"""A process that stores objects is killed at any moment, again and again; what it acknowledged is there, whole (159)."""

import hashlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers

#: Stores bodies that prove themselves, and says each key before it begins and again once it is acknowledged.
WRITER = """
import hashlib, random, sys
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.storage import Storage
from mediagit_storage.types import Attributes

folder, layout, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(seed)
store = Storage(LocalBackend(folder, layout=layout))
number = 0
while True:
    number += 1
    key = f"k{chance.randrange(12)}/{chance.randrange(3)}"
    text = f"{seed}.{number}".encode().ljust(chance.randrange(20, 200_000), b"x")
    body = hashlib.sha256(text).digest() + text
    print("begin", key, f"{seed}.{number}", flush=True)
    if chance.randrange(4) == 0:
        store.delete(key)
        print("gone", key, f"{seed}.{number}", flush=True)
        continue
    pieces = body if chance.randrange(2) else iter([body[:1000], body[1000:]])
    store.put(key, pieces, attributes=Attributes(metadata={"mark": f"{seed}.{number}"}))
    print("done", key, f"{seed}.{number}", flush=True)
"""


def mark_of(store, key):
    """Which write an object is of; fails if it is not that write's, whole."""
    body = store.get(key)
    text = body[32:]
    assert hashlib.sha256(text).digest() == body[:32], f"{key} is torn"
    mark = re.match(rb"[0-9.]+", text).group().decode()
    assert store.stat(key).attributes.metadata["mark"] == mark
    return mark


def kill_and_look(folder, layout, rounds):
    chance = random.Random(9)
    expected = {}
    acknowledged = 0
    for seed in range(rounds):
        command = [sys.executable, "-c", WRITER, str(folder), layout, str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            first = writer.stdout.readline()
            time.sleep(chance.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            lines = [first, *writer.stdout]
        running = None
        for line in lines:
            if not line.endswith("\n"):
                continue
            what, key, mark = line.split()
            if what == "begin":
                running = key, mark
            else:
                running = None
                acknowledged += 1
                expected[key] = mark if what == "done" else None
        with Storage(LocalBackend(folder, layout=layout, stale_after=-3600.0)) as store:
            seen = {info.key: mark_of(store, info.key) for info in store.list()}
            for key in {*expected, *seen}:
                allowed = [expected.get(key)]
                if running is not None and running[0] == key:
                    allowed += [running[1], None]
                assert seen.get(key) in allowed, f"{key} is of {seen.get(key)}, not {allowed}"
                expected[key] = seen.get(key)
            left = [*store.pending_uploads()]
            assert len(left) <= 1
            store.put("sweep", b"")  # the first write sweeps what the dead left
            store.delete("sweep")
            assert [*store.pending_uploads()] == []
    return acknowledged


@pytest.mark.parametrize("layout", ["plain", "sharded"])
@covers(159)
def test_twenty_rounds(tmp_path, layout):
    folder = tmp_path / "objects"
    folder.mkdir()
    assert kill_and_look(folder, layout, 10) > 10


@pytest.mark.long
@pytest.mark.parametrize("layout", ["plain", "sharded"])
@pytest.mark.timeout(1800)
@covers(159)
def test_a_thousand_rounds(tmp_path, layout):
    folder = tmp_path / "objects"
    folder.mkdir()
    assert kill_and_look(folder, layout, 500) > 500
