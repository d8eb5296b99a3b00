"""The root as a whole: missing and vanished, its format, what its file system makes of names, copies, renames, checks."""

import errno
import json
import os
import unicodedata

import pytest

from mediagit_storage.backends.local import LocalBackend, LocalConfig
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    ConfigError,
    KeyConflictError,
    NotFoundError,
    UnsupportedError,
)
from mediagit_storage.testing.os_faults import Fault, FaultyOS, RecordingOS
from mediagit_storage.types import Attributes, ConnectionInfo, CopyOptions, FindingLevel


def all_calls(store):
    return {
        "put": lambda: store.put("key"),
        "get": lambda: store.get("key"),
        "stat": lambda: store.backend.stat("key"),
        "delete": lambda: store.delete("key"),
        "list": store.keys,
        "list_dir": store.level,
        "copy": lambda: store.backend.copy("key", "other", CopyOptions()),
        "rename": lambda: store.backend.rename("key", "other"),
        "rename deep": lambda: store.backend.rename("a/b", "c/d"),
        "get deep": lambda: store.get("a/b/c"),
        "delete deep": lambda: store.delete("a/b/c"),
        "put deep": lambda: store.put("a/b/c"),
        "get impossible": lambda: store.get("x" * 300),
    }


@pytest.mark.parametrize("layout", ["plain", "sharded"])
@pytest.mark.parametrize("name", [
    "put", "get", "stat", "delete", "list", "list_dir", "copy", "rename", "rename deep", "get deep", "delete deep", "put deep",
])  # fmt: skip
@pytest.mark.parametrize("vanished", [False, True])
def test_a_root_that_is_not_there(open_store, tmp_path, layout, name, vanished):
    root = tmp_path / "store"
    store = open_store(root, layout=layout)
    if vanished:
        store.backend.create()
        store.put("key")
        os.rename(root, tmp_path / "away")
    with pytest.raises(BucketNotFoundError, match="does not exist"):
        all_calls(store)[name]()
    assert not root.exists()


def test_a_root_that_was_replaced_is_the_one_that_is_used(open_store, root, tmp_path):
    store = open_store()
    store.put("key", b"1")
    os.rename(root, tmp_path / "away")
    root.mkdir()
    assert store.keys() == []
    store.put("key", b"2")
    assert (root / "key").read_bytes() == b"2"
    assert (tmp_path / "away" / "key").read_bytes() == b"1"


def test_create_makes_parents_and_syncs_each(open_store, tmp_path):
    system = RecordingOS()
    store = open_store(tmp_path / "a" / "b" / "c", os=system)
    store.backend.create()
    assert [name for name in system.names() if name in {"mkdir", "fsync"}] == ["mkdir", "fsync"] * 3
    store.backend.create()
    store.put("key")
    with pytest.raises(UnsupportedError):
        store.backend.create(versioning=True)


def test_a_sharded_folder_says_so_and_the_wrong_layout_is_refused(open_store, root):
    store = open_store(layout="sharded")
    assert store.keys() == []
    assert os.listdir(root) == []
    store.put("key")
    store.backend.close()
    assert json.loads((root / ".mediagit-storage/format.json").read_text()) == {"format": 1, "layout": "sharded"}
    wrong = open_store()
    for act in (wrong.keys, lambda: wrong.get("key"), lambda: wrong.put("key"), lambda: wrong.delete("key")):
        with pytest.raises(ConfigError, match='layout="sharded"'):
            act()
    assert open_store(layout="sharded").keys() == ["key"]


def test_a_plain_folder_is_not_taken_for_a_sharded_one(open_store, root):
    open_store().put("key")
    wrong = open_store(layout="sharded")
    for act in (wrong.keys, lambda: wrong.put("x"), wrong.backend.create):
        with pytest.raises(ConfigError, match='layout="plain"'):
            act()
    assert open_store().keys() == ["key"]


def test_newer_and_damaged_formats_are_refused(open_store, root):
    open_store(layout="sharded").backend.create()
    path = root / ".mediagit-storage/format.json"
    path.write_text('{"format": 2, "layout": "sharded"}')
    with pytest.raises(ConfigError, match="newer version"):
        open_store(layout="sharded").get("key")
    for text in ("", "[]", "{"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="damaged"):
            open_store(layout="sharded").get("key")


