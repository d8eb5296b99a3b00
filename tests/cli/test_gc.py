"""``mgs gc`` as people and scripts meet it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import PermissionDeniedError
from mediagit_storage.types import PendingUpload


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


# ---- uploads that nobody ended


@pytest.fixture
def leftover(folder):
    """What a program left that was killed a month ago, and one that was killed just now."""
    private = folder / ".mediagit-storage" / "tmp"
    private.mkdir(parents=True)
    for name, days in (("0123456789abcdef-1", 30), ("0123456789abcdef-2", 0)):
        path = private / name
        path.write_bytes(b"x" * 1000)
        os.utime(path, (time.time() - days * 86_400,) * 2)
    return private


def test_leftovers_are_told_and_go_with_delete(mgs, folder, leftover):
    run = ("gc", "objects", "--references", "needed")
    told = mgs(*run)
    assert told.code == 0
    assert any(line.startswith("stale upload") for line in told.lines)
    assert "1 upload (1.0 kB) that nobody ended: --delete aborts them" in told.err
    assert len([*leftover.iterdir()]) == 2
    assert mgs(*run, "--delete", "--keep-uploads").code == 0
    assert len([*leftover.iterdir()]) == 2
    done = mgs(*run, "--delete", "--report", "report.jsonl")
    assert "aborted 1 upload" in done.err
    assert [path.name for path in leftover.iterdir()] == ["0123456789abcdef-2"]
    younger = mgs(*run, "--delete", "--uploads-older-than", "0", "--json")
    assert younger.records[-1]["uploads"] == 1
    assert [each["status"] for each in younger.records if "upload" in each] == ["aborted"]


def test_uploads_of_elsewhere_and_of_what_is_excluded_stay(mgs, memory):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    backend = MemoryBackend.named(memory.removeprefix("memory://"))
    mgs("put", "-", f"{memory}/in/a", stdin=b"x")
    for key in ("in/old", "in/keep/old", "out/old"):
        backend._uploads[key] = PendingUpload(key, key, moment, 5, moment)
    words = ("gc", f"{memory}/in", "--references-from", "echo a", "--delete", "--exclude", "keep/", "--marks", "marks")
    assert mgs(*words).code == 0
    assert sorted(backend._uploads) == ["in/keep/old", "out/old"]


def test_uploads_that_may_not_be_listed_fail_beside_the_rest(mgs, memory, monkeypatch):
    def refused(self, prefix):
        raise PermissionDeniedError("no, you may not list uploads")

    monkeypatch.setattr(MemoryBackend, "pending_uploads", refused)
    mgs("put", "-", f"{memory}/a", stdin=b"x")
    words = ("gc", memory, "--references-from", "echo a", "--marks", "marks")
    result = mgs(*words)
    assert result.code == 6
    assert "--keep-uploads" in result.err
    assert mgs(*words, "--keep-uploads").code == 0
    assert mgs(*words, "--keep-uploads", "--uploads-older-than", "1d").code == 2
