"""`--json`: every line has the fields that docs/reference/json.md names, and every field there is met."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.types import PendingUpload

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"


def documented() -> dict[str, set[str]]:
    """Type to fields, from the page."""
    sections = PAGE.read_text("utf-8").split("\n## ")[1:]
    return {section.splitlines()[0]: set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) for section in sections}


@pytest.fixture
def lines(mgs, tree, memory, work):
    found: list[dict] = []

    def call(*arguments: object, stdin: bytes = b"") -> None:
        result = mgs(*arguments, "--json", stdin=stdin)
        for line in (result.out + result.err).splitlines():
            assert line.isascii()
            found.append(json.loads(line))

    call("mb", "made")
    call("mb", memory, "--versioning", "on")
    call("mb", "made2", "-n")
    call(
        "put", "src/photo.jpg", f"{memory}/p/q.jpg", "--metadata", "a=b", "--tag", "t=u", "--cache-control", "no-store"
    )
    call("put", "-", f"{memory}/p/r", stdin=b"from stdin")
    call("ls", memory)
    call("ls", "-r", memory, "src")
    call("stat", f"{memory}/p/q.jpg", "src/ü x", "src/none")
    call("get", f"{memory}/p/r", "r")
    call("du", "-d", "1", "src")
    call("cp", "-r", "src/", f"{memory}/copy/")
    call("cp", "-r", "src/", f"{memory}/copy/", "--no-overwrite")
    call("mv", "-r", f"{memory}/copy", f"{memory}/moved")
    call("cp", "-r", "-n", "src/", "made/")
    call("rm", "-r", f"{memory}/moved")
    call("rm", "-n", f"{memory}/p/q.jpg")
    call("rm", f"{memory}/p/q.jpg")
    call("ls", "--versions", memory)
    call("versions", "ls", memory)
    call("versions", "restore", f"{memory}/p/q.jpg")
    call("versions", "rm", memory, "--all-but-latest")
    MemoryBackend.named(memory.removeprefix("memory://"))._uploads["U"] = PendingUpload(
        "p/s", "U", datetime(2026, 1, 1, tzinfo=UTC), 5, datetime(2026, 1, 2, tzinfo=UTC)
    )
    call("uploads", "ls", memory)
    call("uploads", "abort", memory)
    call("put", "src/photo.jpg", f"{memory}/p/r", "--if-absent")
    call("presign", f"{memory}/p/r")
    call("check", "made")
    call("profile", "add", "media", "made", "--layer", "prefix,prefix=a/")
    call("profile", "list")
    call("profile", "show", "media")
    call("profile", "path")
    call("profile", "remove", "media")
    call("profile", "add", "summed", "made", "--layer", "checksum")
    call("put", "src/photo.jpg", "summed:photo")
    call("stat", "summed:photo")
    call("profile", "add", "quick", "made", "--layer", "cache,folder=kept")
    call("cache", "stats")
    call("cache", "clear", "quick:")
    call("keys", "generate", "media.key")
    call("keys", "list", "media.key")
    call("completion", "zsh")
    call("version")
    return found


def test_lines_and_page_agree(lines):
    seen: dict[str, set[str]] = {}
    for line in lines:
        assert line["v"] == 1
        assert list(line)[:2] == ["v", "type"]
        seen.setdefault(line["type"], set()).update(set(line) - {"v", "type"})
    assert seen == documented()


def test_shapes(lines):
    """The types of the values, so that a program in another language can rely on them."""
    numbers = {"size", "stored_size", "objects", "bytes", "seconds", "mb_per_second", "failed", "skipped", "kept",
               "code", "expires_in", "entries", "hits", "evictions", "heals"}  # fmt: skip
    for line in lines:
        for name, value in line.items():
            if name in numbers or name == "v":
                assert isinstance(value, int | float) or value is None, (name, line)
            elif name in {"deleted", "latest", "retryable", "dry_run"}:
                assert isinstance(value, bool)
            elif name in {"attributes", "options"}:
                assert isinstance(value, dict)
            elif name == "layers":
                assert isinstance(value, list)
            else:
                assert isinstance(value, str), (name, line)


def test_times_are_utc(lines):
    times = [line[name] for line in lines for name in ("modified", "started", "active") if name in line]
    assert times
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time) for time in times)
