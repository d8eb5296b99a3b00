"""One request and its answer: every way in which a server or the network can misbehave."""

from __future__ import annotations

import os
import resource
import threading
import time

import pytest

from mediagit_storage import errors
from mediagit_storage.http.faults import FaultKind, fault_of
from mediagit_storage.http.request import FileBody, PiecesBody, Request
from mediagit_storage.testing.scripted_server import (
    Call,
    Close,
    Drip,
    Hang,
    Pause,
    Receive,
    ReceiveHead,
    ReceivePart,
    Repeat,
    Reset,
    ScriptedServer,
    Send,
    answer,
)

OK = [Repeat([Receive(), answer(200, b"hello", [("ETag", '"e"'), ("X-Two", "a"), ("x-two", "b")])])]


def get(server: ScriptedServer, path: str = "/b/k", **more) -> Request:
    return Request("GET", server.url + path, **more)


def put(server: ScriptedServer, body, **more) -> Request:
    return Request("PUT", server.url + "/b/k", body=body, **more)


def kind_of(caught) -> FaultKind:
    fault = fault_of(caught.value)
    assert fault is not None
    return fault.kind


# ---- what goes well


def test_a_get(transport):
    with ScriptedServer(OK) as server:
        got = transport.send(get(server, headers=(("X-One", "1"), ("X-Empty", ""))))
        again = transport.send(get(server))
    assert (got.status, got.body, got.attempts, got.cut) == (200, b"hello", 1, False)
    assert got.headers.get("etag") == '"e"'
    assert got.headers.get("X-TWO") == "a, b"
    assert got.headers.get("nope") is None
    assert "ETAG" in got.headers
    assert again.body == b"hello"
    # Nothing that was not asked for travels, and the connection is used again.
    lines = server.received[0].decode().split("\r\n")
    assert lines[0] == "GET /b/k HTTP/1.1"
    names = sorted(line.partition(":")[0] for line in lines[1:] if line)
    assert names == ["Host", "User-Agent", "X-Empty", "X-One"]
    assert server.connections == 1


