"""The checksum layer keeps every promise of the storage below it (119), with and without metadata after the bytes."""

from __future__ import annotations

import tempfile

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.wrappers import WithoutCapabilities, without_batch

SPOOLING = ChecksumConfig(missing="refuse", spool_bytes=64 * 1024 * 1024)


class TestMemory(ConformanceSuite):
    def open_backend(self):
        return ChecksumLayer(MemoryBackend("conformance"))

    def missing_bucket(self):
        return ChecksumLayer(MemoryBackend("missing", created=False))


class TestVersions(ConformanceSuite):
    variant = True

    def open_backend(self):
        return ChecksumLayer(PrefixLayer(MemoryBackend("conformance", versioning=True), "p/"))


class TestWithoutLateMetadata(ConformanceSuite):
    def open_backend(self):
        return ChecksumLayer(WithoutCapabilities(MemoryBackend("conformance"), "late_metadata"), SPOOLING)


class TestOneByOne(ConformanceSuite):
    variant = True

    def open_backend(self):
        return ChecksumLayer(
            WithoutCapabilities(MemoryBackend("conformance"), "batch", "late_metadata", "server_copy"), SPOOLING
        )


class TestLocal(ConformanceSuite):
    variant = True

    def open_backend(self):
        return ChecksumLayer(LocalBackend(tempfile.mkdtemp()))


class TestLocalOutsidePrefix(ConformanceSuite):
    variant = True

    def open_backend(self):
        return PrefixLayer(ChecksumLayer(without_batch(LocalBackend(tempfile.mkdtemp()))), "p/")
