"""One measurement of one cache over the S3 stand-in of `sink.py`; prints one JSON line. `run.py` calls it in rounds.

``warm`` reads what is kept already, ``cold`` reads a large object in order, of which nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from layers_bench import timed
from sink import BUCKET, file_key
from turns import Figures

SMALL, MIB = 16 * 1024, 2**20
#: The large object, and how it is read.
LARGE, LARGE_KEY = 64 * MIB, "media.bin"
#: Objects of 1 MiB.
MEDIUM = 64


def medium_key(number: int) -> str:
    """The key of an object of 1 MiB."""
    return f"medium/{number:02}.bin"


class Cache(ABC):
    """How one library reads through its cache, whose files are below ``folder``."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    @abstractmethod
    def get(self, key: str) -> bytes:
        """An object."""

    @abstractmethod
    def part(self, offset: int, length: int) -> bytes:
        """A range of the large object."""

    def ready(self) -> None:  # noqa: B027  # most have nothing to do
        """Everything is kept now; what follows is timed."""


class Ours(Cache):
    """mediagit-storage over its S3 backend."""

    def __init__(self, url: str, folder: Path, **options: str | int) -> None:
        super().__init__(url, folder)
        self._options = options
        self.open()

    def open(self) -> None:
        """Open it, with nothing in memory."""
        from mediagit_storage import open_storage

        given = {
            "access_key_id": "bench",
            "secret_access_key": "bench",
            "endpoint": self.url,
            "service": "aws",
            "region": "us-east-1",
            "path_style": True,
        }
        layer: dict[str, str | int | bool] = {"layer": "cache", "memory_bytes": 2 * LARGE, **self._options}
        if layer.pop("on_disk", False):
            layer |= {"folder": str(self.folder / "kept"), "plaintext_on_disk": True}
        self._store = open_storage(f"s3://{BUCKET}", options=given, layers=[layer])

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def part(self, offset: int, length: int) -> bytes:
        return self._store.get(LARGE_KEY, offset=offset, length=length)


class First(Ours):
    """What a process finds on the disk that another one has left: every file is proven before it is used."""

    def ready(self) -> None:
        self.open()


class Filesystem(Cache):
    """A file system of fsspec over s3fs; the large object stays open."""

    def __init__(self, url: str, folder: Path, protocol: str, **opening: object) -> None:
        import fsspec

        super().__init__(url, folder)
        s3 = {"key": "bench", "secret": "bench", "endpoint_url": url, "client_kwargs": {"region_name": "us-east-1"}}
        if protocol == "s3":
            self._fs = fsspec.filesystem("s3", **s3)
        else:
            self._fs = fsspec.filesystem(
                protocol, target_protocol="s3", target_options=s3, cache_storage=str(folder / "kept"), check_files=False
            )
        self._opening = opening
        self._large: object = None

    def get(self, key: str) -> bytes:
        with self._fs.open(f"{BUCKET}/{key}", "rb") as file:
            data: bytes = file.read()
        return data

    def part(self, offset: int, length: int) -> bytes:
        if self._large is None:
            self._large = self._fs.open(f"{BUCKET}/{LARGE_KEY}", "rb", **self._opening)
        self._large.seek(offset)  # type: ignore[attr-defined]  # a file
        data: bytes = self._large.read(length)  # type: ignore[attr-defined]  # a file
        return data


class Plain(Cache):
    """No cache and no storage: `open` and `read` of local files, which is the least that a disk hit can cost."""

    def get(self, key: str) -> bytes:
        with open(self._path(key), "rb", buffering=0) as file:
            return file.read()

    def part(self, offset: int, length: int) -> bytes:
        with open(self._path(LARGE_KEY), "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)

    def _path(self, key: str) -> Path:
        path = self.folder / key.replace("/", "_")
        if not path.exists():
            path.write_bytes(bytes(LARGE if key == LARGE_KEY else MIB if key.startswith("medium") else SMALL))
        return path


CONTESTANTS: Mapping[str, Callable[[str, Path], Cache]] = {
    "plain Python, local files": Plain,
    "mediagit-storage, in memory": partial(Ours, validate="immutable"),
    "mediagit-storage, on disk": partial(Ours, validate="immutable", memory_bytes=0, on_disk=True),
    "mediagit-storage, on disk, first use": partial(First, validate="immutable", memory_bytes=0, on_disk=True),
    "mediagit-storage, memory and disk": partial(Ours, validate="immutable", on_disk=True),
    "mediagit-storage, asks each time": Ours,
    "fsspec filecache, s3fs": partial(Filesystem, protocol="filecache"),
    "s3fs, block cache": partial(
        Filesystem, protocol="s3", cache_type="blockcache", block_size=4 * MIB, cache_options={"maxblocks": 32}
    ),
}


def work_of(task: str, count: int, cache: Cache) -> Callable[[], int]:
    """What is timed; it returns how many bytes it has seen."""
    how, _, what = task.partition("-")
    if what == "ranges":
        chance = random.Random(1)
        offsets = [chance.randrange(0, LARGE - SMALL) for _ in range(count)]
        if how == "cold":
            offsets = [number * (LARGE // count) for number in range(count)]
            return lambda: sum(len(cache.part(offset, LARGE // count)) for offset in offsets)
        for offset in range(0, LARGE, MIB):
            cache.part(offset, MIB)
        return lambda: sum(len(cache.part(offset, SMALL)) for offset in offsets)
    keys = [medium_key(number % MEDIUM) if what == "medium" else file_key(number) for number in range(count)]
    for _ in range(2):
        for key in keys:
            cache.get(key)
    cache.ready()
    return lambda: sum(len(cache.get(key)) for key in keys)


def expected(task: str, count: int) -> int:
    """How many bytes a contestant has to see."""
    if task == "cold-ranges":
        return LARGE
    return count * (MIB if task.endswith("medium") else SMALL)


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", help="warm-small, warm-medium, warm-ranges, cold-ranges")
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="an empty one")
    arguments = parser.parse_args()
    work = work_of(arguments.task, arguments.count, CONTESTANTS[arguments.contestant](arguments.url, arguments.folder))
    seen: list[int] = []
    figures: Figures = timed(lambda: seen.append(work()), children=False)
    if seen != [expected(arguments.task, arguments.count)]:
        raise SystemExit(f"{arguments.contestant} saw {seen} bytes")
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