def test_the_sharded_layout_holds_any_key(open_store):
    store = open_store(layout="sharded", durability="none")
    keys = ["a", "a/b", "a//b", "folder/", "..", ".", "/", "//", "a/../b", "\0", "x" * 1024, "%" * 1024, "/" * 1024, "é" * 512,
            ".mediagit-storage/tmp", "A", "con", "abc", "abc/", "abcd", "ab\n"]  # fmt: skip
    for key in keys:
        store.put(key, key.encode())
    assert store.keys() == sorted(keys, key=str.encode)
    for key in keys:
        assert store.get(key) == key.encode()
        store.delete(key, missing_ok=False)
    assert store.keys() == []
    assert store.files() == []


def test_the_private_folder_goes_when_it_is_empty(open_store, root):
    store = open_store()
    store.put("key")
    store.backend.close()
    store.backend.close()
    assert os.listdir(root) == ["key"]


def test_deleting_removes_what_it_left_empty_and_never_the_root(store, root):
    store.put("a/b/c/d")
    store.put("a/x")
    store.delete("a/b/c/d")
    assert store.files() == ["a/x"]
    assert not (root / "a/b").exists()
    store.delete("a/x")
    store.delete("a/x")
    assert root.is_dir()
    assert not (root / "a").exists()
    with pytest.raises(NotFoundError):
        store.delete("a/x", missing_ok=False)
    with pytest.raises(NotFoundError):
        store.delete("a", missing_ok=False)


def test_copies(store):
    attributes = Attributes(content_type="a/b", metadata={"k": "v"})
    old = store.put("a", b"1" * 100_000, attributes=attributes)
    info = store.backend.copy("a", "x/y", CopyOptions())
    assert info.etag != old.etag
    assert store.get("x/y") == b"1" * 100_000
    assert store.backend.stat("x/y").attributes == attributes
    store.backend.copy("a", "x/y", CopyOptions(Attributes(content_type="c/d")))
    assert store.backend.stat("x/y").attributes == Attributes(content_type="c/d")
    store.backend.copy("a", "a", CopyOptions(Attributes()))
    assert store.get("a") == b"1" * 100_000
    assert store.backend.stat("a").attributes == Attributes()
    with pytest.raises(AlreadyExistsError):
        store.backend.copy("a", "x/y", CopyOptions(if_absent=True))
    with pytest.raises(NotFoundError):
        store.backend.copy("absent", "x/y", CopyOptions())
    assert store.backend.stat("x/y").attributes == Attributes(content_type="c/d")
    store.put("empty", b"")
    assert store.backend.copy("empty", "empty2", CopyOptions()).size == 0


def test_copies_without_help_of_the_kernel(open_store):
    store = open_store(os=FaultyOS([Fault("copy_file_range", 1, errno.ENOSYS, persistent=True)]), durability="none")
    store.put("a", b"12" * 2_000_000)
    store.backend.copy("a", "b", CopyOptions())
    assert store.get("b") == b"12" * 2_000_000


def test_renames(store, root):
    attributes = Attributes(content_type="a/b")
    old = store.put("a/b/c", b"1", attributes=attributes)
    info = store.backend.rename("a/b/c", "d/e")
    assert (info.etag, info.size, info.modified) == (old.etag, old.size, old.modified)
    assert store.backend.stat("d/e").attributes == attributes
    assert store.files() == ["d/e"]
    assert not (root / "a").exists()
    store.put("other", b"2")
    with pytest.raises(AlreadyExistsError):
        store.backend.rename("other", "d/e", if_absent=True)
    store.backend.rename("d/e", "d/e")
    store.backend.rename("other", "d/e")
    assert store.get("d/e") == b"2"
    with pytest.raises(NotFoundError):
        store.backend.rename("absent", "new/place")
    with pytest.raises(NotFoundError):
        store.backend.rename("absent", "absent")
    assert store.files() == ["d/e"]
    assert not (root / "new").exists()


def test_renames_in_a_chain_of_conflicts(store):
    store.put("A", b"1")
    store.backend.rename("A", "B/x")
    store.backend.rename("B/x", "A")
    with pytest.raises(KeyConflictError):
        store.backend.rename("A", "A/x")
    assert store.get("A") == b"1"


def test_two_names_of_one_file_become_one(store, root):
    store.put("a", b"1")
    os.link(root / "a", root / "b")
    store.backend.rename("a", "b")
    assert store.keys() == ["b"]


