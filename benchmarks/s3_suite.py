"""The S3 suite: its cases, against the stand-in of `sink.py`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sink
from turns import Case, Figures, measured

SCRIPT = str(Path(__file__).with_name("s3.py"))
SINGLE = ["mediagit-storage", "obstore", "opendal", "boto3", "aiobotocore"]
BATCH = [
    "mediagit-storage, get_many and put_many",
    "obstore, 16 threads",
    "obstore, asyncio",
    "opendal, asyncio",
    "boto3, 16 threads",
    "aiobotocore, 32 tasks",
]
LARGE = ["mediagit-storage", "obstore", "opendal", "boto3", "mgs, without fsync", "s5cmd", "rclone"]
LARGE_DOWN = [*LARGE[:2], "obstore, 8 ranges at once", *LARGE[2:]]
SECURE = [name for name in LARGE if name != "opendal"]  # it takes no certificate of one's own
POOL = "obstore, 16 threads"
#: Those that take ten times as long are given a tenth of the objects, and their figures are multiplied.
TENTHS = {"boto3", "boto3, 16 threads", "aiobotocore", "aiobotocore, 32 tasks"}

CASES = [
    Case("get 3,000 objects of 16 KiB, one at a time", "get-single", 3000, SINGLE, "obstore"),
    Case("put 3,000 objects of 16 KiB, one at a time", "put-single", 3000, SINGLE, "obstore"),
    Case("get 10,000 objects of 16 KiB, many at once", "get-batch", 10_000, BATCH, POOL),
    Case("put 10,000 objects of 16 KiB, many at once", "put-batch", 10_000, BATCH, POOL),
    Case("stream 1 GiB into the program", "stream", 1, ["mediagit-storage", "obstore"], "obstore"),
    Case("download 1 GiB to a file", "download", 1, LARGE_DOWN, "obstore"),
    Case("upload 1 GiB from a file", "upload", 1, LARGE, "obstore"),
    Case("download 1 GiB to a file, TLS", "download", 1, SECURE, "obstore"),
    Case("upload 1 GiB from a file, TLS", "upload", 1, SECURE, "obstore"),
    Case(
        "list 100,000 keys",
        "list",
        100_000,
        ["mediagit-storage", "obstore", "opendal", "boto3", "mgs", "s5cmd", "rclone"],
        "obstore",
    ),
    Case(
        "list 1,000,000 keys",
        "list",
        1_000_000,
        ["mediagit-storage", "obstore", "opendal", "mgs", "s5cmd", "rclone"],
        "obstore",
        3,
    ),
    Case(
        "download 10,000 files of 16 KiB, start to exit",
        "copy-down",
        10_000,
        ["mgs, without fsync", "mgs", "s5cmd", "rclone"],
        "s5cmd",
    ),
    Case("upload 10,000 files of 16 KiB, start to exit", "copy-up", 10_000, ["mgs", "s5cmd", "rclone"], "s5cmd"),
]
NOTE = (
    "One nginx process, on the same machine, is the server. Sources and large targets are in memory. boto3 and"
    " aiobotocore get and put a tenth of the small objects; their figures are multiplied."
)
_LISTS = {count: name for name, count in sink.LISTS.items()}


class S3Suite:
    """Measures against a running server; ``fast`` is a folder in memory, ``scratch`` one on disk."""

    def __init__(self, server: sink.Sink, objects: Path, fast: Path, scratch: Path) -> None:
        self._server = server
        self._objects = objects
        self._fast = fast
        self._scratch = scratch

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once."""
        server = self._server
        share = 10 if name in TENTHS and case.task.startswith(("get-", "put-")) else 1
        words = [case.task, name, "--count", str(case.count // share)]
        if case.title.endswith("TLS"):
            words += ["--url", server.secure_url, "--certificate", str(server.certificate)]
        else:
            words += ["--url", server.url]
        if case.task == "list":
            words += ["--bucket", _LISTS[case.count]]
        if case.task == "download":
            words += ["--folder", str(self._fast)]
        if case.task == "copy-down":
            os.sync()  # nobody pays for what the one before left unwritten
            words += ["--folder", f"{tempfile.mkdtemp(dir=self._scratch)}/new"]
        if case.task in {"upload", "copy-up"}:
            words += ["--source", str(self._objects / ("large.bin" if case.task == "upload" else "files"))]
        try:
            figures = measured(SCRIPT, *words)
            return {**figures, "seconds": figures["seconds"] * share, "cpu": figures["cpu"] * share}
        finally:
            for left in self._fast.glob("large.new*"):
                left.unlink()


@contextmanager
def opened(scratch: Path) -> Iterator[S3Suite]:
    """The suite with its server, which ends with the block."""
    # Memory, where there is room: neither a disk nor its cache is what this measures.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 6 * sink.LARGE
    with tempfile.TemporaryDirectory(prefix="mgs-bench-", dir=memory if roomy else scratch) as name:
        fast = Path(name)
        (fast / "large").mkdir()
        with sink.running(fast / "server") as server:
            yield S3Suite(server, fast / "server" / "objects" / sink.BUCKET, fast / "large", scratch)
