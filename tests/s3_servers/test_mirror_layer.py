"""A mirror with a bucket of a server in it: as the primary in the whole suite, and as a replica that breaks off."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, RepairRules
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, is_method
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.toxics import Fail, ResetWhileSending

MIB = 1024 * 1024


class TestSeaweedFS(ConformanceSuite):
    """Every promise of the server, whatever follows it."""

    variant = True

    server_name = "seaweedfs"
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)
    deviations = {
        "test_all_attributes_make_the_round_trip": "drops-empty-metadata",
        "test_attributes_come_with_a_read_that_asks_for_them": "drops-empty-metadata",
        "test_reading_is_liberal": "folds-slashes",
        "test_awkward_keys_can_be_copied_renamed_and_deleted": "backslash-is-a-slash",
        "test_awkward_keys_come_back_exactly": "backslash-is-a-slash",
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        self.replica = MemoryBackend("replica")
        return self.reopen(None)

    def reopen(self, backend):
        primary = self.open_bucket(self.server, self.bucket, buffer_size=8 * MIB)
        return MirrorLayer(primary, [self.replica], MirrorConfig(failover=True))

    def missing_bucket(self):
        missing = self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}")
        return MirrorLayer(missing, [MemoryBackend("replica")])


@pytest.mark.uses_server("seaweedfs")
@pytest.mark.parametrize("toxic", [ResetWhileSending(70_000), Fail(503)], ids=["reset", "503"])
@pytest.mark.parametrize("kind", ["memory", "once"])
def test_a_replica_whose_connections_break_is_put_right(servers, new_bucket, open_s3, kind, toxic):
    """From memory, and as a stream: nothing of it is left behind, and what was missed is made up for."""
    server = servers("seaweedfs")
    bucket, data = new_bucket(server), content(300_000)
    fault = Fault(toxic, matches=is_method("PUT", having="/k"), times=1000)
    proxy = FaultProxy(server.host, [fault])
    primary = MemoryBackend("primary")
    broken = MirrorLayer(primary, [open_s3(server, bucket, endpoint=proxy.url)], MirrorConfig(require=0, pause=0))
    with proxy, Storage(broken) as store:
        store.put("k", data if kind == "memory" else iter([data[:100_000], data[100_000:]]))
        [known] = broken.status().replicas
        assert known.behind == 1
    with Storage(MirrorLayer(primary, [open_s3(server, bucket)])) as store:
        replica = Storage(store.backend.replicas[0], owned=False)
        assert not replica.exists("k")
        assert [each.repaired for each in store.backend.repair(RepairRules())] == [True]
        assert replica.get("k") == data
        assert [*replica.pending_uploads()] == []
