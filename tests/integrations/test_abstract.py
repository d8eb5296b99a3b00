"""fsspec's own suites of what a filesystem is, on memory, on a folder and on a server of S3."""

from __future__ import annotations

import posixpath

import pytest
from fsspec.tests import abstract

from mediagit_storage import MemoryBackend, Storage, open_storage
from mediagit_storage.integrations.fsspec import MgsFileSystem


class Everything(
    abstract.AbstractCopyTests,
    abstract.AbstractGetTests,
    abstract.AbstractOpenTests,
    abstract.AbstractPipeTests,
    abstract.AbstractPutTests,
    abstract.AbstractFixtures,
):
    """All of the suites. A class says by its fixture ``fs`` where they run."""

    @pytest.fixture
    def fs_join(self):
        return posixpath.join

    @pytest.fixture
    def fs_path(self):
        return "some/folder"

    @pytest.fixture
    def supports_empty_directories(self):
        return False


class TestMemory(Everything):
    @pytest.fixture
    def fs(self):
        with Storage(MemoryBackend()) as store:
            yield MgsFileSystem(storage=store)


class TestLocal(Everything):
    """The many patterns, which are the same questions to a listing again and again, are left to the long run here."""

    @staticmethod
    def core(name):
        return "glob_edge_cases" not in name

    @pytest.fixture
    def fs(self, tmp_path):
        (tmp_path / "store").mkdir()
        with open_storage(tmp_path / "store", options={"durability": "none"}) as store:
            yield MgsFileSystem(storage=store)


class TestMoto(Everything):
    """Each way of copying once; the rest, which asks the server for the same, is left to the long run."""

    server_name = "moto"

    @staticmethod
    def core(name):
        return name.endswith(("exclusive", "directory_to_existing_directory", "as_list", "with_same_name_prefix"))

    @pytest.fixture
    def fs(self, new_bucket, monkeypatch):
        server, bucket = new_bucket("moto")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        options = {"service": "aws", "checksum": "sha256", "retry_base": 0.01, "retry_cap": 0.05}
        with open_storage(f"s3://{bucket}/below", options=options) as store:
            yield MgsFileSystem(storage=store)
