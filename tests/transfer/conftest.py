"""A far storage with small parts, and a state folder of its own for each test."""

import pytest

from mediagit_storage import downloading, ledger
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.fetching import FetchLimits
from mediagit_storage.storage import Storage
from mediagit_storage.testing.remote import Remote

PART = 1000


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Where journals go; parts are small, and every step is written down."""
    folder = tmp_path / "state"
    monkeypatch.setenv("MGS_STATE_DIR", str(folder))
    monkeypatch.setattr(downloading, "LIMITS", FetchLimits(threshold=2 * PART, part=PART, concurrency=3))
    monkeypatch.setattr(ledger, "_SAVE_EVERY", 0.0)
    return folder / "transfers"


@pytest.fixture(params=["threads", "native"])
def remote(request, tmp_path):
    return Remote(MemoryBackend(), tmp_path / "server", part=PART, native=request.param == "native")


@pytest.fixture
def store(remote):
    with Storage(remote) as opened:
        yield opened


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder
