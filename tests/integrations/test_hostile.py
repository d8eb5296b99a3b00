"""What would lose, mix or misplace data, and what would cost a reader or a listing too much."""

from __future__ import annotations

import gc
import io
import os
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc
from pathlib import PurePosixPath

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import (
    CapacityError,
    ClosedError,
    ConfigError,
    IntegrityError,
    InvalidKeyError,
    MemoryBackend,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    Storage,
)
from mediagit_storage.integrations.fsspec import MgsFileSystem
from mediagit_storage.integrations.fsspec.callbacks import nothing
from mediagit_storage.integrations.fsspec.pairs import Pair
from mediagit_storage.integrations.fsspec.transfers import put_pairs
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities


@pytest.fixture
def fs(memory):
    return MgsFileSystem(storage=memory)


def logged(memory, before=lambda name: None):
    """The filesystem over this storage, and the calls that it makes."""
    logs = []
    store = memory.with_layer(lambda inner: logs.append(CallLog(inner, before)) or logs[-1])
    return MgsFileSystem(storage=store), logs[0].calls


def contents(fs):
    return {name: fs.cat_file(name) for name in fs.find("")}


def files_below(folder):
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


# ---- names that look like patterns


def test_a_folder_that_looks_like_a_pattern_is_itself(fs, tmp_path):
    fs.pipe({"d/[x]/1": b"in", "d/x/1": b"other"})
    assert fs.cat("d/[x]", recursive=True) == {"d/[x]/1": b"in"}
    fs.get("d/[x]", str(tmp_path / "out"), recursive=True)
    assert (tmp_path / "out/1").read_bytes() == b"in"
    fs.copy("d/[x]/", "copy", recursive=True)
    assert fs.cat("copy/1") == b"in"
    fs.rm("d/[x]", recursive=True)
    assert contents(fs) == {"copy/1": b"in", "d/x/1": b"other"}


