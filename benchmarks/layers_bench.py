"""One measurement of one layer, or of who does the same; prints one JSON line. `run.py` calls it in rounds.

Costs per operation are over memory, the least of several batches, in turns with the same without a layer. What moves many bytes is timed the second time it is done;
programs (mgs, age, rclone) are measured from start to exit, once.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mediagit_storage import MemoryBackend, ObjectInfo, Storage, StorageError, open_storage
from mediagit_storage.backend import StorageBackend
from mediagit_storage.registry import LayerEntry, layer_entry
from mediagit_storage.source import Source
from mediagit_storage.testing.stacking import TEST_IDENTITY
from mediagit_storage.types import PutOptions
from s3 import Place, Program
from turns import Figures, peak_mib

SMALL, MIB = 16 * 1024, 2**20
BULK = 256 * MIB
#: What is compressed: so much of the Python installation, and as much of what does not get smaller.
CORPUS = 64 * MIB
BATCHES, REPEATED = 30, 50
#: The public half of `TEST_IDENTITY`.
RECIPIENT = "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef"

OptionValue = str | int | float | bool | list[str]
Layers = list[dict[str, OptionValue]]

#: Layers by the name of their row, outermost first, as in a profile. ``{folder}`` is an empty folder, ``{key}`` a key file.
ROWS: Mapping[str, Layers] = {
    "no layer": [],
    "prefix": [{"layer": "prefix", "prefix": "p/"}],
    "readonly": [{"layer": "readonly"}],
    "observe, counters": [{"layer": "observe", "metrics": True}],
    "observe, log lines": [{"layer": "observe", "log": "INFO"}],
    "observe, audit log": [{"layer": "observe", "audit": "{folder}/audit.jsonl", "audit_reads": True}],
    "compress": [{"layer": "compress"}],
    "encrypt": [{"layer": "encrypt", "identity_file": "{key}"}],
    "checksum": [{"layer": "checksum"}],
    "cache, asks each time": [{"layer": "cache"}],
    "cache, immutable, in memory": [{"layer": "cache", "validate": "immutable"}],
    "cache, immutable, on disk": [
        {"layer": "cache", "validate": "immutable", "memory_bytes": 0, "folder": "{folder}/kept"}
    ],
    "throttle": [{"layer": "throttle", "bytes_up": 2**50, "bytes_down": 2**50, "requests": 1e12}],
    "retry": [{"layer": "retry"}],
    "mirror of two": [{"layer": "mirror", "replicas": ["memory://second"], "state": "{folder}/state"}],
    "migrating": [{"layer": "migrating", "old": "memory://old"}],
}
OPERATIONS: Mapping[str, Callable[[Storage, bytes], object]] = {
    "put": lambda store, data: store.put("new", data),
    "get": lambda store, data: store.get("small"),
    "range": lambda store, data: store.get("small", offset=4096, length=4096),
    "stat": lambda store, data: store.stat("small"),
    "get 1 MiB": lambda store, data: store.get("large"),
}


def costs(row: str, folder: Path) -> Figures:
    """Microseconds of processor time for each operation through one row's layers; ``+...`` is what is more than without."""
    logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w"))  # noqa: SIM115  # for as long as this runs
    bare, layered = open_storage("memory://bare"), opened("memory://bench", ROWS[row], folder)
    small, large = os.urandom(SMALL), os.urandom(MIB)
    for store in (open_storage("memory://bench") if row == "readonly" else layered, bare):
        store.put("small", small)
        store.put("large", large)
    figures: Figures = {}
    for name, work in OPERATIONS.items():
        try:
            least, alone = least_of(partial(work, layered, small), partial(work, bare, small))
        except StorageError:
            continue  # refused, which the table shows as such
        figures |= {name: least, f"+{name}": least - alone}
    return figures


def least_of(*works: Callable[[], object]) -> list[float]:
    """Microseconds of one call of each, in its quickest batch; they take turns, so that none has the quieter machine."""
    quickest = [float("inf")] * len(works)
    for _ in range(BATCHES):
        for place, work in enumerate(works):
            began = time.process_time_ns()
            for _ in range(REPEATED):
                work()
            quickest[place] = min(quickest[place], (time.process_time_ns() - began) / REPEATED / 1000)
    return quickest


def opened(target: str, layers: Layers, folder: Path) -> Storage:
    """A storage under these layers."""
    chosen = [{name: filled(value, folder) for name, value in layer.items()} for layer in layers]
    return open_storage(target, layers=chosen)


def filled(value: OptionValue, folder: Path) -> OptionValue:
    """An option with the places of this run in it."""
    return value.format(folder=folder, key=key_file(folder)) if isinstance(value, str) else value


