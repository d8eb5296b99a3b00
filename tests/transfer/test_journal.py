"""The memory of a transfer: small, private, and worth nothing rather than wrong."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mediagit_storage.events import on_event
from mediagit_storage.journal import Journal, ResumePoint, journal_name, state_folder

ABOUT = {"file": [1, 2, 3], "options": "x"}
STATE = {"upload": "ä-id", "part": 8}


@pytest.fixture
def journal(state):
    with Journal(state, "n") as opened:
        yield opened


def reopened(state, name="n"):
    with Journal(state, name) as other:
        return other.read()


def test_what_was_written_is_read_by_the_next_run(state):
    with Journal(state, "n") as first:
        assert not first.exists()
        assert first.read() is None
        assert first.write(ABOUT, STATE)
        assert first.exists()
        assert first.write(ABOUT, {**STATE, "part": 9})
    assert reopened(state) == (ABOUT, {**STATE, "part": 9})
    with Journal(state, "n") as last:
        last.clear()
        last.clear()
    assert [*state.iterdir()] == []


def test_nothing_is_created_by_asking(state):
    with Journal(state, "n") as journal:
        assert not journal.exists()
        journal.clear()
    assert not state.exists()


def test_only_the_user_can_read_it(state, journal):
    journal.write(ABOUT, STATE)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in state.iterdir()} == {0o600}


def test_every_truncation_reads_as_nothing(state):
    with Journal(state, "n") as journal:
        journal.write(ABOUT, STATE)
    document = state / "n.json"
    whole = document.read_bytes()
    for length in range(len(whole)):
        document.write_bytes(whole[:length])
        assert reopened(state) is None
    document.write_bytes(whole)
    assert reopened(state) == (ABOUT, STATE)


def test_every_changed_byte_reads_as_nothing_or_the_same(state):
    with Journal(state, "n") as journal:
        journal.write(ABOUT, STATE)
    document = state / "n.json"
    whole = document.read_bytes()
    for place in range(len(whole)):
        document.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert reopened(state) in (None, (ABOUT, STATE))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 500,
        b"[]",
        b"{}",
        b"null",
        b"12",
        b'"x"',
        b'{"format": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * 5_000_000,
    ],
    ids=lambda content: repr(content[:14]),
)
def test_foreign_content_reads_as_nothing_and_is_replaced(state, journal, content):
    journal.write(ABOUT, STATE)
    (state / "n.json").write_bytes(content)
    assert journal.read() is None
    assert journal.write(ABOUT, STATE)
    assert journal.read() == (ABOUT, STATE)


def test_a_document_of_another_format_reads_as_nothing(state, journal):
    journal.write(ABOUT, STATE)
    document = json.loads((state / "n.json").read_bytes())
    (state / "n.json").write_text(json.dumps({**document, "format": 2}))
    assert journal.read() is None


def test_a_link_or_a_folder_in_its_place_is_not_followed(state, journal, tmp_path):
    journal.write(ABOUT, STATE)
    elsewhere = tmp_path / "elsewhere"
    (state / "n.json").rename(elsewhere)
    (state / "n.json").symlink_to(elsewhere)
    assert journal.read() is None
    (state / "n.json").unlink()
    os.mkfifo(state / "n.json")
    assert journal.read() is None


def test_a_point_knows_its_own_content_from_another(state, journal):
    mine, changed = ResumePoint(journal, ABOUT), ResumePoint(journal, {**ABOUT, "file": [1, 2, 4]})
    assert (mine.load(), mine.abandoned()) == (None, None)
    assert mine.save(STATE)
    assert (mine.load(), mine.abandoned()) == (STATE, None)
    assert (changed.load(), changed.abandoned()) == (None, STATE)
    mine.clear()
    assert (changed.load(), changed.abandoned()) == (None, None)


def test_the_second_of_two_goes_without(state):
    events = []
    with Journal(state, "n") as first:
        first.write(ABOUT, STATE)
        with Journal(state, "n") as second, on_event(events.append):
            assert not second.usable()
            assert second.read() is None
            assert not second.write(ABOUT, {})
            second.clear()
        assert first.read() == (ABOUT, STATE)
    assert [each.kind for each in events] == ["transfer.busy"]
    assert reopened(state) == (ABOUT, STATE)


def test_the_lock_goes_with_the_process_that_had_it(state):
    code = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom mediagit_storage.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), 'n')\nassert journal.write({'a': 1}, {'b': 2})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, state], timeout=30).returncode == -9
    assert reopened(state) == ({"a": 1}, {"b": 2})
    assert not (state / "n.lock").exists()


@pytest.mark.parametrize("obstacle", ["file", "open to others", "no parent", "read-only"])
def test_a_folder_that_cannot_be_used_is_told_and_costs_nothing(tmp_path, obstacle):
    folder = tmp_path / "parent" / "transfers"
    if obstacle == "no parent":
        (tmp_path / "parent").write_text("a file")
    else:
        folder.parent.mkdir()
        if obstacle == "file":
            folder.write_text("a file")
        elif obstacle == "open to others":
            folder.mkdir()
            folder.chmod(0o777)
        elif os.geteuid() == 0:
            pytest.skip("root writes anywhere")
        else:
            folder.parent.chmod(0o500)
    events = []
    with Journal(folder, "n") as journal, on_event(events.append):
        assert not journal.write(ABOUT, STATE)
        assert journal.read() is None
        journal.clear()
    assert [each.kind for each in events] == ["transfer.no-journal"]


def test_a_document_that_cannot_be_replaced_is_dropped(state, journal, monkeypatch):
    journal.write(ABOUT, STATE)

    def full(self, target):
        raise OSError(28, "No space left on device")

    events = []
    with monkeypatch.context() as patched, on_event(events.append):
        patched.setattr(Path, "replace", full)
        assert not journal.write(ABOUT, STATE)
        assert not journal.write(ABOUT, STATE)
    assert [each.kind for each in events] == ["transfer.no-journal"]
    assert reopened(state) is None


def test_without_any_home_there_is_no_folder():
    assert state_folder({}) is None
    assert state_folder({"HOME": "relative"}) is None
    assert state_folder({"HOME": "/h"}) == Path("/h/.local/state/mediagit-storage/transfers")
    assert state_folder({"HOME": "/h", "XDG_STATE_HOME": "relative"}) == Path(
        "/h/.local/state/mediagit-storage/transfers"
    )
    assert state_folder({"HOME": "/h", "XDG_STATE_HOME": "/x"}) == Path("/x/mediagit-storage/transfers")
    assert state_folder({"XDG_STATE_HOME": "/x", "MGS_STATE_DIR": "/m"}) == Path("/m/transfers")
    with Journal(None, "n") as journal:
        assert not journal.exists()
        assert not journal.write(ABOUT, STATE)


def test_names_tell_everything_apart():
    names = {
        journal_name("a", "b"),
        journal_name("ab"),
        journal_name("a", "b", ""),
        journal_name("b", "a"),
        journal_name("\udcff"),
    }
    assert len(names) == 5
    assert all(len(name) == 40 and name.isalnum() for name in names)


def test_what_nobody_came_back_to_is_swept(state, here):
    old, part, foreign = time.time() - 8 * 24 * 3600, here / ".x.0123.part", here / "precious.part"
    for path in (part, foreign):
        path.write_text("x")
        os.utime(path, (old, old))
    for name, leftover in (("old", part), ("foreign", foreign), ("recent", part)):
        with Journal(state, name) as journal:
            journal.write(ABOUT, STATE, leftover=leftover)
        if name != "recent":
            os.utime(state / f"{name}.json", (old, old))
    with Journal(state, "held") as held:
        held.write(ABOUT, STATE)
        os.utime(state / "held.json", (old, old))
        with Journal(state, "new") as journal:
            journal.write(ABOUT, STATE)
    assert {each.name for each in state.iterdir()} == {"recent.json", "held.json", "new.json"}
    assert {each.name for each in here.iterdir()} == {"precious.part"}
