"""Bodies that are pulled: back-pressure, abandoning, and never short data."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from mediagit_storage import errors
from mediagit_storage.http.request import Request
from mediagit_storage.testing.scripted_server import (
    Drip,
    Hang,
    Pause,
    Receive,
    Repeat,
    Reset,
    ScriptedServer,
    Send,
    answer,
)

LARGE = 50_000_000


def get(server: ScriptedServer, **more) -> Request:
    return Request("GET", server.url + "/k", **more)


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_a_whole_body(transport):
    with ScriptedServer([Repeat([Receive(), answer(200, bytes(range(256)) * 20_000, [("ETag", "e")])])]) as server:
        for _ in range(3):
            with transport.stream(get(server)) as got:
                assert (got.status, got.headers.get("etag"), got.attempts) == (200, "e", 1)
                assert b"".join(got) == bytes(range(256)) * 20_000
                assert got.received == 256 * 20_000
                assert list(got) == []
    assert server.connections == 1


def test_who_knows_the_length_need_not_ask_for_the_end(transport):
    size = 5_000_000
    with ScriptedServer([Repeat([Receive(), answer(200, b"x" * size)])]) as server:
        for _ in range(3):
            with transport.stream(get(server)) as got:
                while got.received < size:
                    next(got)
            assert list(got) == []
        assert transport.send(get(server)).status == 200
    assert server.connections == 1


def test_a_body_that_broke_off_at_its_end_does_not_leave_its_connection_to_others(transport):
    cut = answer(200, b"x" * 1000).data[:-1]
    with ScriptedServer([Receive(), Send(cut)], [Receive(), answer(200, b"whole")]) as server:
        with transport.stream(get(server)) as got:
            while got.received < 999:
                next(got)
        with transport.stream(get(server)) as got:
            assert b"".join(got) == b"whole"
    assert server.connections == 2


def test_what_is_here_already_is_handed_out_together(transport):
    text = bytes(range(256)) * 20_000
    with ScriptedServer([Receive(), answer(200, text)]) as server, transport.stream(get(server)) as got:
        pieces = list(got)
    assert b"".join(pieces) == text
    assert 16 * 1024 < max(map(len, pieces)) < 2 * 256 * 1024


@pytest.mark.parametrize("status", [200, 204, 404, 500])
def test_an_empty_body(transport, status):
    with ScriptedServer([Receive(), answer(status, b"", [("X", "y")])]) as server:
        with transport.stream(get(server)) as got:
            assert (got.status, got.headers.get("x"), list(got)) == (status, "y", [])


def test_the_head_is_there_before_the_body(transport):
    more = threading.Event()
    text = answer(200, b"hello").data
    with ScriptedServer([Receive(), Send(text[:-5]), Wait(more), Send(text[-5:])]) as server:
        with transport.stream(get(server)) as got:
            assert got.status == 200
            more.set()
            assert b"".join(got) == b"hello"


class Wait:
    """A step that waits for the test."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def play(self, conversation) -> None:
        self.event.wait(20)


def test_a_reader_that_pauses_stops_the_server(transport):
    """Nothing is read ahead beyond what one turn of libcurl brings, and the kernel's buffers."""
    sent = []

    class Count:
        def play(self, conversation) -> None:
            conversation.connection.sendall(answer(200, length=LARGE).data)
            for _ in range(LARGE // 100_000):
                conversation.connection.sendall(b"x" * 100_000)
                sent.append(100_000)

    with ScriptedServer([Receive(), Count()]) as server:
        with transport.stream(get(server)) as got:
            first = next(got)
            time.sleep(0.3)
            assert sum(sent) < 20_000_000
            assert len(first) + sum(map(len, got)) == LARGE


def test_a_pause_of_the_reader_is_no_standstill(make):
    with ScriptedServer([Receive(), answer(200, b"x" * LARGE)]) as server:
        with make(idle_timeout=0.8, total_timeout=1).stream(get(server)) as got:
            size = len(next(got))
            time.sleep(1.2)
            assert size + sum(map(len, got)) == LARGE


def test_a_server_that_pauses_is(make):
    with ScriptedServer([Receive(), answer(200, b"x" * 10, length=100), Hang()]) as server:
        with make(idle_timeout=0.2).stream(get(server)) as got:
            assert next(got) == b"x" * 10
            began = time.monotonic()
            with pytest.raises(errors.StorageTimeoutError):
                next(got)
            assert time.monotonic() - began < 10
            assert list(got) == []


@pytest.mark.parametrize("how", ["close", "with", "collected", "break"])
def test_an_abandoned_body_frees_its_connection_at_once(transport, how):
    with ScriptedServer([Receive(), answer(200, b"x" * LARGE)]) as server:
        got = transport.stream(get(server))
        next(got)
        assert server.open_connections == 1
        if how == "close":
            got.close()
            got.close()
            assert list(got) == []
        elif how == "with":
            with got:
                pass
        elif how == "break":
            for _ in got:
                break
            del got
        else:
            del got
            gc.collect()
        wait_until(lambda: server.open_connections == 0)


def test_one_that_was_never_read_frees_it_too(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * LARGE)]) as server:
        transport.stream(get(server))
        wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize("end", [Pause(0), Reset()])
