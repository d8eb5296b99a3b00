"""Random calls through two storages as one, while objects move below it and either storage fails (246)."""

from __future__ import annotations

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
from mediagit_storage.errors import ConnectionLostError, NotFoundError, UnavailableError
from mediagit_storage.layers.migrating import MigratingConfig, MigratingLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.machine import DATA, KEYS, StorageMachine
from mediagit_storage.testing.wrappers import CallLog, without_batch
from mediagit_storage.types import Attributes

QUICK = settings(max_examples=6, stateful_step_count=25, phases=(Phase.explicit, Phase.generate))
LONG = settings(stateful_step_count=60, max_examples=100)


class Failing:
    """Lets the next call of one storage fail."""

    def __init__(self):
        self.armed = False

    def __call__(self, name):
        if self.armed and name != "create":
            self.armed = False
            raise ConnectionLostError("the connection broke")


class MigratingMachine(StorageMachine):
    """The model holds what both hold together; where each object lies changes below the layer, as in a migration."""

    copy_on_read = False

    def open_backend(self):
        self.new, self.old = self.storages()
        return self.layer()

    def storages(self):
        return MemoryBackend(), MemoryBackend()

    def layer(self):
        self.failing = {"new": Failing(), "old": Failing()}
        new, old = CallLog(self.new, self.failing["new"]), CallLog(self.old, self.failing["old"])
        return MigratingLayer(new, old, MigratingConfig(self.copy_on_read))

    def reopen_backend(self):
        return self.layer()

    @rule(key=KEYS, stale=st.none() | DATA)
    def begin_again_with_it_in_the_old(self, key, stale):
        """As if the object had been written before the migration began, and perhaps been overwritten since."""
        held = self.model.objects.get(key)
        if held is None:
            return
        old, new = Storage(self.old), Storage(self.new)
        if stale is not None:
            if not new.exists(key):
                new.put(key, held.data, attributes=held.attributes)
            old.put(key, stale, attributes=Attributes(content_type="text/stale"))
        else:
            old.put(key, held.data, attributes=held.attributes)
            new.delete(key)
        self.etags.pop(key, None)

    @rule(key=KEYS)
    def bring_over(self, key):
        """What a migration does: a copy that never overwrites."""
        held = self.model.objects.get(key)
        if held is not None:
            with suppress(FileExistsError):
                Storage(self.new).put(key, held.data, attributes=held.attributes, if_absent=True)
            self.etags.pop(key, None)

    @rule(key=KEYS, data=DATA, right=st.booleans())
    def put_over_what_was_looked_at(self, key, data, right):
        """The ETag of now, wherever the object lies."""
        if key not in self.model.objects:
            return
        etag = self.store.stat(key).etag
        self.etags[key] = etag if right else "stale"
        self.put_if_match(key, data, right=right)

    @rule(
        key=KEYS, side=st.sampled_from(["new", "old"]), how=st.sampled_from(["get", "stat", "delete", "list", "create"])
    )
    def one_of_them_fails(self, key, side, how):
        """What is answered nevertheless is right, and nothing is lost or back."""
        calls = {
            "get": lambda: self.store.get(key),
            "stat": lambda: self.store.stat(key).size,
            "delete": lambda: self.store.delete(key),
            "list": lambda: [info.key for info in self.store.list()],
            "create": lambda: self.store.put(key, b"created", if_absent=True),
        }
        held = self.model.objects.get(key)
        self.failing[side].armed = True
        try:
            found = calls[how]()
        except (UnavailableError, FileExistsError):
            found = None
        except NotFoundError:
            assert held is None, "taken for absent"
        else:
            expected = {
                "get": held and held.data,
                "stat": held and len(held.data),
                "list": self.model.listing(),
            }
            assert how not in expected or found == expected[how]
            if how == "delete":
                self._forget(key)
        finally:
            self.failing[side].armed = False
        if how == "create" and held is None:
            # An answer was lost before anything was done, or nothing was.
            Storage(self.new).delete(key)
            self._forget(key)
        self.etags.pop(key, None)


class InThreadsMachine(MigratingMachine):
    """Without batches; what is read is brought over."""

    copy_on_read = True

    def layer(self):
        return without_batch(super().layer())


class LocalMachine(MigratingMachine):
    """Between folders."""

    def storages(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-machine-"))
        found = [LocalBackend(self.folder / name, layout="sharded", durability="none") for name in ("new", "old")]
        for each in found:
            each.create()
        return found

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder)


def pytest_case(machine, options):
    case = machine.TestCase
    case.settings = options
    return case


TestMemory = pytest_case(MigratingMachine, QUICK)
TestInThreads = pytest_case(InThreadsMachine, QUICK)
TestLocal = pytest_case(LocalMachine, QUICK)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", [MigratingMachine, InThreadsMachine, LocalMachine])
def test_many_sequences(machine):
    run_state_machine_as_test(machine, settings=LONG)
