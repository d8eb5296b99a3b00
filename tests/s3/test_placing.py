"""Large downloads write each range to its place while it arrives, and count it only when it is the one asked for."""

from __future__ import annotations

import errno
import re
from contextlib import closing
from itertools import pairwise

import pytest

from mediagit_storage import downloading, ledger, positions
from mediagit_storage.backend import BatchLimits
from mediagit_storage.backends.s3 import S3Backend
from mediagit_storage.errors import (
    CancelledError,
    ConnectionLostError,
    IntegrityError,
    LimitExceededError,
    StorageError,
)
from mediagit_storage.events import on_event
from mediagit_storage.facets import Placing, placing_of
from mediagit_storage.fetching import FetchLimits
from mediagit_storage.http import placing
from mediagit_storage.http.faults import FaultKind, TransferFault, error_for
from mediagit_storage.http.response import Response
from mediagit_storage.layers.observe import Hook, ObserveLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.progress import on_progress
from mediagit_storage.scope import scope
from mediagit_storage.storage import Storage
from mediagit_storage.testing.s3_answers import ok, refused
from mediagit_storage.testing.scripted_server import Reset, ScriptedServer, Send, answer
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.stacking import LAYER_ROWS, make_layer
from mediagit_storage.types import ReadOptions

PART = 1000
SIZE = 10 * PART + 17
DATA = content(SIZE)
OTHER = content(SIZE, seed=1)


class Objects:
    """Serves one object. ``bend(start, end)`` may say how a range is answered instead; it is asked for each."""

    def __init__(self, bend=lambda start, end: None):
        self.bend = bend
        self.data, self.etag = DATA, '"e1"'
        self.checks = True
        self.asked = []
        self.paths = set()

    def play(self, conversation):
        while True:
            head = conversation.take_until(b"\r\n\r\n").decode()
            self.paths.add(head.split(" ")[1].partition("?")[0])
            found = re.search(r"(?i)range: bytes=(\d+)-(\d+)", head)
            named = re.search(r"(?i)if-match: (\S+)", head)
            if self.checks and named and named[1] != self.etag:
                refused(412, "PreconditionFailed").play(conversation)
            elif found is None:
                body = b"" if head.startswith("HEAD") else self.data
                answer(200, body, [("ETag", self.etag)], length=SIZE).play(conversation)
            else:
                span = int(found[1]), int(found[2])
                self.asked.append(span)
                for step in self.bend(*span) or [self.part(*span)]:
                    step.play(conversation)

    def part(self, start, end, **more):
        return answer(206, self.data[start : end + 1], self.fields(start, end), **more)

    def fields(self, start, end):
        return [("ETag", self.etag), ("Content-Range", f"bytes {start}-{end}/{SIZE}")]


