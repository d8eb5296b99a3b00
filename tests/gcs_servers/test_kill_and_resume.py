"""A process that sends or fetches a large file is killed, and the same call goes on; and how much memory that takes.

In chunks: this server keeps nothing of a request that breaks off, and cannot be asked.
"""

import signal
import subprocess

import pytest

from mediagit_storage.testing.emulators.raw_gcs import call
from mediagit_storage.testing.killed_transfers import digest, transfer, transfer_command, write_numbered

MIB = 1024 * 1024


def kill_both_ways(server, bucket, store, folder, monkeypatch, *, size, part):
    monkeypatch.setenv("MGS_STATE_DIR", str(folder / "state"))
    source, target = folder / "source", folder / "target"
    write_numbered(source, size)
    options = {"bucket": bucket, "emulator_host": server.url, "part_size": part, "in_chunks": True}
    for what, path in (("upload", source), ("download", target)):
        assert transfer("gs", options, what, path, stop_at=size // 3).code == -signal.SIGKILL
        assert store.exists("large") == (what == "download")
        assert not target.exists()
        code, began, peak = transfer("gs", options, what, path)
        assert code == 0
        assert began >= size // 3 - max(part, 10 * 5 * MIB), "only what is missing travels"
        assert peak < 100, f"{what} took {peak} MiB"
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


@pytest.mark.parametrize("moment", [pytest.param("before", marks=pytest.mark.long), "within"])
def test_killed_by_itself_at_any_moment(server, bucket, store, tmp_path, monkeypatch, moment):
    """A kill from outside, at whatever byte: the next run makes the whole object, and nothing else is ever seen."""
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    source = tmp_path / "source"
    write_numbered(source, 64 * MIB)
    store.put("large", b"old")
    options = {"bucket": bucket, "emulator_host": server.url, "part_size": MIB, "in_chunks": True}
    command = transfer_command("gs", options, "upload", source)
    for turn in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout:
                if int(line) >= (turn * 7 + (3 if moment == "within" else 0)) * MIB:
                    process.kill()
                    break
            process.stdout.read()
        assert store.stat("large").size in {3, 64 * MIB}
    assert transfer("gs", options, "upload", source).code == 0
    store.download("large", tmp_path / "target")
    assert digest(tmp_path / "target") == digest(source)
