"""What a put does, in which order, and what it leaves behind when something fails."""

import errno
import io
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest

from mediagit_storage.backends.local.attributes import XATTR
from mediagit_storage.errors import (
    AlreadyExistsError,
    CancelledError,
    CapacityError,
    ConfigError,
    KeyConflictError,
    LimitExceededError,
    PreconditionError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.scope import scope
from mediagit_storage.source import CHUNK
from mediagit_storage.testing.os_faults import Fault, FaultyOS, RecordingOS
from mediagit_storage.types import Attributes, ByteRange, ListOptions


def recorded(calls, *names):
    return [call.name for call in calls if call.name in names]


def warmed(open_store, system, **options):
    """A store that has done what only the first write does."""
    store = open_store(os=system, **options)
    store.put("warm")
    system.calls.clear()
    return store


def test_bytes_are_synced_before_the_name_and_the_name_before_the_return(open_store):
    system = RecordingOS()
    store = warmed(open_store, system)
    store.put("key")
    assert system.names() == [
        "open", "flock", "write", "utime", "fsync", "fstat", "close",
        "open", "flock", "stat", "rename", "flock", "fsync", "close",
    ]  # fmt: skip
    temp, parent = (call.result for call in system.calls if call.name == "open")
    synced = [call.args[0] for call in system.calls if call.name == "fsync"]
    assert synced == [temp, parent] or temp == parent


def test_attributes_are_set_before_the_sync(open_store):
    system = RecordingOS()
    store = warmed(open_store, system)
    store.put("key", attributes=Attributes(content_type="text/plain"))
    assert recorded(system.calls, "write", "setxattr", "fsync", "rename") == [
        "setxattr", "write", "fsync", "rename", "fsync",
    ]  # fmt: skip


def test_each_new_folder_is_synced_into_its_parent_up_to_the_first_that_was_there(open_store, root):
    system = RecordingOS()
    store = warmed(open_store, system)
    (root / "there").mkdir()
    store.put("there/b/c/key")
    assert recorded(system.calls, "mkdir", "fsync", "rename") == [
        "fsync", "mkdir", "fsync", "mkdir", "fsync", "rename", "fsync",
    ]  # fmt: skip
    made = [call.args[0] for call in system.calls if call.name == "mkdir"]
    assert made == ["b", "c"]


def test_a_folder_that_another_thread_made_and_has_not_synced_is_synced_by_whoever_finds_it(open_store):
    class Overtaken(RecordingOS):
        """Puts a second object into the new folder before the first put comes to sync that folder's name."""

        def carry_out(self, call, real):
            result = super().carry_out(call, real)
            if call.name == "mkdir" and call.args[0] == "new":
                self.calls.clear()
                store.put("new/overtaking")
                self.overtaking = self.names()
            return result

    system = Overtaken()
    store = warmed(open_store, system)
    store.put("new/key")
    assert [name for name in system.overtaking if name in {"fsync", "rename"}] == ["fsync", "fsync", "rename", "fsync"]
    system.calls.clear()
    store.put("new/later")
    assert system.names().count("fsync") == 2


def test_a_folder_whose_sync_failed_is_synced_by_the_next_put(open_store):
    system = FaultyOS()
    store = warmed(open_store, system)
    system.faults.append(Fault("fsync", 2, errno.EIO))
    with pytest.raises(StorageError):
        store.put("new/key")
    system.calls.clear()
    store.put("new/key")
    assert recorded(system.calls, "mkdir", "fsync", "rename") == ["fsync", "fsync", "rename", "fsync"]


def test_without_durability_nothing_is_synced(open_store):
    system = RecordingOS()
    store = open_store(os=system, durability="none")
    store.put("a/b/c")
    store.delete("a/b/c")
    assert "fsync" not in system.names()
    assert "syncfs" not in system.names()


def test_a_failing_sync_of_the_folder_is_not_hidden(open_store):
    system = FaultyOS()
    store = warmed(open_store, system)
    system.faults.append(Fault("fsync", 2, errno.EIO))
    with pytest.raises(StorageError, match="input/output"):
        store.put("key", b"new")
    system.verify_all_used()
    assert store.get("key") == b"new"
    assert store.temps() == []


def test_a_failing_close_keeps_the_old_object(open_store):
    system = FaultyOS()
    store = warmed(open_store, system)
    store.put("key", b"old")
    system.faults.append(Fault("close", 1, errno.EIO))
    with pytest.raises(StorageError):
        store.put("key", b"new")
    system.verify_all_used()
    assert store.get("key") == b"old"
    assert store.temps() == []


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_disk_keeps_the_old_object(open_store, nth, open_files):
    system = FaultyOS()
    store = warmed(open_store, system)
    store.put("key", b"old")
    before = open_files()
    system.faults.append(Fault("write", nth, errno.ENOSPC))
    with pytest.raises(CapacityError) as caught:
        store.put("key", [b"x" * 10] * 3)
    assert not caught.value.retryable
    system.verify_all_used()
    assert store.get("key") == b"old"
    assert store.temps() == []
    assert open_files() == before


@pytest.mark.parametrize("data", [b"0123456789", [b"01234", b"56789"], memoryview(bytearray(b"0123456789"))])
def test_short_writes_are_gone_on_with(open_store, data):
    system = FaultyOS([Fault("write", 1, short=3), Fault("write", 2, short=1)])
    store = open_store(os=system)
    store.put("key", data)
    system.verify_all_used()
    assert store.get("key") == b"0123456789"


def test_a_source_that_fails_half_way_leaves_the_old_object_and_its_own_error(store):
    store.put("key", b"old")

    def failing():
        yield b"part"
        raise FileNotFoundError(errno.ENOENT, "of the source")

    with pytest.raises(FileNotFoundError, match="of the source") as caught:
        store.put("key", failing())
    assert not isinstance(caught.value, StorageError)
    assert store.get("key") == b"old"
    assert store.temps() == []


def test_ctrl_c_in_the_middle_leaves_the_old_object(store):
    store.put("key", b"old")

    def interrupted():
        yield b"part"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put("key", interrupted())
    assert store.get("key") == b"old"
    assert store.temps() == []


def test_a_cancelled_put_never_appears(store):
    with scope() as bounds:

        def cancelling():
            yield b"part"
            bounds.cancel()
            yield b"more"

        with pytest.raises(CancelledError):
            store.put("key", cancelling())
    assert store.keys() == []
    assert store.temps() == []


def test_a_cancelled_scope_does_no_io(open_store):
    system = RecordingOS()
    store = open_store(os=system)
    with scope() as bounds:
        bounds.cancel()
        for call in (lambda: store.put("a"), lambda: store.get("a"), lambda: store.delete("a")):
            with pytest.raises(CancelledError):
                call()
    assert system.calls == []


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1])
@pytest.mark.parametrize("kind", ["bytes", "file", "pieces", "disk", "no copy"])
def test_sizes_around_the_chunk(open_store, tmp_path, size, kind):
    data = os.urandom(size)
    system = FaultyOS([Fault("copy_file_range", 1, errno.EXDEV, persistent=True)] if kind == "no copy" else [])
    store = open_store(os=system, durability="none")
    if kind == "bytes":
        info = store.put("key", data)
    elif kind == "pieces":
        info = store.put("key", (data[at : at + 1000_000] for at in range(0, size, 1000_000)))
    elif kind == "file":
        info = store.put("key", io.BytesIO(data))
    else:
        path = tmp_path / "source"
        path.write_bytes(b"skipped" + data)
        with path.open("rb") as file:
            file.seek(7)
            info = store.put("key", file)
            assert not file.closed
    assert info.size == size
    assert store.get("key") == data
    assert b"".join(store.stream("key")) == data


