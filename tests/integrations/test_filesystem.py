"""What the filesystem promises beyond fsspec's own suites."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys
import threading
from datetime import UTC

import fsspec
import pytest
from fsspec.callbacks import Callback
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import (
    AlreadyExistsError,
    Attributes,
    BucketNotFoundError,
    ConfigError,
    InvalidKeyError,
    MemoryBackend,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    Storage,
    UnsupportedError,
    open_storage,
)
from mediagit_storage.integrations.fsspec import MgsFileSystem
from mediagit_storage.integrations.fsspec.ranges import Slice, byte_range, joined_reads
from mediagit_storage.layers.compress import CompressLayer
from mediagit_storage.ranges import resolve_range
from mediagit_storage.testing.wrappers import CallLog


@pytest.fixture
def fs(memory):
    return MgsFileSystem(storage=memory)


@pytest.fixture
def raw():
    """Over a storage that takes any key."""
    with Storage(MemoryBackend(), keys="raw") as store:
        yield MgsFileSystem(storage=store)


# ---- names


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """Two profiles over folders, `media` and `backup`."""
    lines = []
    for name in ("media", "backup"):
        (tmp_path / name).mkdir()
        lines += [f"[{name}]", f'url = "file://{tmp_path / name}"', 'durability = "none"']
    (tmp_path / "profiles.toml").write_text("\n".join(lines))
    monkeypatch.setenv("MGS_CONFIG", str(tmp_path / "profiles.toml"))
    return tmp_path


def test_the_first_segment_names_a_profile(profiles):
    with fsspec.open("mgs://media/a/b.txt", "w") as file:
        file.write("hello")
    assert (profiles / "media/a/b.txt").read_text() == "hello"
    fs = fsspec.filesystem("mgs")
    assert fs.ls("", detail=False) == ["backup", "media"]
    assert fs.find("mgs://media") == ["media/a/b.txt"]
    assert fs.find("", withdirs=True) == ["backup", "media", "media/a", "media/a/b.txt"]
    assert fs.glob("m*/a/*") == ["media/a/b.txt"]
    assert fs.isdir("backup")
    assert fs.unstrip_protocol("media/a/b.txt") == "mgs://media/a/b.txt"


def test_a_copy_goes_from_one_profile_to_another(profiles):
    fs = MgsFileSystem()
    fs.pipe({"media/a/1": b"one", "media/a/2": b"two"})
    fs.copy("media/a/", "backup/b", recursive=True)
    assert fs.cat("backup/b", recursive=True) == {"backup/b/1": b"one", "backup/b/2": b"two"}
    fs.mv("backup/b/1", "media/c")
    assert fs.find("backup") == ["backup/b/2"]
    assert fs.cat("media/c") == b"one"


def test_what_names_no_profile_is_told(profiles):
    fs = MgsFileSystem()
    with pytest.raises(ConfigError, match=r"no profile 'medai'.*known: backup, media"):
        fs.exists("medai/x")
    with pytest.raises(ConfigError, match="names no profile"):
        fs.rm("", recursive=True)
    with pytest.raises(InvalidKeyError, match="no object in it"):
        fs.cat_file("media")


def test_another_profiles_file_is_read_when_it_is_named(profiles, monkeypatch):
    fs = fsspec.filesystem("mgs")
    fs.pipe_file("media/x", b"1")
    (profiles / "other.toml").write_text(f'[media]\nurl = "file://{profiles / "backup"}"\n')
    monkeypatch.setenv("MGS_CONFIG", str(profiles / "other.toml"))
    assert fs.find("media") == []


def test_a_url_makes_paths_keys(tmp_path):
    options = {"root": str(tmp_path)}
    with fsspec.open("mgs://a/b", "wb", **options) as file:
        file.write(b"1")
    assert (tmp_path / "a/b").read_bytes() == b"1"
    assert fsspec.filesystem("mgs", **options) is fsspec.filesystem("mgs", **options)


def test_the_threads_of_a_process_share_what_is_open(tmp_path):
    first = MgsFileSystem(root=str(tmp_path))
    others = []
    thread = threading.Thread(target=lambda: others.append(MgsFileSystem(root=str(tmp_path))))
    thread.start()
    thread.join()
    assert others[0] is not first  # that is how fsspec keeps them
    assert others[0] == first
    assert hash(others[0]) == hash(first)
    assert others[0]._places.store is first._places.store


def test_what_opens_a_storage_is_closed_with_its_last_user(tmp_path):
    store = MgsFileSystem(root=str(tmp_path), skip_instance_cache=True)._places.store
    assert "closed" in repr(store)
    reader = MgsFileSystem(root=str(tmp_path), skip_instance_cache=True)
    reader.pipe_file("a", b"1")
    file = reader.open("a")
    del reader
    assert file.read() == b"1"


def test_a_storage_that_was_handed_in_is_not_closed(memory):
    MgsFileSystem(storage=memory).pipe_file("a", b"1")
    assert memory.get("a") == b"1"


@pytest.mark.parametrize(
    "options",
    [
        {"root": "memory://a", "connection": {"type": "memory", "config": {}}},
        {"layers": ["readonly"]},
        {"options": {"region": "eu"}},
        {"use_listings_cache": True},
        {"connection": {"type": "memory"}},
        {"root": "nonsense://a"},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        MgsFileSystem(**options)


# ---- one instance is not taken for another; no secret gets out


def test_storages_that_look_alike_are_told_apart():
    with Storage(MemoryBackend()) as one, Storage(MemoryBackend()) as two:
        first, second = MgsFileSystem(storage=one), MgsFileSystem(storage=two)
        assert first is not second
        assert first != second
        first.pipe_file("a", b"1")
        assert not second.exists("a")


def secretive(secret, **more):
    options = {"region": "eu-west-1", "access_key_id": "id", "secret_access_key": secret}
    return MgsFileSystem(root="s3://bucket/folder", options=options, **more)


def test_a_literal_secret_stays_where_it_is():
    fs = secretive("hunter2-in-the-clear")
    assert secretive("another") != fs
    assert "hunter2" not in repr(fs) + str(fs.fsid) + fs._fs_token
    with pytest.raises(TypeError, match="refuses to be pickled"):
        pickle.dumps(fs)
    for told in (fs.to_json, fs.to_dict):
        with pytest.raises(ConfigError, match="given a secret itself"):
            told()


def test_a_literal_secret_is_pickled_only_when_that_was_asked_for():
    fs = secretive("hunter2", pickle_secrets=True)
    again = pickle.loads(pickle.dumps(fs))
    assert again.sign("x").partition("?")[0] == fs.sign("x").partition("?")[0]


def test_references_to_secrets_travel(monkeypatch):
    monkeypatch.setenv("THE_ID", "some-id")
    monkeypatch.setenv("THE_SECRET", "hunter2")
    fs = MgsFileSystem(
        root="s3://bucket/folder",
        options={"region": "eu-west-1", "access_key_id": {"env": "THE_ID"}, "secret_access_key": {"env": "THE_SECRET"}},
        layers=["readonly"],
    )
    pickled = pickle.dumps(fs)
    assert b"hunter2" not in pickled
    assert b"hunter2" not in fs.to_json().encode()
    again = pickle.loads(pickled)
    assert again == fs
    assert again is pickle.loads(pickled)
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) == fs
    assert fsspec.AbstractFileSystem.from_dict(fs.to_dict()) is again
    with pytest.raises(PermissionError):
        again.pipe_file("x", b"")


def test_profiles_travel_by_name(profiles):
    fs = MgsFileSystem()
    assert pickle.loads(pickle.dumps(fs)) is fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) is fs
    raw = MgsFileSystem(keys="raw")
    assert pickle.loads(pickle.dumps(raw)) == raw != fs


def test_a_storage_travels_with_its_rule_of_keys(tmp_path):
    with open_storage(tmp_path, options={"layout": "sharded"}, keys="raw") as store:
        fs = MgsFileSystem(storage=store)
        for again in (pickle.loads(pickle.dumps(fs)), fsspec.AbstractFileSystem.from_json(fs.to_json())):
            again.pipe_file("a//b", b"1")
            assert again == fs
        assert fs.cat("a//b") == b"1"


def test_a_storage_in_memory_does_not_travel(fs):
    with pytest.raises(TypeError, match="one process"):
        pickle.dumps(fs)


def run_python(code, stdin=b"", **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], input=stdin, env={**os.environ, **environment}, capture_output=True, timeout=60
    )
    return result.stdout.decode() + result.stderr.decode()


def test_it_works_in_another_process(tmp_path):
    fs = MgsFileSystem(root=str(tmp_path))
    fs.pipe_file("a", b"0123")
    with fs.open("a") as file:
        file.seek(2)
        pickled = pickle.dumps((fs, file))
    code = "import pickle, sys; fs, file = pickle.load(sys.stdin.buffer); print(fs.cat('a'), file.read())"
    assert run_python(code, pickled) == "b'0123' b'23'\n"


def test_nothing_has_to_be_imported(profiles):
    code = "import fsspec; file = fsspec.open('mgs://media/x', 'w'); file.__enter__().write('1'); file.close()"
    assert run_python(code) == ""
    assert (profiles / "media/x").read_bytes() == b"1"


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['fsspec'] = None; import mediagit_storage.integrations.fsspec"
    assert "ConfigError: the filesystem needs the extra 'fsspec': pip install 'mediagit-storage[fsspec]'" in run_python(
        code
    )


def test_it_works_in_a_forked_child(tmp_path):
    fs = MgsFileSystem(root=str(tmp_path))
    fs.pipe_file("a", b"1")
    child = os.fork()
    if child == 0:
        os._exit(0 if fsspec.filesystem("mgs", root=str(tmp_path)).cat("a") + fs.cat("a") == b"11" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ---- what is there


def test_folders_are_what_keys_begin_with(fs):
    fs.pipe({"a/b": b"12", "a/c/d": b"345", "e": b""})
    assert fs.ls("", detail=False) == ["a", "e"]
    assert [(each["name"], each["type"], each["size"]) for each in fs.ls("a")] == [
        ("a/b", "file", 2),
        ("a/c", "directory", 0),
    ]
    assert fs.ls("a/b", detail=False) == ["a/b"]
    assert [*fs.walk("")] == [("", ["a"], ["e"]), ("a", ["c"], ["b"]), ("a/c", [], ["d"])]
    assert fs.find("a", maxdepth=1, withdirs=True) == ["a", "a/b", "a/c"]
    assert fs.find("a/b") == ["a/b"]
    assert fs.find("nothing") == []
    assert fs.du("") == 5
    assert fs.du("a", total=False, withdirs=True) == {"a": 0, "a/b": 2, "a/c": 0, "a/c/d": 3}
    assert fs.exists("a")
    assert fs.isdir("a/c")
    assert not fs.isdir("e")
    assert fs.exists("a/c/")
    assert not fs.exists("a/x")
    for call in (fs.ls, fs.info, fs.cat_file, fs.rm_file, fs.open, fs.modified):
        with pytest.raises(FileNotFoundError):
            call("nothing")


def test_levels_and_flat_listing_agree(raw):
    raw.pipe(dict.fromkeys(("a/b/c", "a/b", "a/d/e/f", "a-b/c", "g"), b""))
    whole = raw.find("", withdirs=True, detail=True)
    assert raw.find("", withdirs=True, detail=True, maxdepth=9) == whole
    assert list(whole) == ["a", "a-b", "a-b/c", "a/b", "a/b/c", "a/d", "a/d/e", "a/d/e/f", "g"]
    assert whole["a/b"]["type"] == "file"  # an object has the name before a folder
    assert raw.isfile("a/b")
    assert raw.ls("a/b", detail=False) == ["a/b/c"]


def test_a_key_that_ends_with_a_slash_is_a_folder(raw):
    raw._places.store.put("kept/", b"")
    raw.pipe_file("a/x", b"1")
    raw._places.store.put("a/", b"")
    assert raw.isdir("kept")
    assert raw.ls("kept") == []
    assert raw.find("") == ["a/x"]
    assert raw.find("", withdirs=True) == ["a", "a/x", "kept"]
    raw.rmdir("kept")
    assert not raw.exists("kept")
    with pytest.raises(OSError, match="not empty"):
        raw.rmdir("a")
    raw.mv("a", "b", recursive=True)
    assert [each.key for each in raw._places.store.list()] == ["b/x"]


def test_keys_that_no_path_leads_to_do_no_harm(raw):
    raw.pipe({"a//b": b"1", "a/c": b"2"})
    assert raw.cat("a//b") == b"1"
    assert [*raw.walk("a")] == [("a", [], ["c"])]
    assert raw.find("a") == ["a//b", "a/c"]
    raw.rm("a", recursive=True)
    assert raw.find("") == []


def test_making_folders_does_nothing(fs):
    fs.mkdir("a")
    fs.makedirs("a/b", exist_ok=True)
    fs.rmdir("a")
    assert fs.ls("") == []


def failing(operation, error):
    def before(name):
        if name == operation:
            raise error

    return before


def test_what_is_not_known_is_not_absent(memory):
    memory.put("a", b"")
    refused = PermissionDeniedError("no")
    fs = MgsFileSystem(storage=memory.with_layer(lambda inner: CallLog(inner, failing("stat", refused))))
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info):
        with pytest.raises(PermissionError):
            call("a")
    fs = MgsFileSystem(
        storage=memory.with_layer(lambda inner: CallLog(inner, failing("stat", BucketNotFoundError("no"))))
    )
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.find):
        with pytest.raises(BucketNotFoundError):
            call("gone")


def test_sizes_are_those_of_the_content(memory):
    fs = MgsFileSystem(storage=memory.with_layer(CompressLayer))
    fs.pipe_file("a/zeros", b"\0" * 100_000)
    assert fs.ls("a")[0]["size"] == 100_000
    assert fs.find("a", detail=True)["a/zeros"]["size"] == 100_000
    assert fs.du("a") == 100_000
    assert fs.size("a/zeros") == 100_000
    assert fs.open("a/zeros").size == 100_000
    assert fs.glob("a/*", detail=True)["a/zeros"]["size"] == 100_000


def test_times_and_identities(fs):
    fs.pipe_file("a", b"1", attributes=Attributes(content_type="text/x", metadata={"k": "v"}))
    assert fs.modified("a").tzinfo is UTC
    assert fs.created("a") == fs.modified("a") == fs.info("a")["mtime"]
    assert fs.info("a")["content_type"] == "text/x"
    assert fs.info("a")["metadata"] == {"k": "v"}
    before = fs.ukey("a"), fs.checksum("a")
    assert before == (fs.ukey("a"), fs.checksum("a"))
    fs.pipe_file("a", b"2")
    assert fs.ukey("a") != before[0]
    assert fs.checksum("a") != before[1]
    assert "a" in fs.sign("a", expiration=60)
    with pytest.raises(UnsupportedError):
        MgsFileSystem(storage=fs._places.store.with_layer(CompressLayer)).sign("a")


# ---- reading


@given(
    data=st.binary(max_size=12),
    start=st.none() | st.integers(-14, 14),
    end=st.none() | st.integers(-14, 14),
)
def test_parts_are_python_slices(data, start, end):
    with Storage(MemoryBackend()) as store:
        fs = MgsFileSystem(storage=store)
        fs.pipe_file("a", data)
        assert fs.cat_file("a", start, end) == data[start:end]
        assert fs.cat_ranges(["a", "a"], [start, 1], [end, 3]) == [data[start:end], data[1:3]]


@given(
    size=st.integers(0, 30),
    wanted=st.lists(st.tuples(st.integers(-3, 30), st.none() | st.integers(0, 30)), max_size=8),
    gap=st.integers(0, 5),
)
def test_reads_that_are_joined_give_each_part(size, wanted, gap):
    data = bytes(range(size))
    slices = {number: Slice("k", start, end) for number, (start, end) in enumerate(wanted)}
    slices = {number: each for number, each in slices.items() if not each.needs_size}
    found = {}
    for read in joined_reads(slices, gap):
        beyond = read.range.offset is not None and read.range.offset >= size and read.range.length != 0
        span = None if beyond else resolve_range(read.range, size)
        content = b"" if span is None else data[span.start : span.start + span.length]
        found |= {part.number: part.of(content) for part in read.parts}
    assert found == {number: data[each.start : each.end] for number, each in slices.items()}


def test_a_range_of_nothing_is_the_whole():
    assert byte_range(Slice("k", 0, None)) == (None, None, None)


def test_parts_that_lie_near_each_other_come_in_one_read(fs):
    wanted = {number: Slice("a", start, start + 10) for number, start in enumerate((0, 50, 100))}
    assert [len(joined_reads(wanted, gap)) for gap in (0, 39, 40)] == [3, 3, 1]
    fs.pipe_file("a", bytes(range(200)))
    for gap in (None, 0):
        found = fs.cat_ranges(["a"] * 3, [0, 50, 100], [10, 60, 110], max_gap=gap)
        assert found == [bytes(range(start, start + 10)) for start in (0, 50, 100)]


def test_errors_of_many_are_raised_returned_or_left_out(fs):
    fs.pipe_file("a", b"1")
    with pytest.raises(FileNotFoundError):
        fs.cat(["a", "b"])
    with pytest.raises(FileNotFoundError):
        fs.cat("b", recursive=True)
    assert fs.cat(["a", "b"], on_error="omit") == {"a": b"1"}
    assert isinstance(fs.cat(["a", "b"], on_error="return")["b"], NotFoundError)
    found = fs.cat_ranges(["a", "b", "b"], 0, [1, 1, -1])
    assert found[0] == b"1"
    assert [type(each) for each in found[1:]] == [NotFoundError, NotFoundError]
    with pytest.raises(NotFoundError):
        fs.cat_ranges(["b"], [0], [0], on_error="raise")
    with pytest.raises(ValueError, match="for each path"):
        fs.cat_ranges(["a"], [0, 1], [1])


def test_a_reader_reads_on_in_another_process_and_notices_another_object(tmp_path):
    fs = MgsFileSystem(root=str(tmp_path))
    fs.pipe_file("a", b"0123456789")
    with fs.open("a") as file:
        file.seek(4)
        pickled = pickle.dumps(file)
        assert (file.size, file.path, file.full_name) == (10, "a", "mgs://a")
    with pickle.loads(pickled) as again:
        assert again.read(3) == b"456"
        assert again.read_at(0, 2) == b"01"
    fs.pipe_file("a", b"abc")
    with pytest.raises(PreconditionError, match="another object"):
        pickle.loads(pickled)


def test_lines_blocks_and_text(fs):
    fs.write_text("a", "één\ntwee\n", encoding="utf-8")
    assert fs.read_text("a", encoding="utf-8") == "één\ntwee\n"
    with fs.open("a", "r", encoding="utf-8") as file:
        assert file.readlines() == ["één\n", "twee\n"]
    assert fs.read_block("a", 3, 4, b"\n") == b"twee\n"
    assert fs.head("a", 2) + fs.tail("a", 3) == "é".encode()[:2] + b"ee\n"[-3:]


def test_a_mapping(fs):
    mapping = fs.get_mapper("root")
    mapping["a"] = b"1"
    mapping.setitems({"b": b"2", "c/d": b"3"})
    assert dict(mapping.items()) == {"a": b"1", "b": b"2", "c/d": b"3"}
    assert mapping.getitems(["a", "x"], on_error="omit") == {"a": b"1"}
    del mapping["a"]
    with pytest.raises(KeyError):
        mapping["a"]
    with pytest.raises(KeyError):
        del mapping["a"]


# ---- deleting, copying, moving


def test_a_key_that_looks_like_a_pattern_is_itself(fs):
    fs.pipe({"d/*": b"1", "d/a": b"2", "d/b[1]": b"3", "d/b1": b"4"})
    fs.rm("mgs://d/*")
    assert fs.find("d") == ["d/a", "d/b1", "d/b[1]"]
    assert fs.cat("d/b[1]") == b"3"
    fs.rm("d/*")
    assert fs.find("") == []


def test_deleting(fs):
    fs.pipe(dict.fromkeys(("a/b", "a/c/d", "a/e", "f"), b""))
    with pytest.raises(FileNotFoundError):
        fs.rm("nothing")
    with pytest.raises(FileNotFoundError):
        fs.rm(["f", "nothing"], recursive=True)
    with pytest.raises(InvalidKeyError):
        fs.rm("")
    fs.rm("a/*")
    assert fs.find("") == ["a/c/d"]
    fs.pipe(dict.fromkeys(("a/b", "a/c/d", "a/c/e/f", "a"), b""))
    fs.rm("a", recursive=True, maxdepth=2)
    assert fs.find("") == ["a/c/e/f"]
    fs.rm("", recursive=True)
    assert fs.find("") == []
    fs.rm("", recursive=True)


def test_copies_keep_attributes(fs):
    fs.pipe_file("a", b"1", attributes=Attributes(content_type="text/x"))
    fs.cp_file("a", "b")
    fs.mv("a", "c")
    assert fs.info("b")["content_type"] == fs.info("c")["content_type"] == "text/x"
    assert fs.find("") == ["b", "c"]
    with pytest.raises(FileNotFoundError):
        fs.mv("nothing", "x")
    with pytest.raises(FileNotFoundError):
        fs.copy("nothing", "x")
    fs.copy(["b", "nothing"], ["d", "x"], on_error="ignore")
    assert fs.find("") == ["b", "c", "d"]
    fs.mv("b", "b")
    assert fs.cat("b") == b"1"


# ---- files of this machine


class Counted(Callback):
    def __init__(self):
        super().__init__()
        self.children = []

    def branched(self, path_1, path_2, **kwargs):
        self.children.append(Counted())
        return self.children[-1]


def test_files_go_and_come(fs, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/small.txt").write_bytes(b"small")
    (tmp_path / "in/deep/large.bin").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "in/link.txt").symlink_to("small.txt")
    counted = Counted()
    fs.put(str(tmp_path / "in/"), "up", recursive=True, callback=counted)
    assert fs.find("up") == ["up/deep/large.bin", "up/link.txt", "up/small.txt"]
    assert fs.info("up/small.txt")["content_type"] == "text/plain"
    assert (counted.size, counted.value) == (3, 3)
    assert sorted((each.size, each.value) for each in counted.children) == [(5, 5), (5, 5), (1048577, 1048577)]
    counted = Counted()
    fs.get("up", str(tmp_path / "out"), recursive=True, callback=counted)
    assert (tmp_path / "out/small.txt").read_bytes() == b"small"
    assert (tmp_path / "out/deep/large.bin").stat().st_size == 1024 * 1024 + 1
    assert counted.value == 3
    assert sorted(os.listdir(tmp_path / "out")) == ["deep", "link.txt", "small.txt"]
    with pytest.raises(FileExistsError):
        fs.put(str(tmp_path / "in/small.txt"), "up/small.txt", mode="create")
    with pytest.raises(ValueError, match="overwrite"):
        fs.put_file(str(tmp_path / "in/small.txt"), "x", mode="append")


def test_one_file_goes_and_comes(fs, tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    counted = Counted()
    fs.put_file(tmp_path / "a", "b", callback=counted)
    assert (counted.size, counted.value) == (5, 5)
    with (tmp_path / "c").open("wb") as file:
        fs.get_file("b", outfile=file)
    fs.get_file("b", str(tmp_path / "new/d"), callback=counted)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "new/d").read_bytes() == b"12345"
    with pytest.raises(FileNotFoundError):
        fs.get_file("nothing", str(tmp_path / "e"))
    assert not (tmp_path / "e").exists()


def test_folders_are_named_in_any_way(fs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fs.pipe({"a/b": b"1", "a/c/d": b"2"})
    fs.get("a/", ".", recursive=True)
    fs.get("a/*", "deep/down/")
    fs.get("a", tmp_path / "path", recursive=True)
    found = sorted(each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*") if each.is_file())
    assert found == ["b", "c/d", "deep/down/b", "path/b", "path/c/d"]
    assert fs.cat("a/*") == {"a/b": b"1"}


def test_no_key_leads_out_of_the_folder(raw, tmp_path):
    raw.pipe({"a/ok": b"1", "a/../../../out": b"2"})
    with pytest.raises(ValueError, match=r"outside of|\.\."):
        raw.get("a", str(tmp_path / "x/y"), recursive=True)
    assert not list(tmp_path.rglob("o*"))


# ---- writing


class Boom(Exception):
    pass


@contextlib.contextmanager
def ended_by_boom():
    with pytest.raises(Boom):
        yield


@pytest.mark.parametrize("compression", [None, "gzip", "xz"])
@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.parametrize("way", ["fs", "fsspec"])
def test_a_with_block_that_fails_stores_nothing(tmp_path, mode, compression, way):
    fs = MgsFileSystem(root=str(tmp_path))
    fs.pipe_file("a", b"old")
    data = "new" * 100_000 if mode == "w" else b"new" * 100_000

    def opened():
        if way == "fs":
            return fs.open("a", mode, compression=compression)
        return fsspec.open("mgs://a", mode, compression=compression, root=str(tmp_path))

    with ended_by_boom(), opened() as file:
        file.write(data)
        raise Boom
    assert fs.cat("a") == b"old"
    with opened() as file:
        file.write(data)
    with fs.open("a", mode.replace("w", "r"), compression=compression) as file:
        assert file.read() == data
    assert fs.find("") == ["a"]


def test_several_files_of_fsspec_fail_together(tmp_path):
    files = fsspec.open_files(["mgs://a", "mgs://b"], "wb", root=str(tmp_path))
    with ended_by_boom(), files as (first, _second):
        first.write(b"1")
        raise Boom
    assert fsspec.filesystem("mgs", root=str(tmp_path)).find("") == []


def test_a_file_that_is_lost_stores_nothing(fs):
    for mode in ("w", "wb"):
        for compression in (None, "gzip"):
            file = fs.open("a", mode, compression=compression)
            file.write("text" if mode == "w" else b"bytes")
            del file
    wrapped = io.TextIOWrapper(fs.open("a", "wb"), encoding="utf-8")
    wrapped.write("text")
    del wrapped
    buffered = io.BufferedWriter(fs.open("a", "wb"))
    buffered.write(b"text")
    del buffered
    assert fs.find("") == []


def test_an_exception_that_is_handled_elsewhere_does_not_matter(tmp_path):
    fs = MgsFileSystem(root=str(tmp_path))
    try:
        raise Boom
    except Boom:
        with fsspec.open("mgs://a", "wb", root=str(tmp_path)) as file:
            file.write(b"1")
    assert fs.cat("a") == b"1"
    opened = fsspec.open("mgs://b", "wb", root=str(tmp_path))
    file = opened.open()
    try:
        raise Boom
    except Boom:
        opened.close()
    assert file.closed
    assert fs.cat("b") == b""


def test_a_file_behaves_like_one(fs):
    file = fs.open("a", "wb")
    assert file.writable()
    assert not file.readable()
    assert not file.seekable()
    assert not file.isatty()
    file.writelines([b"1", memoryview(b"23")])
    file.flush()
    assert file.tell() == 3
    assert not fs.exists("a")
    file.close()
    file.close()
    assert file.closed
    assert fs.cat("a") == b"123"
    with pytest.raises(RuntimeError, match="closed"):
        file.write(b"4")
    with pytest.raises(RuntimeError, match="closed"), file:
        pass


def test_exclusive_creation_holds_to_the_end(fs):
    first, second = fs.open("a", "xb"), fs.open("a", "xt")
    first.write(b"1")
    second.write("2")
    first.close()
    with pytest.raises(FileExistsError):
        second.close()
    with pytest.raises(AlreadyExistsError):
        fs.open("a", "x")
    assert fs.cat("a") == b"1"


@pytest.mark.parametrize("mode", ["a", "ab", "r+b", "w+", "q"])
def test_modes_that_change_objects_are_refused(fs, mode):
    fs.pipe_file("a", b"1")
    with pytest.raises(UnsupportedError, match="written whole"):
        fs.open("a", mode)


def test_touching(fs):
    fs.touch("a")
    fs.pipe_file("b", b"1")
    fs.touch("b")
    assert fs.cat("b") == b""
    fs.touch("c", truncate=False)
    with pytest.raises(UnsupportedError, match="time"):
        fs.touch("c", truncate=False)
    assert fs.find("") == ["a", "b", "c"]


def test_a_transaction_stores_all_at_its_end(fs):
    with fs.transaction:
        with fs.open("a", "wb") as file:
            file.write(b"1")
        with fs.open("b", "w", compression="gzip") as file:
            file.write("2")
        assert fs.find("") == []
    assert fs.find("") == ["a", "b"]
    with fs.open("b", "r", compression="gzip") as file:
        assert file.read() == "2"


def test_all_ways_of_writing_take_part_in_a_transaction(fs, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x").write_bytes(b"5")
    fs.pipe_file("there", b"old")
    with fs.transaction:
        fs.pipe_file("a", b"1")
        fs.pipe({"b": b"2", "c": b"3"}, mode="create")
        fs.touch("d")
        fs.put_file(tmp_path / "in/x", "e.txt")
        fs.put(tmp_path / "in", "f", recursive=True)
        with pytest.raises(FileExistsError):
            fs.pipe_file("there", b"new", mode="create")
        assert fs.find("") == ["there"]
    assert fs.cat(fs.find("")) == {
        "a": b"1",
        "b": b"2",
        "c": b"3",
        "d": b"",
        "e.txt": b"5",
        "f/x": b"5",
        "there": b"old",
    }
    assert fs.info("e.txt")["content_type"] == "text/plain"


def test_a_file_that_is_open_at_the_end_of_its_transaction_is_not_stored(fs):
    files = []

    def forget_to_close():
        with fs.transaction:
            files.append(fs.open("a", "w", compression="gzip"))
            files[0].write("half")

    with pytest.raises(ValueError, match="still open"):
        forget_to_close()
    files.clear()
    assert fs.find("") == []
    fs.touch("a")
    assert fs.find("") == ["a"]


def test_a_transaction_that_fails_stores_nothing(fs):
    with ended_by_boom(), fs.transaction:
        with fs.open("a", "wb") as file:
            file.write(b"1")
        fs.open("b", "w").write("2")
        raise Boom
    assert fs.find("") == []
    fs.pipe_file("a", b"after")
    with ended_by_boom(), fs.transaction, fs.open("a", "wb") as file:
        file.write(b"1")
        raise Boom
    assert fs.cat("a") == b"after"


def test_a_file_that_failed_is_no_part_of_its_transaction(fs):
    with fs.transaction:
        with ended_by_boom(), fs.open("a", "wb") as file:
            file.write(b"1")
            raise Boom
        with fs.open("b", "wb") as file:
            file.write(b"2")
    assert fs.find("") == ["b"]


def test_an_error_of_the_storage_is_raised_where_the_file_is_closed(memory):
    refused = PermissionDeniedError("no")
    fs = MgsFileSystem(storage=memory.with_layer(lambda inner: CallLog(inner, failing("put", refused))))
    file = fs.open("a", "w")
    file.write("1")
    with pytest.raises(PermissionError):
        file.close()
    fs = MgsFileSystem(storage=memory.with_layer(lambda inner: CallLog(inner, failing("batch", refused))))
    with pytest.raises(PermissionError):
        fs.pipe({"a": b"1", "b": b"2"})
    assert not memory.exists("a")


def test_many_threads_use_one_filesystem(fs):
    keys = [f"k/{number}" for number in range(40)]
    fs.pipe({key: key.encode() for key in keys})
    wrong = []

    def work(number):
        for key in keys[number::4]:
            if fs.cat(key) != key.encode() or fs.cat_ranges([key], [0], [1]) != [b"k"] or len(fs.ls("k")) != 40:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
