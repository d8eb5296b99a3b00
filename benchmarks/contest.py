"""What the contestants on emulators have in common: places, tasks, and one measurement that prints one JSON line.

A script names its contestants and calls `main`; `run.py` calls the script in rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from mediagit_storage import Storage
from turns import peak_mib

SMALL = 16 * 1024
LARGE = 256 * 2**20
#: Objects that are there to be read, and to be listed.
FILES = 1000
LISTED = 10_000
THREADS = 16
#: Buckets, containers or folders: to write to, with small objects, with a large one, with many.
PLACES = ("bench-new", "bench-files", "bench-large", "bench-listed")
NEW, READ, BIG, MANY = PLACES


def file_key(number: int) -> str:
    """The key of a small object that is there."""
    return f"{number % FILES:04}.bin"


class Contestant(ABC):
    """How one library does it. Many at once: a pool of threads, unless it has something of its own."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Read one object of `READ`."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> object:
        """Write one object of `NEW`."""

    @abstractmethod
    def delete(self, key: str) -> object:
        """Delete it."""

    @abstractmethod
    def names(self) -> int:
        """List `MANY`; how many there are."""

    @abstractmethod
    def download(self, path: str) -> object:
        """``large.bin`` of `BIG` to a file."""

    @abstractmethod
    def upload(self, path: str) -> object:
        """A file to ``new.bin`` of `BIG`."""

    def get_all(self, keys: list[str]) -> int:
        """How many bytes came."""
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(map(len, pool.map(self.get, keys)))

    def put_all(self, keys: list[str], data: bytes) -> int:
        """How many were written."""
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(1 for _ in pool.map(lambda key: self.put(key, data), keys))

    def delete_all(self, keys: list[str]) -> int:
        """How many were deleted."""
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(1 for _ in pool.map(self.delete, keys))


class Ours(Contestant):
    """mediagit-storage: digests sent and checked wherever the service has them, many at once in one call."""

    def __init__(self, opened: Callable[[str], Storage]) -> None:
        self.new, self.files, self.large, self.listed = map(opened, PLACES)

    def get(self, key: str) -> bytes:
        return self.files.get(key)

    def put(self, key: str, data: bytes) -> object:
        return self.new.put(key, data)

    def delete(self, key: str) -> object:
        return self.new.delete(key)

    def names(self) -> int:
        return sum(1 for _ in self.listed.list())

    def download(self, path: str) -> object:
        return self.large.download("large.bin", path, durability="none", resume=False)

    def upload(self, path: str) -> object:
        return self.large.upload(path, "new.bin", resume=False)

    def get_all(self, keys: list[str]) -> int:
        return sum(len(data or b"") for _, data, _ in self.files.get_many(keys))

    def put_all(self, keys: list[str], data: bytes) -> int:
        return self.new.put_many((key, data) for key in keys).run()

    def delete_all(self, keys: list[str]) -> int:
        return self.new.delete_many(keys).run()


def task_of(arguments: argparse.Namespace, store: Contestant) -> Callable[[], int]:
    """The work to be timed, after a warm-up; it returns how many objects it has seen."""
    task, count = arguments.task, arguments.count
    there = [file_key(number) for number in range(count)]
    new = [f"{number:05}" for number in range(count)]
    data = os.urandom(SMALL)
    if task == "get-single":
        store.get(there[0])
        return lambda: sum(len(store.get(key)) for key in there) // SMALL
    if task == "put-single":
        store.put(new[0], data)
        return lambda: len([store.put(key, data) for key in new])
    if task == "get-batch":
        store.get_all(there[:50])
        return lambda: store.get_all(there) // SMALL
    if task == "put-batch":
        store.put_all(new[:50], data)
        return lambda: store.put_all(new, data)
    if task == "delete-batch":
        store.put_all(new, data)
        return lambda: store.delete_all(new)
    if task == "list":
        return store.names
    if task == "download":
        path = f"{arguments.folder}/large.new"

        def download() -> int:
            store.download(path)
            return os.path.getsize(path) // LARGE

        return download
    return lambda: len([store.upload(arguments.source)])


TASKS = ("get-single", "put-single", "get-batch", "put-batch", "delete-batch", "list", "download", "upload")


def main(contestants: Mapping[str, Callable[[str], Contestant]]) -> None:
    """Measure once and print the result. Each contestant is made from the text that says where the server is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("contestant", choices=contestants)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--server", required=True, help="its URL, or what else a contestant is made from")
    parser.add_argument("--source", help="the file to upload")
    parser.add_argument("--folder", help="where to write")
    arguments = parser.parse_args()
    work = task_of(arguments, contestants[arguments.contestant](arguments.server))
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    seen = work()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    if seen != arguments.count:
        raise SystemExit(f"{arguments.contestant} did {seen:,} of {arguments.count:,}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"seconds": seconds, "cpu": cpu, "peak_mib": peak_mib()}, sys.stdout)
