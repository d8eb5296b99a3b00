"""`mgs` called in the process of the test, with streams, a folder and an environment of its own: most of what a process
of its own would cost is its start.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol
from unittest import mock

from mediagit_storage.cli.main import run
from mediagit_storage.types import JSON

__all__ = ["Finished", "Mgs", "call_mgs", "there_and_back"]


class Finished(NamedTuple):
    """How a call of `mgs` ended: its exit code, what it wrote, and how long it took in seconds."""

    code: int
    raw: bytes
    err: str
    seconds: float

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        """Its lines."""
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, JSON]]:
        """Its lines as JSON."""
        return [json.loads(line) for line in self.lines]

    @property
    def errors(self) -> list[dict[str, JSON]]:
        """The lines of standard error as JSON."""
        return [json.loads(line) for line in self.err.splitlines()]


class Mgs(Protocol):
    """What the fixtures ``mgs`` of tests are."""

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Finished:
        """Call it with these words."""
        ...


def call_mgs(
    *arguments: object,
    folder: str | os.PathLike[str] = ".",
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Finished:
    """Call `mgs` in ``folder``, with ``environment`` in addition to that of this process."""
    out, err = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
    words = [os.fspath(each) if isinstance(each, os.PathLike) else str(each) for each in arguments]
    began = time.monotonic()
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.object(sys, "stdout", stdout),
        mock.patch.object(sys, "stderr", err),
    ):
        code = run(words)
    stdout.flush()
    return Finished(code, out.getvalue(), err.getvalue(), time.monotonic() - began)


def there_and_back(mgs: Mgs, url: str, folder: Path) -> None:
    """A folder with awkward names is copied to the storage at ``url``, looked at, and back; ``moved`` is left there.

    ``folder`` is where ``mgs`` works.
    """
    files = {"a.txt": b"a", "sub/b c+d.bin": b"b" * 100_000, "sub/é%.png": b"", "日本/x": b"x"}
    for name, data in files.items():
        path = folder / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert mgs("cp", "-r", "from/", f"{url}/in/").code == 0
    listed = mgs("ls", "-r", "--json", f"{url}/in/")
    assert listed.code == 0, listed.err
    assert len(listed.records) == len(files)
    assert mgs("cat", f"{url}/in/a.txt").raw == b"a"
    assert mgs("put", "-", f"{url}/piped", stdin=b"from a pipe").code == 0
    assert mgs("mv", f"{url}/piped", f"{url}/moved").code == 0
    assert mgs("cat", f"{url}/moved").raw == b"from a pipe"
    assert mgs("cp", "-r", f"{url}/in/", "to/").code == 0
    to = folder / "to"
    found = {path.relative_to(to).as_posix(): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert found == files
    assert mgs("rm", "-r", f"{url}/in/").code == 0
