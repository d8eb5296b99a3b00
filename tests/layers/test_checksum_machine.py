"""Random calls through the checksum layer, over storages that fail and damage what they hold (246)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ChecksumError
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer
from mediagit_storage.testing.layered_machine import LayeredLocalMachine, case
from mediagit_storage.testing.machine import KEYS, StorageMachine
from mediagit_storage.testing.wrappers import WithoutCapabilities

LONG = settings(stateful_step_count=60, max_examples=100)


class MemoryMachine(StorageMachine):
    def open_backend(self):
        return ChecksumLayer(MemoryBackend(), ChecksumConfig(missing="refuse"))


class SpoolingMachine(StorageMachine):
    def open_backend(self):
        inner = WithoutCapabilities(MemoryBackend(), "late_metadata", "batch")
        return ChecksumLayer(inner, ChecksumConfig(missing="refuse", spool_bytes=1_000_000))


class LocalMachine(LayeredLocalMachine):
    """Also changes a byte behind the storage's back."""

    def layered(self, inner):
        return ChecksumLayer(inner, ChecksumConfig(missing="refuse"))

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


TestMemory = case(MemoryMachine)
TestSpooling = case(SpoolingMachine)
TestLocal = case(LocalMachine)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [MemoryMachine, SpoolingMachine, LocalMachine])
def test_many_sequences(machine):
    run_state_machine_as_test(machine, settings=LONG)
