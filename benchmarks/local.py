"""One measurement of one contestant on the local file system; prints one JSON line. `run.py` calls it in rounds.

Each measurement is a process of its own, so that memory and caches of one contestant are not another's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from turns import peak_mib

SMALL = 16 * 1024
LARGE = 1024 * 1024 * 1024
PIECE = 1024 * 1024


def key(number: int) -> str:
    """Keys as programs make them: a few folders, names of fixed width."""
    return f"data/{number % 100:02}/object-{number:07}.bin"


def pieces() -> Iterator[bytes]:
    """1 GiB that no compression or sparse file can shrink to nothing, without holding it."""
    block = os.urandom(PIECE)
    for _ in range(LARGE // PIECE):
        yield block


class Plain:
    """What one would write by hand: a temp file beside the target, and a rename."""

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self.folder, self.sync = folder, sync

    def put(self, name: str, data: bytes) -> None:
        self._write(name, [data])

    def put_large(self, name: str) -> None:
        self._write(name, pieces())

    def _write(self, name: str, parts: object) -> None:
        target = self.folder / name
        if not target.parent.exists():
            target.parent.mkdir(parents=True)
        temporary = f"{target}.tmp"
        with open(temporary, "wb") as file:
            file.writelines(parts)
            if self.sync:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, target)
        if self.sync:
            folder = os.open(target.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def get(self, name: str) -> bytes:
        with open(self.folder / name, "rb") as file:
            return file.read()

    def get_large(self, name: str) -> int:
        total = 0
        with open(self.folder / name, "rb") as file:
            while part := file.read(PIECE):
                total += len(part)
        return total

    def names(self) -> Iterator[str]:
        for folder, _, files in os.walk(self.folder):
            yield from (os.path.join(folder, each) for each in files)


class Ours:
    """mediagit-storage; ``batch`` gives it the many objects in one call."""

    def __init__(self, folder: Path, *, sync: bool, layout: str = "plain", batch: bool = False) -> None:
        from mediagit_storage.backends.local import LocalBackend
        from mediagit_storage.storage import Storage

        durability = ("batch" if batch else "full") if sync else "none"
        self.store = Storage(LocalBackend(folder, durability=durability, layout=layout))
        self.put, self.get = self.store.put, self.store.get
        if batch:
            self.put_all = lambda names, data: self.store.put_many((name, data) for name in names).run()
            self.get_all = lambda names: self.store.get_many(names).run()

    def put_large(self, name: str) -> None:
        self.store.put(name, pieces())

    def get_large(self, name: str) -> int:
        return sum(len(part) for part in self.store.stream(name))

    def names(self) -> Iterator[str]:
        return (info.key for info in self.store.list())


class Obstore:
    """obstore's LocalStore (the Rust crate object_store). It never syncs."""

    def __init__(self, folder: Path) -> None:
        import obstore
        from obstore.store import LocalStore

        self.obstore, self.store = obstore, LocalStore(str(folder))

    def put(self, name: str, data: bytes) -> None:
        self.obstore.put(self.store, name, data)

    def get(self, name: str) -> bytes:
        return bytes(self.obstore.get(self.store, name).bytes())

    def put_large(self, name: str) -> None:
        self.obstore.put(self.store, name, pieces())

    def get_large(self, name: str) -> int:
        return sum(len(part) for part in self.obstore.get(self.store, name).stream(min_chunk_size=PIECE))

    def names(self) -> Iterator[str]:
        return (info["path"] for page in self.obstore.list(self.store) for info in page)


class Fsspec:
    """fsspec's local file system. It never syncs."""

    def __init__(self, folder: Path) -> None:
        from fsspec.implementations.local import LocalFileSystem

        self.folder, self.fs = str(folder), LocalFileSystem(auto_mkdir=True)

    def put(self, name: str, data: bytes) -> None:
        self.fs.pipe_file(f"{self.folder}/{name}", data)

    def get(self, name: str) -> bytes:
        return self.fs.cat_file(f"{self.folder}/{name}")

    def put_large(self, name: str) -> None:
        with self.fs.open(f"{self.folder}/{name}", "wb") as file:
            for part in pieces():
                file.write(part)

    def get_large(self, name: str) -> int:
        total = 0
        with self.fs.open(f"{self.folder}/{name}", "rb") as file:
            while part := file.read(PIECE):
                total += len(part)
        return total

    def names(self) -> Iterator[str]:
        return iter(self.fs.find(self.folder))