def test_the_info_of_a_put_is_what_stat_says(store):
    before = datetime.now(UTC)
    put = store.put("key", b"12345", attributes=Attributes(content_type="a/b"))
    found = store.backend.stat("key")
    assert (put.size, put.modified, put.etag) == (found.size, found.modified, found.etag)
    assert found.size == found.stored_size == 5
    assert found.attributes == Attributes(content_type="a/b")
    assert before - timedelta(milliseconds=1) <= found.modified <= datetime.now(UTC)
    listed = next(iter(store.backend.list("", ListOptions())))
    assert (listed.size, listed.modified, listed.etag) == (found.size, found.modified, found.etag)


def test_no_two_puts_have_the_same_etag_however_quick(store):
    etags = [store.put("key", b"same").etag for _ in range(300)]
    assert len(set(etags)) == 300


def test_all_attributes_come_back_and_are_replaced_whole(store):
    full = Attributes("t/x", "no-store", "gzip", "inline", {"Käse": "\n", "": ""}, None, {"tag": "é"})
    store.put("key", attributes=full)
    assert store.backend.stat("key").attributes == full
    store.put("key")
    assert store.backend.stat("key").attributes == Attributes()


def test_late_attributes_are_asked_once_the_source_is_read(store):
    order = []

    def pieces():
        yield b"x"
        order.append("read")

    def late():
        order.append("asked")
        return Attributes(metadata={"hash": "1"})

    store.put("key", pieces(), attributes=Attributes(content_type="lost"), late_attributes=late)
    assert order == ["read", "asked"]
    assert store.backend.stat("key").attributes == Attributes(metadata={"hash": "1"})
    store.put("key", pieces(), attributes=Attributes(content_type="lost"), late_attributes=Attributes)
    assert store.backend.stat("key").attributes == Attributes()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOTSUP, UnsupportedError),
        (errno.E2BIG, LimitExceededError),
        (errno.ERANGE, LimitExceededError),
        (errno.ENOSPC, CapacityError),
    ],
)
def test_attributes_that_cannot_be_kept_are_refused(open_store, number, kind):
    system = FaultyOS([Fault("setxattr", 1, number)])
    store = open_store(os=system)
    with pytest.raises(kind):
        store.put("key", attributes=Attributes(content_type="x"))
    assert store.keys() == []
    assert store.temps() == []


