"""A process that sends or fetches a large file is killed, and the same call goes on: on real servers."""

import signal

import pytest

from mediagit_storage.testing.killed_transfers import digest, transfer, write_numbered

MIB = 1024 * 1024


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
        assert transfer("s3", options, what, path, stop_at=size // 3).code == -signal.SIGKILL
        assert store.exists("large") == (what == "download")
        assert not target.exists()
        assert len([*store.pending_uploads()]) == (what == "upload")
        code, began, _ = transfer("s3", options, what, path)
        assert code == 0
        # An upload that began afresh would leave the first one; a download tells at once what it has.
        assert [*store.pending_uploads()] == []
        assert what == "upload" or began >= size // 3 - 10 * 5 * MIB
    assert digest(target) == digest(source)
    assert {each.name for each in folder.iterdir()} == {"source", "target", "state"}
    assert [*(folder / "state" / "transfers").iterdir()] == []


@pytest.mark.parametrize("server", ["seaweedfs", pytest.param("moto", marks=pytest.mark.long)], indirect=True)
def test_killed_at_a_third(server, bucket, store, tmp_path, monkeypatch):
    kill_both_ways(server, bucket, store, tmp_path, monkeypatch, 192 * MIB)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_a_gibibyte_killed_at_a_third(server, bucket, store, tmp_path, monkeypatch):
    kill_both_ways(server, bucket, store, tmp_path, monkeypatch, 1024 * MIB)
