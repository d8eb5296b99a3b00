"""Random sequences of calls, compared with a dictionary after each (246). `make test-long` tries many more."""

import errno
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import StorageError
from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.dying_os import DyingOS, PowerLoss
from mediagit_storage.testing.layered_machine import case
from mediagit_storage.testing.machine import ATTRIBUTES, DATA, KEYS, StorageMachine
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.testing.wrappers import without_batch
from mediagit_storage.types import Attributes

LONG = settings(stateful_step_count=60)


class MemoryMachine(StorageMachine):
    def open_backend(self):
        return MemoryBackend()


class VersionedMachine(StorageMachine):
    def open_backend(self):
        return MemoryBackend(versioning=True)


class ThreadedPrefixMachine(StorageMachine):
    def open_backend(self):
        return PrefixLayer(without_batch(MemoryBackend()), "p/q")


class LocalMachine(StorageMachine):
    """Also kills the process at any call of the operating system, and lets any call fail."""

    layout = "plain"

    def open_backend(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-machine-"))
        return self.opened()

    def opened(self, **options):
        return LocalBackend(self.folder, layout=self.layout, durability="none", **options)

    def reopen_backend(self):
        return self.opened()

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(key=KEYS, other=KEYS, data=DATA, attributes=ATTRIBUTES, what=st.integers(0, 5), call=st.integers(0, 60))
    def die(self, key, other, data, attributes, what, call):
        """The process ends at a call of the operating system. Another one goes on, and finds old or new, whole."""
        dying = DyingOS(call)
        self.attempt(Storage(self.opened(os=dying)), key, other, data, attributes, what, PowerLoss)
        dying.bury()
        self.store.close()
        self.backend = self.opened()
        self.store = Storage(self.backend)
        self.clean_up()

    @rule(
        key=KEYS,
        other=KEYS,
        data=DATA,
        attributes=ATTRIBUTES,
        what=st.integers(0, 5),
        call=st.integers(1, 50),
        number=st.sampled_from([errno.EIO, errno.ENOSPC, errno.EACCES, errno.EINTR, errno.ESTALE]),
        persistent=st.booleans(),
    )
    def meet_a_fault(self, key, other, data, attributes, what, call, number, persistent):
        """A call of the operating system fails, once or from then on. The result is an error or success, never a part."""
        faulty = FaultyOS([Fault("*", nth=call, error=number, persistent=persistent)])
        store = Storage(self.opened(os=faulty))
        self.attempt(store, key, other, data, attributes, what, StorageError)
        faulty.faults.clear()
        store.close()
        self.clean_up()

    def clean_up(self):
        """What a dead process, or a clean-up that failed, left behind is found and aborted."""
        left = [*self.store.pending_uploads()]
        assert len(left) <= 1
        for upload in left:
            self.store.abort_upload(upload)

    def attempt(self, store, key, other, data, attributes, what, failure):
        """Do one thing that may fail; then the keys concerned are as before, or as they should become, each whole."""
        old = {each: self.model.objects.get(each) for each in (key, other)}
        new = dict(old)
        try:
            if what <= 1:
                new[key] = Held(data, attributes or Attributes())
                source = data if what else iter([data[:7], data[7:]])
                store.put(key, source, attributes=attributes)
            elif what == 2:
                new[key] = None
                store.delete(key)
            elif what == 3:
                new[other] = old[key]
                store.copy(key, other)
            elif what == 4:
                new = {key: None, other: old[key]} if key != other else new
                store.rename(key, other)
            else:
                store.put(key, data, if_absent=True)
                new[key] = Held(data)
        except failure:
            pass
        except StorageError:
            new = {**old, key: old[key]} if what != 5 else new
        else:
            assert all(self.now(each) == new[each] for each in new)
        for each in (key, other):
            found = self.now(each)
            wanted = [old[each], new[each]] if what != 5 else [old[each], Held(data)] if each == key else [old[each]]
            assert found in wanted, f"{each!r} is neither as before nor as it should be"
            self.etags.pop(each, None)
            if found is None:
                self.model.objects.pop(each, None)
            else:
                self.model.objects[each] = found
        if what == 4 and old[key] is not None:
            assert old[key] in (self.now(key), self.now(other)), "the renamed object is lost"

    def now(self, key):
        return self.look(key) if self.store.exists(key) else None


class ShardedMachine(LocalMachine):
    layout = "sharded"


class CompressedMachine(LocalMachine):
    """The same deaths and faults below the layer, with objects of several frames."""

    layout = "sharded"

    def opened(self, **options):
        return CompressLayer(super().opened(**options), CompressConfig(frame_size=4096, threads=2))


TestMemory = case(MemoryMachine)
TestVersioned = case(VersionedMachine)
TestThreadedPrefix = case(ThreadedPrefixMachine)
TestLocalPlain = case(LocalMachine)
TestLocalSharded = case(ShardedMachine)
TestCompressed = case(CompressedMachine)


@pytest.mark.long
@pytest.mark.parametrize(
    "machine", [MemoryMachine, ThreadedPrefixMachine, LocalMachine, ShardedMachine, CompressedMachine]
)
def test_many_more(machine):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=settings(LONG, max_examples=300))
