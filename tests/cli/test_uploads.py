"""`mgs uploads`: what was begun and never ended is shown, and aborted only when nobody sends it any more."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediagit_storage import open_storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import NotFoundError, PermissionDeniedError, StorageError, UnavailableError
from mediagit_storage.types import PendingUpload

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.fixture
def pending(memory, mgs, monkeypatch):
    """Uploads in a memory storage: ``pending.add(key, age)``; ``active`` and ``size`` are told by a closer look only."""

    class Pending:
        def __init__(self) -> None:
            self.url = memory
            self.backend = MemoryBackend.named(memory.removeprefix("memory://"))
            self.looks: list[str] = []
            self.told: dict[str, tuple[int | None, datetime | None]] = {}
            self.trouble: dict[str, Exception] = {}

        def add(
            self,
            key: str,
            age: timedelta,
            *,
            name: str | None = None,
            size: int | None = None,
            idle: timedelta | None = None,
        ) -> str:
            name = name or f"U-{key}"
            now = datetime.now(UTC)
            self.backend._uploads[name] = PendingUpload(key, name, now - age)
            self.told[name] = (size, None if idle is None else now - idle)
            return name

        def left(self) -> list[str]:
            return sorted(self.backend._uploads)

        def stat_upload(self, upload: PendingUpload) -> PendingUpload:
            self.looks.append(upload.id)
            if upload.id in self.trouble:
                raise self.trouble[upload.id]
            size, active = self.told[upload.id]
            return replace(upload, size=size, active=active)

    found = Pending()
    assert mgs("mb", memory).code == 0
    monkeypatch.setattr(found.backend, "stat_upload", found.stat_upload)
    return found


@pytest.fixture
def several(pending):
    pending.add("in/new", HOUR, size=5_000_000, idle=timedelta(0))
    pending.add("in/old", 9 * DAY, size=12_000_000, idle=9 * DAY)
    pending.add("in/older", 30 * DAY)
    pending.add("sending", 3 * DAY, size=70_000_000, idle=2 * HOUR)
    return pending


# ---- ls


def test_listing_them(mgs, several):
    result = mgs("uploads", "ls", several.url)
    assert result.code == 0
    times = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    patterns = [
        rf" +5,000,000  {times}  {times}  in/new  U-in/new",
        rf" +12,000,000  {times}  {times}  in/old  U-in/old",
        rf" +-  {times}  - {{18}}  in/older  U-in/older",
        rf" +70,000,000  {times}  {times}  sending  U-sending",
    ]
    assert len(result.lines) == 4
    for line, pattern in zip(result.lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    assert result.err == "mgs: 4 unfinished uploads, at least 87.0 MB, the oldest begun 30 days ago\n"


def test_none_at_all(mgs, memory):
    mgs("mb", memory)
    result = mgs("uploads", "ls", memory)
    assert (result.code, result.out) == (0, "")
    assert "no unfinished uploads" in result.err


def test_listing_by_place_and_age(mgs, several):
    def keys(target: str, *options: str) -> list[str]:
        records = mgs("uploads", "ls", target, "--json", *options).records
        assert {record["status"] for record in records} <= {"pending"}
        return [record["key"] for record in records]

    several.add("in", DAY)
    several.add("inner", DAY)
    assert keys(f"{several.url}/in/") == ["in/new", "in/old", "in/older"]
    assert keys(f"{several.url}/in") == ["in", "in/new", "in/old", "in/older"]
    assert keys(f"{several.url}/in/old") == ["in/old"]
    several.looks.clear()
    assert keys(several.url, "--older-than", "36h") == ["in/old", "in/older"]
    assert sorted(several.looks) == ["U-in/old", "U-in/older", "U-sending"], "no closer look at what is young anyway"


def test_what_ends_meanwhile_or_may_not_be_looked_into(mgs, several):
    several.trouble = {"U-in/old": NotFoundError("gone"), "U-in/older": PermissionDeniedError("no")}
    result = mgs("uploads", "ls", several.url)
    assert result.code == 0
    assert [line.split()[-2] for line in result.lines] == ["in/new", "in/older", "sending"]


def test_a_storage_without_them_says_so(mgs, several, monkeypatch):
    monkeypatch.setattr(
        MemoryBackend, "capabilities", replace(several.backend.capabilities, pending_uploads=False), raising=True
    )
    for command in ("ls", "abort"):
        result = mgs("uploads", command, several.url)
        assert result.code == 7
        assert "lists no unfinished uploads" in result.err


# ---- abort


def test_what_somebody_may_still_be_sending_is_left_alone(mgs, several):
    """A day without a byte is the default; when the upload was begun does not matter."""
    result = mgs("uploads", "abort", several.url)
    assert (result.code, result.out) == (0, "")
    assert several.left() == ["U-in/new", "U-sending"]
    assert "aborted 2 uploads, at least 12.0 MB, 2 kept" in result.err
    assert "within the last 24 hours; --all takes it too" in result.err


def test_another_age(mgs, several):
    assert "aborted 1 upload, 3 kept" in mgs("uploads", "abort", several.url, "--older-than", "2w").err
    assert several.left() == ["U-in/new", "U-in/old", "U-sending"]
    assert mgs("uploads", "abort", several.url, "--older-than", "90m").code == 0
    assert several.left() == ["U-in/new"]
    assert mgs("uploads", "abort", several.url, "--older-than", "0").code == 0
    assert several.left() == []


def test_a_dry_run_shows_what_would_go(mgs, several):
    result = mgs("uploads", "abort", several.url, "--dry-run")
    assert result.lines == [
        f"abort {several.url}/in/old U-in/old (12.0 MB, begun 9 days ago)",
        f"abort {several.url}/in/older U-in/older (begun 30 days ago)",
    ]
    assert "would abort 2 uploads" in result.err
    assert len(several.left()) == 4
    planned = mgs("uploads", "abort", several.url, "-n", "--json").records
    assert [each["status"] for each in planned[:-1]] == ["planned"] * 2
    assert (planned[-1]["objects"], planned[-1]["kept"]) == (2, 2)


def test_by_place_key_and_id(mgs, several):
    second = several.add("in/old", 2 * DAY, name="second")
    assert mgs("uploads", "abort", several.url, "--upload", second).code == 0
    assert several.left() == ["U-in/new", "U-in/old", "U-in/older", "U-sending"]
    assert mgs("uploads", "abort", several.url, "--key", "in/older", "--key", "in/new").code == 0
    assert several.left() == ["U-in/new", "U-in/old", "U-sending"], "the one that is young stays"
    assert mgs("uploads", "abort", several.url, "--key", "in/new", "--all").code == 0
    assert mgs("uploads", "abort", f"{several.url}/in/").code == 0
    assert several.left() == ["U-sending"]
    assert mgs("uploads", "abort", f"{several.url}/send", "--all").code == 0
    assert several.left() == ["U-sending"]
    assert mgs("uploads", "abort", several.url, "--upload", "U-sending").code == 0, "whoever names it means it"
    assert several.left() == []


def test_an_id_that_is_not_there(mgs, several):
    result = mgs("uploads", "abort", several.url, "--upload", "nonsense")
    assert result.code == 4
    assert "`mgs uploads ls` shows" in result.err
    result = mgs("uploads", "abort", several.url, "--upload", "nonsense", "--upload", "U-in/new")
    assert result.code == 6
    assert "aborted 1 upload, 5.0 MB, 1 failed" in result.err
    assert "U-in/new" not in several.left()


def test_an_age_beside_all_is_refused(mgs, several):
    assert mgs("uploads", "abort", several.url, "--all", "--older-than", "1d").code == 2
    assert len(several.left()) == 4


def test_what_may_not_be_looked_into_is_not_taken_for_old(mgs, several):
    """Nobody knows whether somebody sends it: only who says that the age does not matter aborts it."""
    several.trouble = {"U-in/old": PermissionDeniedError("may not list parts")}
    result = mgs("uploads", "abort", several.url)
    assert result.code == 6
    assert "may not list parts" in result.err
    assert several.left() == ["U-in/new", "U-in/old", "U-sending"]
    assert mgs("uploads", "abort", several.url, "--all").code == 0
    assert several.left() == []


def test_one_that_fails_is_named_and_the_others_go(mgs, several, monkeypatch):
    abort = several.backend.abort_upload

    def failing(upload):
        if upload.key == "in/old":
            raise UnavailableError("its writer is at work")
        abort(upload)

    monkeypatch.setattr(several.backend, "abort_upload", failing)
    result = mgs("uploads", "abort", several.url, "--all", "--concurrency", "1")
    assert result.code == 6
    assert "'in/old': its writer is at work" in result.err
    assert several.left() == ["U-in/old"]


def test_one_that_ended_by_itself_is_no_failure(mgs, several):
    several.trouble = {"U-in/old": NotFoundError("it was completed")}
    result = mgs("uploads", "abort", several.url)
    assert result.code == 0
    assert "aborted 1 upload, 2 kept" in result.err


def test_a_put_that_runs_is_safe_unless_all_are_meant(mgs, memory):
    """The one who was sending gets an error, and nothing is stored."""
    mgs("mb", memory)
    begun, go, errors = threading.Event(), threading.Event(), []

    def pieces():
        yield b"x"
        begun.set()
        go.wait(30)

    def send():
        with open_storage(memory) as store:
            try:
                store.put("k", pieces())
            except StorageError as error:
                errors.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert begun.wait(30)
        assert "1 kept" in mgs("uploads", "abort", memory).err
        assert "aborted 1 upload" in mgs("uploads", "abort", memory, "--all").err
    finally:
        go.set()
        thread.join()
    assert len(errors) == 1
    assert mgs("ls", memory).lines == []


def test_what_a_killed_process_left_in_a_local_folder(mgs, work):
    """The same commands find its temporary file."""
    mgs("mb", "store")
    code = (
        "import os; from mediagit_storage import open_storage\n"
        "def pieces():\n"
        "    yield bytes(20_000_000)\n"
        "    os._exit(9)\n"
        "open_storage('store').put('big/k', pieces())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    (line,) = mgs("uploads", "ls", "store").lines
    assert line.split()[-2] == "big/k"
    assert mgs("uploads", "ls", "store/small/").lines == []
    assert "1 kept" in mgs("uploads", "abort", "store").err
    result = mgs("uploads", "abort", "store/big", "--all")
    assert re.search(r"aborted 1 upload, \d+(\.\d)? MB", result.err)
    assert mgs("uploads", "ls", "store").lines == []


def test_many_are_looked_at_side_by_side_and_listed_in_order(mgs, pending, monkeypatch):
    barrier = threading.Barrier(4)
    look = pending.stat_upload

    def slow(upload):
        barrier.wait(20)
        return look(upload)

    monkeypatch.setattr(pending.backend, "stat_upload", slow)
    for number in range(40):
        pending.add(f"{number:03}", DAY)
    result = mgs("uploads", "ls", pending.url, "--concurrency", "4")
    assert [line.split()[-2] for line in result.lines] == [f"{number:03}" for number in range(40)]
