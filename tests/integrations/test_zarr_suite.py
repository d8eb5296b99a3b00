"""zarr's own suite of what a store is, over the filesystem as zarr wraps it."""

from __future__ import annotations

import asyncio

import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.core.buffer.cpu import Buffer
from zarr.core.sync import cleanup_resources
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests

from mediagit_storage import open_storage
from mediagit_storage.integrations.fsspec import MgsFileSystem

pytestmark = pytest.mark.anyio

CORE = {
    "test_get", "test_get_partial_values", "test_get_many", "test_set", "test_set_many", "test_set_if_not_exists",
    "test_exists", "test_delete", "test_delete_dir", "test_delete_nonexistent_key_does_not_raise", "test_clear",
    "test_is_empty", "test_list", "test_list_prefix", "test_list_dir", "test_getsize", "test_getsize_prefix",
    "test_getsize_raises", "test_serializable_store", "test_with_read_only_store",
}  # fmt: skip


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def no_thread_of_zarr():
    """zarr keeps a thread and a loop of its own for the whole process, unless it is told to end."""
    yield
    cleanup_resources()


@pytest.mark.usefixtures("no_thread_of_zarr")
class TestStore(StoreTests):
    """What a call does is gated; the same calls with other arguments, and what zarr alone answers, are long."""

    @staticmethod
    def core(name):
        return name in CORE

    store_cls = FsspecStore
    buffer_cls = Buffer

    @pytest.fixture
    def local_fs(self, tmp_path):
        with open_storage(tmp_path, options={"durability": "none"}) as store:
            yield MgsFileSystem(storage=store)

    @pytest.fixture
    def store_kwargs(self, local_fs):
        return {"fs": AsyncFileSystemWrapper(local_fs, asynchronous=True), "path": "some/folder"}

    @pytest.fixture
    def store(self, open_kwargs):
        return asyncio.run(self.store_cls.open(**open_kwargs))

    @pytest.fixture
    def store_not_open(self, store_kwargs):
        return self.store_cls(**store_kwargs)

    async def set(self, store, key, value):
        store.fs.sync_fs.pipe_file(f"{store.path}/{key}", value.to_bytes())

    async def get(self, store, key):
        return self.buffer_cls.from_bytes(store.fs.sync_fs.cat_file(f"{store.path}/{key}"))

    def test_store_repr(self, store):
        assert str(store) == "<FsspecStore(AsyncFileSystemWrapper, some/folder)>"

    def test_store_supports_writes(self, store):
        assert store.supports_writes

    def test_store_supports_listing(self, store):
        assert store.supports_listing
