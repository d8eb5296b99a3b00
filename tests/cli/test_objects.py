"""Commands about single objects and listings: ls, stat, cat, put, get, rm, du, mb, check, presign."""

from __future__ import annotations

import hashlib
import os
import re

import pytest

from mediagit_storage import open_storage


def contents(folder) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


# ---- ls


def test_one_level_like_a_folder(mgs, tree):
    assert mgs("ls", "src").lines == ["a-", "a/", "photo.jpg", "ü x"]
    assert mgs("ls", "src/").lines == ["a-", "a/", "photo.jpg", "ü x"]
    assert mgs("ls", "src/a").lines == ["b/", "one.png"]
    assert mgs("ls", "src/photo.jpg").lines == ["photo.jpg"]


def test_everything_below(mgs, tree, memory):
    assert mgs("ls", "-r", "src").lines == ["a-", "a/b/deep.txt", "a/one.png", "photo.jpg", "ü x"]
    mgs("cp", "-r", "src/", f"{memory}/x/")
    assert mgs("ls", "-r", f"{memory}/x/a").lines == ["b/deep.txt", "one.png"]
    assert mgs("ls", f"{memory}/x").lines == ["a-", "a/", "photo.jpg", "ü x"]


def test_patterns(mgs, tree):
    assert mgs("ls", "src/*.jpg").lines == ["photo.jpg"]
    assert mgs("ls", "src/**.png", "-l").out.endswith("a/one.png\n")


def test_long_lines(mgs, tree):
    lines = mgs("ls", "-l", "src").lines
    assert re.fullmatch(r" *- +- +a/", lines[1])
    assert re.fullmatch(r" +2,000  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S+  photo\.jpg", lines[2])
    assert mgs("ls", "-h", "src").lines[2].split()[:2] == ["2.0", "kB"]


def test_a_folder_without_objects_is_empty_and_a_missing_one_is_an_error(mgs, work):
    (work / "empty").mkdir()
    result = mgs("ls", "empty")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert mgs("ls", "memory://nobody-wrote-here").code == 0
    assert mgs("ls", "memory://nobody-wrote-here/prefix/").code == 3


def test_an_object_beside_the_folder_of_its_name(mgs, memory):
    with open_storage(memory) as store:
        store.put("a", b"1")
        store.put("a/b", b"2")
        store.put("ab", b"3")
    assert mgs("ls", f"{memory}/a").lines == ["a", "b"]
    assert mgs("ls", f"{memory}/a/").lines == ["b"]
    assert mgs("cp", f"{memory}/a", f"{memory}/one").code == 0
    assert mgs("cp", "-r", f"{memory}/a", f"{memory}/two").code == 0
    assert mgs("ls", "-r", memory).lines == ["a", "a/b", "ab", "one", "two", "two/b"]
    assert mgs("rm", "-r", f"{memory}/a").code == 0
    assert mgs("ls", "-r", memory).lines == ["ab", "one", "two", "two/b"]


def test_versions(mgs, memory):
    mgs("mb", memory, "--versioning", "on")
    for text in (b"old", b"newer"):
        assert mgs("put", "-", f"{memory}/x", stdin=text).code == 0
    records = mgs("ls", "--versions", "--json", memory).records
    assert [record["size"] for record in records] == [5, 3]
    assert mgs("ls", "--versions", f"{memory}/x").lines == ["x", "x"]
    old = records[1]["version"]
    assert mgs("cat", f"{memory}/x", "--version", old).raw == b"old"
    assert mgs("rm", f"{memory}/x", "--version", old).code == 0
    assert mgs("cat", f"{memory}/x", "--version", old).code == 4


def test_names_cannot_forge_lines_or_drive_the_terminal(mgs, work):
    """Escaped for people, exact for programs; names that are no UTF-8 too."""
    names = [b"x\ny", b"e\x1b]0;title\x07", b"bad\xff", "right\u202eleft".encode(), "c1\x9b31m".encode(), b"plain"]
    for name in names:
        (work / os.fsdecode(name)).write_bytes(b"1")
    result = mgs("ls", ".")
    assert sorted(result.lines) == sorted(
        ["x\\ny", "e\\x1b]0;title\\x07", "bad\\xff", "right\\u202eleft", "c1\\x9b31m", "plain"]
    )
    exact = [os.fsencode(record["key"]) for record in mgs("ls", "--json", ".").records]
    assert exact == sorted(names)
    for name in names:
        assert mgs("cat", f"./{os.fsdecode(name)}").raw == b"1"
    failed = mgs("stat", "nope\n\x1b[2J")
    assert "\x1b" not in failed.err
    assert len(failed.err.splitlines()) == 1


