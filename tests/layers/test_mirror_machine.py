"""Random calls through a mirror whose members fail and come back (246)."""

from __future__ import annotations

import errno
import random
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
from mediagit_storage.errors import ConnectionLostError, NotFoundError, StorageError
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, RepairRules
from mediagit_storage.storage import Storage
from mediagit_storage.testing.machine import DATA, KEYS, StorageMachine
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import Attributes

QUICK = settings(max_examples=8, stateful_step_count=20, phases=(Phase.explicit, Phase.generate))
LONG = settings(stateful_step_count=60, max_examples=100)


class ShakyReplicas(StorageMachine):
    """Two replicas fail at every few calls: the mirror is as good as its primary, and a repair puts them in step.

    While the primary is down a replica shows what is there, or nothing.
    """

    def open_backend(self):
        # By chance, and the same at every run: counted out, the same call of a repair would fail again and again.
        self.dice = random.Random(5)
        self.down = False
        primary = CallLog(MemoryBackend("0"), self.primary_fails)
        replicas = [CallLog(MemoryBackend(name), self.replica_fails) for name in "12"]
        self.mirror = MirrorLayer(primary, replicas, MirrorConfig(require=0, failover=True, pause=0))
        # What members in memory have missed is remembered in memory, and would end with it.
        self.mirror.close = lambda: None
        return self.mirror

    def replica_fails(self, name):
        if self.dice.random() < 0.2 and name not in {"list", "list_dir"}:
            raise ConnectionLostError("not now")

    def primary_fails(self, name):
        if self.down:
            raise ConnectionLostError("down")

    @rule(key=KEYS)
    def read_while_the_primary_is_down(self, key):
        self.down = True
        held = self.model.objects.get(key)
        try:
            data = self.store.get(key)
        except ConnectionLostError:
            pass
        else:
            assert held is not None, f"{key!r} came back"
            assert data == held.data
        finally:
            self.down = False

    @rule(thorough=st.booleans())
    def repair(self, thorough):
        rules = RepairRules(noted=not thorough, thorough=thorough, remove_extra=True, remove_most=True)
        for _ in range(40):
            with suppress(StorageError):
                if {each.repaired for each in self.mirror.repair(rules)} <= {True}:
                    break
        for member in self.mirror.replicas:
            seen = Storage(member.inner._inner, owned=False)
            assert [info.key for info in seen.list()] == self.model.listing()
            for key, held in self.model.objects.items():
                assert Held(seen.get(key), seen.stat(key).attributes) == held


class FaultyDisks(StorageMachine):
    """Two folders, and any call of the operating system fails, below the primary or the replica."""

    def open_backend(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-machine-"))
        for name in ("0", "1", "state"):
            (self.folder / name).mkdir(mode=0o700)
        return self.opened()

    def opened(self, which=None, os=None):
        members = [
            LocalBackend(self.folder / name, durability="none", **({"os": os} if name == which else {}))
            for name in "01"
        ]
        return MirrorLayer(members[0], members[1:], MirrorConfig(require=0, state=str(self.folder / "state")))

    def reopen_backend(self):
        return self.opened()

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(
        key=KEYS,
        data=DATA,
        call=st.integers(1, 40),
        which=st.sampled_from("01"),
        pieces=st.booleans(),
        error=st.sampled_from([errno.EIO, errno.ENOSPC]),
    )
    def put_meets_a_fault(self, key, data, call, which, pieces, error):
        """The old object or the new one is there; one that was acknowledged is the new one."""
        if self.model.conflicts(key):
            return
        os = FaultyOS([Fault("*", nth=call, error=error)])
        acknowledged = False
        with suppress(StorageError), Storage(self.opened(which, os)) as store:
            store.put(key, iter([data[:7], data[7:]]) if pieces else data)
            acknowledged = True
        os.faults.clear()
        for name in "01":
            with Storage(LocalBackend(self.folder / name)) as member:
                for upload in member.pending_uploads():
                    member.abort_upload(upload)
        new, old = Held(data, Attributes()), self.model.objects.get(key)
        try:
            found = self.look(key)
        except NotFoundError:
            found = None
        assert found in ((new,) if acknowledged else (old, new))
        self._forget(key)
        if found is not None:
            self.model.objects[key] = found

    @rule()
    def repair(self):
        mirror = self.store.backend
        assert {each.repaired for each in mirror.repair(RepairRules(noted=True))} <= {True}
        assert [*mirror.repair(RepairRules(thorough=True))] == [], "what is noted is all that there is"


def pytest_case(machine, options):
    case = machine.TestCase
    case.settings = options
    return case


TestShakyReplicas = pytest_case(ShakyReplicas, QUICK)
TestFaultyDisks = pytest_case(FaultyDisks, QUICK)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [ShakyReplicas, FaultyDisks])
def test_many_sequences(machine):
    run_state_machine_as_test(machine, settings=LONG)
