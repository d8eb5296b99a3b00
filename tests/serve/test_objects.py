"""Reading objects over HTTP: whole, in parts, on conditions, and from storages in trouble."""

from __future__ import annotations

import email
import gzip
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mediagit_storage import errors
from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.scope import current_scope
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.links import Signer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import Attributes, ObjectInfo, ReadOptions

from .gateways import BEARER, SECRET, TOKEN, Served, wait_for

DATA = bytes(range(256)) * 20


@dataclass(frozen=True)
class _None:
    """No options."""


class _Odd(Layer):
    """A storage whose reads are what a test makes of them."""

    layer_name = "odd"

    def __init__(self, inner: StorageBackend, read: Callable[[Body], Body]) -> None:
        super().__init__(inner, _None())
        self._read = read

    def stream(self, key: str, options: ReadOptions) -> Body:
        return self._read(super().stream(key, options))


class _Played(Body):
    """A body that gives ``pieces``; an exception among them is raised."""

    def __init__(self, body: Body, *pieces: bytes | Exception | Callable[[], None]) -> None:
        self.info, self.start, self.length = body.info, body.start, body.length
        self.closed = threading.Event()
        self._body, self._given = body, pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._given:
            if isinstance(piece, Exception):
                raise piece
            if not isinstance(piece, bytes):
                piece()
                continue
            yield piece

    def close(self) -> None:
        self._body.close()
        self.closed.set()


@pytest.fixture(scope="module")
def stored(full: Served) -> Served:
    full.storage.put("a/data", DATA)
    full.storage.put("empty", b"")
    return full


# ---- whole objects


def test_an_object_comes_with_what_is_known_of_it(stored: Served) -> None:
    held = Attributes("image/png", "max-age=60", "gzip", 'inline; filename="x.png"')
    packed = gzip.compress(b"picture")
    stored.storage.put("x.png", packed, attributes=held)
    answer = stored.get("/x.png")
    assert (answer.status, answer.body) == (200, packed)
    expected = {
        "content-type": "image/png",
        "cache-control": "max-age=60",
        "content-encoding": "gzip",
        "content-disposition": 'inline; filename="x.png"',
        "content-length": str(len(packed)),
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    assert expected.items() <= answer.headers.items()
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["last-modified"].endswith(" GMT")
    head = stored.ask("HEAD", "/x.png")
    del head.headers["date"], answer.headers["date"]
    assert (head.status, head.headers, head.body) == (200, answer.headers, b"")


def test_types_are_guessed_from_the_key(stored: Served) -> None:
    for key, kind in (
        ("t/a.html", "text/html; charset=utf-8"),
        ("t/a.mp4", "video/mp4"),
        ("t/a", "application/octet-stream"),
        ("t/a.svg", "image/svg+xml"),
        ("t/a.tar.gz", "application/gzip"),
    ):
        stored.storage.put(key, b"x")
        answer = stored.get(f"/{key}")
        assert answer.headers["content-type"] == kind
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("metrics", "/-/o/metrics"),
        ("-/browse/x", "/-/o/-/browse/x"),
        ("-/browse/x", "/%2d/browse/x"),
        ("-", "/-"),
        ("日本 é+%.png", "/%E6%97%A5%E6%9C%AC%20%C3%A9+%25.png"),
        ("%2e%2e", "/%252e%252e"),
        ("a?b#c", "/a%3Fb%23c"),
        ("back\\slash", "/back%5Cslash"),
    ],
)
def test_every_key_can_be_reached(stored: Served, key: str, path: str) -> None:
    stored.storage.put(key, key.encode())
    assert stored.get(path).body == key.encode()
    assert stored.get(f"{path}?v=2").status == 200


def test_what_is_not_there(stored: Served) -> None:
    answer = stored.get("/secret/name")
    assert (answer.status, answer.body) == (404, b"not found\n")
    assert answer.headers["cache-control"] == "no-store"
    assert stored.ask("HEAD", "/secret/name").status == 404
    assert stored.get("/secret/name", if_none_match='"x"').status == 404
    assert stored.get("/secret/name", range="bytes=0-1,3-4").status == 404
    assert stored.get("/-/nothing").status == 404
    assert stored.get("/").status == 404


