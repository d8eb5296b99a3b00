"""What has a known size goes in one request but for its end; streams go in chunks, of which the next is read meanwhile."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

import pytest

from mediagit_storage.errors import ConnectionLostError, IntegrityError, StorageTimeoutError
from mediagit_storage.progress import on_progress
from mediagit_storage.storage import Storage
from mediagit_storage.testing.scripted_server import (
    Call,
    Receive,
    ReceiveHead,
    ReceivePart,
    Reset,
    ScriptedServer,
    answer,
)
from mediagit_storage.testing.sources import content

from .answers import begun, body_of, crc, header, held, lines, ranges, refused, stored

KIB = 1024
MIB = 1024 * KIB
UNIT = 256 * KIB
SIZES = {"part_size": UNIT, "multipart_threshold": 1000, "anonymous": True}
DATA = content(1400 * KIB)
ALL, BODY = len(DATA), 5 * UNIT
CANCELLED = answer(499, b"", [("connection", "close")])
#: More than what lies in the buffers of a connection.
LARGE = 16 * MIB


@pytest.fixture(params=["bytes", "file"])
def put(request, tmp_path):
    """Stores bytes, as they are or from a file."""

    def store_it(store, data=DATA, **options):
        if request.param == "bytes":
            return store.put("k", data, **options)
        (tmp_path / "file").write_bytes(data)
        with (tmp_path / "file").open("rb") as file:
            return store.put("k", file, **options)

    return store_it


@pytest.fixture
def large(tmp_path):
    """A file of nothing."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    return tmp_path / "large"


def test_one_request_and_its_end(play, put):
    """The end goes when the digest of everything is known: other bytes than were read never become an object."""
    store, server = play(begun(), held(BODY), stored(DATA), **SIZES)
    assert put(store).size == ALL
    assert ranges(server)[1:] == [f"bytes 0-{BODY - 1}/{ALL}", f"bytes {BODY}-{ALL - 1}/{ALL}"]
    assert b"".join(map(body_of, server.received[1:])) == DATA
    assert [header(each, "x-goog-hash") for each in server.received[1:]] == [None, f"crc32c={crc(DATA)}"]


@pytest.mark.parametrize(("size", "body"), [(4 * UNIT, 3 * UNIT), (2 * UNIT + 1, 2 * UNIT), (UNIT + 1, UNIT)])
def test_all_but_the_end_is_whole_units(play, put, size, body):
    store, server = play(begun(), held(body), stored(DATA[:size]), **SIZES)
    put(store, DATA[:size])
    assert ranges(server)[1:] == [f"bytes 0-{body - 1}/{size}", f"bytes {body}-{size - 1}/{size}"]


def test_what_fits_into_one_chunk_goes_at_once(play, put):
    store, server = play(begun(), stored(DATA), **{**SIZES, "part_size": 6 * UNIT})
    put(store)
    assert ranges(server)[1:] == [f"bytes 0-{ALL - 1}/{ALL}"]
    assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(DATA)}"


@pytest.mark.parametrize("kept", [0, UNIT, UNIT + 1000, BODY])
def test_after_a_break_the_rest_follows_what_is_held(play, put, kept):
    broken = (ReceiveHead(), ReceivePart(UNIT + 5000), Reset())
    middle = [] if kept == BODY else [held(kept + (ALL - kept - 1) // UNIT * UNIT)]
    store, server = play(begun(), broken, held(kept), *middle, stored(DATA), **SIZES)
    put(store)
    asked, *rest = server.received[3:]
    assert header(asked, "content-range") == f"bytes */{ALL}"
    assert header(rest[0], "content-range").startswith(f"bytes {kept}-")
    assert b"".join(map(body_of, rest)) == DATA[kept:]
    assert header(rest[-1], "x-goog-hash") == f"crc32c={crc(DATA)}"


def test_what_the_server_did_not_keep_is_sent_again(play, put):
    store, server = play(begun(), held(UNIT), held(BODY), stored(DATA), **SIZES)
    put(store)
    assert ranges(server)[2].startswith(f"bytes {UNIT}-")
    assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(DATA)}"


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_is_gone_begins_anew(play, put, status):
    absent = refused(404, "notFound", "No such object: bucket/k")
    steps = [begun("U1"), refused(status, "gone"), absent, begun("U2"), held(BODY), stored(DATA)]
    store, server = play(*steps, **SIZES)
    put(store)
    assert "upload_id=U2" in lines(server)[-1]
    assert b"".join(map(body_of, server.received[-2:])) == DATA


def test_what_took_long_is_gone_on_with(play, put):
    """The time that attempts may take begins with the failure: one request may travel for hours."""
    broken = (ReceiveHead(), ReceivePart(UNIT), Call(lambda: time.sleep(0.06)), Reset())
    store, _ = play(begun(), broken, held(UNIT), held(BODY), stored(DATA), retry_total=0.05, **SIZES)
    assert put(store).size == ALL


def test_a_file_that_changes_meanwhile_is_never_stored(play, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)

    def change():
        path.write_bytes(DATA[::-1])
        os.utime(path, ns=(1, 1))

    store, server = play(begun(), (Receive(), Call(change), held(BODY)), CANCELLED, **SIZES)
    with pytest.raises(IntegrityError), path.open("rb") as file:
        store.put("k", file)
    assert lines(server)[-1].startswith("DELETE ")


def test_a_file_that_gets_shorter_meanwhile(play, large):
    def cut():
        os.truncate(large, 1000)

    store, server = play(begun(), (ReceiveHead(), Call(cut), ReceivePart(LARGE)), CANCELLED, **SIZES)
    with pytest.raises(IntegrityError), large.open("rb") as file:
        store.put("k", file)
    assert lines(server)[-1].startswith("DELETE ")


def test_progress_while_it_travels(play, large):
    """The server waits in the middle of the body until progress was told."""
    body, told, moved = (LARGE - 1) // UNIT * UNIT, [], threading.Event()

    def tell(report):
        told.append(report.completed)
        if 0 < report.completed < body:
            moved.set()

    def wait():
        assert moved.wait(20)

    middle = (ReceiveHead(), ReceivePart(1000), Call(wait), ReceivePart(body - 1000), held(body))
    store, _ = play(begun(), middle, stored(bytes(LARGE)), **SIZES)
    with on_progress(tell):
        store.upload(large, "k")
    assert moved.is_set()
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, LARGE)


