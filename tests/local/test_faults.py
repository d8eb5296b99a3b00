"""Every call fails once, and from then on for good: an object is old or new and whole, and nothing is left behind."""

import errno
import os

import pytest

from mediagit_storage.backend import BatchLimits, DeleteOperation, PutOperation
from mediagit_storage.errors import StorageError
from mediagit_storage.source import as_source
from mediagit_storage.testing.os_faults import Fault, FaultyOS
from mediagit_storage.types import Attributes, CopyOptions

OLD, NEW, OTHER = b"old" * 1000, b"new" * 2000, b"other"
LAYOUTS = pytest.mark.parametrize("layout", ["plain", "sharded"])


def batch(store):
    operations = [PutOperation("folder/key", as_source(NEW)), DeleteOperation("nothing")]
    for completion in store.backend.batch(iter(operations), BatchLimits()):
        if completion.error is not None:
            raise completion.error


OPERATIONS = {
    "put": lambda store: store.put("folder/key", NEW, attributes=Attributes(content_type="x")),
    "put pieces": lambda store: store.put("folder/key", [NEW[:2500], NEW[2500:]]),
    "put new folder": lambda store: store.put("new/folder/key", NEW),
    "create": lambda store: store.put("fresh", NEW, if_absent=True),
    "update": lambda store: store.put("folder/key", NEW, if_match=store.etag),
    "delete": lambda store: store.delete("folder/key"),
    "copy": lambda store: store.backend.copy("folder/key", "other", CopyOptions()),
    "copy to itself": lambda store: store.backend.copy("folder/key", "folder/key", CopyOptions(Attributes())),
    "rename": lambda store: store.backend.rename("folder/key", "other"),
    "rename create": lambda store: store.backend.rename("folder/key", "new/place", if_absent=True),
    "read": lambda store: store.get("folder/key"),
    "stream": lambda store: b"".join(store.stream("folder/key")),
    "stat": lambda store: store.backend.stat("folder/key"),
    "list": lambda store: store.keys(),
    "list_dir": lambda store: store.level(),
    "pending": lambda store: list(store.backend.pending_uploads("")),
    "check": lambda store: list(store.backend.check()),
    "batch": batch,
}
#: What each key may hold whatever happens: None is absent.
ALLOWED = {
    "folder/key": {OLD, NEW, None},
    "other": {OTHER, OLD},
    "fresh": {NEW, None},
    "new/folder/key": {NEW, None},
    "new/place": {OLD, None},
}


def held(store, key):
    try:
        return store.get(key)
    except FileNotFoundError:
        return None


@LAYOUTS
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("first", [False, True], ids=["warm", "first"])
@pytest.mark.parametrize(
    ("name", "durability"), [*((name, "full") for name in OPERATIONS), ("batch", "batch")], ids="-".join
)
def test_the_nth_call_fails_for_every_n(open_store, open_files, layout, persistent, durability, first, name):
    plain = open_store(layout=layout, durability="none")
    for nth in range(1, 200):
        plain.put("folder/key", OLD)
        plain.put("other", OTHER)
        for key in ("fresh", "new/folder/key", "new/place"):
            plain.delete(key)
        system = FaultyOS()
        store = open_store(os=system, layout=layout, durability=durability)
        if not first:
            store.put("warm")
        store.etag = plain.backend.stat("folder/key").etag
        fault = Fault("*", nth, errno.EIO, persistent=persistent, matches=lambda call: call.name != "urandom")
        system.faults.append(fault)
        before = open_files()
        succeeded = True
        try:
            OPERATIONS[name](store)
        except StorageError:
            succeeded = False
        system.faults.clear()
        check_nothing_broken(plain, name, succeeded=succeeded)
        # A first write may keep the one descriptor of the private folder, and only that.
        assert open_files() <= before + (1 if first else 0)
        if not persistent:
            unlinked = any(call.name == "unlink" and call.error for call in system.calls)
            assert unlinked or plain.temps() == []
        for temp in plain.temps():
            os.unlink(plain.path / ".mediagit-storage/tmp" / temp)
        store.put("folder/key", b"after", if_match=None)  # no lock was left
        store.backend.close()
        if not fault.used:
            assert succeeded
            assert nth > 2
            return
    pytest.fail("the operation makes more calls than expected")


def check_nothing_broken(store, name, *, succeeded):
    contents = {key: held(store, key) for key in ALLOWED}
    for key, content in contents.items():
        assert content in ALLOWED[key], (name, key)
    if not name.startswith(("delete", "rename")):
        assert contents["folder/key"] is not None
    if name.startswith("rename"):
        assert OLD in contents.values(), "one full copy is always there"
    if succeeded and name in {"put", "put pieces", "update", "batch"}:
        assert contents["folder/key"] == NEW


@pytest.mark.parametrize("number", [errno.EINTR, errno.ESTALE, errno.EAGAIN])
@pytest.mark.parametrize("call", ["open", "write", "rename", "fsync"])
def test_passing_troubles_are_retryable_errors(open_store, number, call):
    system = FaultyOS()
    store = open_store(os=system)
    store.put("key", OLD)
    system.faults.append(Fault(call, 1, number))
    with pytest.raises(StorageError) as caught:
        store.put("key", NEW)
    assert caught.value.retryable
    assert store.get("key") == OLD


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_read_only_folder_is_a_clear_error(open_store, number):
    system = FaultyOS()
    store = open_store(os=system)
    store.put("key", OLD)
    store.backend.close()
    system.faults += [Fault(name, 1, number, persistent=True) for name in ("mkdir", "rename", "unlink")]
    system.faults.append(
        Fault("open", 1, number, persistent=True, matches=lambda call: bool(call.args[1] & os.O_CREAT))
    )
    for act in (lambda: store.put("key", NEW), lambda: store.delete("key")):
        with pytest.raises(PermissionError) as caught:
            act()
        assert isinstance(caught.value, StorageError)
    assert store.get("key") == OLD
    assert store.keys() == ["key"]


def test_absence_is_said_only_on_proof(open_store):
    system = FaultyOS()
    store = open_store(os=system)
    store.put("key", OLD)
    system.faults.append(Fault("open", 1, errno.EACCES, persistent=True))
    for act in (lambda: store.get("key"), lambda: store.backend.stat("key"), store.keys):
        with pytest.raises(PermissionError):
            act()


def test_a_delete_needs_no_room(open_store):
    store = open_store()
    store.put("key", OLD)
    store.backend.close()
    system = FaultyOS([Fault("mkdir", 1, errno.ENOSPC, persistent=True)])
    open_store(os=system).delete("key")
    assert store.keys() == []