def test_a_rename_syncs_the_new_folder_before_the_old(open_store, root):
    system = RecordingOS()
    store = open_store(os=system)
    store.put("old/key")
    store.put("new/other")
    system.calls.clear()
    store.backend.rename("old/key", "new/key")
    (new,) = {call.kwargs["dst_dir_fd"] for call in system.calls if call.name == "rename"}
    (old,) = {call.kwargs["src_dir_fd"] for call in system.calls if call.name == "rename"}
    assert [call.args[0] for call in system.calls if call.name == "fsync"] == [new, old]


class MergingOS(RecordingOS):
    """A file system that takes names for the same that differ by case or Unicode form."""

    def carry_out(self, call, real):
        name = call.args[0] if call.args else None
        if call.name == "stat" and isinstance(name, str) and "/" not in name:
            for there in os.listdir(call.kwargs["dir_fd"]):
                if unicodedata.normalize("NFC", there).casefold() == unicodedata.normalize("NFC", name).casefold():
                    return real(there, **call.kwargs)
        return super().carry_out(call, real)


def test_names_that_the_file_system_merges_are_reported_and_never_overwritten(open_store):
    store = open_store(os=MergingOS())
    store.put("a", b"1")
    store.put("Folder/é", b"2")
    for key in ("A", "folder/x", "Folder/e\u0301"):
        with pytest.raises(KeyConflictError, match="does not tell"):
            store.put(key, b"other")
        with pytest.raises(KeyConflictError, match="does not tell"):
            store.delete(key)
    store.put("a", b"3")
    assert store.get("a") == b"3"
    findings = {finding.name: finding for finding in store.backend.check()}
    assert findings["names"].level is FindingLevel.WARNING
    assert findings["names"].advice


def test_check_of_a_good_folder(open_store):
    store = open_store()
    findings = list(store.backend.check())
    assert {finding.name for finding in findings} == {
        "root", "space", "layout", "writable", "names", "attributes", "hard links", "locks",
    }  # fmt: skip
    assert all(finding.level is FindingLevel.OK for finding in findings if finding.name != "space")
    assert store.temps() == []


@pytest.mark.parametrize(
    ("call", "number", "name", "level"),
    [
        ("setxattr", errno.ENOTSUP, "attributes", FindingLevel.WARNING),
        ("link", errno.EPERM, "hard links", FindingLevel.WARNING),
        ("flock", errno.ENOLCK, "locks", FindingLevel.WARNING),
        ("mkdir", errno.EROFS, "writable", FindingLevel.FAILED),
        ("statvfs", errno.EIO, "root", FindingLevel.FAILED),
    ],
)
def test_check_tells_what_is_missing(open_store, call, number, name, level):
    store = open_store(os=FaultyOS([Fault(call, 1, number, persistent=True)]))
    findings = [finding for finding in store.backend.check() if finding.level is level and finding.name == name]
    assert findings
    assert findings[0].advice
    assert findings[0].advice not in findings[0].detail
    assert findings[0].advice != "see the message"


def test_check_of_a_missing_root(open_store, tmp_path):
    (finding,) = open_store(tmp_path / "missing").backend.check()
    assert finding.level is FindingLevel.FAILED


def test_connection_info_opens_the_same_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend("some folder", layout="sharded", durability="batch", file_mode=0o640)
    info = backend.connection_info()
    assert info == ConnectionInfo.from_json(json.loads(json.dumps(info.to_json())))
    assert info.config == {
        "path": str(tmp_path / "some folder"), "layout": "sharded", "durability": "batch", "file_mode": 0o640,
    }  # fmt: skip
    assert LocalBackend.from_config(LocalConfig(**info.config)).connection_info() == info
    assert backend.description == f"file://{tmp_path}/some%20folder"
    assert LocalBackend(tmp_path).connection_info().config == {"path": str(tmp_path)}


def test_from_env():
    assert LocalBackend.from_env({"MGS_LOCAL_PATH": "/some/where"}).description == "file:///some/where"
    with pytest.raises(ConfigError, match="MGS_LOCAL_PATH"):
        LocalBackend.from_env({})


@pytest.mark.parametrize(
    "options",
    [
        {"path": ""},
        {"path": "a\0"},
        {"layout": "x"},
        {"durability": "x"},
        {"file_mode": 0o400},
        {"folder_mode": 0o1700},
    ],
)
def test_wrong_options(options):
    with pytest.raises(ConfigError):
        LocalConfig(**{"path": "x", **options})
