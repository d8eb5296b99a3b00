"""A process that dies in the midst of a change to a mirror: nothing is lost, nothing deleted comes back, and a repair ends it.

The child is killed before or after each call that it makes to a member. Whoever comes afterwards, with the same folder of
state, sees through the mirror what the primary has; while the primary is down, a replica shows the same or nothing.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import ConnectionLostError, NotFoundError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer, RepairRules
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers

KILLED = 77
OLD = {"a": b"old a", "b": b"old b" * 100}

CHANGES = {
    "new": lambda store: store.put("n", b"new"),
    "over": lambda store: store.put("a", b"new and longer"),
    "stream": lambda store: store.put("a", iter([b"new", b" and longer"])),
    "create": lambda store: store.put("n", b"new", if_absent=True),
    "delete": lambda store: store.delete("a"),
    "copy": lambda store: store.copy("a", "b"),
    "rename": lambda store: store.rename("a", "b"),
}
#: More than any change takes; the last cuts find nothing left to cut.
CUTS = range(24)


@dataclass(frozen=True)
class NoOptions:
    """A layer of this module alone."""


class Cut:
    """Ends the process at the Nth of its moments."""

    def __init__(self, at):
        self.left = at

    def __call__(self):
        if self.left == 0:
            os._exit(KILLED)
        self.left -= 1


class Cutting(Layer):
    """A member with a moment before and after each call."""

    layer_name = "cutting"

    def __init__(self, inner, cut):
        super().__init__(inner, NoOptions())
        self.cut = cut


class Down(Layer):
    """A member that cannot be reached."""

    layer_name = "down"

    def __init__(self, inner):
        super().__init__(inner, NoOptions())


def _cutting(name):
    def method(self, *args, **kwargs):
        self.cut()
        result = getattr(self.inner, name)(*args, **kwargs)
        self.cut()
        return result

    return method


def _down(self, *args, **kwargs):
    raise ConnectionLostError("down")


for each in ("put", "read", "stream", "stat", "delete", "copy", "rename"):
    setattr(Cutting, each, _cutting(each))
    setattr(Down, each, _down)


def local(folder, name):
    return LocalBackend(folder / name, durability="none")


def opened(folder, primary=None):
    config = MirrorConfig(failover=True, state=str(folder / "state"))
    return Storage(MirrorLayer(primary or local(folder, "0"), [local(folder, "1")], config))


def change_and_die(folder, change, at):
    """Whether the child was killed; else the change was made."""
    cut = Cut(at)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            members = [Cutting(local(folder, name), cut) for name in "01"]
            config = MirrorConfig(failover=True, state=str(folder / "state"))
            change(Storage(MirrorLayer(members[0], members[1:], config)))
        except BaseException as error:  # noqa: BLE001  # nothing of the parent's is to run in here
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, KILLED}
    return code == KILLED


def content(folder, name):
    with Storage(local(folder, name)) as store:
        return {info.key: store.get(info.key) for info in store.list()}


def seen(store, key):
    try:
        return store.get(key)
    except NotFoundError:
        return None
    except ConnectionLostError:
        return ConnectionLostError


@covers(115)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_is_cut_off_anywhere(tmp_path, name):
    cuts = 0
    for at in CUTS:
        folder = tmp_path / str(at)
        for member in "01":
            (folder / member).mkdir(parents=True)
        with opened(folder) as store:
            for key, data in OLD.items():
                store.put(key, data)
        killed = change_and_die(folder, CHANGES[name], at)
        cuts += killed
        ours = content(folder, "0")
        assert set(ours.values()) & set(OLD.values()) or name == "delete", "nothing is lost"
        # Nobody has anything that the primary never had.
        assert set(content(folder, "1").values()) <= {*OLD.values(), *ours.values()}
        with opened(folder) as store:
            assert {key: seen(store, key) for key in ("a", "b", "n")} == {key: ours.get(key) for key in ("a", "b", "n")}
        with opened(folder, Down(local(folder, "0"))) as store:
            for key in ("a", "b", "n"):
                assert seen(store, key) in {ours.get(key), ConnectionLostError} - {None}, (at, key)
        with opened(folder) as store:
            noted = [*store.backend.repair(RepairRules(noted=True))]
            assert all(each.repaired for each in noted)
            assert [*store.backend.repair(RepairRules(dry_run=True, thorough=True))] == []
            assert [each.behind for each in store.backend.status().replicas] == [0]
        assert content(folder, "1") == ours
        if not killed:
            assert noted == []
            break
    assert not killed, "there are more moments than were tried"
    assert cuts >= 5