def test_a_terminal_that_cannot_show_a_letter_gets_an_escape(mgs, tree, monkeypatch):
    import io
    import sys

    from mediagit_storage.cli.main import run

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    assert run(["ls", "src"]) == 0
    assert raw.getvalue().splitlines()[-1] == b"\\xfc x"


# ---- cat


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], bytes(range(256))),
        (["--offset", "250"], bytes(range(250, 256))),
        (["--length", "3"], b"\x00\x01\x02"),
        (["--offset", "10", "--length", "2"], b"\n\x0b"),
        (["--offset", "255", "--length", "9"], b"\xff"),
        (["--suffix", "2"], b"\xfe\xff"),
        (["--length", "0"], b""),
    ],
)
def test_ranges(mgs, work, options, expected):
    (work / "x").write_bytes(bytes(range(256)))
    assert mgs("cat", "x", *options).raw == expected
    assert mgs("cat", "x", "x", *options).raw == expected * 2


# ---- put and get


def test_standard_input_to_standard_output(mgs, memory):
    data = os.urandom(300_000)
    result = mgs("put", "-", f"{memory}/x.png", stdin=data)
    assert result.code == 0
    assert result.out == ""
    assert mgs("get", f"{memory}/x.png", "-").raw == data
    (record,) = mgs("stat", f"{memory}/x.png", "--json").records
    assert record["attributes"] == {"content_type": "image/png"}


def test_a_file_keeps_its_name_in_a_folder(mgs, tree, memory, work):
    assert mgs("put", "src/photo.jpg", f"{memory}/in/").code == 0
    assert mgs("put", "src/photo.jpg", memory).code == 0
    assert mgs("ls", "-r", memory).lines == ["in/photo.jpg", "photo.jpg"]
    assert mgs("get", f"{memory}/in/photo.jpg").code == 0
    assert mgs("get", f"{memory}/in/photo.jpg", "src/a").code == 0
    assert (work / "photo.jpg").read_bytes() == (work / "src/a/photo.jpg").read_bytes() == b"j" * 2000


def test_a_key_cannot_choose_a_file_outside_of_the_folder(mgs, memory, work):
    with open_storage(memory, keys="raw") as store:
        for key in ("a/..", "b/.", "c/"):
            store.put(key, b"!")
    for key in ("a/..", "b/.", "c/"):
        assert mgs("get", f"{memory}/{key}").code == 2
    assert contents(work) == {}


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_declared_digests(mgs, tree, memory, name):
    good = hashlib.new(name, b"j" * 2000).hexdigest()
    assert mgs("put", "src/photo.jpg", f"{memory}/x", f"--{name}", good).code == 0
    assert mgs("put", "-", f"{memory}/y", f"--{name}", good, stdin=b"other").code == 12
    assert mgs("put", "src/photo.jpg", f"{memory}/y", f"--{name}", good[2:]).code == 2
    assert mgs("ls", memory).lines == ["x"]


def test_conditions(mgs, tree, memory):
    first = mgs("put", "src/photo.jpg", f"{memory}/x", "--if-absent", "--json").records[0]
    assert mgs("put", "src/a-", f"{memory}/x", "--if-absent").code == 13
    second = mgs("put", "src/a-", f"{memory}/x", "--if-match", first["etag"], "--json").records[0]
    assert second["size"] == 0
    assert mgs("put", "src/photo.jpg", f"{memory}/x", "--if-match", first["etag"]).code == 13


def test_attributes_are_shown_by_stat(mgs, tree, memory):
    mgs("put", "src/photo.jpg", f"{memory}/x", "--metadata", "who=me", "--cache-control", "no-store")
    shown = mgs("stat", f"{memory}/x").out
    assert re.search(r"^cache_control +no-store$", shown, re.MULTILINE)
    assert re.search(r"^metadata.who +me$", shown, re.MULTILINE)
    assert re.search(r"^size +2,000$", shown, re.MULTILINE)


def test_a_dry_put_stores_nothing(mgs, tree, memory):
    assert mgs("put", "-n", "src/photo.jpg", f"{memory}/x").lines == [f"put src/photo.jpg -> {memory}/x"]
    assert mgs("ls", memory).lines == []


# ---- rm