def key_file(folder: Path) -> str:
    """A file with an identity that age, and we, decrypt with."""
    path = folder / "key.txt"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(TEST_IDENTITY + "\n")
    return str(path)


# ---- many bytes

Task = Callable[[], object]


class Dropping(MemoryBackend):
    """Reads what is put to its end, and keeps nothing but its size."""

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        size = sum(map(len, source.chunks()))
        return ObjectInfo(key, size, size, datetime.now(UTC), "dropped")


def ours_in_memory(task: str, layer: str, data: bytes, folder: Path) -> Task:
    """What `Storage` takes to bring an object through a layer to a storage that drops it, or from memory to nobody."""
    backend = Dropping("bench") if task == "put" else MemoryBackend("bench")
    store = Storage(backend)
    for options in reversed(ROWS[layer]):
        store = store.with_layer(partial(layered, {**options}, folder))
    store.put("warm", data[:MIB])
    if task == "put":
        return lambda: store.put("k", data)
    store.put("k", data)
    return lambda: whole(sum(map(len, store.stream("k"))), data)


def layered(options: dict[str, OptionValue], folder: Path, inner: StorageBackend) -> StorageBackend:
    """One layer over a backend."""
    entry = layer_entry(str(options.pop("layer")))
    assert isinstance(entry, LayerEntry)
    given = {name: filled(value, folder) for name, value in options.items()}
    return entry.factory(inner, entry.config_type(**given))


class Nowhere(io.RawIOBase):
    """A file that counts what is written to it."""

    written = 0

    def write(self, data: bytes) -> int:
        self.written += len(data)
        return len(data)

    def writable(self) -> bool:
        return True


def pyrage_in_memory(task: str, data: bytes) -> Task:
    """pyrage (Rust): the same file format, from a file in memory to nowhere."""
    import pyrage

    identity = pyrage.x25519.Identity.from_str(TEST_IDENTITY)
    recipients = [identity.to_public()]
    if task == "put":
        return lambda: pyrage.encrypt_io(io.BytesIO(data), Nowhere(), recipients)
    encrypted = pyrage.encrypt(data, recipients)

    def decrypt() -> None:
        target = Nowhere()
        pyrage.decrypt_io(io.BytesIO(encrypted), target, [identity])
        whole(target.written, data)

    return decrypt


def zstandard_in_memory(task: str, data: bytes) -> Task:
    """The library that we use, alone: the same level, checksums and frames, in one thread."""
    import zstandard

    frames = [data[start : start + MIB] for start in range(0, len(data), MIB)]
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    if task == "put":
        return lambda: sum(len(compressor.compress(frame)) for frame in frames)
    done = [compressor.compress(frame) for frame in frames]
    decompressor = zstandard.ZstdDecompressor()
    return lambda: whole(sum(len(decompressor.decompress(frame)) for frame in done), data)


def blake3_in_memory(data: bytes) -> Task:
    """The hash alone, with as many threads as we give it."""
    import blake3

    return lambda: blake3.blake3(data, max_threads=min(os.cpu_count() or 1, 8)).digest()


class Files(Program):
    """Encrypts ``plain`` in a folder to a file of its own there, and back to ``back``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Place("", None, ""))
        self.folder = folder
        self.plain, self.back = str(folder / "plain"), str(folder / "back")
        self.key = key_file(folder)


class Library(Files):
    """mediagit-storage: `upload` into a local folder, and `download` from there, without fsync."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "ours").mkdir(exist_ok=True)
        self.store = opened(f"file://{folder}/ours?durability=none", ROWS["encrypt"], folder)

    def put(self) -> object:
        return self.store.upload(self.plain, "k", resume=False)

    def get(self) -> object:
        return self.store.download("k", self.back, durability="none", resume=False)


class Mgs(Files):
    """The same as a program."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        profile = folder / "profiles.toml"
        profile.write_text(
            f'[bench]\nurl = "file://{folder}/ours?durability=none"\n'
            f'[[bench.layers]]\nlayer = "encrypt"\nidentity_file = "{self.key}"\n'
        )
        (folder / "ours").mkdir(exist_ok=True)
        self.environment["MGS_CONFIG"] = str(profile)

    def put(self) -> object:
        return self.run("mgs", "cp", self.plain, "bench:k")

    def get(self) -> object:
        return self.run("mgs", "cp", "bench:k", f"file://{self.back}?durability=none")


class Pyrage(Files):
    """pyrage, file to file."""

    def put(self) -> object:
        import pyrage

        recipients = [pyrage.x25519.Recipient.from_str(RECIPIENT)]
        return pyrage.encrypt_file(self.plain, f"{self.folder}/pyrage", recipients)

    def get(self) -> object:
        import pyrage

        return pyrage.decrypt_file(f"{self.folder}/pyrage", self.back, [pyrage.x25519.Identity.from_str(TEST_IDENTITY)])


class Age(Files):
    """The program of the format's authors (Go)."""

    def put(self) -> object:
        return self.age("-r", RECIPIENT, "-o", f"{self.folder}/age", self.plain)

    def get(self) -> object:
        return self.age("-d", "-i", self.key, "-o", self.back, f"{self.folder}/age")

    def age(self, *words: str) -> bytes:
        program = shutil.which("age")
        if program is None:
            raise SystemExit("age is not installed")
        return self.run(program, *words)


