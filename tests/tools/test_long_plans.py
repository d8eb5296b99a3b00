"""What sync and gc decide about any number of objects takes time that grows with it, and memory that does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.long_plans import TASKS

#: MiB that a plan may take, whatever it is of.
MOST = 200


def figures(task, count):
    command = [sys.executable, "-m", "mediagit_storage.testing.long_plans", task, str(count)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["decided"] == count
    return found


@covers(235)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a program alone from /proc")
@pytest.mark.parametrize("task", TASKS)
def test_ten_thousand_names(task):
    assert 0 < figures(task, 10_000)["peak_mib"] < MOST / 2


@covers(235)
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a program alone from /proc")
@pytest.mark.parametrize("task", TASKS)
def test_a_million_names(task):
    small, medium, large = (figures(task, 10**power) for power in (4, 5, 6))
    assert large["peak_mib"] < MOST
    # Processor time, and a start that all of them have: ten times as many take ten times as long, and never twice that.
    assert large["cpu"] < 15 * medium["cpu"]
    assert medium["cpu"] < 15 * max(small["cpu"], 0.1)