def test_attributes_larger_than_the_file_system_keeps_are_refused(store):
    store.put("key", b"old")
    with pytest.raises(LimitExceededError, match="attributes"):
        store.put("key", attributes=Attributes(metadata={"a": "x" * 70_000}))
    assert store.get("key") == b"old"


def test_foreign_attributes_are_reported_not_guessed(store, root):
    store.put("key")
    os.setxattr(root / "key", XATTR, b"\xff{")
    with pytest.raises(StorageError, match="damaged"):
        store.backend.stat("key")


def test_a_plain_file_of_somebody_else_is_an_object(store, root):
    (root / "folder").mkdir()
    (root / "folder" / "file").write_bytes(b"mine")
    assert store.keys() == ["folder/file"]
    assert store.get("folder/file") == b"mine"
    assert store.backend.stat("folder/file").attributes == Attributes()


def test_create_only(store):
    store.put("key", b"first", if_absent=True)
    etag = store.backend.stat("key").etag
    with pytest.raises(AlreadyExistsError):
        store.put("key", b"second", if_absent=True)
    assert store.get("key") == b"first"
    assert store.backend.stat("key").etag == etag
    assert store.temps() == []


def test_update_only(store):
    first = store.put("key", b"1")
    second = store.put("key", b"2", if_match=first.etag)
    with pytest.raises(PreconditionError):
        store.put("key", b"3", if_match=first.etag)
    with pytest.raises(PreconditionError):
        store.put("absent", b"3", if_match=first.etag)
    assert store.get("key") == b"2"
    assert store.keys() == ["key"]
    with pytest.raises(PreconditionError):
        store.delete("key", if_match=first.etag)
    store.delete("key", if_match=second.etag)
    with pytest.raises(PreconditionError):
        store.delete("key", if_match=second.etag)


def test_without_locks_only_conditions_are_refused(open_store):
    system = FaultyOS([Fault("flock", 1, errno.ENOLCK, persistent=True)])
    store = open_store(os=system)
    info = store.put("key", b"1")
    store.put("new", b"1", if_absent=True)
    with pytest.raises(UnsupportedError, match="locks"):
        store.put("key", b"2", if_match=info.etag)
    with pytest.raises(UnsupportedError, match="locks"):
        store.delete("key", if_match=info.etag)
    assert store.get("key") == b"1"
    store.delete("key")
    assert store.keys() == ["new"]


def test_without_hard_links_create_only_is_refused(open_store):
    system = FaultyOS([Fault("link", 1, errno.EPERM, persistent=True)])
    store = open_store(os=system)
    with pytest.raises(UnsupportedError, match="hard links"):
        store.put("key", if_absent=True)
    assert store.keys() == []
    assert store.temps() == []


