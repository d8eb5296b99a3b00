"""What the tests of the local storage share: a folder, ways in and out of it, and a count of open descriptors."""

import os
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.source import as_source
from mediagit_storage.types import DeleteOptions, ListOptions, PutOptions, ReadOptions


class Store:
    """A backend with the options left out, so that tests read as stories."""

    def __init__(self, path, **options):
        self.path = Path(path)
        self.backend = LocalBackend(path, **options)

    def put(self, key, data=b"data", **options):
        return self.backend.put(key, as_source(data), PutOptions(**options))

    def get(self, key, **options):
        return self.backend.read(key, ReadOptions(**options)).data

    def stream(self, key, **options):
        return self.backend.stream(key, ReadOptions(**options))

    def delete(self, key, **options):
        return self.backend.delete(key, DeleteOptions(**options))

    def keys(self, prefix="", start_after=None):
        return [info.key for info in self.backend.list(prefix, ListOptions(start_after=start_after))]

    def level(self, prefix="", start_after=None):
        entries = self.backend.list_dir(prefix, ListOptions(start_after=start_after))
        return [getattr(entry, "key", None) or entry.prefix for entry in entries]

    def temps(self):
        folder = self.path / ".mediagit-storage" / "tmp"
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def files(self):
        """Every file that is no temporary one, relative to the root."""
        return sorted(
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if not path.is_dir() and ".mediagit-storage" not in path.parts
        )


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def open_store(root):
    """Opens stores on the same folder, and closes them all."""
    stores = []

    def opener(path=root, **options):
        store = Store(path, **options)
        stores.append(store)
        return store

    yield opener
    for store in stores:
        store.backend.close()


@pytest.fixture
def store(open_store):
    return open_store(durability="none")


@pytest.fixture
def open_files():
    """How many descriptors this process holds, as a function."""
    return lambda: len(os.listdir("/proc/self/fd"))
