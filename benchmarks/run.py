"""Runs the benchmarks and prints medians and ratios; ``--write`` puts them into benchmarks/README.md.

python benchmarks/run.py local|s3|azure|gcs|webdav|layers|sync|plans|fsspec|serve|aio [--rounds 5] [--only TEXT] [--write]
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import shutil
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import aio_suite
import azure_suite
import chart
import fsspec_suite
import gcs_suite
import layers_suite
import local_suite
import mediagit_storage
import plans_suite
import s3_suite
import serve_suite
import sync_suite
import webdav_suite
from report import tables_of, write_section
from turns import run_turns, table

HERE = Path(__file__).parent
SUITES = {
    "local": local_suite,
    "s3": s3_suite,
    "azure": azure_suite,
    "gcs": gcs_suite,
    "webdav": webdav_suite,
    "layers": layers_suite,
    "sync": sync_suite,
    "plans": plans_suite,
    "serve": serve_suite,
    "fsspec": fsspec_suite,
    "aio": aio_suite,
}


def main() -> None:
    """Run one suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="run the cases whose title holds this text")
    parser.add_argument("--folder", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument(
        "--write", action="store_true", help="put the figures into benchmarks/README.md, and draw all that are there"
    )
    arguments = parser.parse_args()
    if arguments.write and find_spec("obstore") is None:
        parser.error(
            f"the peers are not installed here, and figures without them say nothing: make bench-{arguments.suite}"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folders go, however this ends
    # As pip leaves it for who installs the package: a checkout compiles 110 modules at every start of `mgs` otherwise.
    compileall.compile_dir(Path(mediagit_storage.__file__).parent, quiet=2)
    suite = SUITES[arguments.suite]
    scratch = Path(tempfile.mkdtemp(prefix="mgs-bench-", dir=arguments.folder))
    head = machine(arguments.rounds, suite.NOTE)
    tables = tables_of(arguments.suite) if arguments.only else {}
    try:
        with suite.opened(scratch) as ready:
            for case in suite.CASES:
                if arguments.only and arguments.only not in case.title:
                    continue
                results = run_turns(case, arguments.rounds, ready.measure)
                tables[case.title] = table(case, results)
                print(tables[case.title], flush=True)
                if arguments.write:  # at once: a run that breaks off leaves what it has measured
                    known = [tables[each.title] for each in suite.CASES if each.title in tables]
                    write_section(arguments.suite, "\n".join([head, *known]))
    finally:
        shutil.rmtree(scratch)
    if arguments.write:
        (HERE / f"{arguments.suite}.svg").write_text(chart.draw([*tables_of(arguments.suite).values()]))


def machine(rounds: int, note: str) -> str:
    """What the figures were measured on."""
    return (
        f"Medians of {rounds} rounds (fewer for the longest rows), {os.cpu_count()} cores,"
        f" Linux {platform.release().split('-')[0]}, CPython {platform.python_version()}. {note}"
    )


if __name__ == "__main__":
    main()
