"""Runs the benchmarks and prints medians and ratios; ``--write`` puts them into benchmarks/README.md.

    python benchmarks/run.py local [--rounds 5] [--write]

Contestants take turns within each round, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
README = HERE / "README.md"


class Case(NamedTuple):
    """One table: what is measured, who takes part, and whom the ratios are taken to."""

    title: str
    task: str
    count: int
    contestants: list[str]


NO_SYNC = [
    "plain Python",
    "mediagit-storage",
    "mediagit-storage, batch",
    "mediagit-storage, sharded",
    "obstore",
    "fsspec",
]
SYNC = ["plain Python, fsync", "mediagit-storage, fsync", "mediagit-storage, batch, fsync"]
LARGE = ["plain Python", "mediagit-storage", "obstore", "fsspec"]

LOCAL = [
    Case("put 10,000 objects of 16 KiB, without fsync", "put-small", 10_000, NO_SYNC),
    Case("put 2,000 objects of 16 KiB, durable", "put-small", 2_000, SYNC),
    Case("get 10,000 objects of 16 KiB", "get-small", 10_000, NO_SYNC),
    Case("put 1 GiB, without fsync", "put-large", 1, LARGE),
    Case("put 1 GiB, durable", "put-large", 1, ["plain Python, fsync", "mediagit-storage, fsync"]),
    Case("get 1 GiB", "get-large", 1, LARGE),
    Case(
        "list 1,000,000 objects in 1,000 folders",
        "list",
        1_000_000,
        ["plain Python", "mediagit-storage", "obstore", "fsspec"],
    ),
]


def main() -> None:
    """Run one suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=["local"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="run the cases whose title holds this text")
    parser.add_argument("--folder", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="mgs-bench-", dir=arguments.folder))
    try:
        tables = [
            run_case(case, arguments.rounds, scratch)
            for case in LOCAL
            if not arguments.only or arguments.only in case.title
        ]
    finally:
        shutil.rmtree(scratch)
    report = "\n".join([machine(arguments.rounds), *tables])
    if arguments.write:
        write_section(arguments.suite, report)


def run_case(case: Case, rounds: int, scratch: Path) -> str:
    """Measure every contestant ``rounds`` times, in turns; print and return the table."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in case.contestants}
    trees: dict[bool, Path] = {}
    reads = not case.task.startswith("put")
    for sharded in {name.endswith("sharded") for name in case.contestants} if reads else set():
        trees[sharded] = Path(tempfile.mkdtemp(dir=scratch)) / "tree"
        maker = next(name for name in case.contestants if name.endswith("sharded") is sharded)
        measure(case, maker, trees[sharded], ["--prepare"])
    for turn in range(rounds if case.count < 1_000_000 else min(rounds, 3)):
        first = turn % len(case.contestants)
        for name in case.contestants[first:] + case.contestants[:first]:
            # What was written stays until the end: after many deletions ext4 is slow to create files for minutes,
            # because it avoids the numbers of recently deleted ones, and that would fall on whoever comes next.
            folder = trees[name.endswith("sharded")] if reads else Path(tempfile.mkdtemp(dir=scratch)) / "store"
            os.sync()  # nobody pays for what the one before left unwritten
            results[name].append(json.loads(measure(case, name, folder, [])))
            if not reads:
                (folder / "large.bin").unlink(missing_ok=True)
    text = table(case, results)
    print(text, flush=True)
    return text


def measure(case: Case, name: str, folder: Path, extra: list[str]) -> str:
    """One measurement in a process of its own."""
    line = [
        sys.executable,
        str(HERE / "local.py"),
        case.task,
        name,
        "--count",
        str(case.count),
        "--folder",
        str(folder),
    ]
    return subprocess.run([*line, *extra], check=True, capture_output=True, text=True).stdout


def table(case: Case, results: dict[str, list[dict[str, float]]]) -> str:
    """Medians, and ratios to the first contestant (below 1 is quicker)."""
    base = statistics.median(each["seconds"] for each in results[case.contestants[0]])
    lines = [
        f"\n### {case.title}\n",
        f"| contestant | seconds | µs per object | time relative to {case.contestants[0]} | peak memory MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, runs in results.items():
        seconds = statistics.median(each["seconds"] for each in runs)
        peak = max(each["peak_mib"] for each in runs)
        each_us = f"{seconds / case.count * 1e6:.1f}" if case.count > 1 else "-"
        lines.append(f"| {name} | {seconds:.3f} | {each_us} | {seconds / base:.2f} | {peak:.0f} |")
    return "\n".join(lines)


def machine(rounds: int) -> str:
    """What the figures were measured on."""
    return (
        f"Medians of {rounds} rounds (3 for the long listing), {os.cpu_count()} cores, Linux {platform.release().split('-')[0]},"
        f" CPython {platform.python_version()}; files in the page cache."
    )


def write_section(suite: str, report: str) -> None:
    """Replace the generated part of the README."""
    begin, end = f"<!-- {suite}: begin -->", f"<!-- {suite}: end -->"
    text = README.read_text()
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    README.write_text(f"{head}{begin}\n{report}\n{end}{tail}")


if __name__ == "__main__":
    main()
