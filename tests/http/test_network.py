"""Which way requests take: plain http only where it is allowed, proxies and CA files by explicit choice, redirects."""

from __future__ import annotations

import pytest

from mediagit_storage import errors
from mediagit_storage.http.network import TransportOptions, is_loopback, origin_of, route_for, same_origin
from mediagit_storage.http.redirect import redirected
from mediagit_storage.http.request import FileBody, PiecesBody, Request
from mediagit_storage.testing.scripted_server import Receive, Repeat, ScriptedServer, Send, answer

OK = [Repeat([Receive(), answer(200, b"hello")])]


def route(origin: str, environ: dict[str, str] | None = None, **options):
    return route_for(origin, TransportOptions(**{"ca_file": __file__, **options}), environ or {})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9:80", "localhost:9000", "s3.localhost", "[::1]:1", "LOCALHOST"]
)
def test_plain_http_to_this_machine(host):
    assert route(f"http://{host}").secure is False


@pytest.mark.parametrize(
    "host",
    ["example.com", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "[::2]", "128.0.0.1", "xlocalhost"],
)
def test_plain_http_to_others_needs_permission(host):
    with pytest.raises(errors.ConfigError, match=r"not encrypted.*allow_http"):
        route(f"http://{host}")
    assert route(f"http://{host}", allow_http=True).secure is False
    assert route(f"https://{host}").secure is True


def test_is_loopback():
    assert not is_loopback("[::1].evil")
    assert not is_loopback("")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://h", "https://h"),
        ("https://h:1/p/q", "https://h:1"),
        ("http://h?x=/y", "http://h"),
        ("http://[::1]:8/x", "http://[::1]:8"),
    ],
)
def test_origins(url, origin):
    assert origin_of(url) == origin


def test_same_origin():
    assert same_origin("https://H/x", "https://h:443/y?z")
    assert same_origin("http://h:80", "http://h/a")
    assert not same_origin("http://h", "https://h")
    assert not same_origin("https://h:444", "https://h")
    assert not same_origin("https://h", "https://h.example")


PROXIES = {
    "https_proxy": "http://p:1",
    "http_proxy": "http://q:2",
    "NO_PROXY": "a.example,.b",
    "HTTP_PROXY": "http://evil",
}


def test_proxies_of_the_environment():
    assert route("https://h", PROXIES)[2:4] == ("http://p:1", "a.example,.b")
    assert route("http://h", PROXIES, allow_http=True)[2:4] == ("http://q:2", "a.example,.b")
    assert route("https://h", {"HTTPS_PROXY": "http://p"}).proxy == "http://p"
    assert route("https://h", {"all_proxy": "http://a"}).proxy == "http://a"
    # A web server sets HTTP_PROXY from a header of its client.
    assert route("http://h", {"HTTP_PROXY": "http://evil"}, allow_http=True).proxy == ""


def test_a_proxy_chosen_or_none():
    assert route("https://h", PROXIES, proxy=None)[2:4] == ("", "")
    assert route("https://h", PROXIES, proxy="http://mine:3")[2:4] == ("http://mine:3", "")


def test_requests_go_through_a_proxy(make):
    with ScriptedServer([Repeat([Receive(), answer(200, b"from the proxy")])]) as proxy:
        got = make({"http_proxy": proxy.url}, allow_http=True).send(Request("GET", "http://store.example/k"))
    assert got.body == b"from the proxy"
    assert proxy.received[0].startswith(b"GET http://store.example/k HTTP/1.1\r\n")


def test_but_not_when_told_otherwise(make):
    environ = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    with ScriptedServer(OK) as server:
        assert make(environ).send(Request("GET", server.url)).status == 200
        assert make({"http_proxy": "http://127.0.0.1:9"}, proxy=None).send(Request("GET", server.url)).status == 200


