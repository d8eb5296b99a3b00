"""``mgs gc`` as people and scripts meet it."""

from __future__ import annotations

import os
import time

import pytest


@pytest.fixture
def folder(work):
    long_ago = time.time() - 90 * 86_400
    for name in ("a", "b/c", "d"):
        path = work / "objects" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (long_ago, long_ago))
    (work / "needed").write_text("a\n")
    return work / "objects"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run_twice(mgs, *arguments):
    """The second of two runs: the first one marks."""
    first = mgs("gc", "objects", "--references", "needed", "--grace", "0", *arguments)
    assert first.code == 0, first.err
    return mgs("gc", "objects", "--references", "needed", "--grace", "0", *arguments)


def test_marks_first_then_tells_then_deletes(mgs, folder):
    first = mgs("gc", "objects", "--references", "needed", "--delete")
    assert first.code == 0
    assert "2 marked" in first.err
    assert "due in 14 days" in first.err
    told = mgs("gc", "objects", "--references", "needed", "--grace", "0")
    assert told.lines == ["due b/c", "due d"]
    assert "add --delete" in told.err
    assert names(folder) == ["a", "b/c", "d"]
    too_many = mgs("gc", "objects", "--references", "needed", "--grace", "0", "--delete")
    assert too_many.code == 7
    assert "--max-delete" in too_many.err
    done = mgs("gc", "objects", "--references", "needed", "--grace", "0", "--delete", "--max-delete", "2", "--json")
    assert [(each["name"], each["status"]) for each in done.records[:-1]] == [("b/c", "deleted"), ("d", "deleted")]
    assert done.records[-1]["referenced"] == 1
    assert names(folder) == ["a"]


def test_the_trash_keeps_what_is_deleted(mgs, folder):
    result = run_twice(mgs, "--delete", "--max-delete", "9", "--trash", ".trash/", "--report", "report.jsonl")
    assert "moved to the trash 2 objects" in result.err
    kept = names(folder)
    assert [path.split("/", 2)[2] for path in kept[:2]] == ["b/c", "d"]
    assert ([path[:7] for path in kept[:2]], kept[2:]) == ([".trash/"] * 2, ["a"])


def test_a_command_tells_what_is_needed(mgs, folder):
    arguments = ("gc", "objects", "--references-from", "printf 'a\\nd\\n'", "--grace", "0", "--delete")
    mgs(*arguments)
    assert mgs(*arguments).code == 0
    assert names(folder) == ["a", "d"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--references"),
        (("--references", "missing"), 2, "cannot be read"),
        (("--references-from", "exit 1"), 1, "exit code 1"),
        (("--references-from", "true"), 2, "nothing at all"),
        (("--references", "needed", "--max-delete", "3"), 2, "--delete"),
        (("--references", "needed", "--trash", ""), 2, "trash"),
        (("--references", "needed", "--trash", "trash"), 2, "ends with /"),
        (("--references", "needed", "--report", "./needed"), 2, "named twice"),
        (("--references", "absent", "--report", "absent"), 2, "named twice"),
        (("--references", "needed", "--report", "report", "--marks", "report"), 2, "named twice"),
    ],
)
def test_mistakes_are_named_and_nothing_goes(mgs, folder, arguments, code, said):
    result = mgs("gc", "objects", *arguments, "--delete" if "--max-delete" not in arguments else "-q")
    assert (result.code, names(folder)) == (code, ["a", "b/c", "d"])
    assert said in result.err
    assert (folder.parent / "needed").read_text() == "a\n"
