"""Progress: 0 first, the total last, what was reached on failure; nothing at all when nobody asks."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.progress import NO_TRANSFER, Progress, current_progress, on_progress, transfer


def run(total, steps, found=None):
    seen: list[Progress] = []
    with on_progress(seen.append), transfer("put a", total) as report:
        for step in steps:
            report.advance(step)
        if found is not None:
            report.finish(found)
    return [(step.completed, step.total) for step in seen]


@pytest.mark.parametrize(
    ("total", "steps", "seen"),
    [
        (10, [4, 6], [(0, 10), (4, 10), (10, 10)]),
        (10, [], [(0, 10), (10, 10)]),
        (0, [], [(0, 0)]),
        (None, [3, 4], [(0, None), (3, None), (7, None), (7, 7)]),
        (None, [], [(0, None), (0, 0)]),
        (5, [0, 5, 0], [(0, 5), (5, 5)]),
    ],
)
def test_zero_first_and_the_total_last(total, steps, seen):
    assert run(total, steps) == seen


@given(st.none() | st.integers(0, 100), st.lists(st.integers(0, 50), max_size=8))
def test_the_first_is_zero_and_the_last_is_complete(total, steps):
    seen = run(total, steps)
    assert seen[0] == (0, total)
    assert seen[-1][0] == seen[-1][1]


def test_a_total_found_out_late_is_reported_once():
    assert run(None, [3], found=8) == [(0, None), (3, None), (8, 8)]


def test_a_failure_reports_what_was_reached():
    seen: list[Progress] = []

    def put() -> None:
        with on_progress(seen.append), transfer("put a", 10) as report:
            report.advance(4)
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        put()
    assert seen[-1] == Progress("put a", 4, 10)


def test_a_retry_counts_from_the_start_again():
    seen: list[Progress] = []
    with on_progress(seen.append), transfer("put a", 10) as report:
        report.advance(4)
        report.restart()
        report.advance(6)
        report.advance(4)
    assert [step.completed for step in seen] == [0, 4, 6, 10]


def test_nobody_asked():
    assert current_progress() is None
    with transfer("put a", 10) as report:
        report.advance(4)
    assert report is NO_TRANSFER


def test_the_callback_ends_with_its_block():
    with on_progress(print):
        assert current_progress() is print
        with on_progress(repr):
            assert current_progress() is repr
        assert current_progress() is print
    assert current_progress() is None


def test_parallel_parts_add_up():
    seen: list[Progress] = []
    with on_progress(seen.append), transfer("upload a", 8000) as report:
        threads = [threading.Thread(target=lambda: [report.advance(1) for _ in range(1000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [step.completed for step in seen] == list(range(8001))


def test_a_callback_that_raises_stops_the_transfer():
    def stop(step: Progress) -> None:
        if step.completed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), on_progress(stop), transfer("put a", 10) as report:
        report.advance(1)
