"""``mgs verify`` and ``mgs manifest`` as people and scripts meet them: exit codes, lines, records and the report."""

from __future__ import annotations

import json
import os

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import BucketNotFoundError, UnavailableError


@pytest.fixture
def folders(work):
    for name in ("one/a", "one/b/c", "two/a", "two/b/c"):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name[3:].encode())
    return work


@pytest.fixture
def failing(monkeypatch):
    """Lets every read of a key in a folder end with an error."""

    def fail(folder: str, key: str, error: Exception) -> None:
        stream = LocalBackend.stream

        def broken(self, asked, options):
            if asked == key and self.description.endswith(f"/{folder}"):
                raise error
            return stream(self, asked, options)

        monkeypatch.setattr(LocalBackend, "stream", broken)

    return fail


# ---- exit codes


def test_what_is_in_order_is_0(mgs, folders):
    assert mgs("verify", "one/").code == 0
    assert (folders / "list").write_bytes(mgs("manifest", "one/").raw)
    for arguments in (("one/", "two/"), ("one/", "two/", "--quick"), ("two/", "--manifest", "list")):
        result = mgs("verify", *arguments)
        assert (result.code, result.out) == (0, "")
        assert "verified 2 objects" in result.err


def test_what_is_different_is_1(mgs, folders):
    (folders / "two/a").write_bytes(b"-A")
    (folders / "two/b/c").unlink()
    result = mgs("verify", "one/", "two/")
    assert (result.code, result.lines) == (1, ["content a: the bytes are different", "missing b/c"])


@pytest.mark.parametrize(
    "arguments",
    [("one/", "two/", "--manifest", "one/a"), ("one/", "--quick"), ("one/a",), ("one/", "--manifest", "no")],
)
def test_what_makes_no_sense_is_2(mgs, folders, arguments):
    assert mgs("verify", *arguments).code == 2


def test_what_is_not_there_is_3(mgs, folders):
    assert mgs("verify", "nowhere/").code == 3


def test_what_cannot_be_read_is_6(mgs, folders, failing):
    (folders / "two/b/c").unlink()
    failing("one", "a", UnavailableError("the line is down"))
    result = mgs("verify", "one/", "two/")
    assert result.code == 6, "of several the worst counts"
    assert result.lines == ["unreadable a: the source: the line is down", "missing b/c"]


def test_what_is_damaged_is_12(mgs, folders, monkeypatch):
    config = folders / "profiles.toml"
    config.write_text(f'[ck]\nurl = "{folders}/ck"\n[[ck.layers]]\nlayer = "checksum"\n')
    monkeypatch.setenv("MGS_CONFIG", str(config))
    (folders / "ck").mkdir()
    assert mgs("put", "one/a", "ck:a").code == 0
    (folders / "ck/a").write_bytes(b"x" * (folders / "ck/a").stat().st_size)
    (folders / "ck/z").write_bytes(b"x")
    assert mgs("verify", "ck:").code == 12


def test_a_root_that_goes_away_ends_the_run_with_3(mgs, folders, failing):
    failing("one", "a", BucketNotFoundError("the root folder is gone"))
    for arguments in (("one/",), ("one/", "two/")):
        result = mgs("verify", *arguments)
        assert (result.code, result.out) == (3, "")
        assert "the root folder is gone" in result.err


# ---- what is told


def test_a_record_tells_the_side_that_failed(mgs, folders, failing):
    failing("two", "a", UnavailableError("the line is down"))
    result = mgs("verify", "one/", "two/", "--json", "--report", "report.jsonl")
    assert result.records[0]["side"] == "copy"
    assert [json.loads(line) for line in (folders / "report.jsonl").read_text().splitlines()] == result.records[:1]


def test_an_empty_storage_is_said_to_be_one(mgs, memory):
    result = mgs("verify", memory)
    assert result.code == 0
    assert "nothing was looked at" in result.err


def test_a_manifest_of_names_that_are_no_utf8(mgs, work):
    names = [b"a\xff", "a\ue000".encode(), "a\U0001d11e".encode(), b"a\x80\xff", b"b"]
    (work / "s").mkdir()
    for name in names:
        (work / "s" / os.fsdecode(name)).write_bytes(name)
    written = mgs("manifest", "s/")
    (work / "list").write_bytes(written.raw)
    listed = [record["name"] for record in written.records[1:-1]]
    assert [os.fsencode(name) for name in listed] == sorted(names)
    assert mgs("verify", "s/", "--manifest", "list").code == 0


# ---- the report


def test_a_full_disk_under_the_report_is_not_the_storages_fault(mgs, folders):
    result = mgs("sync", "one/", "three/", "--report", "/dev/full")
    assert result.code == 7
    assert "the report /dev/full cannot be written: No space left on device" in result.err


def test_an_argument_that_is_wrong_leaves_the_last_report(mgs, folders):
    report = folders / "report.jsonl"
    report.write_text("earlier\n")
    assert mgs("verify", "one/a", "--report", "report.jsonl").code == 2
    assert mgs("verify", "one/", "--manifest", "report.jsonl", "--report", "./report.jsonl").code == 2
    assert report.read_text() == "earlier\n"
    assert mgs("verify", "one/", "--report", "report.jsonl").code == 0
    assert not report.read_text(), "nothing is wrong now"
