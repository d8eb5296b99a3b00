"""Observing: what hooks are told, and that nothing they do reaches an operation."""

from __future__ import annotations

import gc
import inspect
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from mediagit_storage.backend import (
    BatchLimits,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    ConfigError,
    ConnectionLostError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
)
from mediagit_storage.events import Event, emit, on_event
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.observe import Hook, MetricsHook, ObserveConfig, ObserveLayer, TraceHook, acting_as
from mediagit_storage.layers.observe.hooks import CHANGING, outcome_of
from mediagit_storage.opening import open_storage
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.wrappers import without_batch
from mediagit_storage.types import (
    ByteRange,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    PendingUpload,
    PresignOptions,
    PutOptions,
    ReadOptions,
)


class Notes(Hook):
    """Keeps what it is told."""

    def __init__(self):
        self.began: list[str] = []
        self.events: list[Event] = []
        self.in_batches: list[tuple[str, Event]] = []
        self.records: list = []

    def begun(self, record):
        self.began.append(record.operation)
        return self

    def event(self, event):
        self.events.append(event)

    def batch_event(self, store, event):
        self.in_batches.append((store, event))

    def ended(self, record):
        self.records.append(record)

    @property
    def last(self):
        return self.records[-1]


class Uploading(MemoryBackend):
    """Knows every upload."""

    def stat_upload(self, upload):
        return upload


@pytest.fixture
def inner():
    backend = Uploading("x")
    for key in ("a", "b/c"):
        backend.put(key, BytesSource(key.encode()), PutOptions())
    return backend


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def layer(inner, notes):
    return ObserveLayer(inner, [notes])


UPLOAD = PendingUpload("a", "id", datetime.now(UTC))

CALLS = {
    "put": (lambda each: each.put("n", BytesSource(b"new"), PutOptions()), ("n", None, None, 0, 3, 0)),
    "read": (lambda each: each.read("b/c", ReadOptions(ByteRange(1))), ("b/c", None, None, 2, 0, 0)),
    "stream": (lambda each: [*each.stream("b/c", ReadOptions())], ("b/c", None, None, 3, 0, 0)),
    "stat": (lambda each: each.stat("a"), ("a", None, None, 0, 0, 0)),
    "list": (lambda each: [*each.list("", ListOptions())], ("", None, None, 0, 0, 2)),
    "list_dir": (lambda each: [*each.list_dir("b/", ListOptions())], ("b/", None, None, 0, 0, 1)),
    "delete": (lambda each: each.delete("a", DeleteOptions()), ("a", None, None, 0, 0, 0)),
    "copy": (lambda each: each.copy("a", "n", CopyOptions()), ("a", "n", None, 0, 0, 0)),
    "rename": (lambda each: each.rename("a", "n"), ("a", "n", None, 0, 0, 0)),
    "presign": (lambda each: each.presign("a", PresignOptions("PUT")), ("a", None, "PUT", 0, 0, 0)),
    "create": (lambda each: each.create(), (None, None, None, 0, 0, 0)),
    "pending_uploads": (lambda each: [*each.pending_uploads("")], ("", None, None, 0, 0, 0)),
    "stat_upload": (lambda each: each.stat_upload(UPLOAD), ("a", None, None, 0, 0, 0)),
    "abort_upload": (lambda each: each.abort_upload(UPLOAD), ("a", None, None, 0, 0, 0)),
    "replace_head": (
        lambda each: each.replace_head("a", b"HEAD", 1, if_match=each.stat("a").etag),
        ("a", None, None, 0, 4, 0),
    ),
    "content_checksum": (lambda each: each.content_checksum("a", ReadOptions()), ("a", None, None, 0, 0, 0)),
}

#: No operations of their own: they make no request, or are made of others.
UNOBSERVED = {"capabilities", "description", "connection_info", "check", "close", "batch"}


def test_every_method_of_the_contract_is_observed_or_said_not_to_be():
    public = {name for name in vars(StorageBackend) if not name.startswith("_")}
    assert public == UNOBSERVED | set(CALLS)
    assert set(CALLS) >= CHANGING


