"""Random calls through the encrypt layer, over storages that fail and damage what they hold (246)."""

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
from mediagit_storage.errors import DecryptionError, StorageError
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.testing.machine import DATA, KEYS, StorageMachine
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.testing.stacking import TEST_IDENTITY
from mediagit_storage.types import Attributes

QUICK = settings(max_examples=12, stateful_step_count=25, phases=(Phase.explicit, Phase.generate))
LONG = settings(stateful_step_count=60, max_examples=200)
#: A key for tests, known to everybody.
IDENTITY = Secret(TEST_IDENTITY)


class MemoryMachine(StorageMachine):
    def open_backend(self):
        return EncryptLayer(MemoryBackend(), EncryptConfig(identity=IDENTITY))


class BoundMachine(StorageMachine):
    def open_backend(self):
        return EncryptLayer(MemoryBackend(versioning=True), EncryptConfig(identity=IDENTITY, bind_keys=True))


class LocalMachine(StorageMachine):
    """Also lets any call of the operating system fail, and changes a byte behind the storage's back."""

    def open_backend(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-machine-"))
        return self.opened()

    def opened(self, **options):
        local = LocalBackend(self.folder, durability="none", **options)
        return EncryptLayer(local, EncryptConfig(identity=IDENTITY))

    def reopen_backend(self):
        return self.opened()

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(key=KEYS, data=DATA, call=st.integers(1, 40), pieces=st.booleans())
    def put_meets_a_fault(self, key, data, call, pieces):
        """Whatever fails, the old object or the new one is there, and opens."""
        if self.model.conflicts(key):
            return
        faulty = FaultyOS([Fault("*", nth=call, error=errno.EIO)])
        store = Storage(self.opened(os=faulty))
        with suppress(StorageError):
            store.put(key, iter([data[:7], data[7:]]) if pieces else data)
        faulty.faults.clear()
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
        if key not in self.model.objects:
            return
        path = self.folder / key
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[place % len(whole)] ^= 1 << bit
        self.overwrite(path, damaged)
        with pytest.raises(DecryptionError):
            self.store.get(key)
        with pytest.raises(DecryptionError), self.store.stream(key) as body:
            list(body)
        [outcome] = self.store.get_many([key])
        assert isinstance(outcome.error, DecryptionError)
        self.overwrite(path, whole)
        self.etags.pop(key, None)

    def overwrite(self, path, data):
        with path.open("r+b") as file:
            file.write(data)


def pytest_case(machine, options):
    case = machine.TestCase
    case.settings = options
    return case


TestMemory = pytest_case(MemoryMachine, QUICK)
TestBound = pytest_case(BoundMachine, QUICK)
TestLocal = pytest_case(LocalMachine, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("machine", [MemoryMachine, BoundMachine, LocalMachine])
def test_many_random_calls(machine):
    run_state_machine_as_test(machine, settings=LONG)
