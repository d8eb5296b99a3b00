"""`mgs bench` as people and scripts meet it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from mediagit_storage import open_storage
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.cli.sizes import parse_bytes
from mediagit_storage.errors import UnavailableError

QUICK = ("--objects", "3", "--size", "10", "--large", "1MiB", "--seconds", "5")


def test_a_table_and_a_chart(mgs, memory, work):
    result = mgs("bench", memory, *QUICK, "--png", "chart.png")
    assert result.code == 0, result.err
    head, *rows = result.lines
    assert head.split() == ["operation", "a", "second", "p50", "p90", "p99", "max", "bytes", "a", "second"]
    assert [row.split()[0] for row in rows[:12]] == [
        "put", "stat", "get", "list", "delete", "put", "stat", "get", "delete", "upload", "download", "ranges",
    ]  # fmt: skip
    assert re.fullmatch(r"put +alone +[\d,.]+( +[\d.]+ \w+){4} +[\d.]+ \w+", rows[0])
    assert "put, one at a time:" in rows
    assert "\N{FULL BLOCK}" in result.out
    assert "at most 8 puts, 14 reads" in result.err
    assert (work / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert mgs("ls", "-r", memory).lines == []


def test_a_dry_run_only_tells(mgs, memory):
    result = mgs("bench", f"{memory}/folder", "-n", "--objects", "1000", "--large", "1GiB")
    assert result.code == 0
    (line,) = result.lines
    assert "at most 2,002 puts and about 128 parts, 5,025 reads, 13 listings and 2,002 deletes" in line
    assert "/folder/mgs-bench-*" in line
    (record,) = mgs("bench", memory, "-n", "--json").records
    assert (record["type"], record["dry_run"], record["puts"]) == ("bench-plan", True, 202)


def test_records(mgs, memory):
    plan, *found = mgs("bench", memory, *QUICK, "--json").records
    assert plan["storage"].startswith("memory:")
    assert [(each["operation"], each["way"]) for each in found][::4] == [
        ("put", "alone"), ("delete", "alone"), ("delete", "together")
    ]  # fmt: skip
    assert all(each["p50"] <= each["p99"] <= each["max"] for each in found if each["way"] == "alone")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--size", "4K"], 2, "--size"),
        (["--objects", "0"], 2, "--objects"),
        (["--png", "no/such/folder/x.png"], 2, "no such folder"),
        (["--png", "."], 2, "--png"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(mgs, memory, words, code, said):
    result = mgs("bench", memory, *words)
    assert result.code == code
    assert said in result.err
    assert result.lines == []


def test_a_storage_that_may_not_be_written(mgs, work):
    mgs("mb", "made")
    mgs("profile", "add", "closed", "made", "--layer", "readonly")
    assert mgs("bench", "closed:", *QUICK).code == 11
    assert mgs("ls", "-r", "made").lines == []


def test_what_could_not_be_removed_is_named(mgs, memory, monkeypatch):
    def refuse(self, key, options):
        raise UnavailableError("broken")

    monkeypatch.setattr(MemoryBackend, "delete", refuse)
    result = mgs("bench", memory, *QUICK)
    monkeypatch.undo()
    assert result.code == 5
    with open_storage(memory) as store:
        there = [info.key for info in store.list()]
    assert there
    assert re.findall(r"^mgs: not removed: (.*)$", result.err, re.MULTILINE) == there


def test_ctrl_c_leaves_nothing(tmp_path):
    """As a process of its own, which gets the signal while it has objects."""
    words = [sys.executable, "-m", "mediagit_storage", "bench", str(tmp_path), "--objects", "5000", "--seconds", "60"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    end = time.monotonic() + 60
    while not any(tmp_path.glob("mgs-bench-*/alone/*")):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert b"not removed" not in err


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("0B", 0), ("1.5kB", 1500), ("2 MiB", 2 * 2**20), ("3gib", 3 * 2**30), ("K", None), ("1M", None)],
)
def test_sizes(text, bytes_):
    assert parse_bytes(text) == bytes_
