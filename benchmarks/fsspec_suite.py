"""The fsspec suite: reads through three filesystems of fsspec, against the stand-in of `sink.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sink
from turns import Case, Figures, measured

SCRIPT = str(Path(__file__).with_name("fsspec_bench.py"))
#: What is asked of all, divided by this: for a try.
SHARE = int(os.environ.get("BENCH_FSSPEC_SHARE", "1"))
ALL = ["mediagit-storage", "s3fs", "obstore"]
FILES_TOO = [*ALL[:2], "s3fs, no cache", "obstore", "obstore, no cache"]


def _cases() -> list[Case]:
    one, many, parts, random = (count // SHARE for count in (2000, 5000, 3000, 300))
    return [
        Case(f"cat_file of {one:,} objects of 16 KiB, one at a time", "get-single", one, ALL, "s3fs"),
        Case(f"cat of {many:,} objects of 16 KiB in one call", "get-many", many, ALL, "s3fs"),
        Case(f"cat_ranges of {parts:,} parts of 16 KiB of one large object", "ranges", parts, ALL, "s3fs"),
        Case(f"open, then {random:,} times seek and read 16 KiB", "random", random, FILES_TOO, "s3fs", 3),
        Case("open, then read 1 GiB by pieces of 1 MiB", "stream", 1, ALL, "s3fs", 3, sink.LARGE),
    ]


CASES = _cases()
NOTE = (
    "One nginx process, on the same machine, is the server: there is no latency to be hidden. Each filesystem is opened"
    ' as its guide says; `no cache` is `cache_type="none"`, for who knows that reads will be random.'
)


class FsspecSuite:
    """Measures against a running server."""

    def __init__(self, server: sink.Sink) -> None:
        self._server = server

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once."""
        return measured(SCRIPT, case.task, name, "--count", str(case.count), "--url", self._server.url)


@contextmanager
def opened(scratch: Path) -> Iterator[FsspecSuite]:
    """The suite with its server, which ends with the block."""
    with sink.running(scratch / "server", lists=False) as server:
        yield FsspecSuite(server)
