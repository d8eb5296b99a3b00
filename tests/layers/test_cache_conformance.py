"""The cache keeps every promise of the storage below it, also in stacks and over a server."""

from __future__ import annotations

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.layers.checksum import ChecksumLayer
from mediagit_storage.layers.compress import CompressLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.wrappers import WithoutCapabilities, without_batch

SMALL = 64 * 1024


class CacheSuite(ConformanceSuite):
    """With chunks that are small enough for the suite's objects to have several."""

    options: dict = {}

    def config(self, **more):
        return CacheConfig(
            **{"chunk_size": SMALL, "read_ahead": 2 * SMALL, "memory_bytes": 4_000_000, **self.options, **more}
        )

    def cached(self, inner):
        return CacheLayer(inner, self.config())

    def open_backend(self):
        return self.cached(MemoryBackend("conformance"))

    def missing_bucket(self):
        return self.cached(MemoryBackend("missing", created=False))


class TestInMemory(CacheSuite):
    pass


class TestOnDisk(CacheSuite):
    variant = True

    def config(self):
        return super().config(memory_bytes=0, folder=str(self.folder / "cache"))


class TestInLittleRoom(CacheSuite):
    """Everything is evicted all the time, on both tiers."""

    options = {"memory_bytes": 3 * SMALL, "memory_entries": 4, "disk_bytes": 5 * SMALL, "disk_entries": 6}

    def config(self):
        return super().config(folder=str(self.folder / "cache"))


class TestWithVersions(CacheSuite):
    variant = True

    def open_backend(self):
        return self.cached(MemoryBackend("conformance", versioning=True))


class TestWithoutConditionalReads(CacheSuite):
    variant = True

    def open_backend(self):
        return self.cached(WithoutCapabilities(MemoryBackend("conformance"), "read_conditions"))


class TestWithoutBatches(CacheSuite):
    variant = True

    def open_backend(self):
        return self.cached(without_batch(MemoryBackend("conformance")))


class TestImmutable(CacheSuite):
    """One that writes sees its own writes in every mode: that is all that this mode promises."""

    variant = True

    options = {"validate": "immutable"}


class TestTtl(CacheSuite):
    variant = True
    options = {"validate": "ttl", "ttl": 3600.0, "negative_ttl": 3600.0}


class TestOverLocal(CacheSuite):
    variant = True
    many = 300
    rounds = 2

    def config(self):
        return super().config(folder=str(self.folder / "cache"))

    def open_backend(self):
        (self.folder / "objects").mkdir()
        return self.reopen(None)

    def reopen(self, backend):
        # Another one, that shares the folder of the cache.
        return self.cached(LocalBackend(self.folder / "objects"))

    def missing_bucket(self):
        return self.cached(LocalBackend(self.folder / "missing"))


class TestPrefixOutside(CacheSuite):
    variant = True

    def cached(self, inner):
        return PrefixLayer(CacheLayer(inner, self.config()), "p/")


class TestPrefixInside(CacheSuite):
    variant = True

    def cached(self, inner):
        return CacheLayer(PrefixLayer(inner, "p/"), self.config())


class TestAroundCompress(CacheSuite):
    variant = True

    def cached(self, inner):
        return CacheLayer(CompressLayer(inner), self.config())


class TestInsideOfChecksum(CacheSuite):
    variant = True

    def cached(self, inner):
        return ChecksumLayer(CacheLayer(inner, self.config()))