@pytest.mark.parametrize("name", CALLS)
def test_an_operation_is_told_of_when_it_begins_and_when_it_has_ended(name, layer, notes):
    call, expected = CALLS[name]
    call(layer)
    assert notes.began[-1] == name
    record = notes.last
    told = (record.key, record.target, record.detail, record.bytes_read, record.bytes_written, record.items)
    assert (record.operation, record.store, told) == (name, "memory://x", expected)
    assert (record.outcome, record.error, record.message, record.attempts) == ("ok", None, None, 1)
    assert record.seconds >= 0
    assert record.started > 1_700_000_000
    assert len(notes.began) == len(notes.records)


@pytest.mark.parametrize("name", CALLS)
def test_a_failing_operation_is_told_of_and_raises_the_same(name, notes):
    class Broken(MemoryBackend):
        pass

    def fail(self, *args, **kwargs):
        raise ConnectionLostError("gone")

    for method in CALLS:
        setattr(Broken, method, fail)
    call, _ = CALLS["stat" if name == "replace_head" else name]
    with pytest.raises(ConnectionLostError, match="gone"):
        call(ObserveLayer(Broken("x"), [notes]))
    assert [(each.outcome, each.error, each.message) for each in notes.records] == [
        ("failed", "ConnectionLostError", "gone")
    ]


@pytest.mark.parametrize(
    ("operation", "error", "outcome"),
    [
        ("read", None, "ok"),
        ("stat", NotFoundError("no"), "absent"),
        ("stat_upload", NotFoundError("no"), "absent"),
        ("stat", BucketNotFoundError("no"), "failed"),
        ("read", NotFoundError("no"), "failed"),
        ("delete", NotFoundError("no"), "failed"),
        ("put", AlreadyExistsError("there"), "conflict"),
        ("put", PreconditionError("other"), "conflict"),
        ("read", NotModifiedError("same"), "unchanged"),
        ("read", CancelledError("stop"), "cancelled"),
        ("put", KeyboardInterrupt(), "cancelled"),
        ("put", ConnectionLostError("gone"), "failed"),
        ("put", ValueError("of the user's own source"), "failed"),
    ],
)
def test_answers_that_were_asked_for_are_no_failures(operation, error, outcome):
    assert outcome_of(operation, error) == outcome


# ---- streams and listings


def test_a_stream_ends_with_its_last_byte_and_is_told_of_once(layer, notes):
    with layer.stream("b/c", ReadOptions()) as body:
        assert notes.records == []
        assert b"".join(body) == b"b/c"
        assert len(notes.records) == 1
    body.close()
    assert [(each.bytes_read, each.outcome) for each in notes.records] == [(3, "ok")]


class Pieces(MemoryBackend):
    """Bodies of three pieces, of which the last is missing; says which are closed."""

    def stream(self, key, options):
        body = super().stream(key, options)
        closed = self.closed = []

        class Broken(type(body)):
            info, start, length = body.info, body.start, body.length

            def __init__(self):
                pass

            def __iter__(self):
                yield b"12"
                yield b"345"
                raise ConnectionLostError("gone")

            def close(self):
                closed.append(key)

        return Broken()


@pytest.fixture
def broken(notes):
    backend = Pieces("x")
    backend.put("k", BytesSource(b"1234567"), PutOptions())
    return backend


def test_a_stream_that_is_closed_early_counts_what_passed(broken, notes):
    body = ObserveLayer(broken, [notes]).stream("k", ReadOptions())
    assert next(iter(body)) == b"12"
    body.close()
    assert [(each.bytes_read, each.outcome) for each in notes.records] == [(2, "ok")]
    assert broken.closed == ["k"]


def test_a_stream_that_breaks_off_failed(broken, notes):
    body = ObserveLayer(broken, [notes]).stream("k", ReadOptions())
    with pytest.raises(ConnectionLostError):
        list(body)
    body.close()
    assert [(each.bytes_read, each.outcome) for each in notes.records] == [(5, "failed")]


def test_a_stream_that_is_dropped_is_closed_and_ends_with_the_next_operation(broken, notes):
    layer = ObserveLayer(broken, [notes])
    body = layer.stream("k", ReadOptions())
    next(iter(body))
    del body
    gc.collect()
    assert broken.closed == ["k"]
    layer.stat("k")
    assert [(each.operation, each.bytes_read, each.outcome) for each in notes.records] == [
        ("stream", 2, "ok"),
        ("stat", 0, "ok"),
    ]


