"""Whatever a power cut leaves of many moves: each object has its old name, its new one, or both, and what was told is kept."""

import shutil

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.facets import Relocation
from mediagit_storage.storage import Storage
from mediagit_storage.testing.crash import History, Step, crashes, without_syncs
from mediagit_storage.testing.os_faults import RecordingOS

KEYS = ("a/1", "a/2", "a/b/3", "x")
#: The last two meet what the first ones leave: the name of a folder that became empty, and a name that was free.
MOVES = (("a/1", "n/m/1"), ("a/2", "2"), ("a/b/3", "a/2"), ("x", "a/1"))


def moved(folder, if_absent, layout):
    root = folder / "disk"
    root.mkdir()
    system = RecordingOS()
    steps = []
    with Storage(LocalBackend(root, os=system, layout=layout)) as store:
        for key in KEYS:
            begin = len(system.calls)
            store.put(key, key.encode())
            steps.append(Step(begin, len(system.calls), {key: key.encode()}))
        begun = len(system.calls)
        operations = iter([Relocation(source, target, if_absent) for source, target in MOVES])
        acknowledged = {}
        for done in store.backend.move_batch(operations):
            assert done.error is None
            acknowledged[done.operation.source] = len(system.calls)
    return root, system, History(steps), begun, acknowledged


def wrong_disks(folder, if_absent, layout, calls_of):
    root, system, history, begun, acknowledged = moved(folder, if_absent, layout)
    found, seen = [], 0
    for number, disk in enumerate(crashes(calls_of(system.calls), str(root), history)):
        if disk.cut <= begun:
            continue
        seen += 1
        place = folder / f"crash{number}"
        disk.build(place)
        with Storage(LocalBackend(place, layout=layout, durability="none")) as store:
            held = {info.key: store.get(info.key) for info in store.list()}
        for source, target in MOVES:
            content = source.encode()
            if content not in held.values():
                found.append(f"after {disk.cut}: {source} is lost")
            if acknowledged[source] <= disk.cut and held.get(target) != content:
                found.append(f"after {disk.cut}: {target} was told of and is not there")
        if not set(held.values()) <= {key.encode() for key in KEYS}:
            found.append(f"after {disk.cut}: torn")
        shutil.rmtree(place)
    assert seen > 10
    return found


@pytest.mark.parametrize("if_absent", [False, True])
@pytest.mark.parametrize("layout", ["plain", "sharded"])
def test_nothing_is_lost(tmp_path, layout, if_absent):
    assert wrong_disks(tmp_path, if_absent, layout, list) == []


def test_the_crashes_find_a_move_that_is_not_synced(tmp_path):
    assert wrong_disks(tmp_path, False, "plain", without_syncs)
