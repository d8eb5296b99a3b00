"""A throttled storage keeps every promise of the one below it; the limits are so high that nobody waits for long."""

from __future__ import annotations

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.wrappers import without_batch

#: Small bursts: what is larger goes in pieces, and in batches by itself.
LIMITS = Limits(bytes_up=10**9, bytes_down=10**9, requests=10**6, burst=0.0001)


class TestOverMemory(ConformanceSuite):
    def open_backend(self):
        return ThrottleLayer(MemoryBackend("conformance"), LIMITS)

    def missing_bucket(self):
        return ThrottleLayer(MemoryBackend("missing", created=False), LIMITS)


class TestOverVersions(ConformanceSuite):
    variant = True

    def open_backend(self):
        return ThrottleLayer(MemoryBackend("conformance", versioning=True), LIMITS)


class TestInThreads(ConformanceSuite):
    variant = True

    def open_backend(self):
        return ThrottleLayer(without_batch(MemoryBackend("conformance")), LIMITS)


class TestOverLocal(ConformanceSuite):
    variant = True

    def open_backend(self):
        return ThrottleLayer(LocalBackend(self.folder), LIMITS)

    def reopen(self, backend):
        return ThrottleLayer(LocalBackend(self.folder), LIMITS)
