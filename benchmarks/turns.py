"""What all suites share: contestants take turns in rounds, each in a process of its own; medians and ratios of that.

A ratio is the median of the ratios within rounds, because what else the machine does falls on a whole round more than on
one contestant. Above 1 a contestant needs less (time, or processor time) than the one it is compared with.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

#: What one measurement brings: seconds, cpu (seconds of processor time), peak_mib.
Figures = dict[str, float]


class Case(NamedTuple):
    """One table: what is measured, who takes part, whom the ratios are taken to (the first unless named), how often."""

    title: str
    task: str
    count: int
    contestants: list[str]
    base: str = ""
    most_rounds: int = 1000

    @property
    def compared_with(self) -> str:
        return self.base or self.contestants[0]


Measure = Callable[[Case, str], Figures]


def run_turns(case: Case, rounds: int, measure: Measure) -> dict[str, list[Figures]]:
    """Measure every contestant ``rounds`` times, in turns that begin with another one each time."""
    results: dict[str, list[Figures]] = {name: [] for name in case.contestants}
    for turn in range(min(rounds, case.most_rounds)):
        first = turn % len(case.contestants)
        for name in case.contestants[first:] + case.contestants[:first]:
            results[name].append(measure(case, name))
    return results


def measured(script: str, *words: str) -> Figures:
    """Run one measurement in a process of its own."""
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
    figures: Figures = json.loads(done.stdout)
    return figures


def peak_mib(process: int | str = "self") -> float:
    """The most memory that a running process ever held. 0 where it has ended.

    Not `ru_maxrss`, which counts the process that started it too: a child shares its parent's memory until it has one.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def ratio(mine: list[Figures], others: list[Figures], name: str) -> float:
    """How much less ``mine`` need than the others."""
    return statistics.median(other[name] / one[name] for one, other in zip(mine, others, strict=True) if one[name])


def table(case: Case, results: dict[str, list[Figures]]) -> str:
    """Medians, and how many times faster than the one compared with."""
    base = case.compared_with
    lines = [
        f"\n### {case.title}\n",
        f"| contestant | seconds | µs per object | speed, {base} = 1 | CPU seconds | CPU economy, {base} = 1 | peak memory MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in results.items():
        seconds, cpu = (statistics.median(each[what] for each in runs) for what in ("seconds", "cpu"))
        peak = max(each["peak_mib"] for each in runs)
        each_us = f"{seconds / case.count * 1e6:.1f}" if case.count > 1 else "-"
        wall_ratio, cpu_ratio = (ratio(runs, results[base], what) for what in ("seconds", "cpu"))
        lines.append(
            f"| {name} | {seconds:.3f} | {each_us} | {wall_ratio:.2f} | {cpu:.3f} | {cpu_ratio:.2f} | {peak:.0f} |"
        )
    return "\n".join(lines)
