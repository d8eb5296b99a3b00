"""A process that sends or fetches a large file is killed, and the same call goes on; and how much memory that takes."""

import hashlib
import json
import signal
import subprocess
import sys

import pytest

from mediagit_storage.testing.emulators.raw_gcs import call

MIB = 1024 * 1024
#: One transfer, which says each byte count that it reaches and kills itself when it has come so far, and its own peak
#: of memory in KiB at its end.
WORKER = """
import json, os, re, signal, sys
from mediagit_storage import ledger
from mediagit_storage.backends.gcs import GCSBackend, GCSConfig
from mediagit_storage.progress import on_progress
from mediagit_storage.storage import Storage

options, what, path, stop_at = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
ledger._SAVE_EVERY = 0.0
store = Storage(GCSBackend.from_config(GCSConfig(**options)))

def tell(report):
    print(report.completed, flush=True)
    if stop_at and report.completed >= stop_at:
        os.kill(os.getpid(), signal.SIGKILL)

with store, on_progress(tell):
    if what == "upload":
        store.upload(path, "large")
    else:
        store.download("large", path)
# Not what getrusage tells: a child counts the memory of the process that started it.
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def write_numbered(path, size):
    """A file whose every MiB is another, written in little memory."""
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") * (MIB // 8))


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(options, what, path, stop_at=0):
    """One transfer: the exit code, what it had from an earlier run, and its peak of memory in KiB (0 when killed)."""
    command = [sys.executable, "-c", WORKER, json.dumps(options), what, str(path), str(stop_at)]
    done = subprocess.run(command, capture_output=True, text=True)
    steps = [int(line) for line in done.stdout.split()]
    assert steps == sorted(steps)
    if done.returncode == 0:
        return 0, steps[1], int(done.stderr.split()[-1])
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.returncode, steps[1], 0


def kill_both_ways(server, bucket, store, folder, monkeypatch, *, size, part):
    monkeypatch.setenv("MGS_STATE_DIR", str(folder / "state"))
    source, target = folder / "source", folder / "target"
    write_numbered(source, size)
    options = {"bucket": bucket, "emulator_host": server.url, "part_size": part}
    for what, path in (("upload", source), ("download", target)):
        assert run(options, what, path, stop_at=size // 3)[0] == -signal.SIGKILL
        assert store.exists("large") == (what == "download")
        assert not target.exists()
        code, began, peak = run(options, what, path)
        assert code == 0
        assert began >= size // 3 - max(part, 10 * 5 * MIB), "only what is missing travels"
        assert peak < 100 * 1024, f"{what} took {peak} KiB"
    assert digest(target) == digest(source)
    assert {each.name for each in folder.iterdir()} == {"source", "target", "state"}
    assert [*(folder / "state" / "transfers").iterdir()] == []


def test_killed_at_a_third(server, bucket, store, tmp_path, monkeypatch):
    kill_both_ways(server, bucket, store, tmp_path, monkeypatch, size=192 * MIB, part=8 * MIB)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_gibibyte_killed_at_a_third(server, bucket, store, tmp_path, monkeypatch):
    """In larger chunks: with each, fake-gcs-server computes the digests of all that it has."""
    kill_both_ways(server, bucket, store, tmp_path, monkeypatch, size=1024 * MIB, part=64 * MIB)
    call(server, "DELETE", f"/storage/v1/b/{bucket}/o/large")


@pytest.mark.parametrize("moment", ["before", "within"])
def test_killed_by_itself_at_any_moment(server, bucket, store, tmp_path, monkeypatch, moment):
    """A kill from outside, at whatever byte: the next run makes the whole object, and nothing else is ever seen."""
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    source = tmp_path / "source"
    write_numbered(source, 64 * MIB)
    store.put("large", b"old")
    options = {"bucket": bucket, "emulator_host": server.url, "part_size": MIB}
    command = [sys.executable, "-c", WORKER, json.dumps(options), "upload", str(source), "0"]
    for turn in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout:
                if int(line) >= (turn * 7 + (3 if moment == "within" else 0)) * MIB:
                    process.kill()
                    break
            process.stdout.read()
        assert store.stat("large").size in {3, 64 * MIB}
    assert run(options, "upload", source)[0] == 0
    store.download("large", tmp_path / "target")
    assert digest(tmp_path / "target") == digest(source)
