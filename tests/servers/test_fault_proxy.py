"""The proxy passes everything unchanged, spoils exactly what it is told to, and says when it was told in vain."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
import time

import pytest

from mediagit_storage.testing.fault_proxy import Fault, FaultProxy, Storm, is_method
from mediagit_storage.testing.toxics import (
    Bandwidth,
    CutAnswer,
    Fail,
    FailAfterwards,
    Hang,
    Latency,
    OneByteAtATime,
    ResetBefore,
    ResetWhileSending,
    SlowClose,
    SwallowAnswer,
    error_in_ok,
    truncated_xml,
    wrong_length,
    wrong_range,
)

XML = b"<List>" + b"<Key>k</Key>" * 100 + b"</List>"


class Origin(http.server.BaseHTTPRequestHandler):
    """Keeps what is put, and answers in every form that HTTP/1.1 has."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self):
        if self.path == "/early":
            self.send_response(403)
            self.send_header("Content-Length", "2")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"no")
            self.close_connection = True
            # As a kind server does, or the answer would be lost with the bytes that it did not read.
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass
            return
        self.server.kept[self.path] = self._body()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        body = self.server.kept.get(self.path, XML)
        self.send_response(206 if "Range" in self.headers else 200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 100):
                piece = body[start : start + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path == "/until-close":
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
            return
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


@pytest.fixture
def origin():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        server.kept = {}
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxied(origin):
    """Makes a proxy before the origin."""
    return lambda *faults, **options: FaultProxy(f"127.0.0.1:{origin.server_port}", faults, **options)


@pytest.fixture
def client():
    """Makes connections, closed in the end."""
    made = []

    def make(proxy, timeout=10):
        made.append(http.client.HTTPConnection(proxy.host, timeout=timeout))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ask(connection, method="GET", path="/x", body=None, headers=(), **options):
    connection.request(method, path, body, dict(headers), **options)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("always", [[], [OneByteAtATime(100_000)]])
@pytest.mark.parametrize("path", ["/x", "/chunked", "/until-close"])
def test_answers_of_every_form_pass_unchanged(proxied, client, always, path):
    with proxied(always=always) as proxy:
        connection = client(proxy)
        for _ in range(2):
            assert ask(connection, path=path) == (200, XML)
        assert ask(connection, "HEAD", path) == (200, b"")
        assert [each.target for each in proxy.requests] == [path] * 3


@pytest.mark.parametrize("always", [[], [OneByteAtATime(1_000)]])
def test_bodies_of_every_form_pass_unchanged(origin, proxied, client, always):
    body = bytes(range(256)) * 4000
    with proxied(always=always) as proxy:
        connection = client(proxy)
        assert ask(connection, "PUT", "/counted", body) == (200, b"")
        pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
        assert ask(connection, "PUT", "/in-chunks", pieces, encode_chunked=True) == (200, b"")
        assert ask(connection, "PUT", "/empty", b"") == (200, b"")
        assert ask(connection, path="/counted") == (200, body)
    assert origin.kept == {"/counted": body, "/in-chunks": body, "/empty": b""}


def test_consent_is_asked_of_the_server(origin, proxied):
    with proxied() as proxy, socket.create_connection(proxy.host.split(":"), timeout=5) as connection:
        connection.sendall(b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert origin.kept["/k"] == b"abc"


def test_an_answer_before_the_body_arrives_whole(proxied, client):
    with proxied() as proxy:
        assert ask(client(proxy), "PUT", "/early", b"x" * 300_000) == (403, b"no")


def test_nothing_is_forwarded_after_a_reset_before(origin, proxied, client):
    with proxied(Fault(ResetBefore())) as proxy:
        with pytest.raises(ConnectionResetError):
            ask(client(proxy), "PUT", "/k", b"abc")
        assert origin.kept == {}
        assert ask(client(proxy), "PUT", "/k", b"abc") == (200, b"")
    assert origin.kept == {"/k": b"abc"}


def test_a_reset_while_sending_leaves_the_server_with_a_part(origin, proxied, client):
    with proxied(Fault(ResetWhileSending(1000))) as proxy, pytest.raises(ConnectionError):
        ask(client(proxy), "PUT", "/k", b"x" * 3_000_000)
    assert len(origin.kept.get("/k", b"")) <= 1000


@pytest.mark.parametrize("reset", [False, True])
def test_a_swallowed_answer_was_still_carried_out(origin, proxied, client, reset):
    with proxied(Fault(SwallowAnswer(reset))) as proxy:
        with pytest.raises(ConnectionResetError if reset else http.client.RemoteDisconnected):
            ask(client(proxy), "PUT", "/k", b"abc")
        assert origin.kept == {"/k": b"abc"}


def test_a_failure_afterwards_was_carried_out_and_one_instead_was_not(origin, proxied, client):
    after = Fault(FailAfterwards(500), matches=is_method("PUT", having="after"))
    instead = Fault(Fail(503, retry_after="7"), matches=is_method("PUT", having="instead"))
    with proxied(after, instead) as proxy:
        connection = client(proxy)
        status, body = ask(connection, "PUT", "/after", b"abc")
        assert (status, b"<Code>InternalError</Code>" in body) == (500, True)
        connection.request("PUT", "/instead", b"abc")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (503, "7")
        assert b"SlowDown" in answer.read()
    assert origin.kept == {"/after": b"abc"}


@pytest.mark.parametrize("path", ["/x", "/chunked"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_answer(proxied, client, path, reset):
    with proxied(Fault(CutAnswer(150, reset)), Fault(CutAnswer(0), nth=2)) as proxy:
        for most in (150, 0):
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as caught:
                ask(client(proxy), path=path)
            if isinstance(caught.value, http.client.IncompleteRead):
                assert len(caught.value.partial) <= most


def test_wrong_lengths(proxied, client):
    faults = [Fault(wrong_length(5)), Fault(wrong_length(-5), nth=2), Fault(wrong_length(0), nth=3)]
    with proxied(*faults) as proxy:
        with pytest.raises(http.client.IncompleteRead):
            ask(client(proxy))
        assert ask(client(proxy)) == (200, XML[:-5])
        assert ask(client(proxy), path="/chunked") == (200, XML)


def test_documents_are_cut_and_replaced(proxied, client):
    with proxied(Fault(truncated_xml()), Fault(error_in_ok("SlowDown"), nth=2)) as proxy:
        connection = client(proxy)
        assert ask(connection, path="/chunked") == (200, XML[: len(XML) // 2])
        status, body = ask(connection)
        assert status == 200
        assert b"<Code>SlowDown</Code>" in body


def test_a_range_that_was_not_asked_for(proxied, client):
    with proxied(Fault(wrong_range(3))) as proxy:
        connection = client(proxy)
        connection.request("GET", "/x", headers={"Range": "bytes=0-"})
        answer = connection.getresponse()
        assert answer.getheader("Content-Range") == f"bytes 3-{len(XML) + 2}/{len(XML)}"
        assert answer.read() == XML


def test_latency_bandwidth_and_hanging(proxied, client):
    faults = [Fault(Latency(0.2)), Fault(Bandwidth(6_000), nth=2), Fault(Hang(), nth=3)]
    with proxied(*faults) as proxy:
        for least in (0.2, 0.15):
            begin = time.monotonic()
            assert ask(client(proxy)) == (200, XML)
            assert time.monotonic() - begin >= least
        with pytest.raises(TimeoutError):
            ask(client(proxy, timeout=0.2))


def test_a_connection_that_closes_late(proxied, client):
    with proxied(Fault(SlowClose(0.05))) as proxy:
        connection = client(proxy)
        assert ask(connection) == (200, XML)
        time.sleep(0.3)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            ask(connection)


def test_faults_count_the_requests_that_they_are_meant_for(proxied, client):
    second_put = Fault(Fail(500), nth=2, times=2, matches=is_method("PUT"))
    with proxied(second_put) as proxy:
        asked = [
            ask(client(proxy), method, "/k", b"x" if method == "PUT" else None)[0] for method in ("PUT", "GET") * 4
        ]
    assert asked == [200, 200, 500, 200, 500, 200, 200, 200]
    assert second_put.used == 2


def test_an_unused_fault_is_an_error(proxied, client):
    with pytest.raises(AssertionError, match="never struck"), proxied(Fault(Fail(), nth=2)) as proxy:
        ask(client(proxy))


def test_an_idle_storm_is_an_error(proxied, client):
    with pytest.raises(AssertionError, match="storm never struck"), proxied(storm=Storm([Fail()], rate=0.0)) as proxy:
        ask(client(proxy))


def test_an_error_of_the_test_is_not_covered_up(proxied):
    with pytest.raises(KeyError, match="of the test"), proxied(Fault(Fail())):
        raise KeyError("of the test")


def test_a_storm_is_the_same_for_the_same_seed_and_lets_everything_through_in_the_end(proxied, client):
    def weather(seed):
        with proxied(storm=Storm([Fail(500), Fail(503)], seed=seed, rate=0.6, in_a_row=2)) as proxy:
            return [ask(client(proxy), path=f"/{number % 10}")[0] for number in range(60)]

    first = weather(1)
    assert first == weather(1)
    assert first != weather(2)
    assert set(first) == {200, 500, 503}
    for path in range(10):
        runs = "".join("." if status == 200 else "x" for status in first[path::10])
        assert "xxx" not in runs


def test_a_server_that_is_gone_is_a_lost_connection(client):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with FaultProxy(f"127.0.0.1:{port}") as proxy, pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(client(proxy))
