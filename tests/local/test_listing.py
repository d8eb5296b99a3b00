"""Listings: the order of whole keys, raw prefixes, one level, depth without end, and things that go away meanwhile."""

import errno
import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediagit_storage.errors import BucketNotFoundError, PermissionDeniedError
from mediagit_storage.keys import sort_key
from mediagit_storage.testing.os_faults import Fault, FaultyOS, RecordingOS
from mediagit_storage.types import ListOptions

SEGMENT = st.text(st.sampled_from("ab-. /0~\uff61\U0001f600"), min_size=1, max_size=6)
PLAIN_KEYS = st.lists(
    st.lists(SEGMENT.filter(lambda text: "/" not in text and text not in {".", ".."}), min_size=1, max_size=3).map(
        "/".join
    ),
    max_size=12,
    unique=True,
)
ANY_KEYS = st.lists(SEGMENT | st.lists(SEGMENT, max_size=3).map("/".join).filter(bool), max_size=12, unique=True)
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)


def one_level(keys, prefix):
    found = set()
    for key in keys:
        if key.startswith(prefix):
            slash = key.find("/", len(prefix))
            found.add(key if slash < 0 else key[: slash + 1])
    return sorted(found, key=sort_key)


def without_conflicts(keys):
    taken = set(keys)
    return [key for key in keys if not any(key[:at] in taken for at, char in enumerate(key) if char == "/")]


def check_listings(store, keys, prefix, start_after):
    ordered = sorted(keys, key=sort_key)
    wanted = [key for key in ordered if key.startswith(prefix)]
    assert store.keys() == ordered
    assert store.keys(prefix) == wanted
    assert store.keys(prefix, start_after) == [key for key in wanted if sort_key(key) > sort_key(start_after)]
    assert store.level(prefix) == one_level(keys, prefix)
    assert store.level(prefix, start_after) == [
        entry for entry in one_level(keys, prefix) if sort_key(entry) > sort_key(start_after)
    ]


