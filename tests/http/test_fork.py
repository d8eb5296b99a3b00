"""A forked child opens its own connections and leaves those of its parent alone."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mediagit_storage import errors
from mediagit_storage.http.request import Request
from mediagit_storage.testing.scripted_server import Hang, Receive, Repeat, ScriptedServer, answer

OK = [Repeat([Receive(), answer(200, b"hello")])]


def in_child(work) -> int:
    """Runs ``work`` in a fork and returns its exit code; 1 for an exception, -9 for one that hung."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_a_child_uses_the_same_transport(transport):
    with ScriptedServer(OK) as server:
        request = Request("GET", server.url + "/k")
        assert transport.send(request).body == b"hello"

        def work():
            for _ in range(3):
                assert transport.send(request).body == b"hello"
            assert b"".join(transport.stream(request)) == b"hello"
            assert len(list(transport.send_all([request] * 5))) == 5

        assert in_child(work) == 0
        assert transport.send(request).body == b"hello"
        assert [len(r) for r in server.received[:2]] == [len(server.received[0])] * 2
    # The parent still had its one connection.
    assert server.connections >= 2


def test_the_parents_tls_connection_survives_a_child_that_ends_and_collects(make, authority):
    transport = make(ca_file=str(authority.ca_file))
    with ScriptedServer(OK, tls=authority.server()) as server:
        request = Request("GET", server.url + "/k")
        transport.send(request)

        def work():
            assert transport.send(request).body == b"hello"
            transport.close()
            gc.collect()

        assert in_child(work) == 0
        before = server.connections
        got = transport.send(request)
        assert (got.body, got.attempts) == (b"hello", 1)
        assert server.connections == before


CHILD = """
    import os, sys
    from mediagit_storage.http.transport import Transport
    from mediagit_storage.http.network import TransportOptions
    from mediagit_storage.http.request import Request
    url, ca = sys.argv[1:]
    transport = Transport(TransportOptions(ca_file=ca))
    transport.send(Request("GET", url))
    child = os.fork()
    if child == 0:
        sys.exit(0)  # runs all finalisers of the interpreter
    os.waitpid(child, 0)
    got = transport.send(Request("GET", url))
    print(got.status, got.attempts)
    transport.close()
"""


def test_a_child_that_ends_in_good_order_says_no_goodbye_for_its_parent(authority):
    """Freeing a handle would close the TLS connection that both processes hold."""
    with ScriptedServer(OK, tls=authority.server()) as server:
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CHILD), server.url + "/k", str(authority.ca_file)],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert (result.stdout, result.stderr) == ("200 1\n", "")
        assert server.connections == 1


def test_a_stream_of_the_parent_is_not_for_the_child(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * 20_000_000)], OK) as server:
        got = transport.stream(Request("GET", server.url + "/k"))
        size = len(next(got))

        def work():
            nonlocal got
            with pytest.raises(errors.ConnectionLostError, match="fork"):
                list(got)
            got.close()
            del got
            gc.collect()

        assert in_child(work) == 0
        assert size + sum(map(len, got)) == 20_000_000


def test_a_batch_of_the_parent_survives_a_child(transport):
    with ScriptedServer(OK) as server:
        sending = transport.send_all((Request("GET", server.url + "/k") for _ in range(50)), concurrency=4)
        next(sending)

        def work():
            sending.close()
            gc.collect()

        assert in_child(work) == 0
        assert [each.error for each in sending] == [None] * 49


@pytest.mark.parametrize("round_", range(5))
def test_forks_under_load(transport, round_):
    """Other threads are in the middle of transfers, holding handles, when the child begins."""
    with ScriptedServer(OK) as server:
        request = Request("GET", server.url + "/k")
        stop, wrong = threading.Event(), []

        def load():
            while not stop.is_set():
                try:
                    if transport.send(request).body != b"hello":
                        wrong.append("body")
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for each in threads:
            each.start()
        try:

            def work():
                for _ in range(5):
                    assert transport.send(request).body == b"hello"

            assert [in_child(work) for _ in range(4)] == [0] * 4
        finally:
            stop.set()
            for each in threads:
                each.join()
        assert wrong == []


def test_a_transport_that_was_never_used_before_the_fork(transport):
    with ScriptedServer(OK) as server:
        assert in_child(lambda: transport.send(Request("GET", server.url + "/k"))) == 0


def test_descriptors_do_not_pile_up(transport):
    with ScriptedServer(
        [Repeat([Receive(), answer(200, b"x" * 100_000)])],
    ) as server:
        request = Request("GET", server.url + "/k")

        def once():
            transport.send(request)
            with transport.stream(request) as got:
                next(got)
            sending = transport.send_all([request] * 5, concurrency=3)
            next(sending)
            sending.close()

        once()
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for _ in range(20):
            once()
        deadline = time.monotonic() + 60
        while len(os.listdir("/proc/self/fd")) > before + 10 and time.monotonic() < deadline:
            time.sleep(0.01)  # the server's ends take a moment
        assert len(os.listdir("/proc/self/fd")) <= before + 10


def test_a_failing_server_leaks_nothing(make):
    transport = make(idle_timeout=0.05)
    with ScriptedServer([Receive(), Hang()]) as server:
        for _ in range(10):
            with pytest.raises(errors.StorageTimeoutError):
                transport.send(Request("GET", server.url + "/k"))
        assert len(transport._pool._known) == 0
