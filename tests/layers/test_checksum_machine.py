"""Random calls through the checksum layer, over storages that fail and damage what they hold (246)."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ChecksumError, StorageError
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.machine import DATA, KEYS, StorageMachine
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.testing.wrappers import WithoutCapabilities
from mediagit_storage.types import Attributes

QUICK = settings(max_examples=12, stateful_step_count=25, phases=(Phase.explicit, Phase.generate))
LONG = settings(stateful_step_count=60, max_examples=100)


class MemoryMachine(StorageMachine):
    def open_backend(self):
        return ChecksumLayer(MemoryBackend(), ChecksumConfig(missing="refuse"))


class SpoolingMachine(StorageMachine):
    def open_backend(self):
        inner = WithoutCapabilities(MemoryBackend(), "late_metadata", "batch")
        return ChecksumLayer(inner, ChecksumConfig(missing="refuse", spool_bytes=1_000_000))


class LocalMachine(StorageMachine):
    """Also lets any call of the operating system fail, and changes a byte behind the storage's back."""

    def open_backend(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-machine-"))
        return self.opened()

    def opened(self, **options):
        local = LocalBackend(self.folder, durability="none", **options)
        return ChecksumLayer(local, ChecksumConfig(missing="refuse"))

    def reopen_backend(self):
        return self.opened()

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(key=KEYS, data=DATA, call=st.integers(1, 40), pieces=st.booleans())
    def put_meets_a_fault(self, key, data, call, pieces):
        """Whatever fails, the old object or the new one is there, and has its own digest."""
        if self.model.conflicts(key):
            return
        os = FaultyOS([Fault("*", nth=call, error=errno.EIO)])
        store = Storage(self.opened(os=os))
        with suppress(StorageError):
            store.put(key, iter([data[:7], data[7:]]) if pieces else data)
        os.faults.clear()
        store.close()
        for upload in self.store.pending_uploads():
            self.store.abort_upload(upload)
        found = self.look(key) if self.store.exists(key) else None
        assert found in (self.model.objects.get(key), Held(data, Attributes()))
        self._forget(key)
        if found is not None:
            self.model.objects[key] = found

    @rule(key=KEYS, place=st.integers(0, 200_000), bit=st.integers(0, 7))
    def read_after_damage(self, key, place, bit):
        """A bit that flips on disk is told of by every way to read, and the object reads again once it is right."""
        held = self.model.objects.get(key)
        if held is None or not held.data:
            return
        place %= len(held.data)
        damaged = bytearray(held.data)
        damaged[place] ^= 1 << bit
        self.overwrite(key, damaged)
        for read in (self._get, self._stream):
            with pytest.raises(ChecksumError):
                read(key, None, None)
        [outcome] = self.store.get_many([key])
        assert isinstance(outcome.error, ChecksumError)
        self.overwrite(key, held.data)
        self.etags.pop(key, None)

    def overwrite(self, key, data):
        with (self.folder / key).open("r+b") as file:
            file.write(data)


def pytest_case(machine, options):
    case = machine.TestCase
    case.settings = options
    return case


TestMemory = pytest_case(MemoryMachine, QUICK)
TestSpooling = pytest_case(SpoolingMachine, QUICK)
TestLocal = pytest_case(LocalMachine, QUICK)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [MemoryMachine, SpoolingMachine, LocalMachine])
def test_many_sequences(machine):
    run_state_machine_as_test(machine, settings=LONG)
