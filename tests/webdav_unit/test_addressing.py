"""URLs, paths of keys, and references: absolute, relative, encoded, hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.webdav.addressing import base_of, child_name, is_slashed, is_unholdable
from mediagit_storage.errors import ConfigError, IntegrityError
from mediagit_storage.testing.covers import covers

BASE = ("dav", "my files")


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://h", "https://h", ""),
        ("davs://h/", "https://h", ""),
        ("https://H:443/a/b/", "https://h", "/a/b"),
        ("https://h:8443/a%20b//c", "https://h:8443", "/a%20b/c"),
        ("dav://127.0.0.1:80/x", "http://127.0.0.1", "/x"),
        ("http://localhost:1/é", "http://localhost:1", "/%C3%A9"),
        ("https://[::1]:8/a", "https://[::1]:8", "/a"),
    ],
)
def test_bases(url, origin, path):
    base = base_of(url, allow_http=False)
    assert (base.origin, base.path) == (origin, path)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x", "h/x", "https://", "https://u:p@h/x", "https://h/x?a=b", "https://h/x#f", "https://h/../x", "https://h/a%2Fb",
        "https://h/%2e%2e/x", "http://example.com/x", "https://h:99999/x", "https://h/a%00b", "https://ho st/x",
    ],
)  # fmt: skip
def test_urls_that_are_none(url):
    with pytest.raises(ConfigError) as caught:
        base_of(url, allow_http=False)
    assert "u:p" not in str(caught.value)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
        lambda t: t not in {".", ".."}
    )
)
def test_a_name_comes_back_from_its_path(name):
    base = base_of("https://h/dav/my%20files", allow_http=False)
    assert child_name(base.path_of(f"sub/{name}"), base.segments_of("sub/")) == name


@covers(223)
@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("/dav/my%20files/k", "k"),
        ("/dav/my%20files/k/", "k"),
        ("/dav/my files/k", "k"),
        ("https://h/dav/my%20files/k", "k"),
        ("http://internal:8080/dav/my%20files/k", "k"),  # behind a proxy; only the path is looked at
        ("HTTPS://evil.example/dav/my%20files/k", "k"),
        ("//evil.example/dav/my%20files/k", "k"),
        ("k", "k"),
        ("k/", "k"),
        ("//h//dav//my%20files//k", "k"),
        ("/dav/my%20files/", ""),
        ("/dav/my%20files", ""),
        ("/dav/my%20files/a%2525b", "a%25b"),  # decoded once
        ("/dav/my%20files/%41", "A"),
        ("/dav/my%20files/a%2Fb", "a/b"),  # the caller leaves it out
        ("/dav/my%20files/a%00b", "a\0b"),
        ("/dav/my%20files/lone%", "lone%"),
        ("/dav/my%20files/%FF", "\udcff"),
        ("/dav/my%20files/q?x=1", "q?x=1"),
        (" /dav/my%20files/k\n", "k"),
        ("/dav/my%20files/d/deeper", None),
    ],
)
def test_references(href, name):
    assert child_name(href, BASE) == name


@covers(223)
@pytest.mark.parametrize(
    "href",
    [
        "/other/k", "/", "", "/dav", "/dav/my%20filesX/k", "/dav/my%20files/../../etc/passwd", "/dav/my%20files/%2e%2e/x",
        "/dav/my%20files/./k", "../k", "https://evil.example/other", "file:///etc/passwd", "javascript:alert(1)/../x", "/DAV/my%20files/k",
    ],
)  # fmt: skip
def test_references_that_lead_elsewhere(href):
    if href == "":
        assert child_name(href, BASE) == ""
        return
    with pytest.raises(IntegrityError):
        child_name(href, BASE)


@pytest.mark.parametrize("key", ["a//b", "/a", "a/", ".", "..", "a/./b", "a/../b", "x\0y", ""])
def test_keys_that_no_path_has(key):
    assert is_unholdable(key)


@pytest.mark.parametrize(
    ("location", "slashed"),
    [
        ("/a/b/", True),
        ("https://h/a/b/", True),
        ("http://other/a/b/", True),
        ("b/", True),
        ("/a/b", False),
        ("/login", False),
        (None, False),
        ("", False),
    ],
)
def test_redirects_that_only_add_a_slash(location, slashed):
    assert is_slashed(location, "https://h/a/b") is slashed
