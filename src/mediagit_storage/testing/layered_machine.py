"""The state machine through layers over a folder, where any call of the operating system may fail. It needs Hypothesis."""

from __future__ import annotations

import errno
import shutil
import tempfile
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.local.osfs import SYSTEM, OperatingSystem
from mediagit_storage.errors import StorageError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.machine import DATA, KEYS, StorageMachine
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.types import Attributes

__all__ = ["QUICK", "LayeredLocalMachine", "case"]

#: Without shrinking, which may take minutes.
QUICK: Final = settings(max_examples=12, stateful_step_count=25, phases=(Phase.explicit, Phase.generate))


class LayeredLocalMachine(StorageMachine):
    """Puts meet faults below the layers, too. Write `layered`."""

    @abstractmethod
    def layered(self, inner: StorageBackend) -> StorageBackend:
        """The layers under test over a folder."""

    def opened(self, os: OperatingSystem = SYSTEM) -> StorageBackend:
        """The folder through new layers."""
        return self.layered(LocalBackend(self.folder, durability="none", os=os))

    def open_backend(self) -> StorageBackend:
        """Over a new folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="mgs-machine-"))
        return self.opened()

    def reopen_backend(self) -> StorageBackend:
        """Over the same."""
        return self.opened()

    def teardown(self) -> None:
        """Close, and remove the folder."""
        super().teardown()
        shutil.rmtree(self.folder)

    @rule(key=KEYS, data=DATA, call=st.integers(1, 40), pieces=st.booleans())
    def put_meets_a_fault(self, key: str, data: bytes, call: int, pieces: bool) -> None:  # noqa: FBT001
        """Whatever fails, the old object or the new one is there, and reads."""
        if self.model.conflicts(key):
            return
        faulty = FaultyOS([Fault("*", nth=call, error=errno.EIO)])
        store = Storage(self.opened(faulty))
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

    def overwrite(self, key: str, data: bytes) -> None:
        """Change what the folder holds of an object behind the storage's back, in place."""
        with (self.folder / key).open("r+b") as file:
            file.write(data)


def case(machine: type[RuleBasedStateMachine], options: settings = QUICK) -> type:
    """What pytest runs of a machine, when a test file has it under a name."""
    found: type = machine.TestCase
    found.settings = options  # type: ignore[attr-defined]  # as Hypothesis has it
    return found
