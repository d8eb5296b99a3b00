"""The token bucket, with a clock of its own: how much passes in any window of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.layers.throttle.bucket import Bucket
from mediagit_storage.testing.covers import covers


def test_it_starts_full_and_fills_at_its_rate():
    bucket = Bucket(10.0, 2.0, now=100.0)
    assert bucket.room == 20
    assert bucket.delay(20, 100.0) == 0
    bucket.take(20, 100.0)
    assert bucket.delay(5, 100.0) == pytest.approx(0.5)
    assert bucket.delay(5, 100.5) == 0
    assert bucket.delay(20, 1e6) == 0
    bucket.take(20, 1e6)
    assert bucket.delay(1, 1e6) == pytest.approx(0.1)


def test_no_limit_is_no_limit():
    bucket = Bucket(None, 1.0, now=0.0)
    bucket.take(1e12, 0.0)
    assert bucket.delay(1e12, 0.0) == 0


def test_more_than_the_room_passes_when_it_is_full_and_is_owed():
    bucket = Bucket(10.0, 1.0, now=0.0)
    assert bucket.delay(100, 0.0) == 0
    bucket.take(100, 0.0)
    assert bucket.delay(0, 0.0) == pytest.approx(9.0)
    assert bucket.delay(1, 0.0) == pytest.approx(9.1)


def test_a_rate_below_one_lets_one_through_at_a_time():
    bucket = Bucket(0.25, 1.0, now=0.0)
    bucket.take(1, 0.0)
    assert bucket.delay(1, 0.0) == pytest.approx(4.0)
    assert bucket.delay(1, 4.0) == 0


def test_a_change_keeps_what_is_owed_and_bounds_what_was_saved():
    bucket = Bucket(10.0, 1.0, now=0.0)
    bucket.take(30, 0.0)
    bucket.change(20.0, 1.0, 0.0)
    assert bucket.delay(0, 0.0) == pytest.approx(1.0)
    bucket.change(1.0, 1.0, 100.0)
    assert bucket.delay(1, 100.0) == 0
    bucket.take(1, 100.0)
    assert bucket.delay(1, 100.0) == pytest.approx(1.0)
    bucket.change(None, 1.0, 100.0)
    assert bucket.delay(1e9, 100.0) == 0
    bucket.change(5.0, 1.0, 100.0)
    assert bucket.delay(5, 100.0) == 0


def test_a_clock_that_goes_back_gives_nothing():
    bucket = Bucket(10.0, 1.0, now=10.0)
    bucket.take(10, 10.0)
    assert bucket.delay(10, 5.0) == pytest.approx(1.0)


@covers(129, 130)
@given(
    rate=st.floats(0.5, 1e6),
    burst=st.floats(0.1, 5.0),
    amounts=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40),
    pauses=st.lists(st.floats(0.0, 2.0), min_size=40, max_size=40),
)
def test_no_window_sees_more_than_the_rate_and_one_room(rate, burst, amounts, pauses):
    bucket = Bucket(rate, burst, now=0.0)
    now, passed = 0.0, []
    for part, pause in zip(amounts, pauses, strict=False):
        amount = part * bucket.room
        now += pause
        wait = bucket.delay(amount, now)
        now += wait
        assert bucket.delay(amount, now) <= 1e-6, "the time told is enough"
        bucket.take(amount, now)
        passed.append((now, amount))
    largest = max(amount for _, amount in passed)
    allowed_more = max(bucket.room, largest)
    for first in range(len(passed)):
        total = 0.0
        for when, amount in passed[first:]:
            total += amount
            assert total <= (rate * (when - passed[first][0]) + allowed_more + largest) * (1 + 1e-6) + 1e-3