def test_an_empty_object(stored: Served) -> None:
    answer = stored.get("/empty")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")
    assert stored.get("/empty", range="bytes=0-").status == 416
    assert stored.get("/empty", range="bytes=0-").headers["content-range"] == "bytes */0"
    assert stored.get("/empty", range="bytes=-5").status == 200


def test_requests_share_a_connection(stored: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stored.port, timeout=60)
    for path, headers, status in (
        ("/a/data", {}, 200),
        ("/none", {}, 404),
        ("/a/data", {"range": "bytes=0-9,100-109"}, 206),
        ("/a/data", {"range": "bytes=99999-"}, 416),
        ("/..", {}, 400),
        ("/-/healthz", {}, 200),
        ("/a/data", {}, 200),
    ):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status == status
        answer.read()
    connection.close()


# ---- parts


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=5000-", 5000, 5120),
        ("bytes=-10", 5110, 5120),
        ("bytes=5000-99999", 5000, 5120),
        ("bytes=-99999", 0, 5120),
        ("bytes=0-", 0, 5120),
        ("bytes=0-9,5-19", 0, 20),
    ],
)
def test_a_part(stored: Served, header: str, start: int, end: int) -> None:
    answer = stored.get("/a/data", range=header)
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/5120"
    assert answer.headers["content-length"] == str(end - start)


def test_several_parts(stored: Served) -> None:
    answer = stored.get("/a/data", range="bytes=4000-4009,0-9,-10")
    assert answer.status == 206
    assert int(answer.headers["content-length"]) == len(answer.body)
    message = email.message_from_bytes(
        b"content-type: %b\r\n\r\n%b" % (answer.headers["content-type"].encode(), answer.body)
    )
    assert message.get_content_type() == "multipart/byteranges"
    found = [(part["content-range"], part.get_payload(decode=True)) for part in message.get_payload()]
    expected = [(4000, 4010), (0, 10), (5110, 5120)]
    assert found == [(f"bytes {start}-{end - 1}/5120", DATA[start:end]) for start, end in expected]


def test_ranges_that_are_none(stored: Served) -> None:
    for header in ("bytes=5120-", "bytes=9-1", "bytes=x", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 5000, 200))):
        answer = stored.get("/a/data", range=header)
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */5120")
    assert stored.get("/a/data", range="lines=1-2").body == DATA
    assert stored.ask("HEAD", "/a/data", {"range": "bytes=0-1"}).status == 200


# ---- conditions


def test_conditions(stored: Served) -> None:
    first = stored.get("/a/data")
    tag, changed = first.headers["etag"], first.headers["last-modified"]
    unchanged = stored.get("/a/data", if_none_match=tag)
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", tag)
    assert stored.get("/a/data", if_modified_since=changed).status == 304
    assert stored.ask("HEAD", "/a/data", {"if-none-match": f'"x", W/{tag}'}).status == 304
    assert stored.get("/a/data", if_none_match='"other"').body == DATA
    assert stored.get("/a/data", if_match=tag).body == DATA
    assert stored.get("/a/data", if_match='"other"').status == 412
    assert stored.get("/a/data", if_unmodified_since="Thu, 01 Jan 1970 00:00:00 GMT").status == 412
    assert stored.get("/a/data", if_range=tag, range="bytes=0-9").body == DATA[:10]
    assert stored.get("/a/data", if_range=changed, range="bytes=0-9").body == DATA[:10]
    assert stored.get("/a/data", if_range='"other"', range="bytes=0-9").body == DATA
    assert stored.get("/a/data", if_match=tag, range="bytes=0-9,1000-1009").status == 206
    # Conditions come before ranges, also before those that are none.
    assert stored.get("/a/data", if_none_match=tag, range="bytes=9-1").status == 304
    assert stored.get("/a/data", if_match='"other"', range="bytes=9-1").status == 412
    assert stored.get("/a/data", if_range='"other"', range="bytes=9-1").body == DATA


