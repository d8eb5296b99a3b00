"""Stopping a transfer: by the scope, from another thread, by Ctrl-C; in every phase, at once, leaving nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mediagit_storage import errors, scope
from mediagit_storage.http.faults import FaultKind, fault_of
from mediagit_storage.http.request import PiecesBody, Request
from mediagit_storage.testing.scripted_server import (
    Drip,
    Hang,
    Pause,
    Receive,
    ReceiveHead,
    Repeat,
    ScriptedServer,
    Send,
    answer,
)

PHASES = {
    "waiting for the answer": [Receive(), Hang()],
    "in the answer's head": [Receive(), Send(b"HTTP/1.1 200 OK\r\nContent-"), Hang()],
    "in the body": [Receive(), answer(200, b"x" * 100, length=200), Hang()],
    "while it drips": [Receive(), Drip(answer(200, b"x" * 100_000).data, 0.001)],
    "while sending": [ReceiveHead(), Pause(30)],
}


def request_for(phase: str, server: ScriptedServer) -> Request:
    if phase == "while sending":
        return Request("PUT", server.url + "/k", body=b"x" * 50_000_000)
    return Request("GET", server.url + "/k")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", ["send", "stream", "batch"])
def test_cancelling_in_each_phase(transport, phase, way):
    with ScriptedServer(PHASES[phase]) as server:
        cancelled = []
        with scope() as inside:

            def cancel():
                time.sleep(0.15)
                cancelled.append(time.monotonic())
                inside.cancel()

            thread = threading.Thread(target=cancel)
            thread.start()
            with pytest.raises(errors.CancelledError):
                run(way, transport, request_for(phase, server))
            assert time.monotonic() - cancelled[0] < 10
            thread.join()
        deadline = time.monotonic() + 60
        while server.open_connections and "sending" not in phase:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def run(way, transport, request) -> None:
    if way == "send":
        transport.send(request)
    elif way == "stream":
        for _ in transport.stream(request):
            pass
    else:
        list(transport.send_all(iter([request])))


def test_cancelling_while_connecting(transport):
    with ScriptedServer([Hang()]) as server, scope() as inside:
        threading.Timer(0.1, inside.cancel).start()
        began = time.monotonic()
        with pytest.raises(errors.CancelledError) as caught:
            transport.send(Request("GET", server.url.replace("http:", "https:") + "/k"))
        assert time.monotonic() - began < 10
    assert fault_of(caught.value).sent == 0


@pytest.mark.parametrize("way", ["send", "stream", "batch"])
def test_a_scope_that_is_over_sends_nothing(transport, way):
    with ScriptedServer([Receive(), answer()]) as server, scope() as inside:
        inside.cancel()
        with pytest.raises(errors.CancelledError):
            run(way, transport, Request("GET", server.url + "/k"))
        time.sleep(0.05)
    assert server.received == []


@pytest.mark.parametrize("way", ["send", "stream"])
def test_the_scopes_time(transport, way):
    with ScriptedServer([Receive(), Hang()]) as server, scope(timeout=0.2):
        began = time.monotonic()
        with pytest.raises(errors.StorageTimeoutError, match="scope") as caught:
            run(way, transport, Request("GET", server.url + "/k"))
        assert 0.15 < time.monotonic() - began < 10
    assert fault_of(caught.value).kind is FaultKind.SCOPE


def test_a_scope_that_is_left_alone_changes_nothing(transport):
    with ScriptedServer([Repeat([Receive(), answer(200, b"hello")])]) as server, scope(timeout=30):
        for _ in range(5):
            assert transport.send(Request("GET", server.url + "/k")).body == b"hello"
            assert b"".join(transport.stream(Request("GET", server.url + "/k"))) == b"hello"
    assert server.connections == 1


def test_an_exception_of_the_progress_callback_stops_it(transport):
    def stop(count):
        raise KeyError("stop")

    with ScriptedServer([Receive(), answer(200, b"x" * 100_000)]) as server:
        with pytest.raises(KeyError):
            transport.send(Request("GET", server.url + "/k"), progress=stop)


def test_an_exit_out_of_a_source_comes_back(transport):
    def pieces():
        yield b"x"
        raise SystemExit(7)

    with ScriptedServer([Receive(), answer()]) as server, pytest.raises(SystemExit):
        transport.send(Request("PUT", server.url + "/k", body=PiecesBody(pieces(), 5)))


def test_after_a_stopped_transfer_the_next_ones_work(transport):
    with ScriptedServer([Receive(), Hang()], [Repeat([Receive(), answer(200, b"hello")])]) as server:
        with pytest.raises(errors.StorageTimeoutError), scope(timeout=0.1):
            transport.send(Request("GET", server.url + "/k"))
        for _ in range(3):
            assert transport.send(Request("GET", server.url + "/k")).body == b"hello"
    assert server.connections == 2


CHILD = """
    import sys, time
    from mediagit_storage.http.transport import Transport
    from mediagit_storage.http.request import PiecesBody, Request
    url, way = sys.argv[1:]
    def slow():
        while True:
            yield b"x" * 1000
    body = PiecesBody(slow(), 10**12) if way == "source" else b"x" * 50_000_000 if way == "upload" else None
    request = Request("PUT" if body else "GET", url + "/k", body=body)
    transport = Transport()
    print("ready", flush=True)
    try:
        if way == "stream":
            for piece in transport.stream(request):
                pass
        elif way == "batch":
            list(transport.send_all(iter([request])))
        elif way == "small":
            while True:
                transport.send(request)
        elif way == "small batch":
            def many():
                while True:
                    yield request
            for _ in transport.send_all(many()):
                pass
        else:
            transport.send(request)
    except KeyboardInterrupt:
        print("stopped", time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
"""

INTERRUPTED = {
    "wait": [Receive(), Hang()],
    "upload": [ReceiveHead(), Pause(30)],
    "source": [Hang()],
    "stream": [Receive(), Drip(answer(200, length=10**9).data + b"x" * 2000, 0.01), Hang()],
    "batch": [Receive(), Hang()],
    "small": [Repeat([Receive(), answer(200, b"x" * 16_384)])],
    "small batch": [Repeat([Receive(), answer(200, b"x" * 16_384)])],
}


@pytest.mark.parametrize("way", INTERRUPTED)
def test_ctrl_c(way):
    with ScriptedServer(INTERRUPTED[way]) as server:
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), server.url, way],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.25)
            pressed = time.monotonic()
            os.kill(child.pid, signal.SIGINT)
            try:
                out, err = child.communicate(timeout=10)
            finally:
                child.kill()
    assert err == ""
    word, when = out.split()
    assert word == "stopped"
    assert float(when) - pressed < 10  # at once, not when the transfer ends: the room is for a loaded machine