def test_rm_means_exactly_the_key(mgs, tree, memory):
    mgs("cp", "-r", "src/", f"{memory}/")
    assert mgs("rm", f"{memory}/a").code == 4
    assert mgs("rm", f"{memory}/*").code == 4
    assert mgs("rm", f"{memory}/a-").code == 0
    assert mgs("rm", "-f", f"{memory}/a-").code == 0
    assert mgs("ls", memory).lines == ["a/", "photo.jpg", "ü x"]
    with open_storage(memory, keys="raw") as store:
        store.put("folder/", b"")
        store.put("folder/x", b"")
    assert mgs("rm", f"{memory}/folder/").code == 0
    assert mgs("ls", "-r", f"{memory}/folder/").lines == ["x"]


def test_rm_of_a_folder(mgs, tree, memory):
    mgs("cp", "-r", "src/", f"{memory}/")
    shown = mgs("rm", "-r", "-n", f"{memory}/a")
    assert shown.lines == [f"delete {memory}/a/b/deep.txt", f"delete {memory}/a/one.png"]
    result = mgs("rm", "-r", f"{memory}/a")
    assert "deleted 2 objects, 6 B" in result.err
    assert mgs("ls", memory).lines == ["a-", "photo.jpg", "ü x"]


def test_a_whole_storage_only_on_demand(mgs, tree, work):
    assert mgs("rm", "-r", "src").code == 2
    assert len(contents(tree)) == 5
    assert mgs("rm", "-r", "--all", "src").code == 0
    assert contents(tree) == {}
    assert tree.is_dir()


def test_several_keys_of_which_one_is_missing(mgs, tree):
    result = mgs("rm", "src/a-", "src/none", "src/photo.jpg")
    assert result.code == 6
    assert "deleted 2 objects" in result.err
    assert "1 failed" in result.err
    assert "'none'" in result.err


# ---- du


def test_counts_by_folder(mgs, tree):
    def rows(*options: str) -> list[list[str]]:
        return [line.split(maxsplit=2) for line in mgs("du", "src", *options).lines]

    assert rows() == [["2,007", "5", "(all)"]]
    assert rows("-d", "1") == [["6", "2", "a/"], ["2,007", "5", "(all)"]]
    assert rows("-d", "9") == [["4", "1", "a/b/"], ["6", "2", "a/"], ["2,007", "5", "(all)"]]


def test_counts_below_a_folder(mgs, tree, memory):
    mgs("cp", "-r", "src/", f"{memory}/x/")
    records = mgs("du", "--json", "-d", "1", f"{memory}/x").records
    assert [(each["prefix"], each["objects"], each["bytes"]) for each in records] == [("x/a/", 2, 6), ("x", 5, 2007)]
    missing = mgs("du", f"{memory}/none")
    assert (missing.code, missing.out) == (3, "")
    several = mgs("du", f"{memory}/none", f"{memory}/x")
    assert several.code == 6
    assert "none" in several.err
    assert several.lines[-1].split()[1:] == [str(records[-1]["objects"]), "x"]


# ---- mb, check, presign


def test_making_a_folder(mgs, work):
    assert mgs("mb", "-n", "new/root").code == 0
    assert not (work / "new").exists()
    assert mgs("mb", "new/root").code == 0
    assert (work / "new/root").is_dir()
    assert mgs("mb", "new/root").code == 0


def test_checking_a_storage(mgs, tree):
    before = contents(tree)
    result = mgs("check", "src")
    assert result.code == 0
    assert any(re.fullmatch(r"ok +write +.*", line) for line in result.lines)
    assert contents(tree) == before
    names = {record["name"] for record in mgs("check", "--json", "--read-only", "src").records}
    assert "list" in names
    assert "write" not in names
    failed = mgs("check", "nowhere")
    assert failed.code == 1
    assert failed.lines[0].startswith("failed")
    assert "mgs mb" in failed.out


def test_links(mgs, memory):
    assert mgs("presign", f"{memory}/x", "--expires", "15m").out.startswith("memory")
    (record,) = mgs("presign", f"{memory}/x", "--method", "put", "--expires", "2h", "--json").records
    assert (record["method"], record["expires_in"]) == ("PUT", 7200)


def test_what_layers_know_of_an_object_is_shown(mgs, work):
    """Of a compressed object the plain size, also in a long listing; and the digest that is kept with it."""
    mgs("mb", "packed")
    mgs("profile", "add", "packed", "packed", "--layer", "checksum", "--layer", "compress")
    (work / "zeros").write_bytes(bytes(100_000))
    assert mgs("cp", "zeros", "packed:zeros").code == 0
    line = mgs("ls", "-l", "packed:").out
    assert "100,000" in line
    shown = mgs("stat", "packed:zeros").out
    assert "size                 100,000" in shown
    assert "stored size" in shown
    assert "checksum             blake3:" in shown
    assert mgs("cat", "packed:zeros").raw == bytes(100_000)