def test_a_new_object_has_a_new_tag(stored: Served) -> None:
    stored.storage.put("tagged", b"one")
    old = stored.get("/tagged").headers["etag"]
    assert stored.get("/tagged").headers["etag"] == old
    stored.storage.put("tagged", b"two")
    answer = stored.get("/tagged", if_none_match=old)
    assert (answer.status, answer.body) == (200, b"two")
    assert answer.headers["etag"] != old


# ---- who may read


@covers(240)
def test_a_private_gateway(serve, memory) -> None:
    memory.put("a", b"x", attributes=Attributes(cache_control="public"))
    served = serve(memory, reads="token", token=Secret(TOKEN))
    refused = served.get("/a")
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert served.get("/none").status == 401
    assert served.get("/metrics").status == 401
    assert "backends" not in served.get("/readyz").body.decode()
    assert served.get("/healthz").status == 200
    answer = served.ask("GET", "/a", BEARER)
    assert (answer.status, answer.headers["cache-control"]) == (200, "private, no-cache")
    assert served.ask("GET", "/metrics", BEARER).status == 200


@covers(238, 240)
def test_other_names_and_sites(serve, memory) -> None:
    memory.put("a", b"x")
    served = serve(memory, hosts=frozenset({"127.0.0.1"}), cors=frozenset({"https://friend.example"}))
    assert served.get("/a").status == 200
    assert served.ask("GET", "/a", {"Host": "evil.example"}).status == 421
    assert served.ask("GET", "/-/metrics", {"Host": "evil.example:80"}).status == 421
    friend = served.get("/a", origin="https://friend.example")
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    assert friend.headers["vary"] == "origin"
    other = served.get("/a", origin="https://evil.example")
    assert "access-control-allow-origin" not in other.headers
    asked = served.ask("OPTIONS", "/a", {"Origin": "https://friend.example", "Access-Control-Request-Method": "GET"})
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "GET, HEAD, OPTIONS")
    allowed = asked.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "if-match", "content-disposition", "cache-control"} <= set(allowed)


def test_what_other_sites_may_show(serve, memory) -> None:
    """A page may show, and run, what it cannot read: of a private gateway only what it has a link to."""
    memory.put("a", b"x")
    policy = "cross-origin-resource-policy"
    served = serve(memory, reads="token", token=Secret(TOKEN), signer=Signer([SECRET]))
    assert served.ask("GET", "/a", BEARER).headers[policy] == "same-origin"
    assert served.get("/a").headers[policy] == "same-origin"
    link = served.gateway.context.signed_link("a", expires=60)
    assert served.get(link).headers[policy] == "cross-origin"


def test_no_object_becomes_a_service_worker(stored: Served) -> None:
    stored.storage.put("worker.js", b"x")
    assert stored.get("/-/o/worker.js").status == 200
    assert stored.get("/-/o/worker.js", service_worker="script").status == 403


def test_without_cors_no_site_reads(stored: Served) -> None:
    answer = stored.get("/a/data", origin="https://a.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert stored.ask("OPTIONS", "/a/data").headers["allow"] == "GET, HEAD, PUT, DELETE, OPTIONS"


# ---- storages in trouble


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.PermissionDeniedError("the bucket's secret name"), 502),
        (errors.BucketNotFoundError("the bucket's secret name"), 502),
        (errors.ThrottledError("the bucket's secret name"), 503),
        (errors.StorageTimeoutError("the bucket's secret name"), 504),
        (errors.IntegrityError("the bucket's secret name"), 502),
        (RuntimeError("the bucket's secret name"), 500),
        (OSError("the bucket's secret name"), 500),
    ],
)
def test_errors_become_statuses_and_tell_nothing(serve, error: Exception, status: int) -> None:
    def fail(_body: Body) -> Body:
        _body.close()
        raise error

    with Storage(_Odd(MemoryBackend(), fail)) as storage:
        storage.put("a", b"x")
        served = serve(storage)
        answer = served.get("/a")
        assert answer.status == status
        assert b"secret" not in answer.body
        assert "secret" not in str(answer.headers)
        assert ("retry-after" in answer.headers) is (status in {503, 504})
        assert served.get("/a").status == status