@SLOW
@given(keys=PLAIN_KEYS, prefix=SEGMENT | st.just(""), start_after=SEGMENT)
def test_plain_listings_are_the_sorted_keys(tmp_path_factory, open_store, keys, prefix, start_after):
    store = open_store(tmp_path_factory.mktemp("plain"), durability="none")
    keys = without_conflicts(keys)
    for key in keys:
        store.put(key)
    for near in {prefix, *(key[: len(key) // 2 + 1] for key in keys[:3])}:
        check_listings(store, keys, near, start_after)
        check_listings(store, keys, near, keys[0] if keys else "a")
    store.backend.close()


@SLOW
@given(keys=ANY_KEYS, prefix=SEGMENT | st.just(""), start_after=SEGMENT)
def test_sharded_listings_are_the_sorted_keys(tmp_path_factory, open_store, keys, prefix, start_after):
    store = open_store(tmp_path_factory.mktemp("sharded"), durability="none", layout="sharded")
    for key in keys:
        store.put(key)
    for near in {prefix, *(key[: len(key) // 2 + 1] for key in keys[:3])}:
        check_listings(store, keys, near, start_after)
        check_listings(store, keys, near, keys[0] if keys else "a")
    store.backend.close()


def test_the_order_is_that_of_whole_keys(store):
    keys = ["a ", "a-", "a.", "a/b", "a0", "a/", "ab/x", "abc"]
    keys.remove("a/")
    for key in reversed(keys):
        store.put(key)
    assert store.keys() == ["a ", "a-", "a.", "a/b", "a0", "ab/x", "abc"]
    assert store.keys("ab") == ["ab/x", "abc"]
    assert store.keys("a/") == ["a/b"]
    assert store.keys("a/b") == ["a/b"]
    assert store.keys("", "a/b") == ["a0", "ab/x", "abc"]
    assert store.keys("", "a/") == ["a/b", "a0", "ab/x", "abc"]
    assert store.keys("a", "zzz") == []
    assert store.keys("b", "a") == []


def test_empty_folders_are_not_shown(store, root):
    store.put("a/b/c/key")
    (root / "empty" / "nested").mkdir(parents=True)
    os.mkfifo(root / "empty" / "fifo")
    assert store.level() == ["a/"]
    assert store.level("a/") == ["a/b/"]
    assert store.level("e") == []


def test_a_missing_root_is_said_at_the_first_item(open_store, tmp_path):
    store = open_store(tmp_path / "missing")
    for listing in (store.backend.list, store.backend.list_dir):
        entries = listing("", ListOptions())
        with pytest.raises(BucketNotFoundError):
            next(entries)
        entries = listing("a//", ListOptions())
        with pytest.raises(BucketNotFoundError):
            next(entries)


def test_a_folder_that_cannot_be_read_fails_the_listing(open_store):
    system = FaultyOS()
    store = open_store(os=system, durability="none")
    store.put("a/key")
    store.put("b/key")
    system.faults.append(Fault("open", 1, errno.EACCES, matches=lambda call: call.args[0] == "b"))
    listing = store.backend.list("", ListOptions())
    assert next(listing).key == "a/key"
    with pytest.raises(PermissionDeniedError):
        next(listing)
    system.verify_all_used()


def test_what_goes_away_meanwhile_is_skipped_and_what_stays_comes_once(open_store, root):
    class Removing(RecordingOS):
        """Deletes an object after the names were read, and a folder before it is opened."""

        def carry_out(self, call, real):
            if call.name == "stat" and call.args[0] == "b":
                os.unlink(root / "b")
            if call.name == "open" and call.args[0] == "c":
                os.unlink(root / "c/key")
                os.rmdir(root / "c")
            return super().carry_out(call, real)

    store = open_store(durability="none")
    for key in ("a", "b", "c/key", "d"):
        store.put(key)
    assert open_store(os=Removing()).keys() == ["a", "d"]


def test_writes_in_mid_listing_neither_repeat_nor_drop_what_stays(store):
    keys = [f"{folder}/{name:03}" for folder in "abc" for name in range(50)]
    for key in keys:
        store.put(key)
    seen = []
    for number, info in enumerate(store.backend.list("", ListOptions())):
        seen.append(info.key)
        store.put(f"b/new{number}")
        store.put("b/025", b"again")
        store.delete(f"c/{number % 10:03}")
    stayed = [key for key in keys if not (key.startswith("c/00"))]
    assert [key for key in seen if key in stayed] == stayed
    assert len(seen) == len(set(seen))


@pytest.fixture
def thousand_levels(root):
    """Two files in each of a thousand nested folders, and their keys; removed at the end, as pytest itself cannot."""
    here = os.open(root, os.O_RDONLY)
    keys, text = [], ""
    for _ in range(1000):
        for name in ("a", "z"):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=here))
            keys.append(text + name)
        os.mkdir("m", dir_fd=here)
        inner = os.open("m", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, text = inner, text + "m/"
    os.close(here)
    yield keys
    subprocess.run(["rm", "-rf", str(root / "m")], check=True)


@pytest.mark.parametrize("follow", [False, True])
def test_a_thousand_levels(open_store, thousand_levels, open_files, follow):
    keys = thousand_levels
    store = open_store(follow_symlinks=follow)
    before, most, seen = open_files(), 0, []
    for info in store.backend.list("", ListOptions()):
        seen.append(info.key)
        most = max(most, open_files())
    assert seen == sorted(keys)
    assert most < before + 25
    assert store.keys("m/m/m", "m/m/n") == []
    assert len(store.keys("m/" * 900)) == 200
    assert store.level("m/" * 500)[1] == "m/" * 501
    assert store.get("m/" * 999 + "a") == b""
    assert open_files() == before


def test_a_deep_tree_that_is_removed_while_it_is_listed_ends(store, root):
    for depth in range(40):
        store.put("m/" * depth + "z")
    entries = store.backend.list("", ListOptions())
    assert next(entries).key == "m/" * 39 + "z"
    os.rename(root / "m", root.parent / "away")
    rest = [info.key for info in entries]
    assert rest[-1] == "z"
    assert rest == sorted(rest)


def test_abandoned_listings_close_their_folders(store, open_files):
    for depth in range(30):
        store.put("m/" * depth + "z")
    before = open_files()
    for _ in range(20):
        next(store.backend.list("", ListOptions()))
    assert open_files() == before


def test_odd_time_stamps_do_not_break_a_listing(store, root):
    for name, stamp in (("past", -(10**15)), ("old", 0), ("future", 2**33)):
        (root / name).write_bytes(b"")
        os.utime(root / name, (stamp, stamp))
    infos = {info.key: info for info in store.backend.list("", ListOptions())}
    assert infos["old"].modified.year == 1970
    assert all(info.modified.tzinfo is not None for info in infos.values())


def test_foreign_files_in_a_sharded_folder_are_left_out_and_told(open_store, root):
    from mediagit_storage.events import on_event

    store = open_store(layout="sharded", durability="none")
    store.put("abc/def")
    (root / "notes.txt").write_bytes(b"")
    (root / "ab+").mkdir()
    (root / "ab+" / "c=").write_bytes(b"")
    events = []
    with on_event(events.append):
        assert store.keys() == ["abc/def"]
    assert sorted(event.key for event in events) == ["ab+", "notes.txt"]
