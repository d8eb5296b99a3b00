"""Programs in processes of their own that are killed on the way: for tests of what goes on afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Told", "kill_after", "run_for"]

#: Runs a program in which every call of a C function counts, in all threads: each write, sync and rename is between two of
#: them. It kills itself at the one that it is told, and else says in its last line how many there were.
_COUNTING: Final = """
import itertools, json, os, signal, sys, threading

program, given, last = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
calls = itertools.count(1)

def count(frame, event, argument):
    if event == "c_call" and next(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)

def begin():
    threading.setprofile(count)
    sys.setprofile(count)

def tell(*words):
    os.write(1, (json.dumps(words) + "\\n").encode("ascii"))

exec(compile(program, "<killed>", "exec"), {"given": given, "begin": begin, "tell": tell, "__name__": "__main__"})
sys.setprofile(None)
tell("calls", next(calls))
"""


class Told(NamedTuple):
    """What a program said before its end, a line each; ``calls`` of C functions that it made, None where it was killed."""

    lines: list[list[str]]
    calls: int | None


def run_for(program: str, given: dict[str, str | float | list[str]], calls: int = 0) -> Told:
    """Run the text of a program until it made so many calls (0: to its end), then kill it as ``kill -9`` does.

    The program finds what it is ``given``, calls ``begin()`` once it is ready, and what it says with ``tell(*words)`` is
    told here. Its errors fail the caller's test.
    """
    command = [sys.executable, "-c", _COUNTING, program, json.dumps(given), str(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # made above
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("]")]
    if done.returncode:
        return Told(lines, None)
    return Told(lines[:-1], int(lines[-1][1]))


def kill_after(command: Sequence[str | Path], lines: int) -> Iterator[str]:
    """The whole lines that a program prints, which is killed as ``kill -9`` does once it has printed so many (0: never)."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # the caller's
        assert process.stdout is not None
        with closing(process.stdout) as printed:
            for number, line in enumerate(printed, 1):
                if number == lines:
                    process.kill()
                if line.endswith("\n"):
                    yield line.rstrip("\n")
