"""A process that sends or fetches a large file is killed, and the same call goes on: on real servers."""

import hashlib
import json
import signal
import subprocess
import sys

import pytest

MIB = 1024 * 1024
#: One transfer, which says each byte count that it reaches, and kills itself when it has come so far.
WORKER = """
import json, os, signal, sys
from mediagit_storage import ledger
from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.progress import on_progress
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage

options, what, path, stop_at = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
ledger._SAVE_EVERY = 0.0
secrets = {name: Secret(options[name]) for name in ("access_key_id", "secret_access_key")}
store = Storage(S3Backend.from_config(S3Config(**{**options, **secrets})))

def tell(report):
    print(report.completed, flush=True)
    if stop_at and report.completed >= stop_at:
        os.kill(os.getpid(), signal.SIGKILL)

with store, on_progress(tell):
    if what == "upload":
        store.upload(path, "large")
    else:
        store.download("large", path)
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
    """One transfer: the exit code, and what it had from an earlier run."""
    command = [sys.executable, "-c", WORKER, json.dumps(options), what, str(path), str(stop_at)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    steps = [int(line) for line in done.stdout.split()]
    assert steps == sorted(steps)
    return done.returncode, steps[1]


def kill_both_ways(server, bucket, store, folder, monkeypatch, size):
    monkeypatch.setenv("MGS_STATE_DIR", str(folder / "state"))
    source, target = folder / "source", folder / "target"
    write_numbered(source, size)
    options = {
        "bucket": bucket,
        "endpoint": server.url,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "service": {"seaweedfs": "seaweedfs"}.get(server.name, "aws"),
        # moto calls the digest of all parts' digests that of the whole, where it can be one.
        "checksum": {"moto": "sha256"}.get(server.name),
        "multipart_threshold": 16 * MIB,
    }
    for what, path in (("upload", source), ("download", target)):
        assert run(options, what, path, stop_at=size // 3)[0] == -signal.SIGKILL
        assert store.exists("large") == (what == "download")
        assert not target.exists()
        assert len([*store.pending_uploads()]) == (what == "upload")
        code, began = run(options, what, path)
        assert code == 0
        # An upload that began afresh would leave the first one; a download tells at once what it has.
        assert [*store.pending_uploads()] == []
        assert what == "upload" or began >= size // 3 - 10 * 5 * MIB
    assert digest(target) == digest(source)
    assert {each.name for each in folder.iterdir()} == {"source", "target", "state"}
    assert [*(folder / "state" / "transfers").iterdir()] == []


@pytest.mark.parametrize("server", ["seaweedfs", "moto"], indirect=True)
def test_killed_at_a_third(server, bucket, store, tmp_path, monkeypatch):
    kill_both_ways(server, bucket, store, tmp_path, monkeypatch, 192 * MIB)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_a_gibibyte_killed_at_a_third(server, bucket, store, tmp_path, monkeypatch):
    kill_both_ways(server, bucket, store, tmp_path, monkeypatch, 1024 * MIB)
