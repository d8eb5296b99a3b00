"""Clients that take their time, or too much of everything: the others notice nothing."""

from __future__ import annotations

import threading

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.wrappers import CallLog

from .gateways import received, wait_for

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@covers(239)
@pytest.mark.parametrize("sent", [b"", b"GET /a HT", b"GET /a HTTP/1.1\r\nHost: x\r\nX: y\r\n"])
def test_a_head_that_does_not_come(serve, memory, sent: bytes) -> None:
    memory.put("a", b"x")
    served = serve(memory, options={"head": 0.2})
    with served.connect() as connection:
        connection.sendall(sent)
        assert served.get("/a").status == 200
        assert received(connection) == b""
    assert served.get("/a").status == 200
    assert b'mediagit_gateway_refused_total{reason="slow_head"} 1.0' in served.get("/metrics").body


def test_pages_that_take_long_hold_up_no_object(serve) -> None:
    going_on = threading.Event()

    def hang(name: str) -> None:
        if name == "list":
            going_on.wait(60)

    with Storage(CallLog(MemoryBackend(), hang)) as storage:
        storage.put("a", b"x")
        served = serve(storage, console=True)
        searches = [threading.Thread(target=served.get, args=("/-/browse/?q=a&in=contains",)) for _ in range(20)]
        for each in searches:
            each.start()
        wait_for(lambda: served.gateway.context.metrics().in_flight == len(searches))
        assert served.get("/a").body == b"x"
        going_on.set()
        for each in searches:
            each.join()


@covers(239)
def test_a_second_head_that_does_not_come(serve, memory) -> None:
    memory.put("a", b"x")
    served = serve(memory, options={"head": 0.2})
    with served.connect() as connection:
        connection.sendall(GET)
        assert b"200 OK" in connection.recv(65536)
        connection.sendall(b"GET /a HTTP/1.1\r\n")
        received(connection)


def test_an_idle_connection_is_closed(serve, memory) -> None:
    memory.put("a", b"x")
    served = serve(memory, options={"keep_alive": 0})
    with served.connect() as connection:
        connection.sendall(GET)
        assert received(connection).endswith(b"x")


@covers(239)
def test_a_reader_that_stops_is_let_go_and_frees_what_it_held(serve, tmp_path) -> None:
    with Storage(LocalBackend(tmp_path)) as storage:
        storage.put("a", bytes(30_000_000))
        served = serve(storage, options={"idle": 0.5})
        with served.connect() as connection:
            connection.sendall(GET)
            wait_for(lambda: served.gateway.context.metrics().in_flight == 1)
            for _ in range(5):
                assert served.get("/a", range="bytes=-5").body == bytes(5)
            wait_for(lambda: served.gateway.context.metrics().in_flight == 0)
            assert len(received(connection)) < 30_000_000
        assert b'mediagit_gateway_refused_total{reason="slow_reader"} 1.0' in served.get("/metrics").body


@covers(239)
def test_half_open_connections_make_room_for_others(serve, memory) -> None:
    memory.put("a", b"x")
    served = serve(memory, options={"connections": 20})
    idle = [served.connect() for _ in range(60)]
    assert served.get("/a").body == b"x"
    assert served.gateway.context.metrics().connections <= 20
    for connection in idle:
        connection.close()


def test_connections_that_are_all_busy_let_nobody_in(serve) -> None:
    let_go = threading.Event()
    with Storage(CallLog(MemoryBackend(), lambda name: name == "stream" and let_go.wait(60))) as storage:
        storage.put("a", b"x")
        served = serve(storage, options={"connections": 2})
        busy = [served.connect() for _ in range(2)]
        for connection in busy:
            connection.sendall(GET)
        wait_for(lambda: served.gateway.context.metrics().in_flight == 2)
        with served.connect() as third:
            assert received(third) == b""
        let_go.set()
        for connection in busy:
            assert connection.recv(65536)
            connection.close()


def test_more_requests_than_allowed(serve) -> None:
    let_go = threading.Event()
    with Storage(CallLog(MemoryBackend(), lambda name: name == "stream" and let_go.wait(60))) as storage:
        storage.put("a", b"x")
        served = serve(storage, concurrency=2)
        busy = [served.connect() for _ in range(2)]
        for connection in busy:
            connection.sendall(GET)
        wait_for(lambda: served.gateway.context.metrics().in_flight == 2)
        answer = served.get("/a")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert served.get("/healthz").status == 200
        assert served.get("/readyz").status == 200
        let_go.set()
        for connection in busy:
            assert b" 200 " in connection.recv(65536)
            connection.close()
        wait_for(lambda: served.get("/a").status == 200)
