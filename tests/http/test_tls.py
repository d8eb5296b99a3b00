"""Encrypted connections: whom we trust, and what we say when we do not."""

from __future__ import annotations

import pytest

from mediagit_storage import errors
from mediagit_storage.http.faults import FaultKind, fault_of
from mediagit_storage.http.request import Request
from mediagit_storage.testing.scripted_server import Hang, Receive, Repeat, ScriptedServer, Send, answer

OK = [Repeat([Receive(), answer(200, b"hello" * 10_000)])]


def get(server: ScriptedServer, host: str = "127.0.0.1") -> Request:
    return Request("GET", server.url.replace("127.0.0.1", host) + "/k")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_trusted_server(make, authority, host):
    transport = make(ca_file=str(authority.ca_file))
    with ScriptedServer(OK, tls=authority.server()) as server:
        for _ in range(3):
            assert transport.send(get(server, host)).body == b"hello" * 10_000
        assert b"".join(transport.stream(get(server, host))) == b"hello" * 10_000
        assert [each.error for each in transport.send_all(get(server, host) for _ in range(5))] == [None] * 5


@pytest.mark.parametrize("variable", ["CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_names_the_authorities(make, authority, variable):
    with ScriptedServer(OK, tls=authority.server()) as server:
        assert make({variable: str(authority.ca_file)}).send(get(server)).status == 200


def test_an_unknown_authority(make, authority):
    with ScriptedServer(OK, tls=authority.server()) as server:
        with pytest.raises(errors.ConfigError, match=r"not signed by a CA known here; give .* ca_file") as caught:
            make().send(get(server))
    assert fault_of(caught.value).kind is FaultKind.CERTIFICATE
    assert not caught.value.retryable
    assert fault_of(caught.value).sent == 0
    assert server.received == []


def test_an_expired_certificate(make, authority):
    with ScriptedServer(OK, tls=authority.server(days=(-5, -1))) as server:
        with pytest.raises(errors.ConfigError, match="expired"):
            make(ca_file=str(authority.ca_file)).send(get(server))


def test_one_that_is_not_valid_yet(make, authority):
    with ScriptedServer(OK, tls=authority.server(days=(1, 5))) as server:
        with pytest.raises(errors.ConfigError, match="not valid yet"):
            make(ca_file=str(authority.ca_file)).send(get(server))


def test_another_hosts_certificate(make, authority):
    with ScriptedServer(OK, tls=authority.server(names=("elsewhere.example",))) as server:
        with pytest.raises(errors.ConfigError, match="another host name"):
            make(ca_file=str(authority.ca_file)).send(get(server))


def test_not_verifying_warns_once_and_works(authority):
    from mediagit_storage.http.network import TransportOptions
    from mediagit_storage.http.transport import Transport

    with pytest.warns(UserWarning, match="not verified") as warned:
        transport = Transport(TransportOptions(verify=False), environ={})
    with transport, ScriptedServer(OK, tls=authority.server(names=("elsewhere.example",), days=(-5, -2))) as server:
        for _ in range(3):
            assert transport.send(get(server)).status == 200
    assert len(warned) == 1


def test_a_ca_file_that_is_missing_or_none(make, authority, tmp_path):
    with ScriptedServer(OK, tls=authority.server()) as server:
        with pytest.raises(errors.ConfigError, match=r"ca_file names the file .*nowhere.* not there"):
            make(ca_file=str(tmp_path / "nowhere")).send(get(server))
        with pytest.raises(errors.ConfigError, match="SSL_CERT_FILE"):
            make({"SSL_CERT_FILE": str(tmp_path / "nowhere")}).send(get(server))
        (tmp_path / "junk").write_text("no certificate")
        with pytest.raises(errors.ConfigError, match="CA certificates"):
            make(ca_file=str(tmp_path / "junk")).send(get(server))


def test_https_to_a_plain_port(transport):
    with ScriptedServer([Send(b"HTTP/1.1 400 Bad\r\n\r\n")]) as server:
        with pytest.raises(errors.ConnectionLostError, match="speaks https"):
            transport.send(Request("GET", server.url.replace("http:", "https:") + "/k"))


def test_http_to_a_tls_port(transport, authority):
    with ScriptedServer(OK, tls=authority.server()) as server:
        with pytest.raises(errors.ConnectionLostError):
            transport.send(Request("GET", server.url.replace("https:", "http:") + "/k"))


def test_a_stream_that_is_abandoned(make, authority):
    import time

    transport = make(ca_file=str(authority.ca_file))
    with ScriptedServer([Receive(), answer(200, b"x" * 10, length=10**9), Hang()], tls=authority.server()) as server:
        with transport.stream(get(server)) as got:
            next(got)
        deadline = time.monotonic() + 60
        while server.open_connections:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_answer_cut_without_a_goodbye_is_no_answer(make, authority):
    transport = make(ca_file=str(authority.ca_file))
    with ScriptedServer([Receive(), answer(200, b"x" * 10, length=100)], tls=authority.server()) as server:
        with pytest.raises((errors.TruncatedError, errors.ConnectionLostError)):
            transport.send(get(server))
