"""A process that sends or fetches a large file is killed, and the same call goes on, within little memory."""

import signal

import pytest

from mediagit_storage.testing.fault_proxy import FaultProxy, is_method
from mediagit_storage.testing.killed_transfers import digest, transfer, write_numbered

MIB = 1024 * 1024


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
        assert transfer("az", options, what, path, stop_at=size // 3).code == -signal.SIGKILL
        assert store.exists("large") == (what == "download")
        assert not target.exists()
        assert len([*store.pending_uploads()]) == (what == "upload")
        code, began, peak = transfer("az", options, what, path)
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
