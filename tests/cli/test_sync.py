"""``mgs sync`` as people and scripts meet it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from mediagit_storage import Attributes, open_storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.cli import folders as folders_here
from mediagit_storage.cli.report_file import report_file
from mediagit_storage.errors import ConfigError


@pytest.fixture
def folders(work):
    for name, data in {"src/a": b"1", "src/b/c": b"22", "src/d": b"333", "dst/a": b"1", "dst/old": b"4444"}.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return work


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("source", "target"), [("src", "dst"), ("src/", "dst/"), ("src", "new/deep")])
def test_a_folder_comes_to_be_like_another(mgs, folders, source, target):
    result = mgs("sync", source, target)
    assert (result.code, result.out) == (0, "")
    assert files(folders / "src").items() <= files(folders / target).items()
    assert mgs("sync", source, target).err.startswith("mgs: copied 0 objects")


def test_deletions_come_when_they_are_asked_for(mgs, folders):
    result = mgs("sync", "src", "dst", "--delete")
    assert "1 deleted" in result.err
    assert files(folders / "dst") == files(folders / "src")


def test_a_dry_run_shows_what_would_be_done(mgs, folders):
    before = files(folders / "dst")
    result = mgs("sync", "src", "dst", "--delete", "-n")
    assert result.lines == ["copy b/c (missing)", "copy d (missing)", "delete old (extra)"]
    assert "would have copied 2 objects" in result.err
    assert "1 to delete" in result.err
    assert files(folders / "dst") == before


def test_too_many_deletions_stop_and_say_how_to_go_on(mgs, folders):
    for number in range(4):
        (folders / "dst" / f"more{number}").write_bytes(b"x")
    result = mgs("sync", "src", "dst", "--delete")
    assert result.code == 7
    assert "5 of the target's 6" in result.err
    assert "--max-delete" in result.err
    assert len(files(folders / "dst")) == 8, "copied, and nothing deleted"
    assert mgs("sync", "src", "dst", "--delete", "--max-delete", "5").code == 0
    assert files(folders / "dst") == files(folders / "src")


def test_filters_and_ages(mgs, folders):
    os.utime(folders / "src/d", (1, 1))
    assert mgs("sync", "src", "dst", "--exclude", "b/", "--max-age", "7d").code == 0
    assert files(folders / "dst").keys() == {"a", "old"}
    assert mgs("sync", "src", "dst", "--min-age", "7d").code == 0
    assert files(folders / "dst").keys() == {"a", "old", "d"}


def test_records_and_the_report_tell_the_same(mgs, folders):
    result = mgs("sync", "src", "dst", "--delete", "--json", "--report", "report.jsonl")
    lines = [json.loads(line) for line in (folders / "report.jsonl").read_text().splitlines()]
    assert result.records[:-1] == lines
    assert [(each["action"], each["name"], each["status"]) for each in lines] == [
        ("copy", "b/c", "copied"),
        ("copy", "d", "copied"),
        ("delete", "old", "deleted"),
    ]
    summary = result.records[-1]
    assert (summary["objects"], summary["deleted"], summary["equal"], summary["failed"]) == (2, 1, 1, 0)


def test_what_failed_is_named_and_the_rest_is_done(mgs, folders):
    (folders / "dst" / "b").write_bytes(b"a file where a folder should be")
    result = mgs("sync", "src", "dst", "--delete", "--report", "report.jsonl")
    assert result.code == 6
    assert "b/c" in result.err
    assert "nothing was deleted" in result.err
    assert files(folders / "dst").keys() == {"a", "b", "d", "old"}
    lines = (folders / "report.jsonl").read_text().splitlines()
    (failure,) = [line for line in map(json.loads, lines) if line["type"] == "error"]
    assert failure["key"] == "b/c"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere", "dst"), 3, "no folder of this name"),
        (("src/a", "dst"), 2, "is an object"),
        (("src", "src/b"), 2, "itself"),
        (("src", "dst", "--checksum", "--size-only"), 2, "contradict"),
        (("src", "dst", "--max-delete", "3"), 2, "--delete"),
        (("src", "dst", "--report", "no/such/folder/r"), 2, "the report"),
        (("src", "dst", "--max-age", "99999999d"), 2, "calendar"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(mgs, folders, arguments, code, said):
    before = files(folders)
    result = mgs("sync", *arguments)
    assert result.code == code
    assert said in result.err
    assert files(folders) == before


@pytest.fixture
def without_tags(monkeypatch, memory):
    """A memory storage that keeps no tags, as all of them do now."""
    can = MemoryBackend().capabilities
    monkeypatch.setattr(MemoryBackend, "capabilities", replace(can, attributes=can.attributes - {"tags"}))
    return memory


STAYS = "storage classes stay behind: those of dst have other names, if it has any"


@pytest.mark.parametrize("command", ["sync", "migrate"])
def test_that_storage_classes_stay_behind_is_said_to_who_asks(mgs, folders, memory, command):
    assert STAYS in mgs(command, memory, "dst", "-n").err
    assert STAYS in mgs(command, memory, "dst", "-v").err
    assert "stay" not in mgs(command, memory, "dst").err
    assert mgs(command, memory, "dst", "--json").records[0] == {
        "v": 1, "type": "unkept", "attributes": ["storage_class"], "status": "left"
    }  # fmt: skip


@pytest.mark.parametrize("command", ["sync", "migrate"])
def test_what_files_here_could_have_is_no_news(mgs, folders, without_tags, command):
    told = "keeps no tags: objects that have any fail, unless --drop-attributes is given"
    assert told in mgs(command, "src", without_tags, "-n").err
    result = mgs(command, "src", without_tags)
    assert (result.code, "tags" in result.err) == (0, False)


def test_what_objects_of_a_service_may_have_is_said_before_the_start(mgs, folders, without_tags, monkeypatch):
    monkeypatch.setattr(folders_here, "is_on_this_machine", lambda backend: False)
    assert "keeps no tags" in mgs("sync", "src", without_tags).err
    assert "tags" not in mgs("sync", "src", without_tags, "--drop-attributes").err


def test_the_object_that_has_what_cannot_be_kept_fails_and_says_what_to_do(mgs, folders, without_tags):
    with open_storage("src") as store:
        store.put("tagged", b"5", attributes=Attributes(tags={"a": "b"}))
    result = mgs("sync", "src", without_tags, "--report", "report.jsonl")
    assert result.code == 6
    assert "does not keep tags" in result.err
    assert "--drop-attributes" in result.err
    lines = [json.loads(line) for line in (folders / "report.jsonl").read_text().splitlines()]
    assert lines[0] == {"v": 1, "type": "unkept", "attributes": ["tags"], "status": "refused"}
    assert [line["type"] for line in lines[1:]].count("unkept") == 0
    assert mgs("sync", "src", without_tags, "--drop-attributes").code == 0


def test_an_earlier_report_is_not_lost_for_an_announcement(tmp_path):
    path = tmp_path / "report.jsonl"
    path.write_text("old")

    def refused():
        with report_file(path) as report:
            report.announce("unkept", {})
            raise ConfigError("the folders overlap")

    with pytest.raises(ConfigError):
        refused()
    assert path.read_text() == "old"
