"""Putting and deleting over HTTP: for those who have the token, all or nothing, on conditions."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from dataclasses import dataclass

import pytest

from mediagit_storage import errors
from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.base import Layer
from mediagit_storage.secrets import Secret
from mediagit_storage.source import Source
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.wrappers import WithoutCapabilities
from mediagit_storage.types import ObjectInfo, PutOptions

from .gateways import BEARER, TOKEN, Served, received, wait_for

LARGE = bytes(range(256)) * 12_000  # more than is taken into memory


@dataclass(frozen=True)
class _None:
    """No options."""


class _Full(Layer):
    """A disk that is full when some of an object has arrived."""

    layer_name = "full"

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner, _None())

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        for _ in source.chunks():
            raise errors.CapacityError("the disk of the secret place is full")
        raise AssertionError("nothing came")


def _put(full: Served, path: str, body: bytes, **headers: str) -> int:
    return full.ask(
        "PUT", path, {**BEARER, **{name.replace("_", "-"): text for name, text in headers.items()}}, body
    ).status


@pytest.mark.parametrize("body", [b"", b"small", LARGE])
def test_what_was_put_comes_back(full: Served, body: bytes) -> None:
    answer = full.ask("PUT", "/in/new%20one.png", BEARER, body)
    assert answer.status == 204
    got = full.get("/in/new%20one.png")
    assert (got.body, got.headers["etag"], got.headers["content-type"]) == (body, answer.headers["etag"], "image/png")
    assert full.ask("DELETE", "/in/new%20one.png", BEARER).status == 204
    assert full.get("/in/new%20one.png").status == 404
    assert full.ask("DELETE", "/in/new%20one.png", BEARER).status == 204


def test_attributes_are_kept(full: Served) -> None:
    _put(full, "/a.bin", b"x", content_type="text/x-mine", cache_control="max-age=5", content_disposition="attachment")
    headers = full.get("/a.bin").headers
    assert headers["content-type"] == "text/x-mine"
    assert headers["cache-control"] == "max-age=5"
    assert headers["content-disposition"] == "attachment"


def test_file_names_come_back_as_they_were_sent(full: Served) -> None:
    for sent in ('inline; filename="é日本"'.encode(), b'inline; filename="\xe9"'):
        name = sent.decode("latin-1")  # as bytes go over this client
        assert _put(full, "/named", b"x", content_disposition=name) == 204
        expected = sent if b"\xe6" in sent else 'inline; filename="é"'.encode()
        assert full.get("/named").headers["content-disposition"].encode("latin-1") == expected


def test_an_upload_without_a_body_replaces_nothing(full: Served) -> None:
    full.storage.put("kept", b"kept")
    head = f"PUT /kept HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    assert full.status_of(f"{head}\r\n".encode()) == 411
    assert full.storage.get("kept") == b"kept"
    assert full.status_of(f"{head}Content-Length: 0\r\n\r\n".encode()) == 204
    assert full.storage.get("kept") == b""


def test_who_asks_before_a_large_upload_is_told_before_it(full: Served) -> None:
    full.storage.put("taken", b"kept")
    head = "PUT /{} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nIf-None-Match: *\r\n{}\r\n"
    bearer = f"Authorization: Bearer {TOKEN}\r\n"
    for name, token, status in (("taken", "", b" 401 "), ("taken", bearer, b" 412 ")):
        # The connection ends: what the client sends next is no body.
        answer = full.raw(head.format(name, token).encode())
        assert status in answer.partition(b"\r\n")[0]
        assert b"connection: close" in answer.lower()
    full.storage.delete("free")
    with full.connect() as connection:
        connection.sendall(head.format("free", bearer).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        assert b" 201 " in connection.recv(65536)
    assert full.storage.get("free") == b"hello"
    assert full.storage.get("taken") == b"kept"


def test_pieces_without_a_length(full: Served) -> None:
    with full.connect() as connection:
        head = f"PUT /pieces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        assert b" 204 " in connection.recv(65536)
    assert full.storage.get("pieces") == b"hello world"


@covers(240)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic d3Jvbmc6d3Jvbmc=", TOKEN])
def test_nobody_else_writes(full: Served, authorization: str | None) -> None:
    full.storage.put("kept", b"kept")
    headers = {} if authorization is None else {"Authorization": authorization}
    for method in ("PUT", "DELETE"):
        answer = full.ask(method, "/kept", headers, b"new" if method == "PUT" else None)
        assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
    foreign = {**BEARER, "Origin": "https://evil.example"}
    assert full.ask("PUT", "/kept", foreign, b"new").status == 403
    assert full.storage.get("kept") == b"kept"


def test_other_methods_are_refused(full: Served, serve, memory) -> None:
    for method in ("POST", "PATCH", "MOVE", "TRACE"):
        answer = full.ask(method, "/kept", BEARER)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE, OPTIONS")
    served = serve(memory, token=Secret(TOKEN))
    assert served.ask("PUT", "/a", BEARER, b"x").status == 405
    assert served.ask("DELETE", "/a", BEARER).status == 405


def test_conditions(full: Served) -> None:
    assert _put(full, "/once", b"1", if_none_match="*") == 201
    assert _put(full, "/once", b"2", if_none_match="*") == 412
    tag = full.get("/once").headers["etag"]
    assert _put(full, "/once", b"3", if_match='"other"') == 412
    assert _put(full, "/once", b"3", if_match=tag) == 204
    assert _put(full, "/once", b"4", if_match=tag) == 412
    assert _put(full, "/never", b"4", if_match="*") == 412
    assert full.ask("DELETE", "/once", {**BEARER, "If-Match": tag}).status == 412
    assert full.storage.get("once") == b"3"
    assert full.ask("DELETE", "/once", {**BEARER, "If-Match": full.get("/once").headers["etag"]}).status == 204
    assert not full.storage.exists("never")


def test_a_storage_without_conditions_says_so(serve) -> None:
    with Storage(WithoutCapabilities(MemoryBackend(), "if_absent", "if_match")) as storage:
        served = serve(storage, writable=True, token=Secret(TOKEN))
        assert _put(served, "/a", b"x", if_none_match="*") == 501
        assert _put(served, "/a", b"x") == 204
        assert _put(served, "/a", b"x", if_match=served.get("/a").headers["etag"]) == 501


def test_other_bytes_than_announced_store_nothing(full: Served) -> None:
    digest = base64.b64encode(hashlib.md5(b"announced", usedforsecurity=False).digest()).decode()
    assert _put(full, "/checked", b"announced", content_md5=digest) == 204
    for body in (b"other", LARGE):
        assert _put(full, "/checked", body, content_md5=digest) == 400
    assert _put(full, "/checked", b"x", content_md5="nonsense") == 400
    assert _put(full, "/checked", b"x", content_range="bytes 0-0/5") == 400
    assert full.storage.get("checked") == b"announced"


def test_keys_that_must_not_be_written(full: Served) -> None:
    for path in ("/a//b", "/folder/", "/%2e%2e/x", "/a%00b"):
        assert _put(full, path, b"x") == 400, path
    assert _put(full, "/-/browse/x", b"x") in {404, 405}


def test_a_limit_of_bytes(full: Served) -> None:
    head = f"PUT /huge HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    assert full.status_of(f"{head}Content-Length: 20000001\r\n\r\n".encode()) == 413
    with full.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(21):
            connection.sendall(b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")
        assert b" 413 " in connection.recv(65536)
    assert not full.storage.exists("huge")


@covers(240)
@pytest.mark.parametrize("body", [b"small", LARGE])
def test_a_full_disk(serve, body: bytes) -> None:
    with Storage(_Full(MemoryBackend())) as storage:
        served = serve(storage, writable=True, token=Secret(TOKEN))
        answer = served.ask("PUT", "/a", BEARER, body)
        assert (answer.status, answer.body) == (507, b"insufficient storage\n")
        assert served.get("/a").status == 404
        assert served.get("/-/healthz").status == 200


@pytest.mark.parametrize("length", [100, 5_000_000])
def test_a_client_that_leaves_half_way_stores_nothing(full: Served, length: int) -> None:
    full.storage.put("broken", b"old")
    for ending in ("close", "reset"):
        connection = full.connect()
        head = f"PUT /broken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode() + b"x" * (length - 50))
        wait_for(lambda: full.gateway.context.metrics().in_flight == 1)
        if ending == "reset":
            connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of no time: closing resets
        connection.close()
        wait_for(lambda: full.gateway.context.metrics().in_flight == 0)
    assert full.storage.get("broken") == b"old"
    assert [info.key for info in full.storage.list("broken")] == ["broken"]


def test_bytes_are_asked_for_only_when_they_are_wanted(full: Served) -> None:
    head = "PUT /wanted HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
    with full.connect() as connection:
        connection.sendall(f"{head}Authorization: Bearer wrong\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
    with full.connect() as connection:
        connection.sendall(f"{head}Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"[:25]
        connection.sendall(b"hello")
        assert b" 204 " in received(connection)
    assert full.storage.get("wanted") == b"hello"


def test_a_silent_upload_is_given_up(serve, memory) -> None:
    served = serve(memory, writable=True, token=Secret(TOKEN), idle=0.1)
    head = f"PUT /slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 3000000\r\n\r\n"
    assert served.status_of(head.encode() + b"x" * 1_500_000) == 408
    assert not memory.exists("slow")


def test_more_uploads_than_allowed(serve, memory) -> None:
    served = serve(memory, writable=True, token=Secret(TOKEN), uploads=1)
    head = f"PUT /first HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 5\r\n\r\n"
    with served.connect() as connection:
        connection.sendall(head.encode())
        wait_for(lambda: served.gateway.context.metrics().in_flight == 1)
        answer = served.ask("PUT", "/second", BEARER, b"x")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert served.get("/first").status == 404
        connection.sendall(b"hello")
        assert b" 204 " in connection.recv(65536)
    assert _put(served, "/second", b"x") == 204


def test_of_many_that_create_one_wins(full: Served) -> None:
    statuses: list[int] = []

    def create(number: int) -> None:
        statuses.append(_put(full, "/race", b"%d" % number, if_none_match="*"))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, *[412] * 7]