def test_an_object_that_looks_like_a_pattern_goes_where_another_would(fs, tmp_path):
    fs.pipe({"d/b[1]": b"1"})
    fs.get("d/b[1]", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b"1"
    fs.mv("d/b[1]", "x")
    fs.copy(["x"], "folder*/")
    assert contents(fs) == {"x": b"1", "folder*/x": b"1"}


def test_a_file_of_this_machine_that_looks_like_a_pattern_is_itself(fs, tmp_path):
    (tmp_path / "[x]").mkdir()
    for name in ("b[1]", "b1", "[x]/deep"):
        (tmp_path / name).write_text(name)
    fs.put(str(tmp_path / "b[1]"), "one")
    fs.put(str(tmp_path / "b[1]"), "")
    fs.put([str(tmp_path / "b[1]"), str(tmp_path / "b1")], "many")
    fs.put(str(tmp_path / "[x]"), "folder", recursive=True)
    assert {name: data.decode() for name, data in contents(fs).items()} == {
        "b[1]": "b[1]",
        "folder/deep": "[x]/deep",
        "many/b1": "b1",
        "many/b[1]": "b[1]",
        "one": "b[1]",
    }


# ---- copies and moves that would lose one of two


@pytest.mark.parametrize("call", ["mv", "copy"])
@pytest.mark.parametrize(
    ("sources", "targets", "recursive"),
    [
        (["a/x", "b/x"], "dir/", False),
        (["a/x", "b/x"], ["dir/x", "dir/x"], False),
        (["a/x", "b/x"], ["b/x", "c"], False),
        (["a/x", "b/x"], ["b/x", "a/x"], False),
        ("a/", "a/b", True),
    ],
)
def test_what_would_lose_one_of_two_is_refused_before_anything_is_done(fs, call, sources, targets, recursive):
    before = {"a/x": b"1", "a/b/x": b"2", "b/x": b"3"}
    fs.pipe(before)
    with pytest.raises(InvalidKeyError, match=r"both become|overwritten"):
        getattr(fs, call)(sources, targets, recursive=recursive)
    assert contents(fs) == before


def test_two_files_do_not_become_one(fs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    with pytest.raises(InvalidKeyError, match="both become"):
        fs.put([str(tmp_path / "a/x"), str(tmp_path / "b/x")], "dir")
    assert fs.find("") == []
    fs.pipe({"a/x": b"1", "b/x": b"2"})
    with pytest.raises(InvalidKeyError, match="both become"):
        fs.get(["a/x", "b/x"], str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_lists_of_unequal_length_leave_nothing_out(fs, tmp_path):
    fs.pipe({"a": b"1", "b": b"2"})
    for call in (fs.mv, fs.copy, fs.get, fs.put):
        with pytest.raises(ValueError, match="same length"):
            call(["a", "b"], [str(tmp_path / "x")])
    assert contents(fs) == {"a": b"1", "b": b"2"}


def test_paths_are_text_or_path_objects(fs, tmp_path):
    (tmp_path / "f").write_bytes(b"1")
    fs.put(tmp_path / "f", PurePosixPath("a"))
    fs.put([tmp_path / "f"], "d")
    fs.copy(PurePosixPath("a"), PurePosixPath("b"))
    fs.get(PurePosixPath("b"), tmp_path / "g")
    fs.rm(PurePosixPath("a"))
    assert contents(fs) == {"b": b"1", "d/f": b"1"}
    assert (tmp_path / "g").read_bytes() == b"1"


def test_a_folder_moved_onto_itself_stays(fs):
    fs.pipe({"a/x": b"1", "a/b/x": b"2"})
    fs.mv("a", "a", recursive=True)
    fs.mv("a/", "a", recursive=True)
    assert contents(fs) == {"a/x": b"1", "a/b/x": b"2"}


def test_the_root_is_a_folder_as_any_other(fs, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/empty").mkdir()
    (tmp_path / "in/f").write_text("1")
    (tmp_path / "in/deep/g").write_text("2")
    fs.put(str(tmp_path / "in") + "/", "", recursive=True)
    assert fs.find("") == ["deep/g", "f"]
    fs.put(str(tmp_path / "in/f"), "/")
    fs.copy("deep/g", "")
    fs.copy("f", "deep")
    fs.copy("g*", "deep/")
    assert fs.find("") == ["deep/f", "deep/g", "f", "g"]
    fs.get("", str(tmp_path / "out"), recursive=True)
    assert files_below(tmp_path / "out") == ["deep/f", "deep/g", "f", "g"]
    (tmp_path / "there").mkdir()
    fs.get("deep", str(tmp_path / "there"), recursive=True)
    assert files_below(tmp_path / "there") == ["deep/f", "deep/g"]


def test_what_is_not_there_is_told_by_its_name(fs, tmp_path):
    for call in (lambda: fs.rm("no/[x]"), lambda: fs.copy("no/*", "y"), lambda: fs.get("no", str(tmp_path), True)):
        with pytest.raises(NotFoundError, match="no"):
            call()


def test_a_small_file_that_changes_is_not_stored(fs, tmp_path):
    (tmp_path / "f").write_bytes(b"12")
    for size in (1, 3):
        with pytest.raises(IntegrityError, match="changed"):
            put_pairs([Pair(str(tmp_path / "f"), "x", size)], fs._object, if_absent=False, done=nothing)
    assert fs.find("") == []


# ---- one instance for two storages


def test_the_same_relative_path_from_another_folder_is_another_storage(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "data").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        fsspec.filesystem("mgs", root="data").pipe_file(name, b"")
        assert fsspec.filesystem("mgs", root="data") is fsspec.filesystem("mgs", root="data")
    assert files_below(tmp_path) == ["one/data/one", "two/data/two"]


def test_a_text_that_hides_what_it_is_is_not_what_an_instance_is_known_by(tmp_path):
    class Veiled(str):
        __slots__ = ()

        def __repr__(self):
            return "***"

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (MgsFileSystem(root=Veiled(tmp_path / name)) for name in ("a", "b"))
    assert first is not second


# ---- trees with holes


def test_a_walk_does_not_leave_out_what_it_may_not_see(memory):
    memory.put("a/b", b"")
    seen = []

    def before(name):
        if name == "list_dir" and len(calls) > 1:
            raise PermissionDeniedError("no")

    fs, calls = logged(memory, before)
    for on_error in ("omit", "raise"):
        calls.clear()
        with pytest.raises(PermissionError):
            list(fs.walk("", on_error=on_error))
    calls.clear()
    assert list(fs.walk("", on_error=seen.append)) == [("", ["a"], [])]
    assert [type(each) for each in seen] == [PermissionDeniedError]
    assert list(MgsFileSystem(storage=memory).walk("gone")) == []


def test_a_walk_can_be_cut_short_and_turned_round(fs):
    fs.pipe(dict.fromkeys(("a/x", "b/c/y", "z"), b""))
    found = []
    for path, folders, files in fs.walk(""):
        folders[:] = [each for each in folders if each != "a"]
        found.append((path, files))
    assert found == [("", ["z"]), ("b", []), ("b/c", ["y"])]
    assert [path for path, _, _ in fs.walk("", topdown=False)] == ["a", "b/c", "b", ""]
    assert [path for path, _, _ in fs.walk("", maxdepth=2)] == ["", "a", "b"]
    assert list(fs.walk("z")) == [("z", [], [""])]


# ---- transactions


def test_a_transaction_within_another_is_refused(fs):
    with pytest.raises(ConfigError, match="going on"), fs.transaction:  # noqa: PT012
        fs.pipe_file("a", b"1")
        with fs.transaction:
            pass
    assert fs.find("") == []
    fs.start_transaction()
    fs.pipe_file("a", b"1")
    with pytest.raises(ConfigError, match="going on"):
        fs.start_transaction()
    fs.end_transaction()
    assert contents(fs) == {"a": b"1"}


def test_a_transaction_that_fails_half_way_ends_all_the_same(memory):
    def before(name):
        if name == "put" and calls.count("put") == 2:
            raise CapacityError("full")

    fs, calls = logged(memory, before)
    with pytest.raises(CapacityError), fs.transaction:
        fs.pipe(dict.fromkeys("abc", b"1"))
    assert fs.find("") == ["a"]
    fs.pipe_file("d", b"now")
    assert fs.find("") == ["a", "d"]


def test_many_small_files_of_a_transaction_take_no_threads(fs):
    with fs.transaction:
        before = threading.active_count()
        fs.pipe({f"k/{number}": b"x" for number in range(100)})
        assert threading.active_count() <= before
    assert len(fs.find("k")) == 100


# ---- open files


def test_a_file_that_is_being_written_is_not_pickled(fs):
    with pytest.raises(TypeError, match="being written"):
        pickle.dumps(fs.open("a", "wb"))


def test_a_failure_that_was_swallowed_comes_back_where_the_file_is_closed(memory):
    def before(name):
        if name == "put":
            raise CapacityError("full")

    fs, _ = logged(memory, before)
    for mode, piece in (("wb", bytes(300_000)), ("w", "x" * 300_000)):
        file = fs.open("a", mode)
        with pytest.raises(CapacityError):
            file.writelines([piece] * 100)
        with pytest.raises(CapacityError):
            file.close()


ENDS_BADLY = """
import sys, fsspec, io
fs = fsspec.filesystem("mgs", root=sys.argv[1])
files = [fs.open("text", "w"), fs.open("zip", "wb", compression="gzip"), io.BufferedWriter(fs.open("buffered", "wb"))]
files += [fsspec.open("mgs://opened", "w", root=sys.argv[1]).open(), fs.open("large", "wb")]
files[0].write("half"); files[1].write(b"half"); files[2].write(b"half"); files[3].write("half"); files[4].write(bytes(999_999))
if sys.argv[2] == "with":
    with fs.open("inside", "w") as file:
        file.write("half")
        sys.exit(3)
"""


@pytest.mark.parametrize("way", ["end", "with"])
def test_a_process_that_ends_stores_no_halves(tmp_path, way):
    result = subprocess.run([sys.executable, "-c", ENDS_BADLY, str(tmp_path), way], capture_output=True, timeout=60)
    assert MgsFileSystem(root=str(tmp_path)).find("") == []
    assert result.returncode == (3 if way == "with" else 0)


@pytest.mark.parametrize("size", [10, 600_000])
def test_a_forked_child_cannot_store_what_its_parent_writes(tmp_path, size):
    fs = MgsFileSystem(root=str(tmp_path))
    file = fs.open("a", "wb")
    file.write(bytes(size))
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (lambda: file.write(b"x"), file.close):
            try:
                call()
            except ClosedError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    file.close()
    assert fs.cat("a") == bytes(size)


def test_a_pickled_reader_notices_another_object_where_there_are_no_etags(memory, monkeypatch):
    fs = MgsFileSystem(storage=memory)
    fs.pipe_file("a", b"1")
    function, (same, path, version, identity, position) = fs.open("a").__reduce__()
    assert function(same, path, version, identity, position).read() == b"1"
    with pytest.raises(PreconditionError):
        function(same, path, version, (None, 2, None), position)


def test_a_pickled_reader_stays_with_its_version():
    with Storage(MemoryBackend(versioning=True)) as store:
        fs = MgsFileSystem(storage=store)
        version = store.put("a", b"old").version
        fs.pipe_file("a", b"new")
        function, arguments = fs.open("a", version=version).__reduce__()
        assert function(*arguments).read() == b"old"


def test_a_part_that_needs_the_size_is_of_the_object_that_has_it(memory):
    def before(name):
        if name == "read":
            memory.put("a", b"another one")

    memory.put("a", b"0123456789")
    fs, _ = logged(memory, before)
    with pytest.raises(PreconditionError):
        fs.cat_file("a", 1, -1)
    plain = MgsFileSystem(storage=memory.with_layer(lambda inner: WithoutCapabilities(inner, "read_conditions")))
    assert plain.cat_file("a", 1, -1) == b"nother on"


def test_parts_of_many_that_need_sizes_are_of_the_objects_that_have_them(memory):
    def before(name):
        if name == "batch" and calls.count("batch") == 2:
            memory.put("a", b"another one")

    memory.put("a", b"0123456789")
    fs, calls = logged(memory, before)
    found = fs.cat_ranges(["a", "a"], [1, 0], [-1, 2])
    assert isinstance(found[0], PreconditionError)
    assert found[1] == b"an"  # needs none, and is of what is there
    assert fs.cat_ranges(["a", "a"], [1, 0], [-1, 2]) == [b"nother on", b"an"]


ACTIONS = st.one_of(
    st.tuples(st.just("seek"), st.integers(0, 400_000), st.just(0)),
    st.tuples(st.just("seek"), st.integers(-400_000, 10), st.just(2)),
    st.tuples(st.sampled_from(["read", "readline", "readinto"]), st.sampled_from([0, 1, 5000, 140_000])),
    st.tuples(st.sampled_from(["read", "readlines"])),
)
DATA = random.Random(3).randbytes(300_001)


@given(st.lists(ACTIONS, max_size=12))
def test_a_reader_is_as_a_file_in_memory(actions):
    with Storage(MemoryBackend()) as store:
        store.put("a", DATA)
        with MgsFileSystem(storage=store).open("a") as file, io.BytesIO(DATA) as twin:
            for name, *arguments in actions:
                if name == "seek" and arguments[1] == 2 and len(DATA) + arguments[0] < 0:
                    with pytest.raises(ValueError, match="negative"):
                        file.seek(*arguments)
                elif name == "readinto":
                    ours, theirs = bytearray(arguments[0]), bytearray(arguments[0])
                    assert (file.readinto(ours), ours) == (twin.readinto(theirs), theirs)
                else:
                    assert getattr(file, name)(*arguments) == getattr(twin, name)(*arguments)
                assert file.tell() == twin.tell()


def fetched(memory, use):
    """How many requests, and how many bytes, some use of a file of 8 MB takes."""
    sizes = []
    memory.put("large", bytes(8_000_000))
    with MgsFileSystem(storage=memory).open("large") as file:
        inner = file._read_range
        file._read_range = lambda wanted: sizes.append(wanted.length) or inner(wanted)
        use(file)
    return len(sizes), sum(sizes)


def test_small_reads_here_and_there_fetch_little(memory):
    chance = random.Random(1)

    def use(file):
        for _ in range(200):
            file.seek(chance.randrange(7_900_000))
            assert len(file.read(100)) == 100

    requests, size = fetched(memory, use)
    assert requests <= 200
    assert size < 1_200_000  # and not 200 times 128 KiB


@pytest.mark.parametrize("step", [1000, 128 * 1024, 256 * 1024])
def test_reading_in_order_takes_few_requests_whatever_the_step(memory, step):
    def use(file):
        file.seek(7_000_000)
        file.read(10)
        file.seek(0)
        while file.read(step):
            pass

    assert fetched(memory, use)[0] <= 9


# ---- very many


def test_names_alone_take_little_memory(memory):
    memory.put_many((f"folder/number-{number:06}", b"") for number in range(5000)).run()
    fs = MgsFileSystem(storage=memory)
    peaks = []
    for detail in (False, True):
        gc.collect()
        tracemalloc.start()
        found = fs.find("", detail=detail)
        peaks.append(tracemalloc.get_traced_memory()[1] / len(found))
        tracemalloc.stop()
    assert peaks[0] < 350
    assert peaks[0] < peaks[1] * 0.7
    assert fs.glob("folder/*") == fs.find("folder")
