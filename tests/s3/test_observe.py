"""Requests that are sent again, seen through the observe layer."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from mediagit_storage.layers.observe import Hook, MetricsHook, ObserveLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.s3_answers import DATE, lines, ok, refused
from mediagit_storage.testing.scripted_server import Receive, Reset, answer

BODY = bytes(range(200))
BUSY = refused(503, "SlowDown")


class Notes(Hook):
    def __init__(self):
        self.events, self.in_batches, self.records = [], [], []

    def event(self, event):
        self.events.append(event)

    def batch_event(self, store, event):
        self.in_batches.append(event)

    def ended(self, record):
        self.records.append(record)


def observed(store, *hooks):
    return Storage(ObserveLayer(store.backend, hooks), owned=False)


@covers(137)
def test_bytes_are_counted_once_however_often_they_are_sent(play):
    store, server = play(BUSY, BUSY, ok(200, b""))
    notes, registry = Notes(), CollectorRegistry()
    observed(store, notes, MetricsHook(registry)).put("k", BODY)
    assert lines(server) == ["PUT /bucket/k"] * 3
    (record,) = notes.records
    assert (record.operation, record.attempts, record.bytes_written, record.outcome) == ("put", 3, len(BODY), "ok")
    assert [(each.kind, each.fields["attempt"]) for each in notes.events] == [("retry", 2), ("retry", 3)]
    labels = {"store": store.description, "operation": "put"}
    assert registry.get_sample_value("mediagit_storage_retries_total", labels) == 2
    assert registry.get_sample_value("mediagit_storage_written_bytes_total", labels) == len(BODY)


@covers(137)
def test_a_stream_that_is_gone_on_with_counts_its_bytes_once(play):
    headers = [DATE, ("ETag", '"e1"')]
    cut = (Receive(), answer(200, BODY[:50], headers, length=200), Reset())
    rest = ok(206, BODY[50:], ("Content-Range", "bytes 50-199/200"))
    store, _ = play(cut, rest)
    notes = Notes()
    assert b"".join(observed(store, notes).stream("k")) == BODY
    (record,) = notes.records
    assert (record.operation, record.bytes_read, record.outcome) == ("stream", len(BODY), "ok")
    assert record.attempts == 2


def test_retries_in_a_batch_belong_to_nobody(play):
    store, _ = play(BUSY, ok(200, BODY))
    notes = Notes()
    assert [done.value for done in observed(store, notes).get_many(["k"])] == [BODY]
    assert [record.attempts for record in notes.records] == [None]
    assert [event.kind for event in notes.in_batches] == ["retry"]
    assert notes.events == []
