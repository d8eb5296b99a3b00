"""`mgs versions`: what was overwritten or deleted is listed, brought back, and deleted for good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediagit_storage import open_storage
from mediagit_storage.backends.memory import MemoryBackend


@pytest.fixture
def kept(mgs, memory):
    """A storage with versions: ``a/x`` was overwritten and deleted, ``a/y`` overwritten, ``ax`` is new, ``b`` was deleted."""
    assert mgs("mb", memory, "--versioning", "on").code == 0
    with open_storage(memory) as store:
        store.put("a/x", b"1")
        store.put("a/x", b"22")
        store.delete("a/x")
        store.put("a/y", b"old")
        store.put("a/y", b"new y")
        store.put("ax", b"new")
        store.put("b", b"bb")
        store.delete("b")
    return memory


def versions(memory: str, key: str = "") -> list[tuple[str, str | None, bool]]:
    with open_storage(memory) as store:
        return [(each.key, each.version, each.deleted) for each in store.list(key, versions=True)]


def test_listing_them(mgs, kept):
    result = mgs("versions", "ls", kept)
    assert result.code == 0
    rows = [line.split() for line in result.lines]
    assert [(row[0], row[3:-2], row[-1]) for row in rows] == [
        ("-", ["latest", "deleted"], "a/x"),
        ("2", ["-"], "a/x"),
        ("1", ["-"], "a/x"),
        ("5", ["latest"], "a/y"),
        ("3", ["-"], "a/y"),
        ("3", ["latest"], "ax"),
        ("-", ["latest", "deleted"], "b"),
        ("2", ["-"], "b"),
    ]
    assert [row[-2] for row in rows] == [version for _, version, _ in versions(kept)]
    assert "8 versions of 4 keys; those that are not the latest take 8 B" in result.err


def test_listing_one_object_or_one_folder(mgs, kept):
    def keys(target: str) -> list[str]:
        return [record["key"] for record in mgs("versions", "ls", target, "--json").records]

    assert keys(f"{kept}/a") == keys(f"{kept}/a/") == ["a/x", "a/x", "a/x", "a/y", "a/y"]
    assert keys(f"{kept}/a/x") == ["a/x"] * 3
    assert keys(f"{kept}/ax") == ["ax"]
    missing = mgs("versions", "ls", f"{kept}/none")
    assert (missing.code, missing.out) == (3, "")
    some = mgs("versions", "ls", f"{kept}/none", f"{kept}/ax")
    assert (some.code, len(some.lines)) == (6, 1)


def test_lines_for_programs(mgs, kept):
    first, second = mgs("versions", "ls", f"{kept}/b", "--json").records
    assert (first["latest"], first["deleted"]) == (True, True)
    assert second["latest"] is False
    assert "deleted" not in second
    assert second["size"] == 2


def test_a_storage_without_versions_says_so(mgs, tree):
    for command in (["ls", "src"], ["rm", "src", "--all-but-latest"], ["restore", "src/photo.jpg"]):
        result = mgs("versions", *command)
        assert result.code == 7
        assert "keeps no versions" in result.err


# ---- restore


def test_a_deleted_object_comes_back(mgs, kept):
    result = mgs("versions", "restore", f"{kept}/a/x")
    assert (result.code, result.out) == (0, "")
    assert "restored 1 object, 2 B" in result.err
    assert mgs("cat", f"{kept}/a/x").raw == b"22"
    assert [deleted for _, _, deleted in versions(kept, "a/x")] == [False, True, False, False], "nothing was lost"


def test_an_old_version_is_brought_to_the_top_with_its_attributes(mgs, memory):
    mgs("mb", memory, "--versioning", "on")
    put = mgs("put", "-", f"{memory}/k", "--metadata", "who=me", "--json", stdin=b"first")
    old = put.records[0]["version"]
    mgs("put", "-", f"{memory}/k", stdin=b"second")
    (record,) = [
        each
        for each in mgs("versions", "restore", f"{memory}/k", "--version", old, "--json").records
        if each["type"] == "restore"
    ]
    assert (record["key"], record["restored"], record["status"]) == ("k", old, "restored")
    assert record["version"] == versions(memory)[0][1] != old
    assert mgs("cat", f"{memory}/k").raw == b"first"
    (stat,) = mgs("stat", f"{memory}/k", "--json").records
    assert stat["attributes"]["metadata"] == {"who": "me"}
    again = mgs("versions", "restore", f"{memory}/k", "--version", record["version"])
    assert again.code == 0
    assert "this version is the latest already" in again.err
    assert len(versions(memory)) == 3


@pytest.mark.parametrize(
    ("target", "options", "code", "words"),
    [
        ("a/y", [], 2, "the object is not deleted: say with --version"),
        ("a/x", ["--version", "nonsense"], 4, "`mgs versions ls` shows those there are"),
        ("none", [], 4, "no such object, and no version of it"),
        ("a", [], 4, "no such object, and no version of it"),
        ("", [], 2, "name an object in it"),
        ("a/x", ["-r", "--version", "x"], 2, "leave out -r"),
        ("none/", ["-r"], 3, "no object and no folder of this name"),
    ],
)
def test_what_cannot_be_brought_back(mgs, kept, target, options, code, words):
    before = versions(kept)
    result = mgs("versions", "restore", f"{kept}/{target}", *options)
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert versions(kept) == before


def test_the_mark_of_a_deletion_is_nothing_to_bring_back(mgs, kept):
    mark = versions(kept, "b")[0][1]
    result = mgs("versions", "restore", f"{kept}/b", "--version", mark)
    assert result.code == 2
    assert "is the mark of a deletion" in result.err
    [old] = [version for _, version, deleted in versions(kept, "b") if not deleted]
    mgs("versions", "rm", f"{kept}/b", "--version", old)
    result = mgs("versions", "restore", f"{kept}/b")
    assert result.code == 4
    assert "no version from before its deletion is kept" in result.err


def test_all_that_was_deleted_in_a_folder_comes_back(mgs, kept):
    dry = mgs("versions", "restore", "-r", kept, "-n")
    assert [line.split()[:2] for line in dry.lines] == [["restore", f"{kept}/a/x"], ["restore", f"{kept}/b"]]
    assert "would restore 2 objects, 4 B" in dry.err
    before = versions(kept)
    assert mgs("versions", "restore", "-r", f"{kept}/a").code == 0
    assert mgs("ls", "-r", kept).lines == ["a/x", "a/y", "ax"]
    assert len(versions(kept)) == len(before) + 1
    assert mgs("versions", "restore", "-r", kept).code == 0
    assert mgs("ls", "-r", kept).lines == ["a/x", "a/y", "ax", "b"]
    assert "restored 0 objects" in mgs("versions", "restore", "-r", kept).err


# ---- rm


def test_one_version_goes_for_good(mgs, kept):
    mark, newer, older = (version for _, version, _ in versions(kept, "a/x"))
    result = mgs("versions", "rm", f"{kept}/a/x", "--version", older)
    assert "deleted 1 version, 1 B" in result.err
    assert [version for _, version, _ in versions(kept, "a/x")] == [mark, newer]
    assert mgs("versions", "rm", f"{kept}/a/x", "--version", mark).code == 0
    assert mgs("cat", f"{kept}/a/x").raw == b"22", "without the mark of its deletion the object is back"


def test_a_version_that_is_not_there_deletes_nothing(mgs, kept):
    before = versions(kept)
    _, newer, _ = (version for _, version, _ in versions(kept, "a/x"))
    result = mgs("versions", "rm", f"{kept}/a/x", "--version", newer, "--version", "nonsense")
    assert result.code == 4
    assert "nothing was deleted" in result.err
    assert versions(kept) == before


def test_all_but_the_latest_go(mgs, kept):
    dry = mgs("versions", "rm", kept, "--all-but-latest", "--dry-run")
    assert [line.split()[1] for line in dry.lines] == [f"{kept}/{key}" for key in ("a/x", "a/x", "a/y", "b")]
    assert len(versions(kept)) == 8
    records = mgs("versions", "rm", kept, "--all-but-latest", "--json").records
    assert [each["status"] for each in records[:-1]] == ["deleted"] * 4
    assert (records[-1]["objects"], records[-1]["bytes"], records[-1]["failed"]) == (4, 8, 0)
    assert [(key, deleted) for key, _, deleted in versions(kept)] == [
        ("a/x", True), ("a/y", False), ("ax", False), ("b", True),
    ]  # fmt: skip
    assert mgs("cat", f"{kept}/a/y").raw == b"new y"


def test_only_in_the_folder_that_was_named(mgs, kept):
    assert mgs("versions", "rm", f"{kept}/a/x", "--all-but-latest").code == 0
    assert len(versions(kept)) == 6
    assert mgs("versions", "rm", f"{kept}/none", "--all-but-latest").code == 3


def test_the_age_of_a_version_counts_from_when_it_was_overwritten(mgs, memory):
    """What was stored long ago and overwritten today is what one wants back when that was a mistake."""
    mgs("mb", memory, "--versioning", "on")
    backend = MemoryBackend.named(memory.removeprefix("memory://"))
    now = datetime.now(UTC)
    for days in (90, 60, 1):
        moment = int((now - timedelta(days=days)).timestamp() * 1e9)
        with open_storage(memory) as store:
            store.put("k", str(days).encode())
        backend._versions["k"][-1] = replace(backend._versions["k"][-1], modified_ns=moment)
    result = mgs("versions", "rm", memory, "--older-than", "30d")
    assert "deleted 1 version, 2 B, 1 kept" in result.err
    assert "within the last 30 days" in result.err
    with open_storage(memory) as store:
        assert [store.get("k", version=each.version) for each in store.list(versions=True)] == [b"1", b"60"]
    assert "deleted 1 version" in mgs("versions", "rm", memory, "--older-than", "12h").err


def test_what_was_stored_before_versions_were_is_not_mistaken_for_the_object(mgs, memory):
    """It has no ID: a deletion without one would take the object itself."""
    mgs("mb", memory)
    with open_storage(memory) as store:
        store.put("k", b"before")
        mgs("mb", memory, "--versioning", "on")
        store.put("k", b"after")
        assert [each.version is None for each in store.list(versions=True)] == [False, True]
        assert "deleted 0 versions" in mgs("versions", "rm", memory, "--all-but-latest").err
        assert store.get("k") == b"after"
        store.delete("k")
        assert mgs("versions", "restore", f"{memory}/k").code == 0
        assert store.get("k") == b"after"


def test_what_is_protected_is_named_and_the_others_go(mgs, memory):
    mgs("mb", memory, "--versioning", "on")
    with open_storage(memory) as store:
        for key in ("a", "b"):
            store.put(key, b"x", legal_hold=key == "a")
            store.put(key, b"y")
    result = mgs("versions", "rm", memory, "--all-but-latest")
    assert result.code == 6
    assert "'a'" in result.err
    assert "deleted 1 version, 1 B, 1 failed" in result.err
    with open_storage(memory) as store:
        held = [each.version for each in store.list("a", versions=True)][1]
    assert mgs("versions", "rm", f"{memory}/a", "--version", held).code == 11


@pytest.mark.parametrize("wrong", ["a mark that is not the latest", "a version that is newer"])
def test_a_listing_that_is_out_of_order_costs_no_object(mgs, kept, monkeypatch, wrong):
    """Some servers go on showing the mark of a deletion first when the object is there again."""
    list_right = MemoryBackend.list
    mgs("versions", "restore", f"{kept}/b")

    def list_wrong(self, prefix, options):
        found = [*list_right(self, prefix, options)]
        if options.versions and wrong == "a mark that is not the latest":
            found.sort(key=lambda each: (each.key, not each.deleted))
            for each in found:
                each.modified = datetime(2026, 1, 1, tzinfo=UTC)
        elif options.versions:
            found.sort(key=lambda each: (each.key, each.modified))
        return iter(found)

    monkeypatch.setattr(MemoryBackend, "list", list_wrong)
    result = mgs("versions", "rm", f"{kept}/b", "--all-but-latest")
    assert result.code == 6
    assert "does not list the latest version first" in result.err
    monkeypatch.undo()
    with open_storage(kept) as store:
        assert store.get("b") == b"bb"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "say what to delete"),
        (["--version", "x", "--all-but-latest"], "deletes what it names"),
        (["--version", "x", "--older-than", "1d"], "deletes what it names"),
        (["--older-than", "soon"], "write 90, 90s, 15m, 12h, 7d or 4w"),
    ],
)
def test_what_to_delete_has_to_be_said(mgs, kept, options, words):
    result = mgs("versions", "rm", kept, *options)
    assert result.code == 2
    assert words in result.err
    assert len(versions(kept)) == 8
