"""A process is killed in the middle of a large transfer, again and again; the same call goes on and ends well."""

import random
import signal
import subprocess
import sys
import time

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.storage import Storage
from mediagit_storage.testing.sources import content

PART = 4000
SIZE = 40 * PART + 17

#: Says what is about to travel, and makes it travel slowly.
WORKER = """
import sys, time
from pathlib import Path
from mediagit_storage import downloading, ledger
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.fetching import FetchLimits
from mediagit_storage.storage import Storage
from mediagit_storage.testing.remote import Remote

what, folder, part, native = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "native"
downloading.LIMITS = FetchLimits(2 * part, part, 3)
ledger._SAVE_EVERY = 0.0

def wire(kind, count):
    sys.stdout.write(f"{count}\\n")
    sys.stdout.flush()
    time.sleep(0.002)

store = Storage(Remote(LocalBackend(folder / "objects"), folder / "server", part=part, piece=part // 2, native=native, wire=wire))
if what == "upload":
    store.upload(folder / "file", "k")
else:
    store.download("k", folder / "here" / "file")
print("done", flush=True)
"""


def run(what, folder, mode, patience):
    """The bytes that travelled, and whether it ended by itself."""
    command = [sys.executable, "-c", WORKER, what, str(folder), str(PART), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        first = worker.stdout.readline()
        time.sleep(patience)
        worker.send_signal(signal.SIGKILL)
        lines = [first, *worker.stdout]
    travelled = sum(int(line) for line in lines if line.strip().isdigit() and line.endswith("\n"))
    return travelled, "done\n" in lines


@pytest.mark.parametrize("what", ["upload", "download"])
@pytest.mark.parametrize("mode", ["threads", "native"])
def test_killed_again_and_again(tmp_path, monkeypatch, what, mode):
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "objects").mkdir()
    (tmp_path / "here").mkdir()
    chance, body, total, kills = random.Random(7), content(SIZE), 0, 0
    (tmp_path / "file").write_bytes(body)
    store = Storage(LocalBackend(tmp_path / "objects"))
    if what == "download":
        store.put("k", body)
    spare = 0
    for _ in range(60):
        travelled, ended = run(what, tmp_path, mode, chance.random() * 0.06)
        total += travelled
        if ended:
            break
        kills += 1
        # It may have been killed between the end of its work and the word that says so.
        arrived = store.get("k") if what == "upload" and store.exists("k") else None
        if what == "download" and (tmp_path / "here" / "file").exists():
            arrived = (tmp_path / "here" / "file").read_bytes()
        assert arrived in (None, body)
        spare = SIZE if arrived is not None else spare
    assert kills >= 1
    # Each kill costs at most the parts that were on their way.
    assert SIZE <= total <= SIZE + (kills + 1) * 3 * PART + spare
    assert (store.get("k") if what == "upload" else (tmp_path / "here" / "file").read_bytes()) == body
    assert [each.name for each in (tmp_path / "here").iterdir()] == ([] if what == "upload" else ["file"])
    assert [*(tmp_path / "state" / "transfers").iterdir()] == []
    assert not [*(tmp_path / "server").glob("*")]
