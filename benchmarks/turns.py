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
    """One table: what is measured, who takes part, whom the ratios are taken to (the first unless named), how often.

    With ``size`` (in bytes) it tells MB/s instead of the time for each object. With ``columns`` it is of those figures only,
    in microseconds each (and what is more than without, where that is measured as well): many small costs side by side.
    """

    title: str
    task: str
    count: int
    contestants: list[str]
    base: str = ""
    most_rounds: int = 1000
    size: int = 0
    columns: tuple[str, ...] = ()

    @property
    def compared_with(self) -> str:
        return self.base or self.contestants[0]


Measure = Callable[[Case, str], Figures]


class Failed(Exception):  # noqa: N818  # it is what a table says of a contestant
    """A contestant did not do what it was asked."""


#: One result for each round; None where the contestant failed.
Results = dict[str, list[Figures | None]]


def run_turns(case: Case, rounds: int, measure: Measure) -> Results:
    """Measure every contestant ``rounds`` times, in turns that begin with another one each time.

    One of the others that fails, or crashes, is left out of that round, and told of. That we fail ends the run.
    """
    results: Results = {name: [] for name in case.contestants}
    for turn in range(min(rounds, case.most_rounds)):
        first = turn % len(case.contestants)
        for name in case.contestants[first:] + case.contestants[:first]:
            try:
                results[name].append(measure(case, name))
            except Failed as failure:
                if name.startswith(("mediagit", "mgs")):
                    raise SystemExit(f"{case.title}: {failure}") from None
                print(f"{case.title}: {name} failed: {failure}"[:2000], file=sys.stderr, flush=True)
                results[name].append(None)
    return results


def measured(script: str, *words: str) -> Figures:
    """Run one measurement in a process of its own."""
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"exit code {done.returncode}: {' '.join(words)}\n{done.stderr}")
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


def ratio(mine: list[Figures | None], others: list[Figures | None], name: str) -> str:
    """How much less ``mine`` need than the others."""
    pairs = [(one, other) for one, other in zip(mine, others, strict=True) if one and other and one[name]]
    return f"{statistics.median(other[name] / one[name] for one, other in pairs):.2f}" if pairs else "-"


def table(case: Case, results: Results) -> str:
    """Medians, and how many times faster than the one compared with."""
    if case.columns:
        return _side_by_side(case, results)
    base = case.compared_with
    unit = "MB/s" if case.size else "µs per object"
    lines = [
        f"\n### {case.title}\n",
        f"| contestant | seconds | {unit} | speed, {base} = 1 | CPU seconds | CPU economy, {base} = 1 | peak memory MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rounds in results.items():
        runs = [each for each in rounds if each is not None]
        if not runs:
            lines.append(f"| {name} | fails | - | - | - | - | - |")
            continue
        seconds, cpu = (statistics.median(each[what] for each in runs) for what in ("seconds", "cpu"))
        peak = max(each["peak_mib"] for each in runs)
        if case.size:
            each = f"{case.size / seconds / 1e6:,.0f}"
        else:
            each = f"{seconds / case.count * 1e6:.1f}" if case.count > 1 else "-"
        wall_ratio, cpu_ratio = (ratio(rounds, results[base], what) for what in ("seconds", "cpu"))
        lines.append(f"| {name} | {seconds:.3f} | {each} | {wall_ratio} | {cpu:.3f} | {cpu_ratio} | {peak:.0f} |")
    return "\n".join(lines)


def _side_by_side(case: Case, results: Results) -> str:
    """Medians of several figures of each contestant, and in brackets those whose names begin with a plus."""
    lines = [
        f"\n### {case.title}\n",
        f"| µs | {' | '.join(case.columns)} |",
        f"|---|{'---:|' * len(case.columns)}",
    ]
    for name, rounds in results.items():
        cells = [_cell(_median(rounds, column), _median(rounds, f"+{column}")) for column in case.columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(rounds: list[Figures | None], name: str) -> float | None:
    values = [each[name] for each in rounds if each is not None and name in each]
    return statistics.median(values) if values else None


def _cell(value: float | None, more: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if more is None else f"{value:.1f} ({more:+.1f})"
