"""`cp` and `mv`: what lands where, what is refused, and what is told at the end."""

from __future__ import annotations

import json
import os
import re

import pytest

from mediagit_storage import Attributes, open_storage
from mediagit_storage.cli.framework import Run
from mediagit_storage.cli.session import session
from mediagit_storage.events import Event, emit
from mediagit_storage.transfer import kept_event


def contents(folder) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


ALL = {"a/b/deep.txt": b"deep", "a/one.png": b"\x00\xff", "a-": b"", "photo.jpg": b"j" * 2000, "ü x": b"u"}


@pytest.fixture
def stored(mgs, tree, memory):
    """The URL of a memory storage with the tree in it."""
    assert mgs("cp", "-r", "src/", memory).code == 0
    return memory


def keys(url: str) -> list[str]:
    with open_storage(url) as store:
        return [info.key for info in store.list()]


def test_a_folder_goes_out_and_comes_back_the_same(mgs, tree, memory, work):
    result = mgs("cp", "-r", "src/", f"{memory}/x/")
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("mgs: copied 5 objects, 2.0 kB in ")
    assert "MB/s)" in result.err
    # What was only looked at, or deleted, has a size and no speed.
    for planned in (("cp", "-rn", "src/", f"{memory}/y/"), ("rm", "-rn", f"{memory}/x/")):
        told = mgs(*planned).err
        assert "2.0 kB in " in told
        assert "MB/s" not in told
    assert mgs("cp", "-r", f"{memory}/x/", "back/").code == 0
    assert contents(work / "back") == ALL


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        # one object
        ("src/photo.jpg", "new.jpg", {"new.jpg"}),
        ("src/photo.jpg", "there/", {"there/photo.jpg"}),
        ("src/photo.jpg", "there", {"there/photo.jpg"}),
        ("src/photo.jpg", "not/yet/", {"not/yet/photo.jpg"}),
        # the contents of a folder
        ("src/a/", "to", {"to/b/deep.txt", "to/one.png"}),
        ("src/a/", "there", {"there/b/deep.txt", "there/one.png"}),
        # a folder by its name
        ("-r src/a", "to", {"to/b/deep.txt", "to/one.png"}),
        ("-r src/a", "to/", {"to/a/b/deep.txt", "to/a/one.png"}),
        ("-r src/a", "there", {"there/a/b/deep.txt", "there/a/one.png"}),
        # patterns
        ("src/*.jpg", "to", {"to/photo.jpg"}),
        ("src/a/*", "to", {"to/one.png"}),
        ("src/*/*", "to/", {"to/a/one.png"}),
        ("src/**.txt", "to", {"to/a/b/deep.txt"}),
        ("-r src/a*", "to", {"to/a-", "to/a/b/deep.txt", "to/a/one.png"}),
        ("src/[!p]-", "to", {"to/a-"}),
    ],
)
def test_what_lands_where(mgs, tree, work, source, target, expected):
    (work / "there").mkdir()
    before = {path for path in contents(work) if not path.startswith("src/")}
    assert mgs("cp", *source.split(), target).code == 0
    assert {path for path in contents(work) if not path.startswith("src/")} - before == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("src/photo.jpg", "", ["photo.jpg"]),
        ("src/photo.jpg", "/x", ["x"]),
        ("src/photo.jpg", "/x/", ["x/photo.jpg"]),
        ("-r src", "", ["src/a-", "src/a/b/deep.txt", "src/a/one.png", "src/photo.jpg", "src/ü x"]),
        ("-r src/a", "/x", ["x/b/deep.txt", "x/one.png"]),
        ("-r src/a", "/x/", ["x/a/b/deep.txt", "x/a/one.png"]),
        ("-r .", "/x", ["x/src/a-", "x/src/a/b/deep.txt", "x/src/a/one.png", "x/src/photo.jpg", "x/src/ü x"]),
    ],
)
def test_what_lands_where_in_a_bucket(mgs, tree, memory, source, target, expected):
    assert mgs("cp", *source.split(), memory + target).code == 0
    assert keys(memory) == expected


