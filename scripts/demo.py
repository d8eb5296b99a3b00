"""Store a real folder, list it, verify every object, restore it elsewhere and compare. Stops at the first difference.

    scripts/demo.py [DIR]

Storing, listing and restoring are done by the ``mgs`` command, as a person would type it; every command is printed
before it runs. Verifying goes through the library; the closing comparison uses neither, only Python's own
``hashlib``. Nothing is written outside of a temporary folder, which is removed at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

import mediagit_storage as mgs

COMMAND = Path(sys.executable).with_name("mgs")
console = Console(highlight=False)


class SourceFile(NamedTuple):
    """One plain file of the folder that is stored, as it was when the demo started."""

    key: str
    path: Path
    size: int
    modified_ns: int


class Step(NamedTuple):
    """One line of the closing table."""

    name: str
    objects: int
    size: int
    seconds: float


@dataclass
class Folder:
    """What is in the folder: plain files, and the things that a storage does not keep."""

    top: Path
    files: list[SourceFile] = field(default_factory=list)
    symlinks: int = 0
    special: int = 0

    @property
    def size(self) -> int:
        """Bytes of all plain files."""
        return sum(each.size for each in self.files)


class DifferenceError(Exception):
    """What was stored is not what came back."""


def stop(message: str) -> NoReturn:
    """End with a message and a failure."""
    console.print(f"[bold red]demo failed:[/] {message}", soft_wrap=True)
    raise SystemExit(1)


def survey(top: Path) -> Folder:
    """Everything below ``top``; symbolic links are counted, never followed."""
    found = Folder(top)
    for where, folders, names in os.walk(top):
        base = Path(where)
        found.symlinks += sum(1 for name in folders if (base / name).is_symlink())
        for name in names:
            path = base / name
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                key = path.relative_to(top).as_posix()
                found.files.append(SourceFile(key, path, status.st_size, status.st_mtime_ns))
            elif stat.S_ISLNK(status.st_mode):
                found.symlinks += 1
            else:
                found.special += 1
    # Listings sort by the bytes of the key, so the demo does too.
    found.files.sort(key=lambda each: os.fsencode(each.key))
    return found


def run(*arguments: str | Path, capture: bool = False) -> str:
    """Run ``mgs`` as a person would, showing the command first."""
    console.print(f"[bold]$ mgs {shlex.join(str(each) for each in arguments)}[/]", soft_wrap=True)
    result = subprocess.run([COMMAND, *arguments], check=False, text=True, stdout=subprocess.PIPE if capture else None)
    if result.returncode:
        stop(f"mgs {arguments[0]} ended with exit code {result.returncode}")
    return result.stdout or ""


def bar(title: str, files: Iterable[SourceFile], total: int, work: Callable[[SourceFile], None]) -> None:
    """Do ``work`` for every file under a progress bar of bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(title, total=total)
        for each in files:
            work(each)
            progress.advance(task, each.size)


def check_listing(lines: str, folder: Folder) -> None:
    """The listing names exactly the files that were stored, in order, with their sizes."""
    listed = [(row["key"], row["size"]) for row in map(json.loads, lines.splitlines()) if "key" in row]
    expected = [(each.key, each.size) for each in folder.files]
    if listed == expected:
        return
    missing, extra = set(expected) - set(listed), set(listed) - set(expected)
    if missing or extra:
        example = min(missing or extra)
        raise DifferenceError(
            f"the listing lacks {len(missing)} objects and has {len(extra)} others, for example {example}"
        )
    raise DifferenceError("the listing is not sorted by the bytes of its keys, or names an object twice")


def verify(store_path: Path, folder: Folder) -> None:
    """Read every object back through the library and hold it against its file, byte for byte."""
    with mgs.open_storage(str(store_path)) as store:
        outcomes = iter(store.get_many(each.key for each in folder.files))

        def compare(file: SourceFile) -> None:
            outcome = next(outcomes, None)
            if outcome is None:
                raise DifferenceError(f"reading ended before {file.key}")
            if outcome.error is not None:
                raise DifferenceError(f"{file.key} cannot be read back: {outcome.error}")
            if outcome.key != file.key or outcome.value != file.path.read_bytes():
                raise DifferenceError(f"{file.key} is not what {file.path} holds")

        bar("verify", folder.files, folder.size, compare)


def compare_trees(restored: Path, folder: Folder) -> None:
    """The restored folder holds the same files with the same SHA-256, and nothing else."""
    returned = {each.key for each in survey(restored).files}
    expected = {each.key for each in folder.files}
    if returned != expected:
        example = min(returned ^ expected)
        raise DifferenceError(f"the restored folder has other files than the original, for example {example}")

    def compare(file: SourceFile) -> None:
        if digest(file.path) != digest(restored / file.key):
            raise DifferenceError(f"{file.key} was restored with other bytes")

    bar("compare", folder.files, folder.size, compare)


def digest(path: Path) -> bytes:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def check_unchanged(folder: Folder) -> None:
    """A file that somebody wrote meanwhile would look like our mistake: say so instead."""
    now = survey(folder.top)
    changed = set(now.files) ^ set(folder.files)
    if changed:
        example = min(changed).path
        stop(f"{example} was changed while the demo ran; run it again, or on a folder at rest (DIR=...)")


def closing_table(steps: list[Step]) -> Table:
    """Objects, bytes, seconds and speed of each step."""
    table = Table("step", title="all objects are identical", title_style="bold green")
    for heading in ("objects", "bytes", "seconds", "MB/s"):
        table.add_column(heading, justify="right")
    for step in steps:
        speed = step.size / 1e6 / max(step.seconds, 1e-9)
        table.add_row(step.name, f"{step.objects:,}", f"{step.size:,}", f"{step.seconds:.2f}", f"{speed:,.1f}")
    return table


def demonstrate(folder: Folder, work: Path) -> list[Step]:
    """All steps in order; raises `DifferenceError` at the first thing that is wrong."""
    store, restored, steps = work / "store", work / "restored", list[Step]()

    def step(name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        steps.append(Step(name, len(folder.files), folder.size, time.perf_counter() - start))

    run("mb", store)
    step("store", lambda: run("cp", "-r", f"{folder.top}/", f"{store}/"))
    step("list", lambda: check_listing(run("ls", "-r", "--json", f"{store}/", capture=True), folder))
    run("du", f"{store}/")
    step("verify", lambda: verify(store, folder))
    step("restore", lambda: run("cp", "-r", f"{store}/", f"{restored}/"))
    step("compare", lambda: compare_trees(restored, folder))
    return steps


def main(arguments: list[str]) -> int:
    """Run the demo on the folder given, or on the Python installation's own library."""
    top = Path(arguments[0] if arguments else sysconfig.get_path("stdlib")).expanduser().resolve()
    if not top.is_dir():
        stop(f"{top} is not a folder")
    # Python would add byte code to its own library while we copy it.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    folder = survey(top)
    if not folder.files:
        stop(f"{top} holds no files")
    skipped = f"; {folder.symlinks:,} symbolic links and {folder.special:,} special files are not stored"
    console.print(f"{top}: {len(folder.files):,} files, {folder.size:,} bytes{skipped}", soft_wrap=True)
    work = Path(tempfile.mkdtemp(prefix="mgs-demo-"))
    try:
        steps = demonstrate(folder, work)
        console.print(closing_table(steps))
    except DifferenceError as difference:
        check_unchanged(folder)
        stop(str(difference))
    finally:
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