def test_a_body_that_does_not_move(play, large):
    """The time-out is that of the options, and not the longer one for finishing."""
    gone = threading.Event()
    stuck = (ReceiveHead(), ReceivePart(1000), Call(lambda: gone.wait(20)))
    store, _ = play(begun(), stuck, CANCELLED, attempts=1, **{**SIZES, "idle_timeout": 0.1})
    try:
        with pytest.raises(StorageTimeoutError), large.open("rb") as file:
            store.put("k", file)
    finally:
        gone.set()


# ---- over the end of a process


@contextmanager
def two_runs(opened, file, *steps, kept):
    """Two runs of one upload against one server, the first of which breaks off within its request."""
    broken = (ReceiveHead(), ReceivePart(kept + 1), Reset())
    scripts = [begun("U7"), broken, *steps]
    with ScriptedServer(*[each if isinstance(each, tuple) else (Receive(), each) for each in scripts]) as server:
        with pytest.raises(ConnectionLostError):
            Storage(opened(server.url, attempts=1, **SIZES)).upload(file, "k")
        yield Storage(opened(server.url, attempts=1, **SIZES)), server


def test_a_later_run_sends_the_rest_and_no_more(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    file, kept, told = tmp_path / "file", 2 * UNIT, []
    file.write_bytes(DATA)
    with two_runs(opened, file, held(kept), held(BODY), stored(DATA), kept=kept) as (store, server):
        with on_progress(lambda report: told.append(report.completed)):
            store.upload(file, "k")
        assert ranges(server)[3:] == [
            f"bytes */{ALL}",
            f"bytes {kept}-{BODY - 1}/{ALL}",
            f"bytes {BODY}-{ALL - 1}/{ALL}",
        ]
        assert b"".join(map(body_of, server.received[4:])) == DATA[kept:]
        assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(DATA)}"
        assert told[:2] == [0, kept]
    assert [*(tmp_path / "state" / "transfers").iterdir()] == []


# ---- streams


def test_the_next_chunk_is_read_while_one_travels(play):
    """The server answers for a chunk when the source was asked for more of the next one."""
    given = [threading.Event(), threading.Event()]

    def pieces():
        yield DATA[: UNIT + 1000]
        given[0].set()
        yield DATA[UNIT + 1000 : 2 * UNIT + 1]
        given[1].set()
        yield DATA[2 * UNIT + 1 : 3 * UNIT]

    def once(event):
        def wait():
            assert event.wait(20)

        return Call(wait)

    data = DATA[: 3 * UNIT]
    store, server = play(
        begun(), (Receive(), once(given[0]), held(UNIT)), (Receive(), once(given[1]), held(2 * UNIT)), stored(data),
        **SIZES,
    )  # fmt: skip
    store.put("k", pieces())
    assert [body_of(each) for each in server.received[1:]] == [data[:UNIT], data[UNIT : 2 * UNIT], data[2 * UNIT :]]
    assert header(server.received[-1], "x-goog-hash") == f"crc32c={crc(data)}"


def test_a_source_that_fails_while_a_chunk_travels(play):
    def pieces():
        yield DATA[: UNIT + 1000]
        raise OSError("the disk is gone")

    store, server = play(begun(), (Receive(), held(UNIT)), CANCELLED, **SIZES)
    with pytest.raises(OSError, match="the disk is gone"):
        store.put("k", pieces())
    assert lines(server)[-1].startswith("DELETE ")