def test_several_sources(mgs, tree, memory):
    assert mgs("cp", "src/photo.jpg", "src/a-", "src/a/one.png", f"{memory}/x/").code == 0
    assert keys(memory) == ["x/a-", "x/one.png", "x/photo.jpg"]


def test_two_sources_of_one_name_are_refused(mgs, tree, work):
    """The second would replace the first; after a move one of them would be lost."""
    (work / "src/a/photo.jpg").write_bytes(b"another")
    before = contents(work)
    result = mgs("mv", "src/photo.jpg", "src/a/photo.jpg", "to/")
    assert result.code == 2
    assert "would both become 'to/photo.jpg'" in result.err
    assert contents(work) == before


@pytest.mark.parametrize("command", ["cp", "mv"])
@pytest.mark.parametrize("size", [3, 2_000_000])
@pytest.mark.parametrize("second", ["two/", "two/same"])
def test_folders_that_hold_the_same_name_do_not_replace_each_other(mgs, work, command, size, second):
    """The second stays where it is and is named; after a move one of them would be lost."""
    for folder in ("one", "two"):
        (work / folder).mkdir()
        (work / folder / "same").write_bytes(folder.encode() * size)
        (work / folder / folder).write_bytes(b"only here")
    result = mgs(command, "-r", "one/", second, "to/")
    assert result.code == 6
    assert "another source became this already, so" in result.err
    assert contents(work / "to")["same"] == b"one" * size
    assert (work / "two/same").read_bytes() == b"two" * size
    assert (work / "to/one").read_bytes() == b"only here"
    if second == "two/":
        assert (work / "to/two").read_bytes() == b"only here"
    assert mgs(command, "-r", "one/", "two/", "to/", "--no-overwrite").code == 0


def test_an_object_whose_name_looks_like_a_pattern_is_that_object(mgs, work):
    (work / "a[1].txt").write_bytes(b"1")
    (work / "a1.txt").write_bytes(b"2")
    assert mgs("cp", "a[1].txt", "copy").code == 0
    assert (work / "copy").read_bytes() == b"1"


def test_a_name_that_begins_with_a_dash(mgs, work):
    (work / "-r").write_bytes(b"dash")
    assert mgs("cp", "--", "-r", "copy").code == 0
    assert (work / "copy").read_bytes() == b"dash"


@pytest.mark.parametrize(
    ("command", "source", "target"),
    [
        ("cp", "src/photo.jpg", "src/photo.jpg"),
        ("cp", "src/photo.jpg", "src/../src/photo.jpg"),
        ("cp", "src/photo.jpg", "src/"),
        ("cp -r", "src", "src"),
        ("cp -r", "src/", "src/"),
        ("cp -r", "src/", "src/a/new"),
        ("cp -r", "src", "."),
        ("cp -r", ".", "src/"),
        ("cp", "src/**", "src/new/"),
        ("cp", "src/*", "src/"),
        ("mv", "src/a/*", "src/a"),
        ("mv -r", "src/a*", "src/a/new/"),
        ("mv -r", "src/a", "src/a/b"),
        ("cp -r", "link/", "src/a"),
    ],
)
def test_onto_or_into_itself_is_refused(mgs, tree, work, command, source, target):
    (work / "link").symlink_to("src")
    before = contents(work)
    result = mgs(*command.split(), source, target)
    assert result.code == 2
    assert re.search("same object|itself|matches again", result.err)
    assert contents(work) == before


def test_a_storage_under_two_names_is_one_storage(mgs, tree, work):
    """Else moving onto itself would copy an object over itself and delete it."""
    mgs("profile", "add", "media", "src")
    mgs("profile", "add", "inner", "src/a")
    before = contents(work)
    for source, target in (
        ("media:a/*", "src/a/"), ("media:a/one.png", "inner:one.png"), ("media:a/*", "inner:"),
        ("-r media:a", "inner:b/"), ("-r media:", f"file://{work}/src/"),
    ):  # fmt: skip
        assert mgs("mv", *source.split(), target).code == 2, (source, target)
    assert contents(work) == before


