"""One run of one program that makes a folder like another, from its start to its exit; prints one JSON line.

``again`` runs it twice, and measures the second time, when nothing is to be done. ``run.py`` calls it in rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time

from programs import Folder, Mgs, MgsDurable, Place, Program, Rclone, RcloneByServer, S5cmd

CONTESTANTS: dict[str, type[Program]] = {
    "mgs": MgsDurable,
    "mgs, without fsync": Mgs,
    "s5cmd": S5cmd,
    "rclone": Rclone,
    "rclone, by the server's times": RcloneByServer,
}


def main() -> None:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--source", required=True, help="a path, or bucket:NAME")
    parser.add_argument("--target", required=True, help="a path, or bucket:NAME")
    parser.add_argument("--state", required=True, help="an empty folder for what mgs remembers")
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    program = CONTESTANTS[arguments.contestant](Place(arguments.url, None, "unused"))
    program.environment["MGS_STATE_DIR"] = arguments.state
    source, target = folder(arguments.source), folder(arguments.target)
    if arguments.again:
        program.sync(source, target)
        os.sync()  # what the first run left unwritten is not the second one's
    program.peak = 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    program.sync(source, target)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"seconds": seconds, "cpu": cpu, "peak_mib": program.peak}, sys.stdout)


def folder(text: str) -> Folder:
    """What an argument means."""
    return Folder(bucket=text.removeprefix("bucket:")) if text.startswith("bucket:") else Folder(path=text)


if __name__ == "__main__":
    main()
