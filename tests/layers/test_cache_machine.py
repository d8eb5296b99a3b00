"""Random calls through a cache while others write behind its back: it is never seen that there is one (131)."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import StorageError, UnavailableError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.layered_machine import case
from mediagit_storage.testing.machine import DATA, KEYS, StorageMachine
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.wrappers import WithoutCapabilities, without_batch

LONG = settings(stateful_step_count=60)

K = 1024


class CacheMachine(StorageMachine):
    """Others write, delete, and read through a cache of their own in the same folder; files of it get damaged."""

    options: dict = {"memory_bytes": 64 * K, "memory_entries": 20, "disk_bytes": 128 * K, "disk_entries": 30}

    def under(self):
        return MemoryBackend()

    def open_backend(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-cache-"))
        self.inner = self.under()
        self.others = Storage(self.inner, owned=False)
        self.neighbour = Storage(self.cached(), owned=False)
        return self.cached()

    def cached(self):
        options = {"chunk_size": 8 * K, "read_ahead": 8 * K, "folder": str(self.folder), **self.options}
        return CacheLayer(self.inner, CacheConfig(**options))

    def reopen_backend(self):
        return self.cached()

    @rule()
    def reopen(self):
        """Another cache over the same folder, which begins with an empty memory."""
        self.backend = self.cached()
        self.store = Storage(self.backend)

    @rule(key=KEYS, data=DATA)
    def others_put(self, key, data):
        if not self.model.conflicts(key):
            self.others.put(key, data)
            self.model.objects[key] = Held(data)
            self.etags.pop(key, None)

    @rule(key=KEYS)
    def others_delete(self, key):
        self.others.delete(key)
        self._forget(key)

    @rule(key=KEYS)
    def neighbour_reads(self, key):
        held = self.model.objects.get(key)
        try:
            assert self.neighbour.get(key) == held.data
        except FileNotFoundError:
            assert held is None

    @rule(number=st.integers(0, 30), place=st.integers(0, 9000), cut=st.booleans())
    def damage(self, number, place, cut):
        files = sorted(path for path in (self.folder / "entries").rglob("*") if path.is_file())
        if files:
            path = files[number % len(files)]
            whole = path.read_bytes()
            at = place % max(1, len(whole))
            path.write_bytes(whole[:at] if cut or not whole else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])

    @rule()
    def the_folder_vanishes(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder, ignore_errors=True)


class WithoutConditions(CacheMachine):
    def under(self):
        return without_batch(WithoutCapabilities(MemoryBackend(), "read_conditions"))


class MemoryOnly(CacheMachine):
    options: dict = {"memory_bytes": 256 * K, "disk_entries": 0}


class OverLocal(CacheMachine):
    """Shared by several caches in earnest: what one leaves on disk the others use."""

    def under(self):
        self.objects = Path(tempfile.mkdtemp(prefix="mgs-cached-"))
        return LocalBackend(self.objects, durability="none")

    def teardown(self):
        super().teardown()
        self.inner.close()
        shutil.rmtree(self.objects)


class Flaky(Layer):
    """Fails when it is told to, before or after the deed."""

    layer_name = "flaky"
    fails = 0

    def __init__(self, inner):
        super().__init__(inner, CacheConfig())

    def _do(self, name, *arguments):
        self.fails -= 1
        if self.fails == 1:
            raise UnavailableError("before")
        result = getattr(self.inner, name)(*arguments)
        if self.fails == 0:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            raise UnavailableError("after")
        return result

    def put(self, key, source, options):
        return self._do("put", key, source, options)

    def read(self, key, options):
        return self._do("read", key, options)

    def stream(self, key, options):
        return self._do("stream", key, options)

    def stat(self, key, version=None):
        return self._do("stat", key, version)

    def delete(self, key, options):
        return self._do("delete", key, options)


class Trusting(CacheMachine):
    """A cache that never asks, with nobody else writing: own writes are seen, also those that failed half-way."""

    options: dict = {**CacheMachine.options, "validate": "immutable"}

    def under(self):
        return Flaky(MemoryBackend())

    @rule(key=KEYS, data=DATA, when=st.integers(1, 2), delete=st.booleans())
    def a_write_that_fails(self, key, data, when, delete):
        if self.model.conflicts(key):
            return
        self.inner.fails = when
        with contextlib.suppress(StorageError):
            self.store.delete(key) if delete else self.store.put(key, data)
        self.inner.fails = 0
        self._forget(key)
        if self.others.exists(key):
            self.model.objects[key] = Held(self.others.get(key), self.others.stat(key).attributes)

    @rule(key=KEYS, when=st.integers(1, 2))
    def a_read_that_fails(self, key, when):
        self.inner.fails = when
        with contextlib.suppress(StorageError):
            self.store.get(key)
        self.inner.fails = 0

    def others_put(self, key=None, data=None):
        """Nobody does."""

    def others_delete(self, key=None):
        """Nobody does."""

    def neighbour_reads(self, key=None):
        """What it read before it is not told that it is old."""


TestCache = case(CacheMachine)
TestWithoutConditions = case(WithoutConditions)
TestMemoryOnly = case(MemoryOnly)
TestOverLocal = case(OverLocal)
TestTrusting = case(Trusting)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("machine", [CacheMachine, WithoutConditions, MemoryOnly, OverLocal, Trusting])
def test_many_more(machine):
    run_state_machine_as_test(machine, settings=settings(LONG, max_examples=200))
