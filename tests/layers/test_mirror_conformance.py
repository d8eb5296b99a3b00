"""A mirror keeps every promise of its primary (119), and after each test of the suite its replicas hold what it holds."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import BucketNotFoundError, UnavailableError
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, RepairRules
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.wrappers import WithoutCapabilities


def held(backend):
    store = Storage(backend, owned=False)
    return {info.key: (store.get(info.key), store.stat(info.key).attributes) for info in store.list()}


class InStep(ConformanceSuite):
    """Also looks, at the end of each test, whether the replicas are in step, but for what is noted as missed."""

    @contextmanager
    def running(self, folder):
        with super().running(folder):
            yield
            mirror = self.backend
            try:
                ours = held(mirror.inner)
            except BucketNotFoundError:
                return
            [*mirror.repair(RepairRules(noted=True))]
            for replica in mirror.replicas:
                assert held(replica) == ours
            assert [each.behind for each in mirror.status().replicas] == [0] * len(mirror.replicas)


class TestTwoMemories(InStep):
    def open_backend(self):
        return MirrorLayer(MemoryBackend("conformance"), [MemoryBackend("replica")], MirrorConfig(failover=True))

    def missing_bucket(self):
        return MirrorLayer(MemoryBackend("missing", created=False), [MemoryBackend("replica")])


class TestVersions(InStep):
    """The primary keeps versions, and the two that follow do not."""

    variant = True

    def open_backend(self):
        primary = MemoryBackend("conformance", versioning=True)
        return MirrorLayer(primary, [MemoryBackend("one"), MemoryBackend("two")], MirrorConfig(failover=True))


class TestMemoryAndLocal(InStep):
    variant = True

    def open_backend(self):
        (self.folder / "replica").mkdir()
        return MirrorLayer(
            MemoryBackend("conformance"), [LocalBackend(self.folder / "replica", layout="sharded", durability="none")]
        )

    def test_a_forked_child_reads_and_writes(self):
        super().test_a_forked_child_reads_and_writes()
        # What the child wrote is in its own memory, and in the folder.
        [*self.backend.repair(RepairRules(remove_extra=True, remove_most=True))]

    def test_much_metadata_is_kept_whole_or_refused(self):
        """What only a replica refuses is refused too late: the primary has it, and the error says so."""
        with pytest.raises(UnavailableError, match="the primary has taken the change"):
            super().test_much_metadata_is_kept_whole_or_refused()
        self.store.delete("k")


class TestLocalAndLocal(InStep):
    """What is missed is written to a file, and the replica takes no metadata after the bytes."""

    variant = True

    def open_backend(self):
        for name in ("primary", "replica"):
            (self.folder / name).mkdir()
        return self.reopen(None)

    def reopen(self, backend):
        replica = WithoutCapabilities(
            LocalBackend(self.folder / "replica", durability="none"), "late_metadata", "batch"
        )
        config = MirrorConfig(require=0, state=str(self.folder / "state"))
        return MirrorLayer(LocalBackend(self.folder / "primary", durability="none"), [replica], config)