def test_a_pattern_may_go_below_its_folder(mgs, tree, work):
    assert mgs("mv", "src/*.jpg", "src/pictures/").code == 0
    assert (work / "src/pictures/photo.jpg").exists()
    assert mgs("cp", "src/p**", "src/a/more/").code == 0
    assert (work / "src/a/more/pictures/photo.jpg").exists()


def test_out_of_a_folder_into_the_one_above_is_fine(mgs, tree, work):
    assert mgs("cp", "-r", "src/a/b/", "src/").code == 0
    assert (work / "src/deep.txt").read_bytes() == b"deep"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--include", "*.png"], {"a/one.png"}),
        (["--exclude", "*.png"], set(ALL) - {"a/one.png"}),
        (["--include", "a/b/*", "--exclude", "a/"], set(ALL) - {"a/one.png"}),
        (["--exclude", "a/", "--include", "a/b/*"], set()),
        (["--exclude", "b/"], set(ALL) - {"a/b/deep.txt"}),
        (["--exclude=deep*", "--include=a/**"], {"a/one.png"}),
        (["--exclude", "a*"], set(ALL) - {"a-"}),
    ],
)
def test_filters_in_their_order_and_the_first_match_wins(mgs, tree, work, filters, expected):
    assert mgs("cp", "-r", "src/", "to", *filters).code == 0
    assert set(contents(work / "to") if (work / "to").exists() else ()) == expected


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_dry_run_changes_nothing_and_shows_all(mgs, tree, work, command):
    before = contents(work)
    result = mgs(command, "-r", "-n", "src/", "to", "--create")
    assert result.code == 0
    assert len(result.lines) == 5
    assert result.lines[0].endswith("src/a- -> file://" + str(work).replace(" ", "%20") + "/to/a-")
    assert "would have" in result.err
    assert contents(work) == before


def test_what_is_there_is_spared_with_no_overwrite(mgs, tree, work):
    (work / "to").mkdir()
    (work / "to/photo.jpg").write_bytes(b"mine")
    result = mgs("cp", "-r", "src/", "to", "--no-overwrite")
    assert result.code == 0
    assert "copied 4 objects" in result.err
    assert "1 skipped" in result.err
    assert (work / "to/photo.jpg").read_bytes() == b"mine"
    assert mgs("cp", "src/photo.jpg", "to/photo.jpg", "--no-overwrite").code == 0
    assert (work / "to/photo.jpg").read_bytes() == b"mine"


def test_hostile_keys_never_leave_the_folder_and_are_named(mgs, work, memory):
    """A bucket may hold any key; on the way to a disk each bad one is reported by its own name, the others arrive."""
    bad = ["../up", "a/../../up", "/abs", "a//b", "c/./d", "x\ny", "e\x1b[31m", "dir/.."]
    with open_storage(memory, keys="raw") as store:
        for key in [*bad, "fine", "fine too/x"]:
            store.put(key, b"!")
    result = mgs("cp", "-r", f"{memory}/", "to/")
    assert result.code == 6
    assert contents(work) == {"to/fine": b"!", "to/fine too/x": b"!"}
    assert sorted(os.listdir(work.parent)) == ["work"]
    assert f"{len(bad)} failed" in result.err
    assert "\x1b" not in result.err
    for key in bad:
        assert repr(key)[1:-1] in result.err
    as_json = mgs("cp", "-r", "--json", f"{memory}/", "to2/")
    assert {error["key"] for error in as_json.errors} == {f"to2/{key}" for key in bad}


def test_markers_of_folders_are_left_out_and_told(mgs, memory, work):
    with open_storage(memory, keys="raw") as store:
        store.put("photos/", b"")
        store.put("photos/1", b"1")
    result = mgs("cp", "-v", "-r", f"{memory}/photos/", "to/")
    assert result.code == 0
    assert "left out 'photos/'" in result.err
    assert contents(work) == {"to/1": b"1"}


def test_attributes_come_along_where_the_target_can_keep_them(mgs, tree, memory):
    mgs("put", "src/photo.jpg", f"{memory}/1/p.jpg", "--metadata", "who=me", "--content-type", "x/y", "--tag", "a=b")
    assert mgs("cp", "-r", f"{memory}/1/", "there/").code == 0
    assert mgs("cp", "-r", "there/", f"{memory}/2/").code == 0
    with open_storage(memory) as store:
        expected = Attributes(content_type="x/y", metadata={"who": "me"}, tags={"a": "b"})
        assert store.stat("2/p.jpg").attributes == expected


