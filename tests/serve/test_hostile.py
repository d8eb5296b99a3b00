"""Requests that no honest client makes: each is refused, and the next one is answered."""

from __future__ import annotations

import pytest

from mediagit_storage.testing.covers import covers

from .gateways import TOKEN, Served, wait_for

_HOST = b"Host: x\r\n"


@pytest.fixture(autouse=True)
def alive(full: Served):
    """Whatever was sent: afterwards the gateway answers as before."""
    full.storage.put("inside", b"data")
    yield
    assert full.get("/inside").body == b"data"


@covers(238)
@pytest.mark.parametrize(
    "target",
    [
        b"/../etc/passwd",
        b"/a/../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/%2e%2e%2fetc%2fpasswd",
        b"/a/%2E%2E%2F%2E%2E%2Fetc",
        b"/..%2f..%2fetc",
        b"/-/o/../../etc/passwd",
        b"/-/o/%2e%2e/etc/passwd",
        b"/%252e%252e%252fetc%252fpasswd",
        b"//etc/passwd",
        b"///etc/passwd",
        b"/%2fetc/passwd",
        b"/..%5c..%5cetc",
        b"/a%00.png",
        b"/a%0d%0aSet-Cookie:%20a=b",
        b"/%0a",
        b"/%1b%5b2J",
        b"/%zz",
        b"/%",
        b"/a#b",
        b"/%c0%ae%c0%ae/x",
        b"/" + b"a" * 1025,
        b"http://localhost/inside",
        b"http://evil.example/inside",
        b"*",
        b"inside",
        b"/-/../inside",
        b"/-/static/../../../etc/passwd",
        b"/-/static/%2e%2e/%2e%2e/app.py",
    ],
)
def test_hostile_targets(full: Served, target: bytes) -> None:
    answer = full.raw(b"GET " + target + b" HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n")
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500, answer
    assert b"root:" not in answer
    assert b"set-cookie" not in answer.lower()


@covers(239)
@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /inside HTTP/1.1\r\n\r\n",
        b"GET /inside HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /inside HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n",
        b"GET /inside HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /in side HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /inside HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /inside\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100 + b"\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"PUT /a HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer %b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        % TOKEN.encode(),
        b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"GET /inside HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_hostile_heads(full: Served, request_head: bytes) -> None:
    assert 400 <= full.status_of(request_head) < 600
    assert not full.storage.exists("a")


def test_no_redirect_repeats_the_name_that_a_client_chose(full: Served) -> None:
    for path in ("/-/healthz/", "/-/metrics//evil.example"):
        answer = full.ask("GET", path, {"Host": "evil.example"})
        assert (answer.status, "location" in answer.headers) == (404, False)


@covers(239)
def test_a_length_and_chunks_together_smuggle_nothing(full: Served) -> None:
    smuggled = b"DELETE /inside HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    body = b"0\r\n\r\n" + smuggled
    head = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % len(body)
    full.raw(head + body)
    assert full.storage.exists("inside")
    assert not full.storage.exists("a")


@covers(239)
@pytest.mark.parametrize("chunk", [b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"5\r\nhello!!\r\n", b"f" * 30 + b"\r\n"])
def test_broken_chunks_store_nothing(full: Served, chunk: bytes) -> None:
    head = f"PUT /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    full.raw(head.encode() + chunk + b"0\r\n\r\n")
    assert not full.storage.exists("a")


def test_a_connection_does_not_become_something_else(full: Served) -> None:
    answer = full.raw(
        b"GET /inside HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert full.status_of(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n") == 400


def test_requests_in_a_row_are_answered_in_a_row(full: Served) -> None:
    for number in range(5):
        full.storage.put(f"row{number}", b"body %d" % number)
    requests = b"".join(b"GET /row%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(4))
    answers = full.raw(requests + b"GET /row4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [answers.index(b"body %d" % number) for number in range(5)] == sorted(
        answers.index(b"body %d" % number) for number in range(5)
    )


def test_the_log_takes_what_clients_say_as_it_is(full: Served) -> None:
    full.raw(b"GET /inside HTTP/1.1\r\nHost: x\r\nUser-Agent: a\x7fb\xff\r\nConnection: close\r\n\r\n")
    full.get("/inside", user_agent='quoted " and \\')
    wait_for(lambda: full.log[-1].agent == 'quoted " and \\')
    assert full.log[-1].target == "/inside"
