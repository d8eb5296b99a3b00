"""Time as a thing that is handed in."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.clock import SYSTEM_CLOCK, Clock, SystemClock, utc_from_ns


def test_the_system_clock_is_the_machines():
    clock: Clock = SystemClock()
    assert abs(clock.now_ns() - time.time_ns()) < 5_000_000_000
    before = clock.monotonic()
    SYSTEM_CLOCK.sleep(0.01)
    assert clock.monotonic() - before >= 0.009


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (999, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_000, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        (1_700_000_000_123_456_789, datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)),
    ],
)
def test_times_are_aware_and_rounded_down(nanoseconds, expected):
    assert utc_from_ns(nanoseconds) == expected
    assert utc_from_ns(nanoseconds).tzinfo is UTC


@given(st.integers(-(10**18), 10**19), st.integers(0, 10**12))
def test_later_is_never_earlier(nanoseconds, more):
    assert utc_from_ns(nanoseconds) <= utc_from_ns(nanoseconds + more)
