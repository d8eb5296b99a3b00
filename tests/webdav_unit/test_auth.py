"""Basic and Digest: the examples of the standards, challenges of every form, counting, and what is refused."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.webdav.auth import (
    Challenge,
    DavSigning,
    basic_value,
    digest_response,
    digest_value,
    parse_challenges,
)
from mediagit_storage.errors import ConfigError, UnauthenticatedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.secrets import Secret

#: RFC 7616, 3.9.1.
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm, response):
    parameters = {"realm": "http-auth@example.org", "nonce": NONCE, "qop": "auth, auth-int", "algorithm": algorithm}
    challenge = Challenge("digest", parameters)
    found = digest_response(
        challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", nc="00000001", cnonce=CNONCE
    )
    assert found == response


def test_the_example_of_rfc_2617():
    challenge = Challenge(
        "digest", {"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093", "qop": "auth"}
    )
    found = digest_response(
        challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", nc="00000001", cnonce="0a4f113b"
    )
    assert found == "6629fae49393a05397450978507c4ef1"


def test_the_value_names_everything():
    challenge = Challenge(
        "digest", {"realm": 'a"b', "nonce": "n", "qop": "auth", "opaque": "o", "algorithm": "SHA-256"}
    )
    value = digest_value(challenge, 'us"er', "p", "PUT", "/x", count=255, cnonce="c")
    assert value.startswith("Digest ")
    [parsed] = parse_challenges(value)
    assert parsed.parameters["username"] == 'us"er'
    assert parsed.parameters["realm"] == 'a"b'
    assert (parsed.parameters["nc"], parsed.parameters["qop"], parsed.parameters["opaque"]) == ("000000ff", "auth", "o")


@pytest.mark.parametrize(
    ("field", "schemes"),
    [
        ('Basic realm="x"', ["basic"]),
        ('Digest realm="x, y", nonce="n", qop="auth", Basic realm="z"', ["digest", "basic"]),
        ('Basic realm="z", Digest realm="x", nonce="n", algorithm=SHA-256, Digest realm="x", nonce="n", algorithm=MD5', ["basic", "digest", "digest"]),
        ("Negotiate, Basic realm=x", ["negotiate", "basic"]),
        ("Negotiate YIIabc==, Basic realm=x", ["negotiate", "basic"]),
        ("Bearer", ["bearer"]),
        ("", []),
        (None, []),
        ('Digest realm="never closed', ["digest"]),
        (",,,", []),
    ],
)  # fmt: skip
def test_challenges(field, schemes):
    assert [each.scheme for each in parse_challenges(field)] == schemes


def test_escapes_in_challenges():
    [challenge] = parse_challenges(r'Digest realm="a\"b\\c", nonce="n,\"=", stale=TRUE')
    assert challenge.parameters == {"realm": 'a"b\\c', "nonce": 'n,"=', "stale": "TRUE"}


@pytest.mark.parametrize(
    ("parameters", "usable"),
    [
        ({"nonce": "n"}, True),
        ({"nonce": "n", "qop": "auth-int"}, False),
        ({"nonce": "n", "algorithm": "SHA-512-256"}, False),
        ({"nonce": "n", "algorithm": "md5-sess", "qop": "auth"}, True),
        ({}, False),
    ],
)
def test_what_can_be_answered(parameters, usable):
    assert Challenge("digest", parameters).usable is usable


# ---- choosing


def signing(auth="auto", *, private=True):
    return DavSigning(Secret("me"), Secret("hush"), auth, private=private)


def sent(signer):
    _, fields = signer.sign(Call("GET", "/k"))
    return dict(fields).get("authorization")


def refused(signer, challenge):
    value = sent(signer)
    headers = (("authorization", value),) if value else ()
    request = Request("GET", "http://127.0.0.1/k", headers)
    return Response(request, 401, Headers.of([("WWW-Authenticate", challenge)]), [b""])


DIGEST = 'Digest realm="r", nonce="one", qop="auth", algorithm=MD5, Digest realm="r", nonce="two", qop="auth", algorithm=SHA-256'


def test_basic_goes_out_at_once_where_nobody_listens():
    assert sent(signing()) == basic_value("me", "hush")
    assert sent(signing(private=False)) is None
    assert sent(signing("digest")) is None
    assert sent(signing("basic", private=False)) == basic_value("me", "hush")


def test_the_better_digest_is_taken_and_counted():
    signer = signing()
    signer.refresh(refused(signer, DIGEST))
    values = [parse_challenges(sent(signer))[0].parameters for _ in range(3)]
    assert [each["nonce"] for each in values] == ["two"] * 3
    assert [each["nc"] for each in values] == ["00000001", "00000002", "00000003"]
    assert len({each["cnonce"] for each in values}) == 3


def test_a_stale_nonce_is_replaced_and_counted_anew():
    signer = signing("digest")
    signer.refresh(refused(signer, DIGEST))
    sent(signer)
    signer.refresh(refused(signer, 'Digest realm="r", nonce="three", qop="auth", stale=true'))
    assert parse_challenges(sent(signer))[0].parameters["nonce"] == "three"
    assert parse_challenges(sent(signer))[0].parameters["nc"] == "00000002"


@pytest.mark.parametrize(
    ("auth", "private", "challenge"),
    [
        ("auto", True, 'Basic realm="x"'),
        ("basic", True, DIGEST),
        ("digest", True, 'Basic realm="x"'),
        ("auto", True, "Negotiate"),
        ("auto", False, ""),
    ],
)
def test_a_refusal_that_nothing_can_answer(auth, private, challenge):
    signer = signing(auth, private=private)
    with pytest.raises(UnauthenticatedError) as caught:
        signer.refresh(refused(signer, challenge))
    assert "hush" not in str(caught.value)


def test_basic_after_being_asked():
    signer = signing(private=False)
    signer.refresh(refused(signer, 'Basic realm="x"'))
    assert sent(signer) == basic_value("me", "hush")


def test_digest_only_never_falls_back():
    signer = signing("digest")
    with pytest.raises(UnauthenticatedError):
        signer.refresh(refused(signer, 'Basic realm="x"'))
    assert sent(signer) is None


@pytest.mark.parametrize(("username", "password"), [("a:b", "p"), ("a\r\nX: y", "p"), ("a", "p\n")])
def test_names_that_would_mean_something_else(username, password):
    with pytest.raises(ConfigError):
        DavSigning(Secret(username), Secret(password), "auto", private=True)


def test_names_beyond_ascii():
    assert basic_value("müller", "pässwort") == "Basic bcO8bGxlcjpww6Rzc3dvcnQ="