@pytest.mark.parametrize(
    "path", ["/a//b", "/a/../b", "/./x", "/%2F%2E%2E/+?x=%2B%2f&y", "/~a*b'(c)", "/?list&x=a/b", ""]
)
def test_urls_travel_exactly_as_given(transport, path):
    with ScriptedServer(OK) as server:
        transport.send(get(server, path))
    assert server.received[0].startswith(b"GET " + (path or "/").encode() + b" HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["PUT", "POST", "PROPFIND", "MKCOL"])
@pytest.mark.parametrize("body", [b"", b"x", b"\0\r\n" * 5000, b"y" * 2_000_000])
def test_bodies_of_bytes(transport, method, body):
    with ScriptedServer(OK) as server:
        transport.send(Request(method, server.url + "/k", body=body))
    head, _, sent = server.received[0].partition(b"\r\n\r\n")
    assert head.startswith(method.encode() + b" /k ")
    assert sent == body
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Expect" not in head
    assert b"Content-Type" not in head


def test_fields_that_libcurl_knows_travel_once_and_as_given(transport):
    fields = (("accept", "a/b"), ("CONTENT-TYPE", "c/d"), ("User-Agent", "mine/1"), ("Host", "other.example:1"))
    with ScriptedServer(OK) as server:
        transport.send(put(server, b"x", headers=fields))
    lines = server.received[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    assert sorted(lines) == sorted([*(f"{name}: {value}" for name, value in fields), "Content-Length: 1"])


@pytest.mark.parametrize("method", ["DELETE", "MOVE", "PROPFIND", "OPTIONS"])
def test_methods_without_a_body(transport, method):
    with ScriptedServer(OK) as server:
        assert transport.send(Request(method, server.url + "/k")).status == 200
    assert server.received[0].startswith(method.encode() + b" /k HTTP/1.1\r\n")
    assert b"Content-Length" not in server.received[0]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_put_or_post_without_a_body_says_that_it_is_empty(transport, method):
    with ScriptedServer(OK) as server:
        transport.send(Request(method, server.url + "/k"))
    assert b"Content-Length: 0" in server.received[0]


def test_a_head_has_no_body_whatever_its_length_says(transport):
    with ScriptedServer([Repeat([Receive(), answer(200, b"", length=123)])]) as server:
        got = transport.send(Request("HEAD", server.url + "/k"))
        assert (got.status, got.body, got.headers.get("content-length")) == (200, b"", "123")
        transport.send(Request("HEAD", server.url + "/k"))
    assert server.connections == 1


def test_a_file_is_sent_in_part_and_by_position(transport, tmp_path):
    data = bytes(range(256)) * 8000
    (tmp_path / "f").write_bytes(data)
    with ScriptedServer(OK) as server, (tmp_path / "f").open("rb") as file:
        transport.send(put(server, FileBody(file.fileno(), 1000, 1_500_000)))
        assert file.tell() == 0
    assert server.received[0].partition(b"\r\n\r\n")[2] == data[1000:1_501_000]


def test_a_body_of_unknown_size_travels_in_chunks(transport):
    with ScriptedServer(OK) as server:
        transport.send(put(server, PiecesBody(iter([b"ab", b"", memoryview(b"cde")]))))
    head, _, body = server.received[0].partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"2\r\nab\r\n" in body
    assert body.endswith(b"0\r\n\r\n")


def test_a_body_of_pieces_with_a_size(transport):
    with ScriptedServer(OK) as server:
        transport.send(put(server, PiecesBody(iter([b"ab"] * 1000), 2000)))
    head, _, body = server.received[0].partition(b"\r\n\r\n")
    assert b"Content-Length: 2000" in head
    assert body == b"ab" * 1000


def test_an_error_of_the_bodys_source_comes_back_unchanged(transport):
    def pieces():
        yield b"x" * 10
        raise OSError(28, "No space left on device")

    with ScriptedServer([Receive(), answer()]) as server:
        with pytest.raises(OSError, match="No space left") as caught:
            transport.send(put(server, PiecesBody(pieces(), 1000)))
        assert type(caught.value) is OSError
    assert not server.received


def test_a_file_that_became_shorter_sends_nothing_whole(transport, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 10)
    with ScriptedServer([Receive(), answer()]) as server, (tmp_path / "f").open("rb") as file:
        with pytest.raises(errors.StorageError):
            transport.send(put(server, FileBody(file.fileno(), 0, 1000)))
    assert not server.received


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(transport, status):
    head = f"HTTP/1.1 {status} Word\r\nETag: x\r\n\r\n".encode()
    with ScriptedServer([Repeat([Receive(), Send(head)])]) as server:
        assert transport.send(get(server)).status == status
        assert transport.send(get(server)).body == b""
    assert server.connections == 1


def test_a_204_with_a_length_of_zero(transport):
    with ScriptedServer([Repeat([Receive(), answer(204)])]) as server:
        assert transport.send(get(server)).body == b""


def test_a_206(transport):
    with ScriptedServer([Receive(), answer(206, b"lo", [("Content-Range", "bytes 3-4/5")])]) as server:
        got = transport.send(get(server, headers=(("Range", "bytes=3-4"),)))
    assert (got.status, got.body, got.headers.get("content-range")) == (206, b"lo", "bytes 3-4/5")


def test_chunks_and_trailers(transport):
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: late\r\n\r\n"
    with ScriptedServer([Receive(), Send(text)]) as server:
        got = transport.send(get(server))
    assert got.body == b"hello!"
    assert "x-sum" not in got.headers


def test_interim_answers_do_not_count(transport):
    text = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with ScriptedServer([Receive(), Send(text), answer(201, b"ok")]) as server:
        got = transport.send(get(server))
    assert (got.status, got.body, got.headers.get("link")) == (201, b"ok", None)


def test_answers_with_the_same_fields_have_their_own_status(transport):
    """What a handle has learned of one answer says nothing about the status of the next."""
    interim = Send(b"HTTP/1.1 103 Early\r\n\r\n")
    steps = [Receive(), answer(200), Receive(), answer(404), Receive(), answer(404), Receive(), interim, answer(200)]
    with ScriptedServer(steps) as server:
        answers = [transport.send(get(server)) for _ in range(4)]
    assert [each.status for each in answers] == [200, 404, 404, 200]
    assert len({tuple(name for name, _ in each.headers) for each in answers}) == 1
    assert server.connections == 1


def test_many_headers_and_odd_ones(transport):
    odd = [("X-Meta", "gr\u00fcn"), ("X-Colon", "a:b:c"), ("X-Empty", "")]
    raw = b"X-Latin: \xfcber\r\nX-Fold: one\r\n two\r\n"
    text = answer(200, b"", [*odd, *((f"X-{n}", str(n)) for n in range(200))]).data
    with ScriptedServer([Receive(), Send(text.replace(b"X-Colon", raw + b"X-Colon"))]) as server:
        got = transport.send(get(server))
    assert got.headers.get("x-meta") == "gr\u00fcn"
    assert got.headers.get("x-latin") == "\u00fcber"
    assert got.headers.get("x-fold") == "one two"
    assert got.headers.get("x-colon") == "a:b:c"
    assert got.headers.get("x-empty") == ""
    assert got.headers.get("x-199") == "199"


# ---- lengths


def test_a_body_shorter_than_its_length_is_an_error(transport):
    with ScriptedServer([Receive(), answer(200, b"hello", length=10)]) as server:
        with pytest.raises(errors.TruncatedError, match="after 5 bytes") as caught:
            transport.send(get(server))
    assert kind_of(caught) is FaultKind.TRUNCATED


def test_what_follows_a_body_does_not_belong_to_it(transport):
    with ScriptedServer([Receive(), answer(200, b"hello", length=3), Hang()], OK) as server:
        assert transport.send(get(server)).body == b"hel"
        # And the connection on which it came is not trusted again.
        assert transport.send(get(server)).body == b"hello"


@pytest.mark.parametrize("length", ["-5", "x", "1x", "99999999999999999999999"])
def test_a_length_that_is_none(transport, length):
    with ScriptedServer([Receive(), answer(200, b"hello", [("Content-Length", length)])]) as server:
        with pytest.raises(errors.StorageError):
            transport.send(get(server))


def test_two_different_lengths(transport):
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello"
    with ScriptedServer([Receive(), Send(text)]) as server:
        with pytest.raises(errors.StorageError):
            transport.send(get(server))


def test_a_body_with_neither_length_nor_chunks_is_refused(transport):
    with ScriptedServer([Receive(), Send(b"HTTP/1.0 200 OK\r\nETag: x\r\n\r\nhello")]) as server:
        with pytest.raises(errors.TruncatedError, match="neither length nor chunks"):
            transport.send(get(server))


def test_unless_the_caller_can_tell_if_it_is_whole(transport):
    with ScriptedServer([Receive(), Send(b"HTTP/1.0 200 OK\r\n\r\n<xml/>")]) as server:
        assert transport.send(get(server, self_checking=True)).body == b"<xml/>"


def test_an_http_10_answer_with_a_length(transport):
    with ScriptedServer([Receive(), answer(200, b"hello", version="1.0")]) as server:
        assert transport.send(get(server)).body == b"hello"


def test_an_error_with_neither_length_nor_chunks_keeps_its_status(transport):
    with ScriptedServer([Receive(), Send(b"HTTP/1.0 503 Slow\r\n\r\nplease")]) as server:
        got = transport.send(get(server))
    assert (got.status, got.body) == (503, b"please")


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le",
     b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
     b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("end", [Close(), Reset()])
def test_a_head_that_is_cut_off_is_no_answer(transport, head, end):
    with ScriptedServer([Receive(), Send(head), Pause(0.02), end]) as server:
        with pytest.raises(errors.ConnectionLostError):
            transport.send(get(server))


@pytest.mark.parametrize(
    "text", [b"garbage\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"HTTP/9.9 200\r\n\r\n"]
)
def test_what_is_not_http_is_no_answer(transport, text):
    with ScriptedServer([Receive(), Send(text)]) as server:
        with pytest.raises(errors.ConnectionLostError):
            transport.send(get(server))


@pytest.mark.parametrize(
    "chunks", [b"5\r\nhel", b"5\r\nhello\r\n", b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n"]
)
def test_chunks_that_are_cut_or_garbled(transport, chunks):
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with ScriptedServer([Receive(), Send(text + chunks)]) as server:
        with pytest.raises((errors.TruncatedError, errors.ConnectionLostError)):
            transport.send(get(server))


# ---- bounds


def test_a_body_larger_than_allowed(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * 1_000_000)]) as server:
        with pytest.raises(errors.LimitExceededError, match="100,000 bytes"):
            transport.send(get(server, max_body=100_000))


def test_a_body_just_as_large_as_allowed(transport):
    with ScriptedServer(*[[Receive(), answer(200, b"x" * 100_000)]] * 2) as server:
        assert len(transport.send(get(server, max_body=100_000)).body) == 100_000
        with pytest.raises(errors.LimitExceededError):
            transport.send(get(server, max_body=99_999))


def test_the_body_of_an_error_is_bounded(transport):
    """10 MB of error page are not read; the status counts."""
    with ScriptedServer([Receive(), answer(500, b"e" * 10_000_000)], OK) as server:
        got = transport.send(get(server))
        assert (got.status, got.cut) == (500, True)
        assert len(got.body) <= 64 * 1024
        assert transport.send(get(server)).body == b"hello"


def test_an_error_whose_body_breaks_off_keeps_its_status(transport):
    with ScriptedServer([Receive(), answer(403, b"<Error>", length=500), Reset()]) as server:
        got = transport.send(get(server))
    assert (got.status, got.cut) == (403, True)


def test_a_head_without_end(transport):
    with ScriptedServer([Receive(), Send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 400_000)]) as server:
        with pytest.raises(errors.LimitExceededError):
            transport.send(get(server))


# ---- connections that break


def test_a_refused_connection(transport):
    with ScriptedServer() as server:
        url = server.url
    with pytest.raises(errors.ConnectionLostError, match="refused") as caught:
        transport.send(Request("GET", url + "/k?X-Amz-Signature=canary"))
    assert fault_of(caught.value).sent == 0
    assert kind_of(caught) is FaultKind.CONNECT
    assert "canary" not in repr(caught.value)


def test_a_name_that_does_not_resolve(make):
    with pytest.raises(errors.ConnectionLostError, match="cannot be resolved") as caught:
        make(allow_http=True).send(Request("GET", "http://nowhere.invalid/k"))
    assert kind_of(caught) is FaultKind.NAME


@pytest.mark.parametrize(
    "steps", [[Reset()], [ReceiveHead(), Reset()], [ReceivePart(100_000), Reset()], [Receive(), Reset()], [Receive()]]
)
def test_resets_before_and_after_sending(transport, steps):
    with ScriptedServer(steps) as server:
        with pytest.raises(errors.ConnectionLostError) as caught:
            transport.send(put(server, b"x" * 3_000_000))
    assert caught.value.retryable
    # Before the first byte it may count as "not connected".
    assert kind_of(caught) in {FaultKind.LOST, FaultKind.CONNECT}


def test_a_reset_in_the_middle_of_a_body(transport):
    with ScriptedServer([Receive(), answer(200, b"x" * 5000, length=10_000), Pause(0.05), Reset()]) as server:
        with pytest.raises((errors.ConnectionLostError, errors.TruncatedError)):
            transport.send(get(server))


def test_an_error_before_the_body_is_read(transport):
    """A server that refuses at once and closes: the refusal is what counts."""
    steps = [ReceiveHead(), answer(403, b"no", [("Connection", "close")]), Pause(0.2)]
    with ScriptedServer(steps) as server:
        assert transport.send(put(server, b"x" * 5_000_000)).status == 403


def test_100_continue(transport):
    steps = [ReceiveHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), ReceivePart(5), answer(200)]
    with ScriptedServer(steps) as server:
        assert transport.send(put(server, b"hello", expect_continue=True)).status == 200
    assert b"Expect: 100-continue" in server.received[0]
    assert server.received[1] == b"hello"


