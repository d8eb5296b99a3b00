"""Whatever a power cut leaves on the disk: acknowledged is kept, the rest is old or new, and nothing is torn (3, 152, 153)."""

import os
import shutil
from dataclasses import dataclass

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import StorageError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.crash import History, Step, crashes, without_syncs
from mediagit_storage.testing.model import Held
from mediagit_storage.testing.os_faults import RecordingOS
from mediagit_storage.types import Attributes

LAYOUTS = ["plain", "sharded"]
META = Attributes(metadata={"m": "1"})


@dataclass
class Workload:
    """Drives a storage on a recording system, and writes down what was acknowledged when."""

    folder: object
    layout: str
    durability: str

    def __post_init__(self):
        self.root = self.folder / "disk"
        self.root.mkdir()
        self.os = RecordingOS()
        self.history = History()
        self.held = {}

    def options(self):
        return {"layout": self.layout, "durability": self.durability}

    def run(self):
        with Storage(LocalBackend(self.root, os=self.os, **self.options())) as store:
            self.store = store
            self.workload()
        return self

    def step(self, call, **changes):
        begin = len(self.os.calls)
        call()
        self.acknowledge(begin, {key.replace("_", "/"): value for key, value in changes.items()})

    def acknowledge(self, begin, changes):
        self.history.steps.append(Step(begin, len(self.os.calls), changes))
        self.held.update(changes)

    def workload(self):
        store, step = self.store, self.step
        big = bytes(range(256)) * 300
        step(lambda: store.put("a", b"first", attributes=META), a=Held(b"first", META))
        step(lambda: store.put("d/x", iter([b"pie", b"ces"])), d_x=Held(b"pieces"))
        step(lambda: store.put("a", big), a=Held(big))
        step(lambda: store.put("d/e/f", b"deep", if_absent=True), d_e_f=Held(b"deep"))
        step(lambda: store.copy("a", "g"), g=Held(big))
        step(lambda: store.rename("a", "h/i"), a=None, h_i=Held(big))
        step(lambda: store.delete("d/x"), d_x=None)
        step(lambda: store.put("d/x", b""), d_x=Held(b""))
        step(lambda: store.delete("d/e/f"), d_e_f=None)
        begin = len(self.os.calls)
        for outcome in store.put_many((f"m/{number % 2}/{number}", bytes([number]) * 100) for number in range(6)):
            assert outcome.error is None
            self.acknowledge(begin, {outcome.key: Held(bytes([int(outcome.key[-1])]) * 100)})

    def violations(self, calls, limit=None):
        """What is wrong on which disk."""
        found, looked_at = [], 0
        for number, disk in enumerate(crashes(calls, str(self.root), self.history)):
            looked_at += 1
            wrong = self.look(disk, self.folder / f"crash{number}")
            if wrong:
                found.append(f"after call {disk.cut}: {wrong}")
                if limit is not None and len(found) >= limit:
                    break
        self.looked_at = looked_at
        return found

    def look(self, disk, root):
        disk.build(root)
        try:
            with Storage(LocalBackend(root, layout=self.layout, durability="none")) as store:
                seen = {info.key: held(store, info) for info in store.list()}
                unknown = set(seen) - set(disk.allowed)
                if unknown:
                    return f"listed: {sorted(unknown)}"
                for key, values in disk.allowed.items():
                    if seen.get(key) not in values:
                        return f"{key} is {seen.get(key)}"[:200]
                # It goes on working, and clean-up finds what was left.
                store.put("after", b"x")
                for upload in store.pending_uploads():
                    store.abort_upload(upload)
                if store.get("after") != b"x" or [*store.pending_uploads()]:
                    return "it does not go on working"
        finally:
            shutil.rmtree(root)
        return None


def held(store, info):
    try:
        return Held(store.get(info.key), store.stat(info.key).attributes)
    except StorageError as error:
        return f"unreadable: {error}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("durability", ["full", "batch"])
@covers(94, 152, 153)
def test_nothing_acknowledged_is_lost_and_nothing_is_torn(tmp_path, layout, durability):
    work = Workload(tmp_path, layout, durability).run()
    assert work.violations(work.os.calls) == []
    assert work.looked_at > 100


@pytest.mark.parametrize("durability", ["full", "batch"])
def test_without_syncs_the_same_look_finds_losses(tmp_path, durability):
    work = Workload(tmp_path, "plain", durability).run()
    assert work.violations(without_syncs(work.os.calls), limit=5)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_each_kind_of_sync_is_needed(tmp_path, kind):
    """Leaving out only the syncs of files, or only those of folders, is found as well."""
    work = Workload(tmp_path, "plain", "full").run()
    calls, opened = list(work.os.calls), {}
    for place, call in enumerate(calls):
        if call.name == "open" and call.error is None:
            opened[call.result] = "folder" if call.args[1] & os.O_DIRECTORY else "file"
        if call.name == "fsync" and opened[call.args[0]] == kind:
            calls[place] = without_syncs([call])[0]
    assert work.violations(calls, limit=3)


def test_durability_none_promises_nothing_and_keeps_nothing(tmp_path):
    work = Workload(tmp_path, "plain", "none").run()
    assert not [call for call in work.os.calls if call.name in {"fsync", "syncfs"}]
    assert work.violations(work.os.calls, limit=1)
