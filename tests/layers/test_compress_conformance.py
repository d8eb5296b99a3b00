"""Compressed storages keep every promise of the contract: over memory, over local, under and over other layers."""

from __future__ import annotations

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.wrappers import WithoutCapabilities

#: Small frames, so that small objects have many; two threads, whatever the machine has.
SMALL = CompressConfig(frame_size=4096, threads=2)


class TestOverMemory(ConformanceSuite):
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)

    def open_backend(self):
        return CompressLayer(MemoryBackend("conformance"))

    def missing_bucket(self):
        return CompressLayer(MemoryBackend("missing", created=False))


class TestSmallFrames(ConformanceSuite):
    chunk_sizes = (1, 4096, 100_000)
    large = 1_000_000

    def open_backend(self):
        return CompressLayer(MemoryBackend("conformance", versioning=True), SMALL)


class TestWithoutPinning(ConformanceSuite):
    """Over a storage without conditional reads."""

    variant = True

    chunk_sizes = (1, 4096, 100_000)
    large = 1_000_000

    def open_backend(self):
        return CompressLayer(WithoutCapabilities(MemoryBackend("conformance"), "read_conditions"), SMALL)


class TestOverPrefix(ConformanceSuite):
    variant = True
    chunk_sizes = (1, 4096, 100_000)
    large = 1_000_000

    def open_backend(self):
        return CompressLayer(PrefixLayer(MemoryBackend("conformance"), "inner/p"), SMALL)


class TestUnderPrefix(ConformanceSuite):
    variant = True
    chunk_sizes = (1, 4096, 100_000)
    large = 1_000_000

    def open_backend(self):
        return PrefixLayer(CompressLayer(MemoryBackend("conformance"), SMALL), "p/")


class TestPassingForeign(ConformanceSuite):
    variant = True
    chunk_sizes = (1, 4096, 100_000)
    large = 1_000_000

    def open_backend(self):
        return CompressLayer(MemoryBackend("conformance"), CompressConfig(frame_size=4096, foreign="pass"))


class TestOverLocal(ConformanceSuite):
    variant = True
    rounds = 2
    many = 300

    def open_backend(self):
        backend = LocalBackend(self.folder / "objects", layout="sharded")
        backend.create()
        return CompressLayer(backend)

    def reopen(self, backend):
        return CompressLayer(LocalBackend(self.folder / "objects", layout="sharded"))

    def missing_bucket(self):
        return CompressLayer(LocalBackend(self.folder / "missing"))