def test_100_continue_refused(transport):
    with ScriptedServer([ReceiveHead(), answer(403, b"no"), Hang()]) as server:
        assert transport.send(put(server, b"x" * 3_000_000, expect_continue=True)).status == 403


def test_a_server_that_says_nothing_to_100_continue_gets_the_body_after_a_moment(transport):
    with ScriptedServer([Receive(), answer(200)]) as server:
        assert transport.send(put(server, b"hello", expect_continue=True)).status == 200


# ---- kept connections


def test_a_kept_connection_that_died_quietly(transport):
    with ScriptedServer([Receive(), answer(), Close()], OK) as server:
        transport.send(get(server))
        time.sleep(0.1)
        got = transport.send(get(server))
    # Found out before or while it was used: both are fine, and told apart.
    assert (got.status, got.attempts in {1, 2}) == (200, True)
    assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_a_kept_connection_that_dies_when_used_is_told(transport, method):
    """libcurl sends again by itself, also what is not idempotent: the answer tells of it."""
    with ScriptedServer([Receive(), answer(), Receive(), Reset()], OK) as server:
        transport.send(get(server))
        got = transport.send(Request(method, server.url + "/k", body=b"x" if method in {"PUT", "POST"} else None))
    assert (got.status, got.attempts) == (200, 2)
    assert len(server.received) == 3


