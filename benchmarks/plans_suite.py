"""The suite of plans: what sync and gc take to decide about ten thousand, a hundred thousand and a million names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mediagit_storage.testing.long_plans import TASKS
from turns import Case, Failed, Figures

CASES = [Case(f"plans of {10**power:,} names", "plan", 10**power, [*TASKS], most_rounds=3) for power in (4, 5, 6)]
NOTE = (
    "Listings are made as they are read and references as they are asked for, so what is measured is the deciding, with"
    " nobody beside it. The time for each name is the same in all tables where it grows with their number and no faster."
)


class PlansSuite:
    """Measures in processes of their own."""

    def measure(self, case: Case, name: str) -> Figures:
        """One plan, once."""
        command = [sys.executable, "-m", "mediagit_storage.testing.long_plans", name, str(case.count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr)
        figures: Figures = json.loads(done.stdout)
        if figures.pop("decided") != case.count:
            raise Failed(f"{name} decided about others than {case.count:,} names")
        return figures


@contextmanager
def opened(_scratch: Path) -> Iterator[PlansSuite]:
    """The suite, which needs nothing."""
    yield PlansSuite()
