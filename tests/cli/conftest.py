"""`mgs` as tests call it: in this process, with streams of its own, in a folder of its own."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.testing.command_line import call_mgs


@pytest.fixture
def mgs(tmp_path, monkeypatch):
    """Call ``mgs("ls", "store")``; what it says is in the result."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    return call_mgs


@pytest.fixture
def memory():
    """The URL of a memory storage that nobody else has."""
    return f"memory://t{secrets.token_hex(8)}"


@pytest.fixture
def work(mgs, tmp_path):
    """The current folder of `mgs`."""
    return tmp_path / "work"


@pytest.fixture
def tree(work):
    """A folder ``src`` with some files."""
    for name, data in {
        "a/b/deep.txt": b"deep", "a/one.png": b"\x00\xff", "a-": b"", "photo.jpg": b"j" * 2000, "ü x": b"u",
    }.items():  # fmt: skip
        path = work / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return work / "src"