def test_a_body_that_breaks_off_ends_in_an_error(transport, end):
    with ScriptedServer([Receive(), answer(200, b"x" * 5000, length=6000), Pause(0.05), end]) as server:
        with transport.stream(get(server)) as got:
            with pytest.raises((errors.TruncatedError, errors.ConnectionLostError)):
                for _ in got:
                    pass
            assert got.received in {0, 5000}
            assert list(got) == []


def test_a_body_with_neither_length_nor_chunks_is_refused_at_once(transport):
    with ScriptedServer([Receive(), Send(b"HTTP/1.1 200 OK\r\n\r\nhello"), Hang()]) as server:
        with pytest.raises(errors.TruncatedError, match="neither"):
            transport.stream(get(server))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_head_that_is_cut_off(transport, head):
    with ScriptedServer([Receive(), Send(head)]) as server, pytest.raises(errors.ConnectionLostError):
        transport.stream(get(server))


def test_a_refused_connection(transport):
    with ScriptedServer() as server:
        url = server.url
    with pytest.raises(errors.ConnectionLostError, match="refused"):
        transport.stream(Request("GET", url + "/k"))


def test_an_error_body_is_bounded(transport):
    with ScriptedServer([Receive(), answer(500, b"e" * 10_000_000)]) as server:
        got = transport.stream(get(server))
        assert len(got.read_error()) == 64 * 1024
        wait_until(lambda: server.open_connections == 0)


def test_interim_heads_and_chunks(transport):
    text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with ScriptedServer([Receive(), Drip(text, 0.001, 7)]) as server, transport.stream(get(server)) as got:
        assert (got.status, b"".join(got)) == (200, b"hello")


def test_progress(transport):
    seen = []
    with ScriptedServer([Receive(), answer(200, b"x" * 1_000_000)]) as server:
        with transport.stream(get(server), progress=seen.append) as got:
            assert [len(piece) for piece in got] == seen


def test_a_stream_may_move_between_threads(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * LARGE)]) as server, transport.stream(get(server)) as got:
        sizes = [len(next(got))]
        thread = threading.Thread(target=lambda: sizes.extend(map(len, got)))
        thread.start()
        thread.join()
        assert sum(sizes) == LARGE


def test_two_threads_at_once_are_refused_and_close_wakes_the_reader(transport):
    with ScriptedServer([Receive(), answer(200, b"x", length=10), Hang()]) as server:
        got = transport.stream(get(server))
        next(got)
        caught = []

        def read():
            try:
                next(got)
            except Exception as error:
                caught.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        wait_until(got._lock.locked)
        with pytest.raises(RuntimeError, match="two threads"):
            next(got)
        began = time.monotonic()
        got.close()
        thread.join()
        assert time.monotonic() - began < 10
        assert isinstance(caught[0], errors.ClosedError)
        wait_until(lambda: server.open_connections == 0)


def test_many_streams_at_once(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * 1_000_000)]) as server:
        streams = [transport.stream(get(server)) for _ in range(20)]
        firsts = [len(next(each)) for each in streams]
        assert [first + sum(map(len, each)) for first, each in zip(firsts, streams, strict=True)] == [1_000_000] * 20


def test_reading_on_after_the_transport_was_closed(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * LARGE)]) as server:
        got = transport.stream(get(server))
        transport.close()
        assert sum(map(len, got)) == LARGE
