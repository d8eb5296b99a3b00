"""Percentiles and histograms against their definitions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.tools.latencies import histogram, latencies, percentile

durations = st.lists(st.floats(1e-8, 1e4), min_size=1, max_size=200)


@given(durations, st.floats(0.1, 100))
def test_a_percentile_is_a_sample_that_enough_do_not_exceed(samples, percent):
    found = percentile(sorted(samples), percent)
    assert found in samples
    assert sum(each <= found for each in samples) >= percent / 100 * len(samples) - 1e-9
    below = [each for each in samples if each < found]
    assert len(below) < percent / 100 * len(samples) + 1e-9


@pytest.mark.parametrize(
    ("count", "p50", "p90", "p99"),
    [(1, 1, 1, 1), (2, 1, 2, 2), (10, 5, 9, 10), (100, 50, 90, 99), (1000, 500, 900, 990)],
)
def test_known_percentiles(count, p50, p90, p99):
    found = latencies([float(number) for number in range(count, 0, -1)])
    assert found is not None
    assert (found.p50, found.p90, found.p99, found.max) == (p50, p90, p99, count)
    assert found.mean == pytest.approx((count + 1) / 2)


def test_nothing_has_no_latencies():
    assert latencies([]) is None
    assert histogram([]) == ()


@given(durations, st.integers(1, 20))
def test_a_histogram_has_every_sample_once(samples, most):
    buckets = histogram(samples, most)
    assert 1 <= len(buckets) <= most
    assert sum(each.count for each in buckets) == len(samples)
    assert buckets[0].count
    for one, other in pairwise(buckets):
        assert one.high == other.low
    for each in buckets:
        assert each.count == sum(each.low < sample <= each.high for sample in samples)


def test_buckets_end_at_round_numbers():
    found = histogram([0.0009, 0.001, 0.0011, 0.004])
    assert [(each.low, each.high, each.count) for each in found] == [
        (0.0005, 0.001, 2), (0.001, 0.002, 1), (0.002, 0.005, 1)
    ]  # fmt: skip
