"""Syncing with S3: what is known without reading, and what another run moves."""

from __future__ import annotations

import os

import pytest

from mediagit_storage import Storage
from mediagit_storage.backends.local.backend import LocalBackend
from mediagit_storage.tools.plan import SyncRules
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync import SyncCounts, Syncing, sync_objects

pytestmark = pytest.mark.uses_server("seaweedfs")

SMALL = {"a": b"1", "b/c": b"", "b/d": os.urandom(3000), "ü/x y": b"u"}
PARTS = {"parts": os.urandom(6 * 1024 * 1024)}


def sync(source, target, rules=None):
    counts = SyncCounts()
    syncing = Syncing(rules or SyncRules())
    with Remembered(None, ("", "")) as memory:
        done = list(sync_objects(Side(source), Side(target), syncing, memory, counts))
    assert all(each.error is None for each in done)
    return sorted(each.name for each in done), counts


@pytest.fixture
def local(tmp_path):
    store = Storage(LocalBackend(tmp_path / "files"))
    store.create()
    for key, data in {**SMALL, **PARTS}.items():
        store.put(key, data)
    yield store
    store.close()


def test_up_again_down_and_with_deletions(servers, new_bucket, open_s3, local, tmp_path):
    options = {"multipart_threshold": 5 * 1024 * 1024, "part_size": 5 * 1024 * 1024}
    remote = Storage(open_s3(servers("seaweedfs"), new_bucket("seaweedfs"), **options))
    assert sync(local, remote)[0] == sorted({**SMALL, **PARTS})

    # Without any memory: the MD5 of an ETag tells of what came in one part.
    names, counts = sync(local, remote)
    assert set(names) <= set(PARTS)
    assert counts.equal + len(names) == len(SMALL) + len(PARTS)

    local.put("b/d", os.urandom(3000))
    assert "b/d" in sync(local, remote)[0]

    again = Storage(LocalBackend(tmp_path / "again"))
    again.create()
    sync(remote, again)
    assert {info.key: again.get(info.key) for info in again.list()} == {
        info.key: local.get(info.key) for info in local.list()
    }
    again.close()

    local.delete("a")
    _, counts = sync(local, remote, SyncRules(delete=True))
    assert counts.extra == 1
    assert not remote.exists("a")