class Rclone(Files):
    """rclone crypt over a local folder: another format (NaCl secretbox), names encrypted as well."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        password = subprocess.run(
            [Path(sys.executable).parent / "rclone", "obscure", "bench"], capture_output=True, text=True, check=True
        ).stdout.strip()
        self.environment |= {
            "RCLONE_CONFIG_SEALED_TYPE": "crypt",
            "RCLONE_CONFIG_SEALED_REMOTE": f"{folder}/rclone",
            "RCLONE_CONFIG_SEALED_PASSWORD": password,
        }

    def put(self) -> object:
        return self.run("rclone", "copyto", "--config", "", "--ignore-times", self.plain, "sealed:k")

    def get(self) -> object:
        return self.run("rclone", "copyto", "--config", "", "--ignore-times", "sealed:k", self.back)


FILES: dict[str, type[Files]] = {
    "mediagit-storage": Library,
    "mgs, without fsync": Mgs,
    "pyrage": Pyrage,
    "age": Age,
    "rclone crypt": Rclone,
}
IN_PROCESS = ("mediagit-storage", "pyrage")


def whole(came: int, data: bytes) -> None:
    """Nobody wins by losing bytes."""
    if came != len(data):
        raise SystemExit(f"{came:,} of {len(data):,} bytes came back")


def corpus() -> bytes:
    """Files as they are on every machine with Python: its own modules, sources and libraries."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*"))
    whole = bytearray()
    while len(whole) < CORPUS:
        before = len(whole)
        for path in paths:
            if path.suffix in {".py", ".so", ".a"} and len(whole) < CORPUS:
                whole += path.read_bytes()
        if len(whole) == before:
            raise SystemExit("there is no Python library to compress")
    return bytes(whole[:CORPUS])


def bulk_of(subject: str, task: str, contestant: str, folder: Path) -> Task:
    """What is timed: ``put`` or ``get`` of one large object in memory."""
    data = {"text": corpus, "noise": lambda: os.urandom(CORPUS)}.get(subject, lambda: os.urandom(MIB) * (BULK // MIB))()
    if contestant == "pyrage":
        return pyrage_in_memory(task, data)
    if contestant == "zstandard alone":
        return zstandard_in_memory(task, data)
    if contestant == "blake3 alone":
        return blake3_in_memory(data)
    return ours_in_memory(task, {"text": "compress", "noise": "compress"}.get(subject, subject), data, folder)


def timed(work: Task, *, children: bool) -> Figures:
    """Run it once."""
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    before, began = resource.getrusage(who), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - began, resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak_mib": peak_mib()}


def file_figures(task: str, contestant: str, folder: Path) -> Figures:
    """One file there, and perhaps back."""
    plain = folder / "plain"
    block = os.urandom(MIB)
    with plain.open("wb") as file:
        file.writelines(block for _ in range(BULK // MIB))
    program = FILES[contestant](folder)
    work: Mapping[str, Task] = {"put": program.put, "get": program.get}  # type: ignore[attr-defined]  # each has both
    if task == "get":
        work["put"]()
    figures = timed(work[task], children=contestant not in IN_PROCESS)
    if task == "get" and Path(program.back).stat().st_size != BULK:
        raise SystemExit("other bytes came back")
    return {**figures, "peak_mib": program.peak or figures["peak_mib"]}


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", help="costs, or SUBJECT-put, SUBJECT-get; subjects: file text noise encrypt checksum")
    parser.add_argument("contestant")
    parser.add_argument("--folder", type=Path, required=True, help="an empty one")
    arguments = parser.parse_args()
    folder, contestant = arguments.folder, arguments.contestant
    subject, _, task = arguments.task.partition("-")
    if subject == "costs":
        figures = {**timed(lambda: None, children=False), **costs(contestant, folder)}
    elif subject == "file":
        figures = file_figures(task, contestant, folder)
    else:
        work = bulk_of(subject, task, contestant, folder)
        work()  # memory that was never used, and libraries that come at the first use
        figures = timed(work, children=False)
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