def test_a_storage_class_stays_behind_where_the_target_has_none(mgs, tree, memory):
    """It says where a service keeps an object, and nothing of the object."""
    mgs("put", "src/photo.jpg", f"{memory}/p", "--storage-class", "COLD", "--metadata", "a=b")
    assert mgs("cp", f"{memory}/p", "p").code == 0
    (record,) = mgs("stat", "p", "--json").records
    assert record["attributes"] == {"metadata": {"a": "b"}}


def test_content_types_are_guessed_from_the_key(mgs, tree, memory):
    mgs("cp", "-r", "src/", memory)
    (record,) = mgs("stat", f"{memory}/photo.jpg", "--json").records
    assert record["attributes"] == {"content_type": "image/jpeg"}
    (plain,) = mgs("stat", f"{memory}/a-", "--json").records
    assert plain["attributes"] == {}


def test_a_compressed_archive_is_not_called_what_is_inside(mgs, work, memory):
    (work / "x.tar.gz").write_bytes(b"")
    for command in ("cp", "put"):
        mgs(command, "x.tar.gz", f"{memory}/")
        (record,) = mgs("stat", f"{memory}/x.tar.gz", "--json").records
        assert record["attributes"] == {"content_type": "application/gzip"}


def test_large_objects_are_streamed_and_small_ones_travel_beside_them(mgs, work, memory):
    (work / "src").mkdir()
    sizes = {f"f{number}": size for number, size in enumerate([0, 1, 1 << 20, (1 << 20) + 1, 3_000_000, 10, 5 << 20])}
    for name, size in sizes.items():
        (work / "src" / name).write_bytes(os.urandom(size))
    assert mgs("cp", "-r", "src/", memory).code == 0
    assert mgs("cp", "-r", f"{memory}/", "back/").code == 0
    assert contents(work / "back") == contents(work / "src")


@pytest.mark.parametrize("within", [True, False])
def test_moving_a_folder(mgs, tree, stored, work, within):
    target = f"{stored}/new/" if within else "new/"
    result = mgs("mv", "-r", f"{stored}/a", target)
    assert result.code == 0
    assert "moved 2 objects" in result.err
    left = ["a-", "photo.jpg", "ü x"]
    if within:
        assert keys(stored) == sorted([*left, "new/a/b/deep.txt", "new/a/one.png"], key=str.encode)
    else:
        assert keys(stored) == left
        assert contents(work / "new") == {"a/b/deep.txt": b"deep", "a/one.png": b"\x00\xff"}


def test_a_folder_is_moved_only_on_demand(mgs, tree, work):
    """Not even by a / at its end, which is enough to copy."""
    for source in ("src/a", "src/a/"):
        result = mgs("mv", source, "to/")
        assert result.code == 2
        assert "add -r" in result.err
    assert contents(tree) == ALL


def test_what_could_not_be_moved_stays(mgs, tree, work, memory):
    (work / "to").mkdir()
    (work / "to/a").write_bytes(b"in the way")
    result = mgs("mv", "-r", "src/", "to/")
    assert result.code == 6
    assert contents(work / "src") == {name: data for name, data in ALL.items() if name.startswith("a/")}
    assert set(contents(work / "to")) == {"a", "a-", "photo.jpg", "ü x"}


def test_skipped_objects_are_not_moved(mgs, tree, work):
    (work / "to").mkdir()
    (work / "to/photo.jpg").write_bytes(b"mine")
    assert mgs("mv", "-r", "src/", "to/", "--no-overwrite").code == 0
    assert contents(work / "src") == {"photo.jpg": b"j" * 2000}
    assert (work / "to/photo.jpg").read_bytes() == b"mine"


def test_quiet_and_verbose(mgs, tree):
    assert mgs("cp", "-r", "-q", "src/", "to/").err == ""
    assert "copied photo.jpg -> to2/photo.jpg" in mgs("cp", "-r", "-v", "src/", "to2/").err