class Notes(Hook):
    """Keeps what it is told of."""

    def __init__(self):
        self.records = []

    def ended(self, record):
        self.records.append(record)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Small ranges, and several writes for each."""
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(downloading, "LIMITS", FetchLimits(2 * PART, PART, 3, placed=PART))
    monkeypatch.setattr(ledger, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(placing, "_GATHERED", 300)


@pytest.fixture
def serve(opened):
    """A storage over such a server."""
    servers = []

    def build(objects, **options):
        server = ScriptedServer([objects])
        server.__enter__()
        servers.append(server)
        return Storage(opened(server.url, **options))

    yield build
    for each in servers:
        each.__exit__(None, None, None)


def once(at, *steps):
    """A bend that answers the range which begins at ``at`` so, the first time."""
    left = [steps]
    return lambda start, end: left.pop() if start == at and left else None


@pytest.fixture
def held(monkeypatch):
    """How large the bodies were that somebody asked for in memory."""
    sizes, real = [], Response.body.fget
    monkeypatch.setattr(
        Response, "body", property(lambda response: sizes.append(len(real(response))) or real(response))
    )
    return sizes


def test_nothing_is_joined(serve, tmp_path, held):
    objects = Objects()
    store = serve(objects)
    reports = []
    with on_progress(reports.append):
        assert store.download("k", tmp_path / "f").etag == "e1"
    assert (tmp_path / "f").read_bytes() == DATA
    assert not any(held)
    assert sorted(objects.asked) == [(at, min(at + PART, SIZE) - 1) for at in range(0, SIZE, PART)]
    steps = [each.completed for each in reports]
    assert steps == sorted(steps)
    assert steps[-1] == SIZE


def test_through_layers_that_pass_bytes(serve, tmp_path, held):
    objects, notes = Objects(), Notes()
    inner = serve(objects).with_prefix("p/")
    layers = ObserveLayer(ReadOnlyLayer(inner.backend), [notes])
    assert Storage(layers).download("k", tmp_path / "f").key == "k"
    assert (tmp_path / "f").read_bytes() == DATA
    assert objects.paths == {"/bucket/p/k"}
    assert not any(held)
    assert sum(each.bytes_read for each in notes.records if each.operation == "read") == SIZE
    assert {each.key for each in notes.records} == {"k"}


def test_whoever_changes_bytes_or_reads_in_its_own_way_is_not_passed_by(serve):
    class Own(S3Backend):
        def read(self, key, options):
            return super().read(key, options)

    class OwnToo(Own):
        pass

    backend = serve(Objects()).backend
    assert placing_of(backend) is not None
    for kind in (Own, OwnToo):
        with closing(kind.from_config(backend.config)) as own:
            assert placing_of(own) is None
            assert placing_of(PrefixLayer(own, "p/")) is None
    for name in set(LAYER_ROWS) - {"prefix", "readonly", "observe"}:
        assert placing_of(make_layer(name, backend)) is None


def test_a_range_that_breaks_off_comes_again(serve, tmp_path):
    objects = Objects()
    part = objects.part(3 * PART, 4 * PART - 1).data
    objects.bend = once(3 * PART, Send(part[:-250]), Reset())
    reports = []
    with on_progress(reports.append):
        serve(objects).download("k", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    # What came twice counts once.
    steps = [each.completed for each in reports]
    assert all(before <= after for before, after in pairwise(steps))
    assert steps[-1] == SIZE
    assert objects.asked.count((3 * PART, 4 * PART - 1)) == 2


@pytest.mark.parametrize("status", [200, 206])
def test_what_is_asked_for_counts_and_not_the_status(serve, tmp_path, status):
    objects = Objects()
    objects.bend = lambda start, end: [answer(status, DATA[start : end + 1], objects.fields(start, end))]
    serve(objects).download("k", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("from_", [0, 3 * PART])
def test_a_server_that_knows_no_ranges_gives_one_stream(serve, tmp_path, held, framed, from_):
    def whole(start, end):
        if start < from_:
            return None
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, DATA)
        return [ok(200, DATA) if framed else answer(200, chunks, [("Transfer-Encoding", "chunked")])]

    objects, events = Objects(whole), []
    with on_event(events.append):
        serve(objects).download("k", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert [each.kind for each in events] == ["transfer.no-ranges"]
    # Each range was asked for once, none of the wholes came into memory, and the rest of the ranges was left alone.
    assert len(objects.asked) == len(set(objects.asked)) < 11
    assert not any(held)
    assert {each.name for each in tmp_path.iterdir()} == {"f", "state"}


def test_what_is_not_the_range_is_not_held_without_bound(serve, tmp_path):
    objects = Objects(lambda start, end: [answer(206, b"x" * 100_000, objects.fields(0, SIZE - 1))])
    with pytest.raises(LimitExceededError, match=r"\(66,536 bytes\)"):
        serve(objects).download("k", tmp_path / "f")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("wrong", ["short", "long", "elsewhere", "nonsense"])
def test_a_range_that_is_not_the_one_asked_for_is_refused(serve, tmp_path, wrong):
    objects = Objects()
    at, end = 3 * PART, 4 * PART - 1
    there = {
        "short": answer(206, DATA[at:end], objects.fields(at, end)),
        "long": answer(206, DATA[at : end + 200], objects.fields(at, end)),
        "elsewhere": objects.part(0, PART - 1),
        "nonsense": answer(206, DATA[at : end + 1], [("ETag", objects.etag), ("Content-Range", "bytes x")]),
    }
    objects.bend = lambda start, end: [there[wrong]] if start == at else None
    with pytest.raises(IntegrityError):
        serve(objects).download("k", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_range_that_is_too_long_stays_in_its_place(serve, tmp_path):
    objects = Objects(lambda start, end: [answer(206, b"x" * 5 * PART, objects.fields(start, end))])
    told = []
    with (tmp_path / "f").open("wb") as file:
        operation = Placing("k", ReadOptions(), PART, PART, file.fileno(), told.append)
        [placed] = serve(objects).backend.placing()(iter([operation]), BatchLimits())
    assert isinstance(placed.error, IntegrityError)
    assert sum(told) <= PART
    assert (tmp_path / "f").stat().st_size <= 2 * PART


def test_two_versions_are_never_spliced(serve, tmp_path):
    objects = Objects()

    def change(start, end):
        if start == 4 * PART:
            objects.data, objects.etag = OTHER, '"e2"'
            objects.bend = lambda start, end: None

    objects.bend = change
    for careful in (True, False):
        objects.checks = careful
        objects.data, objects.etag, objects.bend = DATA, '"e1"', change
        events = []
        with on_event(events.append):
            serve(objects).download("k", tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == OTHER
        assert [each.kind for each in events] == ["transfer.changed"]


def test_words_of_a_refusal_are_no_bytes_of_the_object(serve, tmp_path):
    objects = Objects()
    objects.bend = lambda start, end: [refused(403, "AccessDenied")] if start == 5 * PART else None
    with pytest.raises(StorageError, match="no"):
        serve(objects).download("k", tmp_path / "f")
    objects.bend, objects.asked = (lambda start, end: None), []
    serve(objects).download("k", tmp_path / "f", resume=False)
    assert (tmp_path / "f").read_bytes() == DATA


def test_what_is_whole_is_kept_and_only_that(serve, tmp_path):
    objects = Objects()
    broken = objects.part(5 * PART, 6 * PART - 1).data[:-100]
    objects.bend = lambda start, end: [Send(broken), Reset()] if start == 5 * PART else None
    store = serve(objects, attempts=1)
    with pytest.raises(ConnectionLostError):
        store.download("k", tmp_path / "f")
    came, objects.asked = set(objects.asked), []
    objects.bend = lambda start, end: None
    store.download("k", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert (5 * PART, 6 * PART - 1) in objects.asked
    assert len(objects.asked) < 11
    assert came | set(objects.asked) >= {(at, min(at + PART, SIZE) - 1) for at in range(0, SIZE, PART)}


@pytest.mark.parametrize("many", [True, False])
def test_a_full_disk_is_said_as_it_is(serve, tmp_path, monkeypatch, many):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(positions, "_writes_many", many)
    monkeypatch.setattr(positions.os, "pwritev" if many else "pwrite", full)
    with pytest.raises(OSError, match="No space") as caught:
        serve(Objects()).download("k", tmp_path / "f")
    assert caught.value.errno == errno.ENOSPC
    assert {each.name for each in tmp_path.iterdir()} <= {"state"}


@pytest.mark.parametrize("how", ["short", "joined"])
def test_writes_that_are_cut_short_go_on(serve, tmp_path, monkeypatch, how):
    pwritev, pwrite = positions.os.pwritev, positions.os.pwrite
    monkeypatch.setattr(positions, "_MOST", 0 if how == "joined" else 64)
    monkeypatch.setattr(positions.os, "pwritev", lambda d, pieces, at: pwritev(d, [pieces[0][:7]], at))
    monkeypatch.setattr(positions.os, "pwrite", lambda d, data, at: pwrite(d, bytes(data[:70]), at))
    serve(Objects()).download("k", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_cancelling_stops_within_a_range(serve, tmp_path):
    objects = Objects()
    store = serve(objects)
    with scope() as inside, on_progress(lambda report: report.completed > 4 * PART and inside.cancel()):  # noqa: SIM117
        with pytest.raises(CancelledError):
            store.download("k", tmp_path / "f")
    assert not (tmp_path / "f").exists()
    assert len(objects.asked) < 11


def test_trouble_of_who_watches_is_his_own(serve, tmp_path):
    def watch(report):
        if report.completed > PART:
            raise LookupError("of the watcher")

    with on_progress(watch), pytest.raises(LookupError, match="of the watcher"):
        serve(Objects()).download("k", tmp_path / "f")


def test_what_he_raises_is_no_fault_of_this_transfer(serve, tmp_path):
    objects = Objects()
    of_another = error_for(TransferFault(FaultKind.LOST, "of another storage", sent=1), "http://other")

    def watch(report):
        if report.completed > PART:
            raise of_another

    with on_progress(watch), pytest.raises(ConnectionLostError) as caught:
        serve(objects).download("k", tmp_path / "f")
    assert caught.value is of_another
    assert caught.value.message.endswith("http://other broke (of another storage)")
    assert any(frame.name == "watch" for frame in caught.traceback)
    assert len(objects.asked) == len(set(objects.asked))
