"""`--json`: every line has the fields that docs/reference/json.md names, and every field there is met."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock
from urllib.request import urlopen

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.serve.running import Listener
from mediagit_storage.testing.scripted_server import Receive, ScriptedServer, answer
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
    # What else it prints is in the guide about syncing.
    found.extend(line for line in mgs("sync", "-n", memory, "made/", "--json").records if line["type"] == "unkept")
    call("uploads", "ls", memory)
    call("uploads", "abort", memory)
    call("put", "src/photo.jpg", f"{memory}/p/r", "--if-absent")
    call("presign", f"{memory}/p/r")
    call("check", "made")
    call("bench", memory, "--objects", "2", "--large", "0")
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
    delivered(call, Path(mgs("profile", "path").lines[0]))
    served(call, memory)
    call("completion", "zsh")
    call("version")
    return found


def delivered(call, profiles: Path) -> None:
    """What `mgs cdn` prints, with a CDN whose API is played."""
    done = answer(200, b'{"name": "operation-1", "status": "DONE"}', [("content-type", "application/json")])
    with ScriptedServer([Receive(), done]) as api:
        options = {
            "provider": "google", "base_url": "https://x.org", "project": "p", "url_map": "m", "api_url": api.url,
            "key_name": "k",
        }  # fmt: skip
        table = "\n".join(f'{name} = "{value}"' for name, value in options.items())
        secrets = 'key = { env = "CDN_KEY" }\ntoken = { env = "CDN_KEY" }'
        rules = '[[cdn.cdn.rules]]\ncache_control = "no-cache"\n'
        before = profiles.read_text()
        profiles.write_text(f'{before}[cdn]\nurl = "memory://cdn"\n[cdn.cdn]\n{table}\n{secrets}\n{rules}')
        call("profile", "show", "cdn")
        call("cdn", "url", "cdn:k")
        call("cdn", "rules", "cdn:k")
        with mock.patch.dict("os.environ", CDN_KEY="nZtRohdNF9m3cKM24IcK4w=="):
            call("cdn", "sign", "cdn:k", "--scope", "k", "--cookies", "--domain", "x.org")
            call("cdn", "purge", "cdn:k", "-n")
            call("cdn", "purge", "cdn:k")


def served(call, memory) -> None:
    """What `mgs serve` prints until the end of its first request."""
    run = Listener.run

    def once(listener, *, signals, started):
        assert signals

        def ask() -> None:
            with urlopen(f"{listener.url}/-/healthz", timeout=60) as answered:
                answered.read()
            listener.stop()

        asking = threading.Thread(target=ask)

        def told() -> None:
            started()
            asking.start()

        run(listener, started=told)
        asking.join()

    with mock.patch.object(Listener, "run", once):
        call("serve", memory, "--port", "0", "--write", "--access-log")


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
               "code", "expires_in", "entries", "hits", "evictions", "heals", "left_out", "unsized", "puts", "parts", "reads",
               "lists", "deletes", "sent", "fetched", "count", "per_second", "bytes_per_second", "p50", "p90", "p99",
               "max", "mean", "received"}  # fmt: skip
    for line in lines:
        for name, value in line.items():
            if name in numbers or name == "v" or (name == "status" and line["type"] == "request"):
                assert isinstance(value, int | float) or value is None, (name, line)
            elif name in {"deleted", "latest", "retryable", "dry_run", "done", "writable"}:
                assert isinstance(value, bool)
            elif name in {"layers", "items"} or (name == "attributes" and line["type"] == "unkept"):
                assert isinstance(value, list)
            elif name in {"attributes", "options", "cdn"}:
                assert isinstance(value, dict)
            else:
                assert isinstance(value, str), (name, line)


def test_times_are_utc(lines):
    times = [line[name] for line in lines for name in ("modified", "started", "active", "time") if name in line]
    assert times
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time) for time in times)
