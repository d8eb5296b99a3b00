"""The plan for 10^9 objects: where chance is left out, the simulation gives what can be computed by hand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def billion(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import billion

    yield billion
    for name in ("billion", "report"):
        sys.modules.pop(name, None)


@pytest.fixture
def calm(billion):
    """Nothing is slow, dies or waits for the client."""
    return replace(billion.Surroundings(), straggling=0.0, lifetime=1e12, client=1e12, latency=0.1)


def run(billion, work, around, **changed):
    how = {"objects": 100_000, "size": 1000, "workers": 4, "costs": billion.Costs(1e-6, 1e-5, 1e-5)}
    return billion.simulate(work, around=around, prices=billion.Prices(), **{**how, **changed})


def test_what_can_be_computed(billion, calm):
    work = billion.Work("copy", read=1, written=1, turns=1, answered=1)
    found = run(billion, work, calm)
    questions = calm.probes * calm.ranges * 4
    portion = (10 + 10_000 / 16) * 0.1
    # Ten portions for four workers: three rounds.
    assert found.seconds == pytest.approx(questions * 0.1 + 3 * portion, rel=1e-6)
    assert (found.listings, found.gets, found.puts) == (questions + 200, 100_000, 100_000)
    assert found.dollars == pytest.approx((questions + 200) * 5e-6 + 100_000 * 5.4e-6)
    assert (found.bound, found.repeated) == ("latency", 0)


@pytest.mark.parametrize(
    ("bound", "changed", "seconds"),
    [
        ("processor", {"costs": (1.0, 0.0, 0.0)}, 20_000),
        ("network", {"size": 1.25e9}, 10_000),
        ("service", {"around": {"puts": 1.0, "partitions": 1}}, 40_000),
    ],
)
def test_what_a_worker_waits_for_most(billion, calm, bound, changed, seconds):
    more = {name: value for name, value in changed.items() if name != "around"}
    if "costs" in more:
        more["costs"] = billion.Costs(*more["costs"])
    around = replace(calm, **changed.get("around", {}))
    found = run(billion, billion.Work("copy", read=1, written=1, turns=1), around, **more)
    assert found.bound == bound
    assert found.seconds == pytest.approx(3 * seconds, rel=0.01)


def test_a_client_that_cannot_follow(billion, calm):
    found = run(billion, billion.Work("copy", turns=1, answered=1), replace(calm, client=100.0))
    assert found.bound == "client"
    assert found.seconds > 100_000 / 100


def test_what_dies_is_done_again(billion, calm):
    work = billion.Work("copy", read=1, turns=1)
    quiet, busy = run(billion, work, calm), run(billion, work, replace(calm, lifetime=100.0, restart=5.0))
    assert busy.repeated > 0
    assert busy.seconds > quiet.seconds
    assert busy.gets == quiet.gets + busy.repeated * 10_000


def test_the_figures_come_from_the_benchmarks(billion):
    costs = billion.measured()
    assert 0 < costs.listing < costs.get
    assert 0 < costs.put < 0.01
    text = billion.report(10**6, 1e5, costs, billion.Surroundings(), billion.Prices())
    assert all(text.count(f"| {work.name} |") == 2 for work in billion.WORKS)