def test_a_file_on_the_way_and_folders_in_the_place(store, root):
    store.put("a", b"1")
    with pytest.raises(KeyConflictError, match="sharded"):
        store.put("a/b")
    store.put("c/d", b"2")
    for options in ({}, {"if_absent": True}):
        with pytest.raises(KeyConflictError, match="sharded"):
            store.put("c", **options)
    (root / "empty" / "nested" / "deep").mkdir(parents=True)
    (root / "empty2" / "nested").mkdir(parents=True)
    store.put("empty", b"3")
    store.put("empty2", b"4", if_absent=True)
    keys = store.keys()
    assert [store.get(key) for key in keys] == [b"1", b"2", b"3", b"4"]
    assert store.temps() == []


def test_another_file_system_in_the_way_is_explained(open_store):
    system = FaultyOS([Fault("rename", 1, errno.EXDEV)])
    store = open_store(os=system)
    with pytest.raises(ConfigError, match="another file system"):
        store.put("key")
    assert store.temps() == []


def test_a_private_folder_on_another_device_is_refused(open_store):
    class OtherDevice(RecordingOS):
        def carry_out(self, call, real):
            result = super().carry_out(call, real)
            if call.name == "stat" and stat.S_ISDIR(result.st_mode):
                return os.stat_result([*result[:2], result.st_dev + 1, *result[3:]])
            return result

    store = open_store(os=OtherDevice())
    with pytest.raises(ConfigError, match="another file system"):
        store.put("key")
    assert store.files() == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_modes(open_store, root, umask):
    old = os.umask(umask)
    try:
        open_store().put("a/b")
        open_store(file_mode=0o664, folder_mode=0o775).put("c/d")
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "c").stat().st_mode) == 0o775 & ~umask
    assert stat.S_IMODE((root / "c/d").stat().st_mode) == 0o664 & ~umask


def test_a_reader_keeps_the_old_bytes(store):
    store.put("key", b"a" * (2 * CHUNK))
    overwritten = store.stream("key")
    store.put("key", b"b" * 10)
    deleted = store.stream("key")
    store.delete("key")
    assert b"".join(overwritten) == b"a" * (2 * CHUNK)
    assert b"".join(deleted) == b"b" * 10


def test_abandoned_readers_close_their_files(store, open_files):
    store.put("key", b"a" * (2 * CHUNK))
    before = open_files()
    for _ in range(50):
        next(iter(store.stream("key")))
    assert open_files() == before


def test_a_closed_reader_ends_at_once(store, open_files):
    store.put("key", b"a" * (3 * CHUNK))
    before = open_files()
    body = store.stream("key")
    pieces = iter(body)
    next(pieces)
    body.close()
    body.close()
    assert list(pieces) == []
    assert open_files() == before


def test_a_file_that_shrinks_while_it_is_read_is_an_error(store, root):
    from mediagit_storage.errors import TruncatedError

    store.put("key", b"a" * (3 * CHUNK))
    body = store.stream("key")
    pieces = iter(body)
    next(pieces)
    os.truncate(root / "key", CHUNK)
    with pytest.raises(TruncatedError):
        list(pieces)


def test_a_whole_read_of_a_file_that_shrinks_is_an_error(open_store, root):
    from mediagit_storage.errors import TruncatedError

    class Shrinking(RecordingOS):
        def carry_out(self, call, real):
            if call.name == "pread":
                os.truncate(root / "key", 3)
            return super().carry_out(call, real)

    store = open_store(os=Shrinking())
    store.put("key", b"12345")
    with pytest.raises(TruncatedError):
        store.get("key")


def test_ranges(store):
    store.put("key", b"0123456789")
    assert store.get("key", range=ByteRange(2, 3)) == b"234"
    assert store.get("key", range=ByteRange(8, 10)) == b"89"
    assert store.get("key", range=ByteRange(suffix=4)) == b"6789"
    assert b"".join(store.stream("key", range=ByteRange(5))) == b"56789"
    assert store.stream("key", range=ByteRange(5, 2)).start == 5
    assert store.get("key", range=ByteRange(3, 0)) == b""