@pytest.mark.parametrize(
    "pieces",
    [
        (b"x" * 1000, errors.ConnectionLostError("gone")),
        (b"x" * 1000,),
        (b"x" * 4000, b"y" * 4000),
        (b"x" * 3000, b"y" * 2120, errors.ChecksumError("damaged")),
        (b"x" * 1000, ValueError("a bug")),
    ],
)
def test_what_breaks_off_is_never_taken_for_the_whole(serve, pieces) -> None:
    with Storage(_Odd(MemoryBackend(), lambda body: _Played(body, *pieces))) as storage:
        storage.put("a", DATA)
        served = serve(storage)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            served.get("/a")
        wait_for(lambda: served.gateway.context.metrics().in_flight == 0)
        assert served.get("/-/healthz").status == 200


def test_parts_of_two_objects_are_never_mixed(serve) -> None:
    backend = MemoryBackend()

    def overwritten(body: Body) -> Body:
        if body.start == 0:
            return body
        body.close()
        raise errors.PreconditionError("another object")

    with Storage(_Odd(backend, overwritten)) as storage:
        storage.put("a", DATA)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            serve(storage).get("/a", range="bytes=0-9,1000-1009")


def test_an_object_that_changed_after_the_look_is_not_served_under_its_name(serve) -> None:
    def renamed(body: Body) -> Body:
        played = _Played(body, DATA)
        known = body.info
        played.info = ObjectInfo(known.key, size=known.size, modified=known.modified, etag="another")
        return played

    with Storage(_Odd(MemoryBackend(), renamed)) as storage:
        storage.put("a", DATA)
        assert serve(storage).get("/a", if_none_match='"x"').status == 412


def test_a_client_that_leaves_frees_the_storage(serve) -> None:
    bodies: list[_Played] = []

    def hang(body: Body) -> Body:
        played = _Played(body, b"x" * 1000, lambda: current_scope().sleep(3600))
        bodies.append(played)
        return played

    with Storage(_Odd(MemoryBackend(), hang)) as storage:
        storage.put("a", DATA)
        served = serve(storage)
        connection = served.connect()
        connection.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: bool(bodies))
        connection.close()
        assert bodies[0].closed.wait(60)
        wait_for(lambda: served.gateway.context.metrics().in_flight == 0)


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=100-199"}, {"range": "bytes=0-9,900-999"}])
def test_damage_that_a_cache_has_kept_is_read_once_more(serve, headers: dict[str, str]) -> None:
    below = MemoryBackend()
    cache = CacheLayer(below, CacheConfig(validate="immutable", chunk_size=4096, read_ahead=0))
    with Storage(CompressLayer(cache, CompressConfig())) as storage:
        storage.put("a", DATA)
        served = serve(storage)
        good = served.get("/a", **headers)
        kept = cache._shelf.memory._chunks
        assert kept
        for name, data in kept.items():
            middle = len(data) // 2
            kept[name] = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        again = served.get("/a", **headers)
        assert (again.status, len(again.body)) == (good.status, len(good.body))
        assert served.get("/a").body == DATA


def test_files_and_layers(serve, tmp_path) -> None:
    large = DATA * 1000
    (tmp_path / "store").mkdir()
    with Storage(CompressLayer(LocalBackend(tmp_path / "store"), CompressConfig())) as storage:
        storage.put("large", large)
        served = serve(storage)
        assert served.get("/large").body == large
        assert served.get("/large", range="bytes=1000000-1000999").body == large[1_000_000:1_001_000]
        assert served.get("/large", range="bytes=-5,0-4").status == 206
        assert served.ask("HEAD", "/large").headers["content-length"] == str(len(large))