def test_a_missing_root_is_made_on_demand(mgs, tree, work):
    mgs("profile", "add", "media", "root", "--option", "layout=sharded")
    missing = mgs("cp", "-r", "src/", "media:")
    assert missing.code == 3
    assert "does not exist" in missing.err
    assert mgs("cp", "-r", "src/", "media:", "--create", "-n").code == 0
    assert not (work / "root").exists()
    assert mgs("cp", "-r", "src/", "media:", "--create").code == 0
    assert mgs("ls", "media:").lines == ["a-", "a/", "photo.jpg", "ü x"]


def test_a_full_disk_ends_the_copy_and_keeps_what_is_there(mgs, tree, monkeypatch, work):
    """Whatever else would come cannot be stored either; what was done is told before."""
    from mediagit_storage.backend import Completion, PutOperation
    from mediagit_storage.backends.local import LocalBackend
    from mediagit_storage.errors import CapacityError

    whole = LocalBackend.batch

    def full(self, operations, limits):
        for completion in whole(self, operations, limits):
            put = isinstance(completion.operation, PutOperation)
            if put and completion.operation.key.endswith("photo.jpg"):
                yield Completion(completion.operation, None, CapacityError("no space left"))
            else:
                yield completion

    monkeypatch.setattr(LocalBackend, "batch", full)
    (work / "to").mkdir()
    (work / "to/old").write_bytes(b"old")
    result = mgs("cp", "-r", "src/", "to/")
    assert result.code == 7
    assert "copied 3 objects" in result.err.splitlines()[0]
    assert "no space left" in result.err.splitlines()[1]
    assert contents(work / "to")["old"] == b"old"


def test_an_interrupted_transfer_that_goes_on_says_so(capsys):
    with session(Run()):
        emit(kept_event("video.mov"))
        emit(Event("transfer.changed", "not worth a word", "video.mov"))
    assert capsys.readouterr().err == (
        "mgs: what has arrived of video.mov is kept: the same command goes on where it stopped\n"
    )
    with session(Run()):
        pass
    assert capsys.readouterr().err == ""


# ---- what is left behind in writing


@pytest.mark.parametrize("verb", ["cp", "mv"])
def test_a_report_tells_of_every_object(mgs, tree, work, memory, verb):
    mgs("put", "src/photo.jpg", f"{memory}/in/photo.jpg")
    (tree / "bad\x07key").write_bytes(b"x")
    result = mgs(verb, "-r", "src", f"{memory}/in/", "--no-overwrite", "--report", "report", "--json")
    again = mgs(verb, "-r", "src", f"{memory}/in/", "--no-overwrite", "--report", "later")
    assert result.code == again.code == 6
    lines = [json.loads(line) for line in (work / "report").read_text().splitlines()]
    assert [each for each in lines if each["type"] == "transfer"] == [
        each for each in result.records if each["type"] == "transfer"
    ]
    (error,) = [each for each in lines if each["type"] == "error"]
    assert "bad" in error["key"]
    later = [json.loads(line) for line in (work / "later").read_text().splitlines()]
    assert {each.get("status") for each in later} <= {"skipped", None}


def test_a_report_tells_of_the_failure_of_a_single_object(mgs, work, memory):
    (work / "one").write_bytes(b"x")
    assert mgs("cp", "one", f"{memory}/bad%07", "--report", "report").code == 2
    (line,) = (work / "report").read_text().splitlines()
    assert json.loads(line)["type"] == "error"


@pytest.mark.parametrize("command", [["cp", "-r"], ["sync"], ["migrate"]])
def test_links_that_are_left_out_are_told(mgs, tree, memory, command):
    """Once each, however often the folder is listed."""
    (tree / "link").symlink_to("photo.jpg")
    (tree / "a" / "gone").symlink_to("nowhere")
    result = mgs(*command, "src/", f"{memory}/x/")
    assert result.code == 0
    assert "2 left out" in result.err
    assert "'a/gone'" in result.err or "'link'" in result.err
    assert "1 more" in result.err
    last = mgs(*command, "src/", f"{memory}/y/", "--json").records[-1]
    assert (last["type"], last["left_out"]) == ("summary", 2)