CONTESTANTS: dict[str, Callable[[Path], object]] = {
    "plain Python": lambda folder: Plain(folder, sync=False),
    "plain Python, fsync": lambda folder: Plain(folder, sync=True),
    "mediagit-storage": lambda folder: Ours(folder, sync=False),
    "mediagit-storage, batch": lambda folder: Ours(folder, sync=False, batch=True),
    "mediagit-storage, fsync": lambda folder: Ours(folder, sync=True),
    "mediagit-storage, batch, fsync": lambda folder: Ours(folder, sync=True, batch=True),
    "mediagit-storage, sharded": lambda folder: Ours(folder, sync=False, layout="sharded"),
    "obstore": Obstore,
    "fsspec": Fsspec,
}


def timed(work: Callable[[], object]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(task: str, contestant: str, folder: Path, count: int) -> dict[str, float]:
    """Run and time one task; what is read or listed lies in ``folder`` already (see `prepare`)."""
    # A million names would be most of the memory that a listing is measured by.
    names = [key(number) for number in range(count)] if task.endswith("small") else []
    data = os.urandom(SMALL)
    store = CONTESTANTS[contestant](folder)
    found: list[int] = []
    work: dict[str, Callable[[], object]] = {
        "put-small": lambda: put_all(store, names, data),
        "put-large": lambda: store.put_large("large.bin"),
        "get-small": lambda: get_all(store, names),
        "get-large": lambda: found.append(store.get_large("large.bin") // LARGE),
        "list": lambda: found.append(sum(1 for _ in store.names())),
    }
    before = time.process_time()
    seconds = timed(work[task])
    cpu = time.process_time() - before
    if task in {"get-large", "list"} and found[0] < count:
        raise SystemExit(f"{contestant} found {found[0]} of {count}")
    return {"seconds": seconds, "cpu": cpu}


def prepare(task: str, contestant: str, folder: Path, count: int) -> None:
    """Write what a task reads, once for all rounds, and have it on disk and in the page cache."""
    sharded = contestant.endswith("sharded")
    folder.mkdir(parents=True)
    maker = Ours(folder, sync=False, layout="sharded") if sharded else Plain(folder, sync=False)
    if task == "list":
        make_tree(folder, count)
    elif task == "get-large":
        maker.put_large("large.bin")
    elif task == "get-small":
        put_all(maker, [key(number) for number in range(count)], os.urandom(SMALL))
    os.sync()


def put_all(store: object, names: list[str], data: bytes) -> None:
    """All of them, in one call where the contestant has one."""
    if hasattr(store, "put_all"):
        store.put_all(names, data)
        return
    for name in names:
        store.put(name, data)


def get_all(store: object, names: list[str]) -> None:
    """All of them, in one call where the contestant has one."""
    if hasattr(store, "get_all"):
        store.get_all(names)
        return
    for name in names:
        store.get(name)


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["put-small", "get-small", "put-large", "get-large", "list"])
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--prepare", action="store_true", help="only write what the task reads")
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.task, arguments.contestant, arguments.folder, arguments.count)
        print("{}")
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    result = measure(arguments.task, arguments.contestant, arguments.folder, arguments.count)
    result["peak_mib"] = peak_mib()
    json.dump(result, sys.stdout)


def make_tree(tree: Path, count: int) -> None:
    """Empty files under 1,000 folders: listing reads names and times, not contents."""
    for number in range(1000):
        (tree / f"{number:03}").mkdir(parents=True)
    for number in range(count):
        os.close(os.open(tree / f"{number % 1000:03}" / f"object-{number:07}.bin", os.O_CREAT | os.O_WRONLY))


if __name__ == "__main__":
    main()
