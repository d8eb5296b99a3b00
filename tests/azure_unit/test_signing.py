"""Shared Key and SAS against the documented strings to sign, and against Microsoft's own signer."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.azure.connection import EMULATOR_KEY
from mediagit_storage.backends.azure.signing import (
    VERSION,
    DelegationKey,
    Grant,
    KeySigner,
    account_key,
    service_sas,
    string_to_sign,
    user_delegation_sas,
)
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import encode_path, encode_query
from mediagit_storage.secrets import Secret

KEY = base64.b64encode(bytes(range(64))).decode()


def test_the_documented_example_of_get_container_metadata():
    fields = [("x-ms-version", "2015-02-21"), ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT")]
    text = string_to_sign(
        "myaccount", "GET", "/mycontainer", "comp=metadata&restype=container&timeout=20", fields, length=None
    )
    assert text == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )


def test_the_documented_example_of_put_blob():
    fields = [
        ("content-type", "text/plain; charset=UTF-8"),
        ("x-ms-date", "Sun, 20 Sep 2009 20:36:40 GMT"),
        ("x-ms-meta-m1", "v1"),
        ("x-ms-meta-m2", "v2"),
    ]
    text = string_to_sign("myaccount", "PUT", "/mycontainer/hello.txt", "", fields, length=11)
    assert text == (
        "PUT\n\n\n11\n\ntext/plain; charset=UTF-8\n\n\n\n\n\n\n"
        "x-ms-date:Sun, 20 Sep 2009 20:36:40 GMT\nx-ms-meta-m1:v1\nx-ms-meta-m2:v2\n/myaccount/mycontainer/hello.txt"
    )


def test_nothing_is_signed_for_an_empty_body():
    assert string_to_sign("a", "PUT", "/c", "", [], length=0) == string_to_sign("a", "PUT", "/c", "", [], length=None)


def test_parameters_given_twice_are_joined_in_order():
    text = string_to_sign("a", "GET", "/c", "b=2&A=x&b=1", [], length=None)
    assert text.endswith("/a/c\na:x\nb:1,2")


def test_an_underscore_sorts_before_digits_and_letters_as_the_service_has_it():
    names = ["x-ms-meta-a_b", "x-ms-meta-a1", "x-ms-meta-ab", "x-ms-meta-a", "x-ms-meta-_a"]
    text = string_to_sign("a", "GET", "/c", "", [(name, "v") for name in names], length=None)
    order = [line.partition(":")[0] for line in text.split("\n") if line.startswith("x-ms")]
    assert order == ["x-ms-meta-_a", "x-ms-meta-a", "x-ms-meta-a_b", "x-ms-meta-a1", "x-ms-meta-ab"]


@pytest.mark.parametrize("wrong", ["", "not base64!", "%%%", "QQ="])
def test_a_key_that_is_none_is_refused_without_being_shown(wrong):
    with pytest.raises(ConfigError) as caught:
        account_key(wrong)
    assert not wrong or wrong not in str(caught.value)


def test_a_signer_shows_no_key():
    assert KEY not in repr(KeySigner("a", Secret(KEY)))


# ---- Microsoft's signer as an oracle

SIGNED = [
    "content-encoding", "content-language", "content-md5", "content-type", "if-modified-since", "if-match",
    "if-none-match", "if-unmodified-since",
]  # fmt: skip
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
OWN = st.from_regex(r"x-ms-(meta-[a-z_][a-z0-9_]{0,10}|range|blob-type|copy-source)", fullmatch=True)


@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]),
    key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    query=st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=9), max_size=4),
    standard=st.dictionaries(st.sampled_from(SIGNED), WORDS, max_size=4),
    own=st.dictionaries(OWN, WORDS, max_size=6),
    length=st.integers(0, 10_000_000),
)
def test_signatures_are_those_of_the_official_library(method, key, query, standard, own, length):
    policy_of = pytest.importorskip("azure.storage.blob._shared.authentication").SharedKeyCredentialPolicy
    path, text = f"/container/{encode_path(key)}", encode_query(query.items())
    fields = [*standard.items(), *own.items()]
    url = f"https://account.blob.core.windows.net{path}" + (f"?{text}" if text else "")
    headers = {**dict(fields), **({"content-length": str(length)} if length else {})}
    encoded = dict(part.split("=", 1) for part in text.split("&")) if text else {}
    http = SimpleNamespace(method=method, url=url, headers=headers, query=encoded)
    context = SimpleNamespace(transport=None)
    policy_of("account", KEY).on_request(SimpleNamespace(http_request=http, context=context))
    signer = KeySigner("account", Secret(KEY))
    assert signer.authorization(method, path, text, fields, length=length) == http.headers["Authorization"]


NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize("key", ["a/b.png", "ü €.txt", None])
@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("response", [{}, {"rscc": "no-cache", "rsct": "text/plain"}])
def test_links_are_those_of_the_official_library(key, https, response, monkeypatch):
    module = pytest.importorskip("azure.storage.blob._shared_access_signature")
    signing = module.BlobSharedAccessSignature("account", account_key=KEY)
    signing.x_ms_version = VERSION
    given = {
        "permission": "r", "expiry": NOW + timedelta(hours=1), "start": NOW, "protocol": "https" if https else None,
        "cache_control": response.get("rscc"), "content_type": response.get("rsct"),
    }  # fmt: skip
    if key is None:
        theirs = signing.generate_container("container", **given)
    else:
        theirs = signing.generate_blob("container", key, **given)
    grant = Grant(
        "r", NOW + timedelta(hours=1), "account", "container", key, https_only=https, start=NOW, response=response
    )
    ours = service_sas(grant, KeySigner("account", Secret(KEY)).digest)
    assert parse_qs(ours) == parse_qs(theirs)


def test_links_by_a_user_are_signed_as_documented():
    """The string of "Create a user delegation SAS" for versions from 2020-12-06 to 2025-05-05."""
    key = DelegationKey("oid", "tid", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z", "b", "2024-08-04", Secret(KEY))
    grant = Grant("cw", NOW, "account", "container", "a b/é", https_only=True)
    query = {name: values[0] for name, values in parse_qs(user_delegation_sas(grant, key)).items()}
    lines = [
        "cw", "", "2026-11-22T01:02:03Z", "/blob/account/container/a b/é", "oid", "tid", "2026-11-22T00:00:00Z",
        "2026-11-29T00:00:00Z", "b", "2024-08-04", "", "", "", "", "https", "2024-08-04", "b", "", "", "", "", "", "", "",
    ]  # fmt: skip
    expected = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    assert base64.b64decode(query.pop("sig")) == expected
    assert query == {
        "sv": "2024-08-04", "se": "2026-11-22T01:02:03Z", "sr": "b", "sp": "cw", "spr": "https", "skoid": "oid",
        "sktid": "tid", "skt": "2026-11-22T00:00:00Z", "ske": "2026-11-29T00:00:00Z", "sks": "b", "skv": "2024-08-04",
    }  # fmt: skip


def test_the_emulators_key_is_a_key():
    assert len(account_key(EMULATOR_KEY)) == 64
