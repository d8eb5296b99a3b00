"""The hooks that come along: log lines, the audit log, metrics and spans."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from mediagit_storage.backend import BatchLimits, StatOperation
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import AlreadyExistsError, ConfigError, NotFoundError
from mediagit_storage.events import Event, emit
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.observe import (
    AuditHook,
    Hook,
    LogHook,
    MetricsHook,
    ObserveConfig,
    ObserveLayer,
    TraceHook,
    acting_as,
)
from mediagit_storage.layers.observe.metrics import _lock
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import ConnectionInfo, ListOptions, PresignOptions, PutOptions, ReadOptions


class Bumpy(Layer):
    """Every stat is tried twice, in a batch as well."""

    layer_name = "bumpy"

    def __init__(self, inner):
        super().__init__(inner, ObserveConfig())

    def stat(self, key, version=None):
        emit(Event("retry", "HEAD again in 0.01 s: 503", None, {"attempt": 2, "what": None}))
        return super().stat(key, version)

    def batch(self, operations, limits):
        emit(Event("retry", "HEAD again in 0.01 s: 503", None, {"attempt": 2}))
        yield from super().batch(operations, limits)


def memory(name="x"):
    backend = MemoryBackend(name)
    backend.put("a", BytesSource(b"12345"), PutOptions())
    return backend


def failing_put(layer, text):
    def pieces():
        raise ValueError(text)
        yield b""

    with pytest.raises(ValueError, match=re.escape(text)):
        layer.put("bad", IterableSource(pieces()), PutOptions())


# ---- log lines


@pytest.fixture
def logged(caplog):
    layer = ObserveLayer(Bumpy(memory()), [LogHook(logging.INFO)])
    with caplog.at_level(logging.INFO):
        yield layer, caplog


def test_a_line_for_each_operation(logged):
    layer, caplog = logged
    layer.put("n", BytesSource(b"x" * 2000), PutOptions())
    layer.read("a", ReadOptions())
    with acting_as("alice"):
        layer.stat("a")
    layer.rename("n", "m")
    layer.presign("a", PresignOptions("PUT"))
    texts = [each.getMessage() for each in caplog.records]
    beginnings = [text.partition(" in ")[0] for text in texts]
    assert beginnings == [
        "put 'n' on memory://x: ok",
        "read 'a' on memory://x: ok",
        "stat 'a' on memory://x: ok",
        "rename 'n' to 'm' on memory://x: ok",
        "presign 'a' ('PUT') on memory://x: ok",
    ]
    endings = [re.sub(r".* in [0-9.]+ s", "", text) for text in texts]
    assert endings == [", 2,000 bytes written", ", 5 bytes read", ", 2 attempts, for 'alice'", "", ""]
    assert {each.name for each in caplog.records} == {"mediagit_storage.operations"}
    assert {each.levelno for each in caplog.records} == {logging.INFO}
    first = caplog.records[0]
    assert (first.mgs_operation, first.mgs_key, first.mgs_bytes_written, first.mgs_outcome) == ("put", "n", 2000, "ok")


def test_failures_are_warnings_and_other_outcomes_are_not(logged):
    layer, caplog = logged
    with pytest.raises(NotFoundError):
        layer.stat("missing")
    with pytest.raises(AlreadyExistsError):
        layer.put("a", BytesSource(b""), PutOptions(if_absent=True))
    failing_put(layer, "no luck")
    assert [(each.levelname, each.mgs_outcome) for each in caplog.records] == [
        ("INFO", "absent"),
        ("INFO", "conflict"),
        ("WARNING", "failed"),
    ]
    assert caplog.records[-1].getMessage().endswith(", ValueError: no luck")


@covers(215)
def test_a_key_forges_no_line(logged):
    layer, caplog = logged
    forged = "k\nERROR all is lost\x1b[31m"
    with pytest.raises(NotFoundError):
        layer.stat(forged)
    text = caplog.records[-1].getMessage()
    assert text.isprintable()
    assert "\\nERROR all is lost" in text
    assert caplog.records[-1].mgs_key == forged


def test_what_is_off_costs_no_line(caplog):
    layer = ObserveLayer(memory(), [LogHook(logging.DEBUG)])
    with caplog.at_level(logging.INFO, "mediagit_storage.operations"):
        layer.stat("a")
        failing_put(layer, "no luck")
    assert [each.levelname for each in caplog.records if each.name == "mediagit_storage.operations"] == ["WARNING"]


CANARY = "canary-5f1e"


@covers(208)
def test_no_hook_shows_a_credential(tmp_path, caplog):
    """Links, signatures in the words of errors, passwords in URLs: nowhere, whatever is told."""
    exporter, registry = InMemorySpanExporter(), CollectorRegistry()
    inner = memory()
    audit = tmp_path / "audit.log"
    hooks = [
        LogHook(),
        AuditHook(audit, reads=True),
        MetricsHook(registry),
        TraceHook(inner.connection_info(), provider(exporter)),
    ]
    with caplog.at_level(logging.DEBUG):
        layer = ObserveLayer(inner, hooks)
        link = layer.presign("a", PresignOptions("GET"))
        failing_put(layer, f"PUT https://u:{CANARY}@host/k?X-Amz-Signature={CANARY}&x=1 was refused")
        failing_put(layer, f"Authorization: Bearer {CANARY}{CANARY}")
    told = "\n".join(
        [
            audit.read_text(),
            generate_latest(registry).decode(),
            *(str(vars(each)) + each.getMessage() for each in caplog.records),
            *(each.to_json() for each in exporter.get_finished_spans()),
        ]
    )
    assert "bad" in told
    assert CANARY not in told
    assert link not in told


# ---- the audit log


def lines(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_the_audit_log_says_who_did_what_when_and_how_it_ended(tmp_path):
    path = tmp_path / "audit.log"
    store = Storage(ObserveLayer(memory(), [AuditHook(path)]))
    store.put("ä\u2028", b"12")
    with acting_as("alice"):
        store.rename("a", "b")
    store.get("b")
    list(store.list())
    with pytest.raises(AlreadyExistsError):
        store.put("b", b"", if_absent=True)
    store.presign("b", method="PUT")
    told = lines(path)
    assert [(each["operation"], each["key"], each["result"]) for each in told] == [
        ("put", "ä\u2028", "ok"),
        ("rename", "a", "ok"),
        ("put", "b", "conflict"),
        ("presign", "b", "ok"),
    ]
    first, second, third, fourth = told
    assert first["v"] == 1
    assert first["who"].endswith(f"@{os.uname().nodename}")
    assert first["time"].endswith("+00:00")
    assert first["process"] == os.getpid()
    assert (first["store"], first["bytes_written"], first["attempts"]) == ("memory://x", 2, 1)
    assert (second["who"], second["target"]) == ("alice", "b")
    assert third["error"] == "AlreadyExistsError"
    assert fourth["detail"] == "PUT"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_reads_stand_in_the_audit_log_when_asked_for(tmp_path):
    path = tmp_path / "audit.log"
    store = Storage(ObserveLayer(memory(), [AuditHook(path, reads=True)]))
    store.get("a")
    assert store.exists("missing") is False
    assert [len([*store.list()])] == [1]
    assert [(each["operation"], each["result"]) for each in lines(path)] == [
        ("read", "ok"),
        ("stat", "absent"),
        ("list", "ok"),
    ]


def test_the_audit_log_survives_rotation(tmp_path):
    path = tmp_path / "audit.log"
    path.write_text('{"earlier":1}\n')
    store = Storage(ObserveLayer(memory(), [AuditHook(path)]))
    store.put("1", b"")
    path.rename(tmp_path / "audit.log.1")
    store.put("2", b"")
    assert [each.get("key") for each in lines(tmp_path / "audit.log.1")] == [None, "1"]
    assert [each["key"] for each in lines(path)] == ["2"]


def test_the_audit_log_stays_where_it_was_when_the_process_goes_elsewhere(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    store = Storage(ObserveLayer(memory(), [AuditHook("audit.log")]))
    store.put("1", b"")
    monkeypatch.chdir(elsewhere)
    store.put("2", b"")
    assert [each["key"] for each in lines(tmp_path / "audit.log")] == ["1", "2"]
    assert [*elsewhere.iterdir()] == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_lines_of_threads_and_processes_do_not_mix(tmp_path):
    path = tmp_path / "audit.log"
    layer = ObserveLayer(memory(), [AuditHook(path), MetricsHook(CollectorRegistry())])

    def work(name):
        for number in range(50):
            layer.put(f"{name}/{number}/{'x' * 500}", BytesSource(b""), PutOptions())

    def in_threads(name):
        threads = [threading.Thread(target=work, args=(f"{name}-{number}",)) for number in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    child = os.fork()
    if child == 0:
        code = 1
        try:
            in_threads("child")
            code = 0
        finally:
            os._exit(code)
    in_threads("parent")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    told = lines(path)
    assert len(told) == 300
    assert len({each["key"] for each in told}) == 300
    assert {each["process"] for each in told} == {os.getpid(), child}


def test_a_line_can_be_put_on_the_disk_before_the_operation_returns(tmp_path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    path = tmp_path / "audit.log"
    Storage(ObserveLayer(memory(), [AuditHook(path)])).put("k", b"")
    assert synced == []
    Storage(ObserveLayer(memory(), (), ObserveConfig(audit=str(path), audit_sync=True))).put("k", b"")
    assert synced == [path.stat().st_size]


@pytest.mark.parametrize("kind", ["folder", "missing folder", "pipe", "device"])
def test_an_audit_log_that_cannot_be_written_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "place"
    match kind:
        case "folder":
            path.mkdir()
        case "missing folder":
            path /= "audit.log"
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = "/dev/null"
    with pytest.raises(ConfigError, match=r"the audit log .* (cannot be written|is no plain file)"):
        AuditHook(path)


def test_a_full_disk_is_told_of_once_and_operations_go_on(tmp_path, monkeypatch, caplog):
    path = tmp_path / "audit.log"
    layer = ObserveLayer(memory(), [AuditHook(path)])
    real = os.write
    answers = [lambda fd, data: real(fd, data[:10]), lambda fd, data: _full()]
    monkeypatch.setattr(os, "write", lambda fd, data: answers.pop(0)(fd, data) if answers else real(fd, data))
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            layer.put(f"{number}", BytesSource(b""), PutOptions())
    assert len([each for each in caplog.records if "AuditHook failed" in each.getMessage()]) == 1
    monkeypatch.undo()
    # What was written of the torn line stands in a line of its own.
    assert json.loads(path.read_text().splitlines()[-1])["key"] == "2"


def _full():
    raise OSError(errno.ENOSPC, "no space left on device")


# ---- metrics


def test_operations_are_counted(caplog):
    registry = CollectorRegistry()
    layer = ObserveLayer(Bumpy(memory()), [MetricsHook(registry)])

    def value(name, **labels):
        return registry.get_sample_value(f"mediagit_storage_{name}", {"store": "memory://x", **labels})

    layer.put("n", BytesSource(b"123"), PutOptions())
    layer.read("a", ReadOptions())
    layer.read("a", ReadOptions())
    layer.stat("a")
    with pytest.raises(NotFoundError):
        layer.stat("missing")
    with pytest.raises(NotFoundError):
        layer.read("missing", ReadOptions())
    listing = Storage(layer).list()
    next(listing)
    assert value("operations_in_flight", operation="list") == 1
    assert len([*listing]) == 1
    assert value("operations_in_flight", operation="list") == 0
    assert value("operations_total", operation="put", outcome="ok") == 1
    assert value("operations_total", operation="read", outcome="ok") == 2
    assert value("operations_total", operation="read", outcome="failed") == 1
    assert value("operations_total", operation="stat", outcome="absent") == 1
    assert value("errors_total", operation="read", error="NotFoundError") == 1
    assert value("errors_total", operation="stat", error="NotFoundError") is None
    assert value("written_bytes_total", operation="put") == 3
    assert value("read_bytes_total", operation="read") == 10
    assert value("listed_items_total", operation="list") == 2
    assert value("retries_total", operation="stat") == 2
    assert value("operation_seconds_count", operation="read") == 3
    assert value("operation_seconds_bucket", operation="read", le="+Inf") == 3
    [*layer.batch(iter([StatOperation("a")]), BatchLimits())]
    assert value("retries_total", operation="batch") == 1
    assert value("operations_total", operation="stat", outcome="ok") == 2


def test_several_storages_count_in_one_registry(caplog):
    registry = CollectorRegistry()
    one = ObserveLayer(memory("one"), [MetricsHook(registry)])
    two = ObserveLayer(memory("two"), [MetricsHook(registry)], ObserveConfig(name="second"))
    again = ObserveLayer(memory("one"), [MetricsHook(registry)])
    other = ObserveLayer(memory("one"), [MetricsHook(CollectorRegistry())])
    for layer in (one, two, again, other):
        layer.stat("a")
    labels = {"operation": "stat", "outcome": "ok"}
    name = "mediagit_storage_operations_total"
    assert registry.get_sample_value(name, {"store": "memory://one", **labels}) == 2
    assert registry.get_sample_value(name, {"store": "second", **labels}) == 1


def test_no_key_becomes_a_label():
    registry = CollectorRegistry()
    ObserveLayer(memory(), [MetricsHook(registry)]).stat("a")
    for number in range(5):
        Storage(ObserveLayer(memory(), [MetricsHook(registry)])).put(f"unique-key-{number}", b"")
    assert b"unique-key" not in generate_latest(registry)


def test_a_lock_that_was_held_during_a_fork_holds_up_no_child(monkeypatch):
    held = _lock.mine()
    with held, monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        registry = CollectorRegistry()
        Storage(ObserveLayer(memory(), [MetricsHook(registry)])).put("k", b"")
    assert b'operation="put"' in generate_latest(registry)


def test_threads_lose_no_count():
    registry = CollectorRegistry()
    layer = ObserveLayer(memory(), [MetricsHook(registry)])
    threads = [threading.Thread(target=lambda: [layer.stat("a") for _ in range(100)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    labels = {"store": "memory://x", "operation": "stat"}
    assert registry.get_sample_value("mediagit_storage_operations_total", {**labels, "outcome": "ok"}) == 400
    assert registry.get_sample_value("mediagit_storage_operations_in_flight", labels) == 0


# ---- spans


def provider(exporter):
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


def test_a_span_for_each_operation_and_an_event_for_each_retry(exporter):
    inner = Bumpy(memory())
    traced = provider(exporter)
    layer = ObserveLayer(inner, [TraceHook(ConnectionInfo("az", {"container": "c"}), traced)])
    with traced.get_tracer("program").start_as_current_span("work"):
        layer.stat("a")
        layer.read("a", ReadOptions())
        [*layer.batch(iter([StatOperation("a")]), BatchLimits())]
    stated, read, in_batch, work = exporter.get_finished_spans()
    assert stated.name == "mediagit_storage.StorageBackend/stat"
    assert stated.kind is trace.SpanKind.CLIENT
    assert dict(stated.attributes) == {
        "rpc.system.name": "mediagit_storage",
        "rpc.method": "mediagit_storage.StorageBackend/stat",
        "mediagit_storage.store": "memory://x",
        "mediagit_storage.key": "a",
        "mediagit_storage.outcome": "ok",
        "mediagit_storage.retries": 1,
    }
    assert [(each.name, dict(each.attributes)) for each in stated.events] == [
        (
            "mediagit_storage.retry",
            {"mediagit_storage.attempt": 2, "mediagit_storage.message": "HEAD again in 0.01 s: 503"},
        )
    ]
    assert read.attributes["mediagit_storage.bytes_read"] == 5
    assert {each.parent.span_id for each in (stated, read, in_batch)} == {work.context.span_id}
    assert [each.name for each in work.events] == ["mediagit_storage.retry"]
    assert all(each.status.status_code is trace.StatusCode.UNSET for each in (stated, read, in_batch))


def test_failures_alone_are_errors_of_spans(exporter):
    layer = ObserveLayer(memory(), [TraceHook(ConnectionInfo("memory"), provider(exporter))])
    with pytest.raises(NotFoundError):
        layer.stat("missing")
    failing_put(layer, "no luck")
    absent, failed = exporter.get_finished_spans()
    assert absent.kind is trace.SpanKind.INTERNAL
    assert "rpc.method" not in absent.attributes
    assert absent.status.status_code is trace.StatusCode.UNSET
    assert absent.attributes["mediagit_storage.outcome"] == "absent"
    assert "error.type" not in absent.attributes
    assert (failed.status.status_code, failed.status.description) == (trace.StatusCode.ERROR, "no luck")
    assert failed.attributes["error.type"] == "ValueError"


def test_spans_of_s3_name_the_key_in_the_bucket(exporter):
    """By the conventions for S3, behind prefixes below the layer."""

    class Bucket(MemoryBackend):
        def connection_info(self):
            return ConnectionInfo("s3", {"bucket": "media"})

    inner = PrefixLayer(PrefixLayer(Bucket("x"), "in/"), "out/")
    layer = ObserveLayer(inner, [TraceHook(inner.connection_info(), provider(exporter))])
    layer.put("a", BytesSource(b""), PutOptions())
    Storage(layer).copy("a", "b")
    assert [*Storage(layer).list("a")]
    put, copied, listed = (
        {name: value for name, value in each.attributes.items() if name.startswith("aws.")}
        for each in exporter.get_finished_spans()
    )
    assert put == {"aws.s3.bucket": "media", "aws.s3.key": "in/out/a"}
    assert copied == {
        "aws.s3.bucket": "media",
        "aws.s3.key": "in/out/b",
        "aws.s3.copy_source": "media/in/out/a",
    }
    assert listed == {"aws.s3.bucket": "media"}


def test_the_span_of_a_stream_lasts_until_it_is_closed(exporter):
    layer = ObserveLayer(memory(), [TraceHook(ConnectionInfo("memory"), provider(exporter))])
    body = layer.stream("a", ReadOptions())
    next(iter(body))
    assert exporter.get_finished_spans() == ()
    body.close()
    assert [each.attributes["mediagit_storage.bytes_read"] for each in exporter.get_finished_spans()] == [5]


def test_spans_below_are_children_and_a_reader_is_outside(exporter):
    traced = provider(exporter)
    lower = ObserveLayer(memory(), [TraceHook(ConnectionInfo("memory"), traced)])
    upper = ObserveLayer(lower, [TraceHook(ConnectionInfo("memory"), traced)])
    outside = trace.get_current_span()
    upper.stat("a")
    below, above = exporter.get_finished_spans()
    assert (above.parent, below.parent.span_id) == (None, above.context.span_id)
    exporter.clear()
    body, listing = upper.stream("a", ReadOptions()), upper.list("", ListOptions())
    assert next(iter(body)) == b"12345"
    next(listing)
    assert trace.get_current_span() is outside
    body.close()
    listing.close()
    assert trace.get_current_span() is outside
    found = {each.context.span_id: each for each in exporter.get_finished_spans()}
    assert sorted(each.parent is None for each in found.values()) == [False, False, True, True]
    with pytest.raises(NotFoundError):
        upper.stat("missing")
    assert trace.get_current_span() is outside


@pytest.mark.parametrize("where", ["resumed", "paused"])
def test_a_watch_that_fails_when_it_is_paced_harms_nobody(caplog, where):
    class Paced(Hook):
        paced = True

    def fail(self):
        raise RuntimeError(where)

    setattr(Paced, where, fail)
    layer = ObserveLayer(memory(), [Paced()])
    with caplog.at_level(logging.WARNING):
        assert layer.stat("a").size == 5
        assert layer.stat("a").size == 5
    assert len(caplog.records) == 1


def test_without_a_provider_spans_cost_little_and_go_nowhere():
    layer = ObserveLayer(memory(), (), ObserveConfig(trace=True))
    assert layer.stat("a").size == 5


def test_a_hook_is_a_watch_of_its_own():
    hook = Hook()
    assert hook.begun(None) is hook