def test_a_stream_that_is_dropped_ends_with_the_layer_at_the_latest(broken, notes):
    layer = ObserveLayer(broken, [notes])
    del [layer.stream("k", ReadOptions())][0]
    gc.collect()
    layer.close()
    assert [(each.operation, each.outcome) for each in notes.records] == [("stream", "ok")]


def test_a_listing_that_fails_is_told_of(notes):
    class Lost(MemoryBackend):
        def list(self, prefix, options):
            yield from super().list(prefix, options)
            raise ConnectionLostError("gone")

    backend = Lost("x")
    backend.put("k", BytesSource(b""), PutOptions())
    with pytest.raises(ConnectionLostError):
        list(ObserveLayer(backend, [notes]).list("", ListOptions()))
    assert [(each.items, each.outcome, each.message) for each in notes.records] == [(1, "failed", "gone")]


def test_bytes_that_are_read_from_the_file_itself_are_counted(tmp_path, notes):
    backend = LocalBackend(tmp_path)
    backend.put("k", BytesSource(b"x" * 1000), PutOptions())
    with ObserveLayer(backend, [notes]).stream("k", ReadOptions(ByteRange(0, 600))) as body:
        region = body.region()
        assert region.read(600, 0) == b"x" * 600
    assert notes.last.bytes_read == 600


def test_a_listing_that_is_left_early_ends_and_closes_what_is_below(notes):
    closed: list[str] = []

    class Listing(MemoryBackend):
        def list(self, prefix, options):
            try:
                yield from super().list(prefix, options)
            finally:
                closed.append(prefix)

    backend = Listing("x")
    for number in range(10):
        backend.put(f"k{number}", BytesSource(b""), PutOptions())
    listing = ObserveLayer(backend, [notes]).list("k", ListOptions())
    assert notes.began == []
    next(listing)
    next(listing)
    del listing
    gc.collect()
    assert closed == ["k"]
    assert [(each.items, each.outcome) for each in notes.records] == [(2, "ok")]


def test_what_a_reader_does_between_two_items_is_no_event_of_the_listing(layer, notes):
    listing = layer.list("", ListOptions())
    body = iter(layer.stream("b/c", ReadOptions()))
    next(listing)
    next(body)
    emit(Event("retry", "somewhere else"))
    assert [*listing]
    assert [*body] == []
    assert notes.events == []
    assert [each.attempts for each in notes.records] == [1, 1]


# ---- batches


def operations():
    return [
        PutOperation("n", BytesSource(b"12345")),
        None,
        ReadOperation("b/c"),
        StatOperation("missing"),
        DeleteOperation("a"),
        ReadOperation("missing"),
    ]


def test_operations_of_a_batch_are_told_of_one_by_one(layer, notes):
    given = operations()
    completions = [*layer.batch(iter(given), BatchLimits())]
    assert {id(done.operation) for done in completions} == {id(each) for each in given if each is not None}
    told = {(each.operation, each.key): each for each in notes.records}
    assert len(notes.records) == 5
    assert {
        place: (each.outcome, each.bytes_read, each.bytes_written, each.attempts) for place, each in told.items()
    } == {
        ("put", "n"): ("ok", 0, 5, None),
        ("read", "b/c"): ("ok", 3, 0, None),
        ("stat", "missing"): ("absent", 0, 0, None),
        ("delete", "a"): ("ok", 0, 0, None),
        ("read", "missing"): ("failed", 0, 0, None),
    }


def test_a_batch_that_is_left_early_cancels_what_is_not_answered(notes):
    class Slow(MemoryBackend):
        def batch(self, operations, limits):
            pulled = [each for each in operations if each is not None]
            for each in pulled:
                yield from super().batch(iter([each]), limits)

    layer = ObserveLayer(Slow("x"), [notes])
    batch = layer.batch(iter([StatOperation(str(number)) for number in range(4)]), BatchLimits())
    next(batch)
    batch.close()
    assert sorted(each.outcome for each in notes.records) == ["absent", "cancelled", "cancelled", "cancelled"]


