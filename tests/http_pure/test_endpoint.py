"""Servers that options name."""

from __future__ import annotations

from mediagit_storage.http.endpoint import Endpoint, endpoint_url, is_label, is_loopback, parse_endpoint


def test_loopback():
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1", "s3.localhost", "localhost."]))
    assert not any(map(is_loopback, ["localhost.example", "10.0.0.1", "example", "0.0.0.0", "[::]", "mylocalhost"]))


def test_an_endpoint_gets_its_scheme():
    assert endpoint_url("127.0.0.1:9000") == "http://127.0.0.1:9000"
    assert endpoint_url("[::1]:9000") == "http://[::1]:9000"
    assert endpoint_url("storage.example") == "https://storage.example"
    assert endpoint_url("storage.example:9000", allow_http=True) == "http://storage.example:9000"
    assert endpoint_url("http://storage.example/") == "http://storage.example"


def test_the_parts_of_an_endpoint():
    found = parse_endpoint("HTTPS://Storage.example:443/base/")
    assert found == Endpoint("https", "storage.example", "/base")
    assert found.origin == "https://storage.example"


def test_labels():
    assert is_label("eu-west-1")
    assert not any(map(is_label, ["", "-a", "a-", "a.b", "a/b", "a@b"]))
