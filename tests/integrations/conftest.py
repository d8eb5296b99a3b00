"""Filesystems over storages of several kinds, and none of them left behind."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage import MemoryBackend, Storage
from mediagit_storage.integrations.fsspec import MgsFileSystem
from mediagit_storage.testing.emulators import Running
from mediagit_storage.testing.emulators.raw_s3 import call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a suite of others that has run elsewhere, all but a core is long; see `core` in the classes."""
    for item in items:
        core = getattr(getattr(item, "cls", None), "core", None)
        if core is not None and not core(item.originalname):
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def no_kept_instances():
    """What fsspec keeps for a whole process ends with the test, and so does what they hold open."""
    yield
    MgsFileSystem.clear_instance_cache()


@pytest.fixture
def memory():
    """A storage in memory, closed in the end."""
    with Storage(MemoryBackend()) as store:
        yield store


@pytest.fixture
def new_bucket(servers):
    """Makes a bucket with a random name on a server of S3, and returns the server and the bucket."""

    def make(name: str) -> tuple[Running, str]:
        server, bucket = servers(name), f"t-{secrets.token_hex(8)}"
        answer = call(server, "PUT", bucket)
        assert answer.status == 200, answer
        return server, bucket

    return make