def test_a_batch_that_fails_fails_what_is_not_answered(notes):
    class Lost(MemoryBackend):
        def batch(self, operations, limits):
            next(operations)
            emit(Event("retry", "again"))
            raise ConnectionLostError("gone")
            yield

    layer = ObserveLayer(Lost("x"), [notes])
    with pytest.raises(ConnectionLostError):
        list(layer.batch(iter([StatOperation("k")]), BatchLimits()))
    assert [(each.outcome, each.attempts) for each in notes.records] == [("failed", None)]
    assert [(store, event.kind) for store, event in notes.in_batches] == [("memory://x", "retry")]
    assert notes.events == []


@pytest.mark.parametrize("native", [True, False])
def test_batches_through_a_storage(inner, notes, native):
    store = Storage(ObserveLayer(inner if native else without_batch(inner), [notes]))
    with acting_as("alice"):
        assert [done.value for done in store.get_many(["a", "b/c"])] == [b"a", b"b/c"]
        store.put_many([(f"k{number}", bytes(number)) for number in range(20)]).run()
    assert sum(each.bytes_read for each in notes.records) == 4
    assert sum(each.bytes_written for each in notes.records) == sum(range(20))
    assert {each.actor for each in notes.records} == {"alice"}
    assert {each.operation for each in notes.records} == {"read" if native else "stream", "put"}


# ---- events


class Bumpy(Layer):
    """Every stat is tried three times."""

    layer_name = "bumpy"

    def __init__(self, inner):
        super().__init__(inner, ObserveConfig())

    def stat(self, key, version=None):
        # As large transfers do, in threads of their own.
        for _ in range(2):
            emit(Event("retry", "again", None, {"attempt": 2}))
        emit(Event("other", "something else"))
        return super().stat(key, version)


@covers(137)
def test_events_below_are_told_and_retries_counted_and_whoever_listens_hears_them_too(inner, notes):
    outer = Notes()
    layer = ObserveLayer(ObserveLayer(Bumpy(inner), [notes]), [outer])
    heard: list[Event] = []
    with on_event(heard.append):
        layer.stat("a")
        emit(Event("after", "nobody's"))
    layer.stat("a")
    assert [event.kind for event in heard] == ["retry", "retry", "other", "after"]
    for each in (notes, outer):
        assert [event.kind for event in each.events] == ["retry", "retry", "other"] * 2
        assert [record.attempts for record in each.records] == [3, 3]


# ---- hooks that fail


class Failing(Hook):
    """Fails where it is told to."""

    def __init__(self, *where):
        self.where = where
        self.calls = 0

    def _fail(self, where):
        self.calls += 1
        if where in self.where:
            raise RuntimeError("see https://user:hunter2@host/?X-Amz-Signature=abcdef")

    def begun(self, record):
        self._fail("begun")
        return self

    def event(self, event):
        self._fail("event")

    def batch_event(self, store, event):
        self._fail("batch_event")

    def ended(self, record):
        self._fail("ended")


@covers(137)
@pytest.mark.parametrize("where", ["begun", "event", "ended", "batch_event"])
def test_a_hook_that_fails_is_told_of_once_and_harms_nobody(inner, notes, caplog, where):
    class Loud(Bumpy):
        def batch(self, operations, limits):
            emit(Event("retry", "again"))
            yield from super().batch(operations, limits)

    failing, heard = Failing(where), []
    layer = ObserveLayer(Loud(inner), [failing, notes])
    with on_event(heard.append), caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert layer.stat("a").size == 1
            assert len([*layer.batch(iter([ReadOperation("a")]), BatchLimits())]) == 1
    assert [each.operation for each in notes.records] == ["stat", "read"] * 3
    assert failing.calls >= 3
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 1
    assert "Failing failed: RuntimeError" in lines[0]
    assert "hunter2" not in lines[0]
    assert "abcdef" not in lines[0]
    assert len([event for event in heard if event.kind == "observe.hook-failed"]) == 1


