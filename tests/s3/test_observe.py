"""Requests that are sent again, seen through the observe layer."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.observe import Hook, MetricsHook, ObserveConfig, ObserveLayer, TraceHook
from mediagit_storage.opening import open_storage
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.s3_answers import DATE, lines, ok, refused
from mediagit_storage.testing.scripted_server import Hang, Receive, Reset, answer

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


class Attempts(Notes):
    """Hears of each request, too."""

    details = True

    @property
    def requests(self):
        return [(each.fields["method"], each.fields["status"], each.fields["error"]) for each in self.events + self.in_batches
                if each.kind == "http.attempt"]  # fmt: skip


def test_each_request_is_told_of_to_who_asks_for_details(play):
    store, server = play(BUSY, ok(200, BODY), ok(200, BODY), BUSY, ok(200, BODY))
    plain, notes = Notes(), Attempts()
    seen = observed(store, plain, notes)
    seen.get("k")
    assert b"".join(seen.stream("k")) == BODY
    assert [done.value for done in seen.get_many(["k"])] == [BODY]
    assert notes.requests == [
        ("GET", 503, None),
        ("GET", 200, None),
        ("GET", 200, None),
        ("GET", 503, None),
        ("GET", 200, None),
    ]
    assert {each.kind for each in plain.events + plain.in_batches} == {"retry"}
    told = next(each for each in notes.events if each.fields.get("status") == 200)
    assert told.fields["received_bytes"] == len(BODY)
    assert told.fields["url"] == f"{server.url}/bucket/k"
    assert told.fields["connections"] >= 1
    assert 0 < told.fields["seconds"] < 60


def test_a_request_that_breaks_off_or_is_left_is_told_of(play):
    headers = [DATE, ("ETag", '"e1"')]
    store, _ = play(
        (Receive(), answer(200, BODY[:50], headers, length=200), Reset()),
        ok(206, BODY[50:], ("Content-Range", "bytes 50-199/200")),
        (Receive(), answer(200, BODY, headers, length=10**6), Hang()),
    )
    notes = Attempts()
    seen = observed(store, notes)
    assert b"".join(seen.stream("k")) == BODY
    leaving = seen.stream("k")
    next(iter(leaving))
    leaving.close()
    (_, _, error), after, left = notes.requests
    assert error in {"ConnectionLostError", "TruncatedError"}
    assert (after, left) == (("GET", 206, None), ("GET", 200, None))


def test_a_line_of_each_request_without_secrets(play, caplog):
    store, _ = play(BUSY, ok(200, BODY))
    layer = ObserveLayer(store.backend, config=ObserveConfig(log="INFO", log_http=True))
    with caplog.at_level(logging.INFO, "mediagit_storage.operations"):
        Storage(layer, owned=False).get("k")
    assert [each.getMessage().split(" in ")[0].partition("/bucket/")[2] for each in caplog.records[:2]] == [
        "k: 503",
        "k: 200",
    ]
    assert [getattr(each, "mgs_status", None) for each in caplog.records] == [503, 200, None]
    assert "Signature" not in caplog.text


def test_who_debugs_the_library_sees_each_request(play, caplog):
    store, _ = play(ok(200, BODY))
    with caplog.at_level(logging.DEBUG, "mediagit_storage"):
        store.get("k")
    assert "http.attempt: GET " in caplog.text


def test_lines_of_requests_need_a_level():
    with pytest.raises(ConfigError, match="log_http = true needs log"):
        open_storage("memory://x", layers=[{"layer": "observe", "log_http": True}])


def test_each_request_is_a_span_below_its_operation(play):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    store, server = play(BUSY, ok(200, BODY), BUSY, ok(200, BODY))
    seen = observed(store, TraceHook(store.connection_info(), provider))
    seen.get("k")
    with provider.get_tracer("program").start_as_current_span("work"):
        seen.get_many(["k"]).run()
    first, again, read, *_ = exporter.get_finished_spans()
    assert (first.name, first.kind, first.parent.span_id) == ("GET", SpanKind.CLIENT, read.context.span_id)
    assert dict(first.attributes) == {
        "http.request.method": "GET",
        "url.full": f"{server.url}/bucket/k",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "http.response.status_code": 503,
        "error.type": "503",
        "mediagit_storage.sent_bytes": 0,
        "mediagit_storage.received_bytes": first.attributes["mediagit_storage.received_bytes"],
    }
    assert first.status.status_code is StatusCode.ERROR
    assert (again.status.status_code, again.parent.span_id) == (StatusCode.UNSET, read.context.span_id)
    assert read.start_time <= first.start_time <= first.end_time <= read.end_time
    work = exporter.get_finished_spans()[-1]
    in_batch = [each for each in exporter.get_finished_spans()[3:] if each.name == "GET"]
    assert [each.parent.span_id for each in in_batch] == [work.context.span_id] * 2
