"""`AsyncStorage` keeps every promise of `Storage`: the suite runs through it."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.testing.async_face import AsyncFace
from mediagit_storage.testing.conformance import BackendCase, ConformanceSuite
from mediagit_storage.testing.stacking import make_stack

pytestmark = pytest.mark.usefixtures("loop_thread")


class AsyncCase(BackendCase):
    """Called by tasks."""

    def storage(self, backend, *, keys="strict", owned=True):
        return AsyncFace(backend, keys=keys, owned=owned)


class TestMemory(AsyncCase, ConformanceSuite):
    def open_backend(self):
        return MemoryBackend("conformance")

    def missing_bucket(self):
        return MemoryBackend("missing", created=False)


class TestLocal(AsyncCase, ConformanceSuite):
    variant = True
    # It has no pages, and syncs each object to the disk.
    many = 101

    def open_backend(self):
        return LocalBackend(self.folder)

    def reopen(self, backend):
        return LocalBackend(self.folder)


class TestLayersThatTravel(AsyncCase, ConformanceSuite):
    """Reads go through `mended` and the batches of both layers."""

    variant = True

    def open_backend(self):
        return make_stack(("cache", "encrypt"), MemoryBackend("conformance"))


class TestLayersInThreads(AsyncCase, ConformanceSuite):
    """`compress` has no batch."""

    variant = True

    def open_backend(self):
        return make_stack(("compress", "encrypt"), MemoryBackend("conformance"))
