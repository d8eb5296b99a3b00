"""A process that sends or fetches a large file is killed, and the same call goes on, within little memory."""

import hashlib
import json
import signal
import subprocess
import sys

import pytest

from mediagit_storage.testing.fault_proxy import FaultProxy, is_method

MIB = 1024 * 1024
#: One transfer, which says each byte count that it reaches, and kills itself when it has come so far; the last line is
#: the most memory that it took, in KiB.
WORKER = """
import json, os, signal, sys
from mediagit_storage import ledger
from mediagit_storage.backends.azure import AzureBackend, AzureConfig
from mediagit_storage.progress import on_progress
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage

options, what, path, stop_at = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
ledger._SAVE_EVERY = 0.0
store = Storage(AzureBackend(AzureConfig(**{**options, "account_key": Secret(options["account_key"])})))

def tell(report):
    print(report.completed, flush=True)
    if stop_at and report.completed >= stop_at:
        os.kill(os.getpid(), signal.SIGKILL)

with store, on_progress(tell):
    if what == "upload":
        store.upload(path, "large")
    else:
        store.download("large", path)
# Not what getrusage tells, which counts the process that this one was forked from.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("peak", status["VmHWM"].split()[0])
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
    """One transfer: the exit code, what it had from an earlier run, and its memory in MiB."""
    command = [sys.executable, "-c", WORKER, json.dumps(options), what, str(path), str(stop_at)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    peak = int(lines.pop().split()[1]) // 1024 if lines[-1].startswith("peak") else 0
    steps = [int(line) for line in lines]
    assert steps == sorted(steps)
    return done.returncode, steps[1], peak


def kill_both_ways(server, url, container, store, folder, monkeypatch, size):
    monkeypatch.setenv("MGS_STATE_DIR", str(folder / "state"))
    source, target = folder / "source", folder / "target"
    write_numbered(source, size)
    options = {
        "container": container,
        "account": server.access_key,
        "endpoint": f"{url}/{server.access_key}",
        "account_key": server.secret_key,
    }
    for what, path in (("upload", source), ("download", target)):
        assert run(options, what, path, stop_at=size // 3)[0] == -signal.SIGKILL
        assert store.exists("large") == (what == "download")
        assert not target.exists()
        assert len([*store.pending_uploads()]) == (what == "upload")
        code, began, peak = run(options, what, path)
        assert code == 0
        assert peak < 100
        assert [*store.pending_uploads()] == []
        assert what == "upload" or began >= size // 3 - 10 * 8 * MIB
    assert digest(target) == digest(source)
    assert {each.name for each in folder.iterdir()} == {"source", "target", "state"}
    assert [*(folder / "state" / "transfers").iterdir()] == []


def test_killed_at_a_third(server, container, store, tmp_path, monkeypatch):
    with FaultProxy(server.host) as proxy:
        kill_both_ways(server, proxy.url, container, store, tmp_path, monkeypatch, 192 * MIB)
    sent = [request for request in proxy.requests if is_method("PUT", having="blockid=")(request)]
    blocks = {request.target for request in sent}
    assert len(blocks) == 48, "both runs sent blocks of one upload"
    # What was on its way when the process died may travel again.
    assert len(sent) <= 48 + 8


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_gibibyte_killed_at_a_third(server, container, store, tmp_path, monkeypatch):
    kill_both_ways(server, server.url, container, store, tmp_path, monkeypatch, 1024 * MIB)
