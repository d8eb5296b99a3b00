"""The suite of the layers: what each costs, and those that move or keep bytes beside who does the same."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import caches_bench
import sink
from layers_bench import BULK, CORPUS, FILES, OPERATIONS, ROWS
from turns import Case, Figures, measured

LAYERS = str(Path(__file__).with_name("layers_bench.py"))
CACHES = str(Path(__file__).with_name("caches_bench.py"))

AGE = ["mediagit-storage", "pyrage"]
ZSTD = ["mediagit-storage", "zstandard alone"]
WARM = ["plain Python, local files", "mediagit-storage, in memory", "mediagit-storage, on disk"]
WARM += ["mediagit-storage, on disk, first use"]
FILECACHE = "fsspec filecache, s3fs"
BLOCKS = ["mediagit-storage, in memory", "mediagit-storage, memory and disk", FILECACHE]
BLOCKS += ["s3fs, block cache"]

CASES = [
    Case("what each layer costs, objects of 16 KiB in memory", "costs", 1, [*ROWS], columns=tuple(OPERATIONS)),
    Case("encrypt 256 MiB, from memory to nowhere", "encrypt-put", 1, AGE, "pyrage", size=BULK),
    Case("decrypt 256 MiB, from memory to nowhere", "encrypt-get", 1, AGE, "pyrage", size=BULK),
    Case("encrypt a file of 256 MiB into another", "file-put", 1, [*FILES], "rclone crypt", size=BULK),
    Case("decrypt a file of 256 MiB into another", "file-get", 1, [*FILES], "rclone crypt", size=BULK),
    Case("compress 64 MiB of Python's library", "text-put", 1, ZSTD, "zstandard alone", size=CORPUS),
    Case("decompress 64 MiB of Python's library", "text-get", 1, ZSTD, "zstandard alone", size=CORPUS),
    Case("compress 64 MiB of noise", "noise-put", 1, ZSTD, "zstandard alone", size=CORPUS),
    Case("decompress 64 MiB of noise", "noise-get", 1, ZSTD, "zstandard alone", size=CORPUS),
    Case(
        "put 256 MiB with a BLAKE3", "checksum-put", 1, ["mediagit-storage", "blake3 alone"], "blake3 alone", size=BULK
    ),
    Case(
        "get 256 MiB with a BLAKE3", "checksum-get", 1, ["mediagit-storage", "blake3 alone"], "blake3 alone", size=BULK
    ),
    Case(
        "get 500 objects of 16 KiB, all kept",
        "warm-small",
        500,
        [*WARM, "mediagit-storage, asks each time", FILECACHE],
        FILECACHE,
    ),
    Case("get 64 objects of 1 MiB, all kept", "warm-medium", 64, [*WARM, FILECACHE], FILECACHE),
    Case("1,000 ranges of 16 KiB at random of 64 MiB, all kept", "warm-ranges", 1000, BLOCKS, FILECACHE),
    Case(
        "64 MiB in 1,024 ranges in order, nothing kept", "cold-ranges", 1024, BLOCKS, FILECACHE, size=caches_bench.LARGE
    ),
]
NOTE = (
    "Files and caches on disk are in memory; caches are over one nginx process on the same machine. The first table has"
    " processor time, in brackets what is more than without a layer; `-` is refused."
)


class LayersSuite:
    """Measures in folders below ``fast``; ``url`` is where the caches read from."""

    def __init__(self, url: str, fast: Path) -> None:
        self._url = url
        self._fast = fast

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once."""
        with tempfile.TemporaryDirectory(dir=self._fast) as folder:
            if case.task.startswith(("warm-", "cold-")):
                words = ["--count", str(case.count), "--url", self._url, "--folder", folder]
                return measured(CACHES, case.task, name, *words)
            return measured(LAYERS, case.task, name, "--folder", folder)


@contextmanager
def opened(scratch: Path) -> Iterator[LayersSuite]:
    """The suite with its server, which ends with the block."""
    # Memory, where there is room: neither a disk nor its cache is what this measures.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 6 * BULK
    with tempfile.TemporaryDirectory(prefix="mgs-bench-", dir=memory if roomy else scratch) as name:
        fast = Path(name)
        (fast / "places").mkdir()
        with sink.running(fast / "server", large=False, lists=False) as server:
            bucket = fast / "server" / "objects" / sink.BUCKET
            (bucket / caches_bench.LARGE_KEY).write_bytes(os.urandom(caches_bench.LARGE))
            (bucket / "medium").mkdir()
            for number in range(caches_bench.MEDIUM):
                (bucket / caches_bench.medium_key(number)).write_bytes(os.urandom(caches_bench.MIB))
            yield LayersSuite(server.url, fast / "places")