def test_the_environment_of_the_process_is_not_read_by_libcurl(make, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with ScriptedServer(OK) as server:
        assert make({}).send(Request("GET", server.url)).status == 200


def test_a_tunnel_through_a_proxy(make, authority):
    """The proxy's own head is none of the answer's."""

    class Tunnel:
        def play(self, conversation) -> None:
            import socket
            import threading

            conversation.server.note(conversation.take_until(b"\r\n\r\n"))
            conversation.connection.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
            with socket.create_connection(("127.0.0.1", target.port)) as far:
                near = conversation.connection

                def back():
                    while data := far.recv(65536):
                        near.sendall(data)

                thread = threading.Thread(target=back)
                thread.start()
                try:
                    while True:
                        far.sendall(conversation.take())
                finally:
                    far.shutdown(socket.SHUT_RDWR)
                    thread.join()

    with ScriptedServer(OK, tls=authority.server()) as target, ScriptedServer([Tunnel()]) as proxy:
        transport = make({"https_proxy": proxy.url}, ca_file=str(authority.ca_file))
        got = transport.send(Request("GET", target.url + "/k", (("Authorization", "canary"),)))
        assert (got.status, got.body, got.headers.get("x-proxy")) == (200, b"hello", None)
        transport.close()
    assert b"canary" not in b"".join(proxy.received)
    assert b"canary" in target.received[0]


@pytest.mark.parametrize("status", [407, 403, 502])
def test_a_proxy_that_refuses(make, status):
    with ScriptedServer([Receive(), answer(status, b"no")]) as proxy:
        environ = {"https_proxy": proxy.url.replace("//", "//user:canary@")}
        with pytest.raises(errors.ConnectionLostError, match="proxy") as caught:
            make(environ, ca_file=None).send(Request("GET", "https://store.example/k"))
    assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"


def test_a_proxy_that_is_not_there(make):
    with ScriptedServer() as proxy:
        url = proxy.url
    with pytest.raises(errors.ConnectionLostError):
        make({"http_proxy": url}, allow_http=True).send(Request("GET", "http://store.example/k"))


# ---- redirects


def moved(location: str, status: int = 307) -> Send:
    return answer(status, b"", [("Location", location)])


def test_nothing_is_followed_unless_asked(transport):
    with ScriptedServer([Receive(), moved("/else")]) as server:
        got = transport.send(Request("GET", server.url + "/k"))
    assert (got.status, got.headers.get("location")) == (307, "/else")


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_the_same_server_is_followed_with_method_and_body(transport, method, status):
    body = b"data" if method == "PUT" else None
    with ScriptedServer(
        [Receive(), moved("/else?x=%2F", status), Repeat([Receive(), answer(200, b"" if method == "HEAD" else b"ok")])]
    ) as server:
        got = transport.send(Request(method, server.url + "/k", (("X-A", "b"),), body), follow=3)
    assert got.status == 200
    assert server.received[1].startswith(f"{method} /else?x=%2F HTTP/1.1\r\n".encode())
    assert b"X-A: b" in server.received[1]
    assert server.received[1].endswith(body or b"\r\n\r\n")


@pytest.mark.parametrize("status", [301, 302, 303, 300, 304])
def test_statuses_that_may_change_the_method_are_answers(transport, status):
    with ScriptedServer([Receive(), moved("/else", status)]) as server:
        assert transport.send(Request("GET", server.url + "/k"), follow=3).status == status


def test_credentials_never_reach_another_host(transport):
    with ScriptedServer(OK) as other, ScriptedServer([Repeat([Receive(), moved(other.url + "/x")])]) as server:
        got = transport.send(Request("GET", server.url + "/k", (("Authorization", "canary"),)), follow=5)
        assert got.status == 307
        assert other.connections == 0


@pytest.mark.parametrize(
    "location", ["//elsewhere.example/x", "ftp://127.0.0.1/", "file:///etc/passwd", "", None, "https://127.0.0.1/x"]
)
def test_locations_that_are_not_followed(location):
    assert redirected(Request("GET", "http://127.0.0.1/k"), 307, location) is None


def test_a_fragment_is_dropped():
    assert redirected(Request("GET", "http://127.0.0.1/k"), 307, "/x#y").url == "http://127.0.0.1/x"


def test_a_location_that_is_no_url():
    with pytest.raises(errors.ConfigError):
        redirected(Request("GET", "http://127.0.0.1/k"), 307, "/a b\r\nX: y")


def test_a_loop_ends(transport):
    with ScriptedServer([Repeat([Receive(), moved("/k")])]) as server:
        assert transport.send(Request("GET", server.url + "/k"), follow=5).status == 307
    assert len(server.received) == 6


def test_a_bare_redirect_is_an_answer(transport):
    with ScriptedServer([Receive(), answer(307, b"<Code>TemporaryRedirect</Code>")]) as server:
        assert transport.send(Request("GET", server.url + "/k"), follow=5).status == 307


def test_a_body_that_was_read_is_not_sent_to_a_second_place(transport, tmp_path):
    (tmp_path / "f").write_bytes(b"data")
    with ScriptedServer([Receive(), moved("/x"), Receive(), answer()]) as server:
        got = transport.send(Request("PUT", server.url, body=PiecesBody(iter([b"data"]), 4)), follow=1)
        assert got.status == 307
    with ScriptedServer([Receive(), moved("/x"), Receive(), answer()]) as server, (tmp_path / "f").open("rb") as file:
        assert transport.send(Request("PUT", server.url, body=FileBody(file.fileno(), 0, 4)), follow=1).status == 200
        assert server.received[1].endswith(b"data")


@pytest.mark.parametrize(
    "options",
    [
        {"connect_timeout": 0},
        {"idle_timeout": -1},
        {"total_timeout": 0},
        {"max_body": -1},
        {"user_agent": "a\r\nb"},
        {"user_agent": ""},
    ],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(errors.ConfigError):
        TransportOptions(**options)
