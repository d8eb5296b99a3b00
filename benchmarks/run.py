"""Runs the benchmarks and prints medians and ratios; ``--write`` puts them into benchmarks/README.md.

python benchmarks/run.py local|s3 [--rounds 5] [--only TEXT] [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import chart
import local_suite
import s3_suite
from turns import run_turns, table

HERE = Path(__file__).parent
README = HERE / "README.md"
SUITES = {"local": local_suite, "s3": s3_suite}


def main() -> None:
    """Run one suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="run the cases whose title holds this text")
    parser.add_argument("--folder", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md, and draw them")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folders go, however this ends
    suite = SUITES[arguments.suite]
    scratch = Path(tempfile.mkdtemp(prefix="mgs-bench-", dir=arguments.folder))
    tables, drawn = [machine(arguments.rounds, suite.NOTE)], []
    try:
        with suite.opened(scratch) as ready:
            for case in suite.CASES:
                if not arguments.only or arguments.only in case.title:
                    results = run_turns(case, arguments.rounds, ready.measure)
                    tables.append(table(case, results))
                    drawn.append((case, results))
                    print(tables[-1], flush=True)
    finally:
        shutil.rmtree(scratch)
    if arguments.write:
        write_section(arguments.suite, "\n".join(tables))
        (HERE / f"{arguments.suite}.svg").write_text(chart.draw(drawn))


def machine(rounds: int, note: str) -> str:
    """What the figures were measured on."""
    return (
        f"Medians of {rounds} rounds (3 for the longest listing), {os.cpu_count()} cores,"
        f" Linux {platform.release().split('-')[0]}, CPython {platform.python_version()}. {note}"
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
