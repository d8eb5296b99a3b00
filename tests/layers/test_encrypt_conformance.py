"""The encrypt layer keeps every promise of the storage below it, alone and in stacks."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.secrets import SecretRef
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.stacking import TEST_IDENTITY


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    monkeypatch.setenv("TEST_IDENTITY", TEST_IDENTITY)


def config(**options) -> EncryptConfig:
    return EncryptConfig(identity=SecretRef(env="TEST_IDENTITY"), **options)


class TestOverMemory(ConformanceSuite):
    def open_backend(self):
        return EncryptLayer(MemoryBackend("conformance"), config())

    def missing_bucket(self):
        return EncryptLayer(MemoryBackend("missing", created=False), config())


class TestOverVersions(ConformanceSuite):
    variant = True

    def open_backend(self):
        return EncryptLayer(MemoryBackend("conformance", versioning=True), config())


class TestBoundKeys(ConformanceSuite):
    variant = True

    def open_backend(self):
        return EncryptLayer(MemoryBackend("conformance"), config(bind_keys=True))


class TestOverLocal(ConformanceSuite):
    variant = True

    def open_backend(self):
        return EncryptLayer(LocalBackend(self.folder), config())


class TestBetweenPrefixes(ConformanceSuite):
    variant = True

    def open_backend(self):
        inner = PrefixLayer(MemoryBackend("conformance"), "inner/")
        return PrefixLayer(EncryptLayer(inner, config(bind_keys=True)), "outer/")
