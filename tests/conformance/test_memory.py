"""The reference model keeps its own promises (247)."""

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.wrappers import without_batch


class TestMemory(ConformanceSuite):
    def open_backend(self):
        return MemoryBackend("conformance")

    def missing_bucket(self):
        return MemoryBackend("missing", created=False)


class TestMemoryWithVersions(TestMemory):
    def open_backend(self):
        return MemoryBackend("conformance", versioning=True)


class TestMemoryWithoutNativeBatches(TestMemory):
    def open_backend(self):
        return without_batch(MemoryBackend("conformance"))
