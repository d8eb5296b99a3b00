"""No key and no link leads out of the root; what is no plain file is no object, and never waited for."""

import os
import socket
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import ConfigError, KeyConflictError, NotFoundError, StorageError, UnsupportedError
from mediagit_storage.events import on_event
from mediagit_storage.storage import Storage
from mediagit_storage.testing.os_faults import RecordingOS
from mediagit_storage.types import CopyOptions, ReadOptions

ESCAPES = ["../x", "a/../../x", "/etc/passwd", "packs/../../x", "..", "../../outside/secret", "a/..", "/", "\0", "a/\0"]
HARMLESS = ["..\\x", "....x", "C:\\x", "\\\\srv\\s", "a:b", "%2e%2e/x", "..%2fx"]


@pytest.fixture
def secret(root):
    """A file beside the root that nobody may reach."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    return outside / "secret"


@pytest.mark.parametrize("layout", ["plain", "sharded"])
@pytest.mark.parametrize("key", ESCAPES)
def test_no_key_leads_out(open_store, root, secret, layout, key):
    store = open_store(layout=layout, durability="none")
    store.put("a/inside")
    around = sorted(root.parent.rglob("*"))
    for act in (
        lambda: store.get(key),
        lambda: store.backend.stat(key),
        lambda: store.delete(key, missing_ok=False),
        lambda: store.backend.copy(key, "target", CopyOptions()),
        lambda: store.backend.rename(key, "target"),
    ):
        with pytest.raises(NotFoundError):
            act()
    store.delete(key)
    assert store.keys(key) == []
    assert store.level(key) == [] or layout == "sharded"
    if layout == "plain":
        for act in (
            lambda: store.put(key),
            lambda: store.backend.copy("a/inside", key, CopyOptions()),
            lambda: store.backend.rename("a/inside", key),
        ):
            with pytest.raises(ValueError, match=r"path|segment|NUL"):
                act()
    else:
        store.put(key, b"raw")
        assert store.get(key) == b"raw"
        assert store.keys() == sorted(["a/inside", key])
        store.delete(key)
    assert sorted(path for path in around if root not in path.parents) == sorted(
        path for path in root.parent.rglob("*") if root not in path.parents
    )
    assert secret.read_bytes() == b"secret"


@pytest.mark.parametrize("key", HARMLESS)
def test_what_only_looks_like_a_way_out_is_a_name(store, key):
    store.put(key, b"1")
    assert store.get(key) == b"1"
    assert store.keys() == [key]


def test_links_are_no_objects_and_lead_nowhere(store, root, secret):
    store.put("key")
    (root / "file").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    (root / "dangling").symlink_to("nowhere")
    events = []
    with on_event(events.append):
        assert store.keys() == ["key"]
    assert sorted(event.key for event in events if event.kind == "local.skipped") == ["dangling", "file", "folder"]
    assert store.keys("folder/") == []
    assert store.level() == ["key"]
    for key in ("file", "folder", "folder/secret", "dangling"):
        with pytest.raises(NotFoundError):
            store.get(key)
        with pytest.raises(NotFoundError):
            store.backend.stat(key)
    with pytest.raises(KeyConflictError):
        store.put("folder/secret", b"evil")
    store.delete("folder/secret")
    store.delete("file")
    assert not (root / "file").is_symlink()
    store.put("dangling", b"mine")
    assert not (root / "nowhere").exists()
    assert secret.read_bytes() == b"secret"


def test_create_only_does_not_take_a_link_for_an_object(store, root, secret):
    (root / "link").symlink_to(secret)
    with pytest.raises(KeyConflictError):
        store.put("link", if_absent=True)
    assert (root / "link").is_symlink()


def test_links_are_followed_when_asked_to(open_store, root, secret):
    store = open_store(durability="none", follow_symlinks=True)
    store.put("real/key", b"1")
    (root / "file").symlink_to(secret)
    (root / "folder").symlink_to(root / "real")
    (root / "outside").symlink_to(secret.parent)
    (root / "dangling").symlink_to("nowhere")
    assert store.keys() == ["file", "folder/key", "outside/secret", "real/key"]
    assert store.level() == ["file", "folder/", "outside/", "real/"]
    assert store.get("file") == store.get("outside/secret") == b"secret"
    assert store.backend.stat("file").size == 6
    store.put("folder/new", b"2")
    assert store.get("real/new") == b"2"
    store.delete("file")
    assert secret.read_bytes() == b"secret"
    with pytest.raises(KeyConflictError):
        store.put("dangling/key")


def test_loops_of_links_end(open_store, root):
    store = open_store(durability="none", follow_symlinks=True)
    store.put("a/b/key")
    (root / "a/b/up").symlink_to(root / "a")
    (root / "a/self").symlink_to("self")
    (root / "top").symlink_to(root)
    events = []
    with on_event(events.append):
        keys = store.keys()
    assert keys == ["a/b/key"]
    assert {event.key for event in events} >= {"a/b/up/", "top/", "a/self"}


def test_a_folder_swapped_for_a_link_in_mid_way_stops_the_put(open_store, root, secret):
    class Swapping(RecordingOS):
        """Puts a link in the place of the inner folder just before it is opened."""

        def carry_out(self, call, real):
            if call.name == "open" and call.args[0] == "inner" and not (root / "a/inner").is_symlink():
                os.rename(root / "a/inner", root / "a/away")
                (root / "a/inner").symlink_to(secret.parent)
            return super().carry_out(call, real)

    (root / "a/inner").mkdir(parents=True)
    store = open_store(os=Swapping())
    with pytest.raises(KeyConflictError):
        store.put("a/inner/secret", b"evil")
    with pytest.raises(NotFoundError):
        store.get("a/inner/secret")
    assert secret.read_bytes() == b"secret"
    assert os.listdir(secret.parent) == ["secret"]
    assert store.temps() == []


def test_a_private_folder_that_is_a_link_is_refused(store, root, secret):
    (root / ".mediagit-storage").symlink_to(secret.parent)
    with pytest.raises(StorageError):
        store.put("key")
    assert os.listdir(secret.parent) == ["secret"]


def test_what_is_no_file_is_no_object_and_never_waited_for(store, root):
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(root, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
    names = ["fifo", "socket"]
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o600 | 0o020000, os.makedev(1, 3))
        names.append("null")
    (root / "folder").mkdir()
    for name in [*names, "folder"]:
        with pytest.raises(NotFoundError):
            store.get(name)
        with pytest.raises(NotFoundError):
            store.backend.stat(name)
        with pytest.raises(NotFoundError):
            store.delete(name, missing_ok=False)
        store.delete(name)
        assert (root / name).exists()
        with pytest.raises(NotFoundError):
            store.backend.rename(name, "elsewhere")
    assert store.keys() == []
    store.put("key")
    for name in names:
        # /dev/null would be a file from then on, for everybody.
        before = os.lstat(root / name)
        with pytest.raises(KeyConflictError, match="no object has this name"):
            store.put(name)
        with pytest.raises(KeyConflictError, match="no object has this name"):
            store.backend.rename("key", name)
        with pytest.raises(KeyConflictError, match="no object has this name"):
            store.backend.copy("key", name, CopyOptions())
        assert os.path.samestat(os.lstat(root / name), before)
    assert store.temps() == []
    store.delete("key")
    assert store.level() == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_that_the_system_makes_up_is_not_taken_for_an_empty_one(store, root):
    made_up = LocalBackend("/proc/self")
    assert made_up.stat("status").size == 0
    with pytest.raises(UnsupportedError, match="tells no size"):
        made_up.read("status", ReadOptions())
    with pytest.raises(UnsupportedError, match="tells no size"):
        made_up.stream("status", ReadOptions())
    store.put("empty", b"")
    assert store.get("empty") == b""


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1"])
def test_file_names_in_another_encoding_are_refused(root, monkeypatch, encoding):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: encoding)
    with pytest.raises(ConfigError, match="PYTHONUTF8=1"):
        LocalBackend(root)


def test_the_private_folder_is_never_shown(store, root):
    store.put("key")
    (root / ".mediagit-storage" / "x").write_bytes(b"x")
    assert store.keys() == store.level() == ["key"]
    for prefix in (".", ".mediagit-storage", ".mediagit-storage/", ".mediagit-storage/tmp/"):
        assert store.keys(prefix) == store.level(prefix) == []
    for key in (".mediagit-storage/x", ".mediagit-storage"):
        with pytest.raises(NotFoundError):
            store.get(key)
        with pytest.raises(ValueError, match="reserved"):
            store.put(key)
        store.delete(key)
    assert (root / ".mediagit-storage" / "x").exists()
    (root / ".mediagit-storage" / "x").unlink()


def test_names_that_are_no_utf8_can_be_listed_read_moved_and_deleted(store, root):
    names = [b"\xff", b"\xc3", "é".encode(), b"\xf0\x9f", "\U0001f600".encode(), "\uff61".encode()]
    for name in names:
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(name)
    keys = store.keys()
    assert [os.fsencode(key) for key in keys] == sorted(names)
    assert [os.fsencode(store.get(key).decode("utf-8", "surrogateescape")) for key in keys] == sorted(names)
    assert [os.fsencode(key) for key in store.keys(start_after=keys[2])] == sorted(names)[3:]
    moved = store.backend.rename(os.fsdecode(b"\xff"), "moved").key
    assert store.get(moved) == b"\xff"
    store.delete(os.fsdecode(b"\xc3"))
    assert len(store.keys()) == 5


def test_text_that_no_name_can_be_is_absent(store):
    for key in ("\ud800", "a\0b", "x" * 300, "é" * 200, "x/" * 3000):
        with pytest.raises(NotFoundError):
            store.get(key)
        store.delete(key)
        assert store.keys(key) == []
        assert store.keys("", start_after=key) == []


def test_the_private_folder_of_a_storage_further_down_is_no_part_of_this_one(tmp_path: Path) -> None:
    """Two storages may share a tree: what one has in preparation is never an object of the other."""
    with Storage(LocalBackend(tmp_path)) as outer:
        outer.put("sub/a", b"1")
        with Storage(LocalBackend(tmp_path / "sub")) as inner, inner.open("b", "wb") as unfinished:
            unfinished.write(b"x" * 10_000_000)
            unfinished.flush()
            assert [info.key for info in outer.list()] == ["sub/a"]
            assert list(outer.list("sub/.mediagit-storage/")) == []
            assert [info.key for info in outer.list_dir("sub/")] == ["sub/a"]
            with pytest.raises(ValueError, match="reserved"):
                outer.put("sub/.mediagit-storage/tmp/x", b"1")
        assert [info.key for info in outer.list()] == ["sub/a", "sub/b"]
