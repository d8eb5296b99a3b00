"""Layers keep every promise of the storage below them (119), and so do stacks of them."""

from __future__ import annotations

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.prefix import PrefixConfig, PrefixLayer
from mediagit_storage.testing.conformance import ConformanceSuite


class Bare(Layer):
    """Forwards everything."""

    layer_name = "bare"


class TestForwarding(ConformanceSuite):
    variant = True

    def open_backend(self):
        return Bare(MemoryBackend("conformance"), PrefixConfig("unused"))

    def missing_bucket(self):
        return Bare(MemoryBackend("missing", created=False), PrefixConfig("unused"))


class TestPrefix(ConformanceSuite):
    def open_backend(self):
        return PrefixLayer(MemoryBackend("conformance"), "inner/p")

    def missing_bucket(self):
        return PrefixLayer(MemoryBackend("missing", created=False), "inner/p")


class TestPrefixWithVersions(TestPrefix):
    variant = True

    def open_backend(self):
        return PrefixLayer(PrefixLayer(MemoryBackend("conformance", versioning=True), "inner/"), "p/")
