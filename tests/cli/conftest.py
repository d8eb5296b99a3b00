"""`mgs` as tests call it: in this process, with streams of its own, in a folder of its own."""

from __future__ import annotations

import io
import json
import os
import secrets
import sys
from typing import NamedTuple

import pytest

from mediagit_storage.cli.main import run


class Result(NamedTuple):
    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.lines]

    @property
    def errors(self) -> list[dict]:
        return [json.loads(line) for line in self.err.splitlines()]


@pytest.fixture
def mgs(tmp_path, monkeypatch):
    """Call ``mgs("ls", "store")``; what it says is in the result."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def call(*arguments: object, stdin: bytes = b"") -> Result:
        out, err = io.BytesIO(), io.StringIO()
        with monkeypatch.context() as patch:
            stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = run([os.fspath(each) if hasattr(each, "__fspath__") else str(each) for each in arguments])
        stdout.flush()
        return Result(code, out.getvalue(), err.getvalue())

    return call


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
