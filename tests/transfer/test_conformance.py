"""A far storage, whose large files travel in parts and resume, keeps every promise of the contract."""

import pytest

from mediagit_storage import downloading
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.fetching import FetchLimits
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.remote import Remote


@pytest.fixture(autouse=True)
def larger_parts(state, monkeypatch):
    monkeypatch.setattr(downloading, "LIMITS", FetchLimits(threshold=200_000, part=100_000, concurrency=3))


class TestRemote(ConformanceSuite):
    chunk_sizes = (1, 100_000)
    rounds = 2

    def open_backend(self):
        return Remote(MemoryBackend("far"), self.folder / "server", part=100_000, piece=40_000)
