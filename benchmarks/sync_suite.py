"""The suite of syncs: folders to S3, back, and from bucket to bucket, beside s5cmd and rclone, on the S3 of `held.py`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import held
from mediagit_storage import Storage, open_storage
from mediagit_storage.testing.killed_transfers import write_numbered
from mediagit_storage.testing.trees import small_tree
from programs import KEYS, REGION
from turns import Case, Failed, Figures, measured

SCRIPT = str(Path(__file__).with_name("sync_bench.py"))
SMALL = 16 * 1024
PIECE = 8 * 2**20
#: How many small files there are, and how many of 8 MiB: 2 GiB.
COUNT = int(os.environ.get("BENCH_SYNC_FILES", "10000"))
PIECES = int(os.environ.get("BENCH_SYNC_LARGE", "256"))
PROGRAMS = ["mgs", "s5cmd", "rclone"]
DOWN = ["mgs, without fsync", *PROGRAMS]
AGAIN = [*PROGRAMS, "rclone, by the server's times"]
MANY, MUCH = f"{COUNT:,} files of 16 KiB", f"{PIECES} files of 8 MiB"

CASES = [
    Case(f"sync {MANY} from a folder to S3", "small up", COUNT, PROGRAMS, "s5cmd"),
    Case(f"sync {MANY} from S3 to a folder", "small down", COUNT, DOWN, "s5cmd"),
    Case(f"sync {MANY} from one bucket to another", "small across", COUNT, PROGRAMS, "s5cmd"),
    Case(f"sync {MANY} from a folder to S3, again", "small up again", COUNT, AGAIN, "s5cmd"),
    Case(f"sync {MANY} from S3 to a folder, again", "small down again", COUNT, AGAIN, "s5cmd"),
    Case(f"sync {MANY} from one bucket to another, again", "small across again", COUNT, AGAIN, "s5cmd"),
    Case(f"sync {MUCH} from a folder to S3", "large up", PIECES, PROGRAMS, "s5cmd", size=PIECES * PIECE),
    Case(f"sync {MUCH} from S3 to a folder", "large down", PIECES, DOWN, "s5cmd", size=PIECES * PIECE),
    Case(f"sync {MUCH} from one bucket to another", "large across", PIECES, PROGRAMS, "s5cmd", size=PIECES * PIECE),
]
NOTE = (
    "Programs from start to exit. The server is one nginx process on the same machine, which holds everything in memory;"
    " large folders are in memory, small files on disk. s5cmd and rclone never sync a file to the disk: `mgs, without"
    " fsync` does as they do, `mgs` as it does by default. rclone transfers 32 at once and is spared its checks after"
    " uploads. Again: a second run, which finds nothing to do."
)


class SyncSuite:
    """Measures against a running server, on which the buckets ``small`` and ``large`` are full."""

    def __init__(self, server: held.Held, sources: dict[str, Path], scratch: dict[str, Path]) -> None:
        self._server = server
        self._sources = sources
        self._scratch = scratch
        self._turn = 0

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once, to a new place, which holds everything afterwards and is then emptied."""
        size, way, *again = case.task.split()
        self._turn += 1
        bucket = f"new-{self._turn}"
        with tempfile.TemporaryDirectory(dir=self._scratch[size]) as folder:
            path = Path(folder, "new")
            path.mkdir()
            source = str(self._sources[size]) if way == "up" else f"bucket:{size}"
            target = str(path) if way == "down" else f"bucket:{bucket}"
            os.sync()  # nobody pays for what the one before left unwritten
            words = ["--url", self._server.url, "--source", source, "--target", target, "--state", f"{folder}/state"]
            figures = measured(SCRIPT, name, *words, *(["--again"] if again else []))
            if way == "down":
                arrived = sum(len(files) for _, _, files in os.walk(path))
            else:
                with opened_bucket(self._server, bucket) as store:
                    arrived = store.delete_many([info.key for info in store.list()]).run()
        if arrived != case.count:
            raise Failed(f"{name} brought {arrived:,} of {case.count:,}")
        return figures


def opened_bucket(server: held.Held, name: str) -> Storage:
    """A bucket, for what is not measured."""
    options = {**KEYS, "endpoint": server.url, "service": "aws", "region": REGION, "path_style": True}
    return open_storage(f"s3://{name}", options=options)


@contextmanager
def opened(scratch: Path) -> Iterator[SyncSuite]:
    """The suite with its server and sources, which end with the block."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 4 * PIECES * PIECE:
        raise SystemExit("this needs room in /dev/shm for four times what is synchronised")
    with tempfile.TemporaryDirectory(prefix="mgs-bench-", dir=memory) as name:
        fast = Path(name)
        sources = {"small": scratch / "small", "large": fast / "large"}
        small_tree(sources["small"], COUNT, SMALL)
        sources["large"].mkdir()
        for number in range(PIECES):
            write_numbered(sources["large"] / f"{number:04}.bin", PIECE)
        with held.running(fast / "server") as server:
            for bucket, folder in sources.items():
                with opened_bucket(server, bucket) as store:
                    store.put_many(
                        (str(path.relative_to(folder)), path.read_bytes()) for path in files_of(folder)
                    ).run()
            yield SyncSuite(server, sources, {"small": scratch, "large": fast})


def files_of(folder: Path) -> Iterator[Path]:
    """All files below."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
