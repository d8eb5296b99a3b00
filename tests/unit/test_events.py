"""Events: who hears them, and that a listener can break nothing."""

from __future__ import annotations

import contextvars
import logging
import threading

import pytest

from mediagit_storage.events import Event, emit, on_event


def test_a_listener_hears_what_happens_inside():
    heard: list[Event] = []
    event = Event("local.skipped", "a pipe was skipped", "a/pipe", {"mode": 1})
    emit(Event("before", "nobody listens"))
    with on_event(heard.append):
        emit(event)
    emit(Event("after", "nobody listens"))
    assert heard == [event]


def test_the_innermost_listener_hears():
    outer: list[Event] = []
    inner: list[Event] = []
    with on_event(outer.append):
        with on_event(inner.append):
            emit(Event("x", "inside"))
        emit(Event("y", "outside"))
    assert [event.kind for event in inner] == ["x"]
    assert [event.kind for event in outer] == ["y"]


def test_it_also_goes_to_the_log_at_debug(caplog):
    with caplog.at_level(logging.DEBUG, logger="mediagit_storage"):
        emit(Event("retry", "tried again"))
    assert caplog.record_tuples == [("mediagit_storage", logging.DEBUG, "retry: tried again")]


def test_a_failing_listener_is_logged_and_contained(caplog):
    def fail(event: Event) -> None:
        raise ValueError("listener")

    with caplog.at_level(logging.ERROR, logger="mediagit_storage"), on_event(fail):
        emit(Event("x", "inside"))
    assert "x" in caplog.text
    assert "ValueError: listener" in caplog.text


def test_an_interrupt_in_a_listener_is_not_swallowed():
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with on_event(interrupt), pytest.raises(KeyboardInterrupt):
        emit(Event("x", "inside"))


def test_a_thread_hears_with_the_context_it_is_given():
    heard: list[Event] = []
    with on_event(heard.append):
        context = contextvars.copy_context()
        given = threading.Thread(target=context.run, args=(emit, Event("given", "")))
        bare = threading.Thread(target=contextvars.Context().run, args=(emit, Event("bare", "")))
    for thread in (given, bare):
        thread.start()
        thread.join()
    assert [event.kind for event in heard] == ["given"]


def test_the_fields_of_an_event_are_read_only_by_default():
    with pytest.raises(TypeError):
        Event("x", "y").fields["z"] = 1