def test_a_body_that_cannot_be_read_twice_is_not_sent_twice(transport):
    with ScriptedServer([Receive(), answer(), Receive(), Reset()], OK) as server:
        transport.send(get(server))
        with pytest.raises(errors.ConnectionLostError, match="read only once") as caught:
            transport.send(put(server, PiecesBody(iter([b"x" * 10]), 10)))
    assert kind_of(caught) is FaultKind.REWIND


def test_a_file_is_rewound_and_sent_again(transport, tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with ScriptedServer([Receive(), answer(), Receive(), Reset()], OK) as server, (tmp_path / "f").open("rb") as file:
        transport.send(get(server))
        assert transport.send(put(server, FileBody(file.fileno(), 2, 5))).attempts == 2
    assert server.received[-1].endswith(b"23456")


def test_a_fresh_connection_is_never_sent_on_twice(transport):
    with ScriptedServer([Receive(), answer(), Hang()], [Receive(), Reset()], OK) as server:
        transport.send(get(server))
        with pytest.raises(errors.ConnectionLostError):
            transport.send(get(server, fresh_connection=True))
    assert server.connections == 2


def test_an_unasked_408_on_an_idle_connection_answers_nothing(transport):
    late = Send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with ScriptedServer([Receive(), answer(), late, Close()], OK) as server:
        transport.send(get(server))
        # libcurl looks at idle connections once a second.
        time.sleep(1.2)
        assert transport.send(get(server)).status == 200


def test_connection_close_is_honoured(transport):
    with ScriptedServer([Receive(), answer(200, b"", [("Connection", "close")]), Hang()], OK) as server:
        transport.send(get(server))
        transport.send(get(server))
    assert server.connections == 2


# ---- time


def test_a_server_that_says_nothing(make):
    with ScriptedServer([Receive(), Hang()]) as server:
        began = time.monotonic()
        with pytest.raises(errors.StorageTimeoutError, match=r"did nothing for 0\.3 s") as caught:
            make(idle_timeout=0.3).send(get(server))
        assert 0.25 < time.monotonic() - began < 10
    assert kind_of(caught) is FaultKind.IDLE
    assert fault_of(caught.value).sent == 1


def test_a_server_that_stops_reading(make):
    with ScriptedServer([ReceivePart(1000), Pause(30)]) as server:
        with pytest.raises(errors.StorageTimeoutError) as caught:
            make(idle_timeout=0.3).send(put(server, b"x" * 50_000_000))
    assert kind_of(caught) is FaultKind.IDLE


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_server_that_stops_half_way(make, where):
    text = answer(200, b"x" * 1000).data
    with ScriptedServer([Receive(), Send(text[: 20 if where == "head" else -10]), Hang()]) as server:
        with pytest.raises(errors.StorageTimeoutError):
            make(idle_timeout=0.3).send(get(server))


def test_a_slow_drip_is_no_standstill(make):
    with ScriptedServer([Receive(), Drip(answer(200, b"hello").data, 0.03)]) as server:
        began = time.monotonic()
        assert make(idle_timeout=1).send(get(server)).body == b"hello"
        assert time.monotonic() - began > 1


def test_a_slow_drip_ends_with_the_total_time(make):
    with ScriptedServer([Receive(), Drip(answer(200, b"x" * 1000).data, 0.02)]) as server:
        began = time.monotonic()
        with pytest.raises(errors.StorageTimeoutError, match=r"took longer than 0\.4 s") as caught:
            make(total_timeout=0.4).send(get(server))
        assert 0.35 < time.monotonic() - began < 10
    assert kind_of(caught) is FaultKind.TOTAL


def test_a_request_may_be_more_patient_than_its_transport(make):
    with ScriptedServer([Receive(), Pause(0.5), answer(200, b"late")]) as server:
        assert make(idle_timeout=0.2).send(get(server, idle_timeout=30)).body == b"late"


def test_connecting_has_its_own_limit(make):
    """TLS to a server that never says hello: the connection is not there yet."""
    with ScriptedServer([Hang()]) as server:
        began = time.monotonic()
        with pytest.raises(errors.StorageTimeoutError, match=r"no connection within 0\.3 s") as caught:
            make(connect_timeout=0.3).send(Request("GET", server.url.replace("http:", "https:")))
        assert time.monotonic() - began < 10
    assert kind_of(caught) is FaultKind.CONNECT_TIMEOUT
    assert fault_of(caught.value).sent == 0


# ---- progress


def test_progress_of_a_download(transport):
    seen: list[int] = []
    with ScriptedServer([Receive(), answer(200, b"x" * 30_000_000)]) as server:
        transport.send(get(server), progress=seen.append)
    assert sum(seen) == 30_000_000
    assert len(seen) > 1


@pytest.mark.parametrize("source", [False, True])
def test_progress_of_an_upload(transport, source):
    seen: list[int] = []
    body = PiecesBody(iter([b"x" * 100_000] * 30), 3_000_000) if source else b"x" * 3_000_000
    with ScriptedServer(OK) as server:
        transport.send(put(server, body), progress=seen.append)
    assert sum(seen) == 3_000_000


# ---- threads


def test_many_threads(transport):
    with ScriptedServer(OK) as server:
        wrong: list[object] = []

        def work():
            for _ in range(20):
                got = transport.send(get(server))
                if (got.status, got.body) != (200, b"hello"):
                    wrong.append(got)

        threads = [threading.Thread(target=work) for _ in range(32)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert wrong == []
        assert len(server.received) == 640
        # Short-lived threads share what others have opened.
        assert server.connections <= 32


def test_after_close_nothing_is_sent(transport):
    with ScriptedServer(OK) as server:
        transport.send(get(server))
        transport.close()
        transport.close()
        with pytest.raises(errors.ClosedError):
            transport.send(get(server))


def test_an_event_can_be_played(transport):
    happened = threading.Event()
    with ScriptedServer([Receive(), Call(happened.set), answer()]) as server:
        transport.send(get(server))
    assert happened.is_set()


# ---- handles and descriptors


def test_a_handle_carries_requests_of_every_kind_one_after_the_other(transport, tmp_path):
    """What one request set up never shows in the next."""
    path = tmp_path / "file"
    path.write_bytes(b"from a file")
    kinds: list[tuple[str, bytes | None, bool]] = [
        ("GET", None, False), ("GET", None, False), ("PUT", b"body", False), ("PUT", b"", False), ("PUT", None, False),
        ("POST", b"p" * 100_000, False), ("POST", b"q", False), ("DELETE", None, False),
        ("PROPFIND", b"<x/>", False), ("GET", None, True), ("GET", None, False), ("PUT", b"again", False),
    ]  # fmt: skip
    with ScriptedServer(OK) as server, path.open("rb") as file:
        for method, body, fresh in kinds:
            got = transport.send(Request(method, f"{server.url}/{method}", body=body, fresh_connection=fresh))
            assert (got.status, got.body) == (200, b"hello")
            head, _, sent = server.received[-1].partition(b"\r\n\r\n")
            assert head.startswith(f"{method} /{method} ".encode())
            assert sent == (body or b"")
            assert (b"Content-Length" in head) == (body is not None or method in {"PUT", "POST"})
            transport.send(put(server, FileBody(file.fileno(), 5, 6)))
            assert server.received[-1].endswith(b"\r\n\r\na file")


def test_descriptors_above_1023_work(transport):
    """`select` cannot see them; nobody waits for them, or spins, because of that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    many: list[int] = []
    try:
        many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        with ScriptedServer(OK) as server:
            for body in (b"x", b"y" * 3_000_000):
                assert transport.send(Request("PUT", f"{server.url}/k", body=body)).body == b"hello"
                assert server.received[-1].endswith(b"\r\n\r\n" + body)
            with transport.stream(Request("GET", f"{server.url}/k")) as stream:
                assert b"".join(stream) == b"hello"
            transport.close()
    finally:
        for each in many:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
