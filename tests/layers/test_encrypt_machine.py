"""Random calls through the encrypt layer, over storages that fail and damage what they hold (246)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import DecryptionError
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.layered_machine import LayeredLocalMachine, case
from mediagit_storage.testing.machine import KEYS, StorageMachine
from mediagit_storage.testing.stacking import TEST_IDENTITY

LONG = settings(stateful_step_count=60, max_examples=200)
#: A key for tests, known to everybody.
IDENTITY = Secret(TEST_IDENTITY)


class MemoryMachine(StorageMachine):
    def open_backend(self):
        return EncryptLayer(MemoryBackend(), EncryptConfig(identity=IDENTITY))


class BoundMachine(StorageMachine):
    def open_backend(self):
        return EncryptLayer(MemoryBackend(versioning=True), EncryptConfig(identity=IDENTITY, bind_keys=True))


class LocalMachine(LayeredLocalMachine):
    """Also changes a byte behind the storage's back."""

    def layered(self, inner):
        return EncryptLayer(inner, EncryptConfig(identity=IDENTITY))

    @rule(key=KEYS, place=st.integers(0, 200_000), bit=st.integers(0, 7))
    def read_after_damage(self, key, place, bit):
        """A bit that flips on disk is told of by every way to read, and the object reads again once it is right."""
        if key not in self.model.objects:
            return
        whole = (self.folder / key).read_bytes()
        damaged = bytearray(whole)
        damaged[place % len(whole)] ^= 1 << bit
        self.overwrite(key, damaged)
        with pytest.raises(DecryptionError):
            self.store.get(key)
        with pytest.raises(DecryptionError), self.store.stream(key) as body:
            list(body)
        [outcome] = self.store.get_many([key])
        assert isinstance(outcome.error, DecryptionError)
        self.overwrite(key, whole)
        self.etags.pop(key, None)


TestMemory = case(MemoryMachine)
TestBound = case(BoundMachine)
TestLocal = case(LocalMachine)


@pytest.mark.long
@pytest.mark.parametrize("machine", [MemoryMachine, BoundMachine, LocalMachine])
def test_many_random_calls(machine):
    run_state_machine_as_test(machine, settings=LONG)
