"""Reads of a mirror that are asked of a replica as well, while the primary takes its time."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass

import pytest

from mediagit_storage import on_event, scope
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import CancelledError, ConfigError, ConnectionLostError, NotFoundError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer
from mediagit_storage.scope import current_scope
from mediagit_storage.storage import Storage
from mediagit_storage.types import DeleteOptions


@dataclass(frozen=True)
class NoOptions:
    """A layer of this module alone."""


WAYS = {
    "get": lambda store: store.get("k"),
    "stream": lambda store: b"".join(store.stream("k")),
    "stat": lambda store: bytes(store.stat("k").size or 0),
}


class Slow(Layer):
    """Answers reads once ``gate`` is open, or fails with ``error`` then; tells whether its scope ended first."""

    layer_name = "slow"

    def __init__(self):
        super().__init__(MemoryBackend(), NoOptions())
        self.gate = threading.Event()
        self.gate.set()
        self.error = None
        self.asked = threading.Event()
        self.stopped = threading.Event()
        self.opened = []

    def _wait(self):
        self.asked.set()
        with current_scope().on_cancel(self.stopped.set), current_scope().on_cancel(self.gate.set):
            assert self.gate.wait(30)
        current_scope().check()
        if self.error is not None:
            raise self.error

    def read(self, key, options):
        self._wait()
        return self.inner.read(key, options)

    def stream(self, key, options):
        self._wait()
        body = self.inner.stream(key, options)
        self.opened.append(body)
        return body

    def stat(self, key, version=None):
        self._wait()
        return self.inner.stat(key, version)


class Case:
    def __init__(self, hedge, **options):
        self.primary, self.replica = Slow(), Slow()
        config = MirrorConfig(failover=True, hedge=hedge, pause=0, **options)
        self.mirror = MirrorLayer(self.primary, [self.replica], config)
        self.store = Storage(self.mirror)
        self.store.put("k", b"content")
        self.replica.asked.clear()
        self.primary.asked.clear()
        self.events = []


@pytest.fixture
def make():
    cases = []

    def making(hedge=0.0, **options):
        cases.append(Case(hedge, **options))
        return cases[-1]

    yield making
    for each in cases:
        each.primary.gate.set()
        each.replica.gate.set()
        each.store.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_replica_answers_for_a_primary_that_is_slow_and_the_primary_is_stopped(make, way):
    case = make()
    case.primary.gate.clear()
    with on_event(case.events.append):
        assert len(WAYS[way](case.store)) == 7
    assert case.primary.stopped.wait(60)
    assert [(each.kind, each.fields["replica"], each.fields["error"]) for each in case.events] == [
        ("mirror.failover", 1, None)
    ]
    assert "had not answered for 0 s" in case.events[0].message
    assert case.mirror.status().failovers == 1
    assert case.mirror.status().replicas[0].up


def test_what_a_replica_gave_says_so(make):
    case = make()
    case.primary.gate.clear()
    assert case.store.stat("k").etag.startswith("mgs-replica-1:")


@pytest.mark.parametrize("way", WAYS)
def test_a_primary_that_answers_in_time_is_asked_alone(make, way):
    case = make(hedge=30.0)
    assert len(WAYS[way](case.store)) == 7
    assert not case.replica.asked.is_set()
    assert case.mirror.status().failovers == 0


def test_a_primary_that_is_quicker_in_the_end_is_believed_and_the_replica_stopped(make):
    case = make()
    case.primary.gate.clear()
    case.replica.gate.clear()

    def open_the_gate():
        case.replica.asked.wait(30)
        case.primary.gate.set()

    thread = threading.Thread(target=open_the_gate)
    thread.start()
    assert not case.store.stat("k").etag.startswith("mgs-replica")
    thread.join()
    assert case.replica.stopped.wait(60)


def test_an_absence_on_the_primary_is_an_absence_whatever_the_replica_says(make):
    case = make()
    case.primary.inner.delete("k", DeleteOptions())
    case.replica.gate.clear()
    with pytest.raises(NotFoundError):
        case.store.get("k")


def test_an_absence_on_the_replica_proves_nothing(make):
    case = make()
    case.replica.inner.delete("k", DeleteOptions())
    case.primary.gate.clear()

    def open_the_gate():
        case.replica.asked.wait(30)
        case.primary.gate.set()

    thread = threading.Thread(target=open_the_gate)
    thread.start()
    assert case.store.get("k") == b"content"
    thread.join()


def test_a_primary_that_fails_while_the_replica_still_reads_waits_for_it(make):
    case = make()
    case.primary.gate.clear()
    case.replica.gate.clear()
    case.primary.error = ConnectionLostError("gone")

    def open_the_gates():
        case.replica.asked.wait(30)
        case.primary.gate.set()
        case.replica.gate.set()

    thread = threading.Thread(target=open_the_gates)
    thread.start()
    assert case.store.get("k") == b"content"
    thread.join()


def test_a_key_of_which_a_change_was_missed_is_asked_of_the_primary_alone(make):
    case = make(require=0)
    broken, case.replica.put = case.replica.put, failing
    case.store.put("k", b"changed")
    case.replica.put = broken
    case.replica.asked.clear()
    assert case.store.get("k") == b"changed"
    assert not case.replica.asked.is_set()


def test_the_scope_around_stops_both(make):
    case = make()
    case.primary.gate.clear()
    case.replica.gate.clear()
    with scope() as around:

        def cancel():
            case.replica.asked.wait(30)
            around.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(CancelledError):
            case.store.get("k")
        thread.join()
    assert case.primary.stopped.wait(60)
    assert case.replica.stopped.wait(60)


def test_a_body_that_comes_too_late_is_closed(make):
    case = make()
    closed = threading.Event()
    case.primary.gate.clear()
    stream = case.primary.inner.stream

    def streamed(key, options):
        body = stream(key, options)
        close = body.close
        body.close = lambda: (close(), closed.set())
        return body

    case.primary.inner.stream = streamed
    # It does not hear that it was stopped.
    case.primary._wait = lambda: case.primary.gate.wait(30)
    with closing(iter(case.store.stream("k"))) as pieces:
        assert b"".join(pieces) == b"content"
    case.primary.gate.set()
    assert closed.wait(60)


@pytest.mark.parametrize("options", [{"hedge": -1.0, "failover": True}, {"hedge": 1.0}])
def test_what_cannot_be_is_refused(options):
    with pytest.raises(ConfigError, match="hedge"):
        MirrorConfig(**options)


def failing(*_):
    raise ConnectionLostError("gone")