def test_an_interrupt_in_a_hook_is_no_failure_of_it(inner):
    class Interrupted(Hook):
        def ended(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ObserveLayer(inner, [Interrupted()]).stat("a")


@covers(137)
def test_bytes_of_a_put_that_fails_are_not_counted(layer, notes):
    def pieces():
        yield b"x" * 1000
        raise ValueError("https://host/?sig=abcdef&x=1\nsecond line")

    with pytest.raises(ValueError, match="second line"):
        layer.put("n", IterableSource(pieces()), PutOptions())
    record = notes.last
    assert (record.bytes_written, record.outcome, record.error) == (0, "failed", "ValueError")
    assert record.message == "https://host/?sig=***&x=1 second line"


def test_an_error_without_a_text_is_told_of(layer, notes):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def pieces():
        raise Mute
        yield b""

    with pytest.raises(Mute):
        layer.put("n", IterableSource(pieces()), PutOptions())
    assert (notes.last.error, notes.last.message) == ("Mute", "it has no text")


# ---- threads


def test_many_threads_are_told_of_and_counted(inner, notes):
    layer = ObserveLayer(Bumpy(inner), [notes])

    def work(number):
        with acting_as(f"worker {number}"):
            for _ in range(50):
                layer.stat("a")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(notes.records) == 200
    assert {each.attempts for each in notes.records} == {3}
    for number in range(4):
        assert sum(each.actor == f"worker {number}" for each in notes.records) == 50


# ---- options


def test_a_stack_in_a_profile(tmp_path, inner, monkeypatch, caplog):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(
        f"""
        [media]
        url = "memory://observed"
        [[media.layers]]
        layer = "observe"
        log = "INFO"
        audit = "{tmp_path / "audit.log"}"
        metrics = true
        trace = true
        name = "media"
        actor = "the builder"
        """
    )
    with open_storage("media:", environ={"MGS_CONFIG": str(profiles)}) as store, caplog.at_level(logging.INFO):
        store.put("k", b"12")
        again = open_storage(store.connection_info())
        assert again.connection_info() == store.connection_info()
        again.put("j", b"12")
    assert len(caplog.records) == 2
    assert caplog.records[0].mgs_store == "media"
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 2


def test_hooks_that_were_given_in_code_stay_here(inner, notes):
    assert ObserveLayer(inner, [notes]).connection_info() == inner.connection_info()
    info = ObserveLayer(inner, [notes], ObserveConfig(log="INFO")).connection_info()
    assert info.config["layers"] == [{"layer": "observe", "log": "INFO"}]


def test_a_layer_that_observes_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one of log, metrics, trace and audit"):
        open_storage("memory://x", layers=["observe"])


def test_a_level_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="'log' of the layer 'observe' is 'DEBUG' or 'INFO'"):
        open_storage("memory://x", layers=[{"layer": "observe", "log": "loud"}])


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("prometheus_client", MetricsHook, "metrics"),
        ("opentelemetry", lambda: TraceHook(MemoryBackend("x").connection_info()), "trace"),
    ],
)
def test_a_missing_library_is_named_by_its_extra(monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'mediagit-storage\[{extra}\]'"):
        make()


def test_log_lines_and_the_audit_log_need_no_library(tmp_path):
    code = """
import sys
from mediagit_storage.opening import open_storage
open_storage("memory://x", layers=[{"layer": "observe", "log": "INFO", "audit": sys.argv[1]}]).put("k", b"")
assert not {"prometheus_client", "opentelemetry", "pycurl"} & {name.partition(".")[0] for name in sys.modules}
"""
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "audit"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_storage_that_cannot_be_opened_again_is_observed_as_well():
    Storage(ObserveLayer(MemoryBackend(), (), ObserveConfig(trace=True))).put("k", b"")


def test_the_repr_shows_the_stack(layer):
    assert repr(layer) == "<ObserveLayer over <Uploading memory://x>>"


def test_every_hook_method_does_nothing_unless_overridden(inner):
    hook = Hook()
    hook.paced = True
    assert ObserveLayer(Bumpy(inner), [hook]).stat("a").size == 1
    names = [name for name, _ in inspect.getmembers(Hook, inspect.isfunction)]
    assert names == ["batch_event", "begun", "ended", "event", "paused", "resumed"]
