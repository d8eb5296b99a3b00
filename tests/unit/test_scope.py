"""Scopes: deadlines and cancelling, nested and from other threads."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from mediagit_storage.errors import CancelledError, StorageTimeoutError
from mediagit_storage.scope import Scope, current_scope, scope
from mediagit_storage.testing.manual_clock import ManualClock


def test_outside_of_every_scope_nothing_ends():
    assert current_scope().remaining() is None
    assert not current_scope().cancelled
    current_scope().check()


def test_what_is_outside_of_every_scope_cannot_be_cancelled():
    with pytest.raises(RuntimeError, match="no scope"):
        current_scope().cancel()
    current_scope().check()


def test_a_deadline_passes():
    clock = ManualClock()
    with scope(timeout=30, clock=clock) as inside:
        assert inside is current_scope()
        assert inside.remaining() == 30
        inside.check()
        clock.sleep(29.5)
        inside.check()
        clock.sleep(0.5)
        assert inside.remaining() == 0
        with pytest.raises(StorageTimeoutError):
            inside.check()
        clock.sleep(100)
        assert inside.remaining() == 0
    assert current_scope() is not inside


@pytest.mark.parametrize(("outer", "inner", "left"), [(10, 30, 10), (30, 10, 10), (10, None, 10), (None, 10, 10)])
def test_the_nearest_deadline_counts(outer, inner, left):
    clock = ManualClock()
    with scope(outer, clock=clock), scope(inner, clock=clock) as inside:
        assert inside.remaining() == left


def test_no_time_at_all():
    with scope(timeout=0) as inside, pytest.raises(StorageTimeoutError):
        inside.check()


def test_a_negative_timeout_is_refused():
    with pytest.raises(ValueError, match="negative"):
        Scope(-1)


def test_cancelling_reaches_inwards_and_not_outwards():
    with scope() as outer:
        with scope() as inner:
            inner.cancel()
            inner.cancel()
            assert inner.cancelled
            with pytest.raises(CancelledError):
                inner.check()
        assert not outer.cancelled
        outer.check()
        with scope() as second:
            outer.cancel()
            assert second.cancelled
            with pytest.raises(CancelledError):
                second.check()


def test_cancelled_wins_over_late():
    with scope(timeout=0) as inside:
        inside.cancel()
        with pytest.raises(CancelledError):
            inside.check()


def test_a_callback_runs_once_from_the_cancelling_thread_while_registered():
    called: list[str] = []
    with scope() as outer, scope() as inner:
        with inner.on_cancel(lambda: called.append("gone")):
            pass
        with inner.on_cancel(lambda: called.append(threading.current_thread().name)):
            thread = threading.Thread(target=outer.cancel, name="canceller")
            thread.start()
            thread.join()
            inner.cancel()
    assert "gone" not in called
    assert called[0] == "canceller"


def test_sleeping_ends_early_when_cancelled():
    with scope() as inside:
        timer = threading.Timer(0.02, inside.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(CancelledError):
            inside.sleep(60)
        assert time.monotonic() - started < 30
        timer.join()


def test_sleeping_in_a_cancelled_scope_does_not_begin():
    with scope() as inside:
        inside.cancel()
        with pytest.raises(CancelledError):
            inside.sleep(60)


def test_sleeping_past_the_deadline_is_a_timeout():
    with scope(timeout=0.02) as inside, pytest.raises(StorageTimeoutError):
        inside.sleep(60)


def test_sleeping_within_the_deadline_just_sleeps():
    with scope(timeout=60) as inside:
        inside.sleep(0.01)
    current_scope().sleep(0.001)


def test_workers_inherit_by_their_context():
    seen: list[bool] = []
    with scope() as inside:
        inside.cancel()
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(lambda: seen.append(current_scope().cancelled),)
        )
        thread.start()
        thread.join()
    assert seen == [True]


def test_leaving_by_an_error_leaves_the_scope():
    with pytest.raises(ValueError, match="x"), scope(timeout=1):
        raise ValueError("x")
    assert current_scope().remaining() is None
