"""Signatures, each proven by something that is not this library: botocore, cryptography, the providers' own examples."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mediagit_storage.cdn import verify_token
from mediagit_storage.cdn.cloudflare import Cloudflare, CloudflareConfig
from mediagit_storage.cdn.cloudfront import CloudFront, CloudFrontConfig
from mediagit_storage.cdn.google import GoogleCDN, GoogleCDNConfig, signature, signed_policy
from mediagit_storage.cdn.tokens import TokenCDN, TokenConfig
from mediagit_storage.errors import ConfigError, InvalidKeyError, UnsupportedError
from mediagit_storage.secrets import Secret

from .conftest import HOSTILE, NOW, pem_of

BASE = "https://d111.cloudfront.net/media"


@pytest.fixture
def cloudfront(in_front, rsa_key):
    """A CloudFront with a key of RSA, and other options."""

    def make(**options):
        given = {"base_url": BASE, "key_pair_id": "K2JCJMDEHXQW5F", "private_key": pem_of(rsa_key), **options}
        return in_front(CloudFront(CloudFrontConfig(**given)))

    return make


def oracle(rsa_key):
    return CloudFrontSigner("K2JCJMDEHXQW5F", lambda message: rsa_key.sign(message, padding.PKCS1v15(), hashes.SHA1()))


def undone(text: str) -> bytes:
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")), validate=True)


@pytest.mark.parametrize("key", HOSTILE)
def test_canned_policies_are_those_of_botocore(cloudfront, rsa_key, key):
    cdn = cloudfront()
    ends = datetime.fromtimestamp(NOW + 3600, UTC)
    assert cdn.sign(key) == oracle(rsa_key).generate_presigned_url(cdn.url(key), date_less_than=ends)


def test_custom_policies_are_those_of_botocore(cloudfront, rsa_key):
    cdn, signer = cloudfront(), oracle(rsa_key)
    ends, starts = datetime.fromtimestamp(NOW + 60, UTC), datetime.fromtimestamp(NOW + 10, UTC)
    url = cdn.url("v/a b.mp4")
    for client, resource, scope in (
        ("192.0.2.0/24", url, None),
        ("192.0.2.7", f"{BASE}/v/*", "v/"),
        (None, f"{BASE}/v%2A/a*", "v*/a"),
    ):
        key = "v/a b.mp4" if scope != "v*/a" else "v*/ab"
        policy = signer.build_policy(resource, ends, starts, client)
        expected = signer.generate_presigned_url(cdn.url(key), policy=policy)
        assert cdn.sign(key, expires=60, starts=10, client=client, scope=scope) == expected


def test_a_literal_star_is_no_wildcard(cloudfront):
    policy = json.loads(undone(dict(parse_qsl(urlsplit(cloudfront().sign("*?", starts=1)).query))["Policy"]))
    assert policy["Statement"][0]["Resource"] == f"{BASE}/%2A%3F"


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_both_kinds_of_keys_with_both_hashes(cloudfront, rsa_key, ec_key, kind, hash_name):
    key = rsa_key if kind == "rsa" else ec_key
    digest = hashes.SHA1() if hash_name == "sha1" else hashes.SHA256()
    cdn = cloudfront(private_key=pem_of(key), hash_algorithm=hash_name)
    fields = dict(parse_qsl(urlsplit(cdn.sign("a", expires=5)).query))
    assert fields.get("Hash-Algorithm") == (None if hash_name == "sha1" else "SHA256")
    policy = f'{{"Statement":[{{"Resource":"{BASE}/a","Condition":{{"DateLessThan":{{"AWS:EpochTime":{NOW + 5}}}}}}}]}}'
    signed = undone(fields["Signature"])
    how = (padding.PKCS1v15(), digest) if kind == "rsa" else (ec.ECDSA(digest),)
    key.public_key().verify(signed, policy.encode(), *how)
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signed, policy.replace("/a", "/b").encode(), *how)


def test_cookies_of_cloudfront(cloudfront, rsa_key):
    cdn = cloudfront(hash_algorithm="sha256")
    cookies = {each.name: each for each in cdn.cookies(scope="show/1/", domain="example.org")}
    assert list(cookies) == [
        "CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id", "CloudFront-Hash-Algorithm"
    ]  # fmt: skip
    policy = undone(cookies["CloudFront-Policy"].value)
    assert json.loads(policy)["Statement"][0]["Resource"] == f"{BASE}/show/1/*"
    rsa_key.public_key().verify(
        undone(cookies["CloudFront-Signature"].value), policy, padding.PKCS1v15(), hashes.SHA256()
    )
    first = cookies["CloudFront-Key-Pair-Id"]
    expected = "CloudFront-Key-Pair-Id=K2JCJMDEHXQW5F; Path=/media/show/1/; Domain=example.org; Secure; HttpOnly"
    assert first.header == expected
    assert first.value not in repr(first)
    canned = [each.name for each in cloudfront().cookies("show/1/a")]
    assert canned == ["CloudFront-Expires", "CloudFront-Signature", "CloudFront-Key-Pair-Id"]
    with pytest.raises(ConfigError, match="one of the two"):
        cdn.cookies()
    for domain in ("x.org; Path=/", "x.org\r\nSet-Cookie: a=b", "", "x..org"):
        with pytest.raises(ConfigError, match="domain"):
            cdn.cookies(scope="show/1/", domain=domain)


def test_keys_that_cloudfront_does_not_take(cloudfront):
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    other = ec.generate_private_key(ec.SECP384R1())
    for key in (pem_of(small), pem_of(other), Secret("hush hush"), Secret("größe")):
        with pytest.raises(ConfigError, match="private_key") as caught:
            cloudfront(private_key=key).sign("a")
        assert "hush" not in str(caught.value)
    with pytest.raises(UnsupportedError, match="IPv4"):
        cloudfront().sign("a", client="2001:db8::/32")


def test_signing_without_a_key_is_refused(in_front):
    for provider in (
        CloudFront(CloudFrontConfig(base_url=BASE)),
        GoogleCDN(GoogleCDNConfig(base_url=BASE)),
        Cloudflare(CloudflareConfig(base_url=BASE)),
    ):
        with pytest.raises(ConfigError, match="needs"):
            in_front(provider).sign("a")


# ---- Google: the expected values are those of the tests of Google's own samples

GOOGLE_KEY = "nZtRohdNF9m3cKM24IcK4w=="
GOOGLE_TIME = 1549751401


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://35.186.234.33/index.html?", "CRFqQnVfFyiUyR63OQf-HRUpIwc="),
        ("http://www.example.com/?", "OqDUFfHpN5Vxga6r80bhsgxKves="),
        ("http://www.example.com/some/path?some=query&another=param&", "9Q9TCxSju8-W5nUkk5CuTrun2_o="),
    ],
)
def test_urls_of_google(url, expected):
    key = base64.urlsafe_b64decode(GOOGLE_KEY)
    assert signature(key, f"{url}Expires={GOOGLE_TIME}&KeyName=my-key") == expected


@pytest.mark.parametrize(
    ("prefix", "separator", "expected"),
    [
        ("http://35.186.234.33/", "&", "j7HYgoQ8dIOVsW3Rw4cpkjWfRMA="),
        ("http://www.example.com/some/", "&", "3th4ThmpS95I1TAKYyYSCSq3dnQ="),
        ("http://35.186.234.33/index.html", ":", "uImwlOBCPs91mlCyG9vyyZRrNWU="),
        ("http://www.example.com/foo/", ":", "Z9uYAu73YHioRScZDxnP-TnS274="),
    ],
)
def test_prefixes_and_cookies_of_google(prefix, separator, expected):
    key = base64.urlsafe_b64decode(GOOGLE_KEY)
    made = signed_policy(key, prefix, GOOGLE_TIME, "my-key", separator)
    encoded = base64.urlsafe_b64encode(prefix.encode()).decode()
    assert made == separator.join(
        [f"URLPrefix={encoded}", f"Expires={GOOGLE_TIME}", "KeyName=my-key", f"Signature={expected}"]
    )


@pytest.fixture
def google(in_front, clock):
    clock.now = GOOGLE_TIME - 3600
    config = GoogleCDNConfig(
        base_url="http://www.example.com", allow_http=True, key_name="my-key", key=Secret(GOOGLE_KEY)
    )
    return in_front(GoogleCDN(config))


def test_google_signs_urls_and_prefixes_and_cookies(google):
    signed = google.sign("some/path", scope="some/")
    encoded = base64.urlsafe_b64encode(b"http://www.example.com/some/").decode()
    assert signed == (
        f"http://www.example.com/some/path?URLPrefix={encoded}&Expires={GOOGLE_TIME}&KeyName=my-key"
        "&Signature=3th4ThmpS95I1TAKYyYSCSq3dnQ="
    )
    assert google.sign("k").startswith(f"http://www.example.com/k?Expires={GOOGLE_TIME}&KeyName=my-key&Signature=")
    [cookie] = google.cookies(scope="foo/")
    assert cookie.value.endswith(":Signature=Z9uYAu73YHioRScZDxnP-TnS274=")
    assert cookie.header.endswith("; Path=/foo/; Expires=Sat, 09 Feb 2019 22:30:01 GMT; HttpOnly")


def test_what_google_cannot_sign(google, in_front):
    for options in ({"starts": 1}, {"client": "192.0.2.1"}):
        with pytest.raises(UnsupportedError, match="neither"):
            google.sign("k", **options)
    with pytest.raises(UnsupportedError, match="prefix"):
        google.cookies("k")
    for key in ("c2hvcnQ=", "no base64!", "größe"):
        config = GoogleCDNConfig(base_url=BASE, key_name="k", key=Secret(key))
        with pytest.raises(ConfigError, match="16 bytes") as caught:
            in_front(GoogleCDN(config)).sign("k")
        assert key not in str(caught.value)


# ---- Cloudflare: checked as the documentation of the rules language says


def is_timed_hmac_valid(key, message_mac, ttl, now, separator, *, url_safe):
    found = re.fullmatch(r"(.+)(\d{10})-(.{43,})", message_mac)
    assert found is not None
    message, stamp, mac = found[1][:-separator], found[2], found[3]
    digest = hmac.new(key, f"{message}{stamp}".encode(), hashlib.sha256).digest()
    if url_safe:
        fine = base64.urlsafe_b64encode(digest).decode().rstrip("=") == mac
    else:
        fine = base64.b64encode(digest).decode() == unquote(mac) and "+" not in mac and "/" not in mac
    return fine and now < int(stamp) + ttl


@pytest.mark.parametrize("url_safe", [False, True])
@pytest.mark.parametrize("key", HOSTILE)
def test_cloudflare_takes_our_tokens(in_front, key, url_safe):
    config = CloudflareConfig(base_url="https://x.org/a", token_key=Secret("mysecrettoken"), url_safe=url_safe)
    parts = urlsplit(in_front(Cloudflare(config)).sign(key, expires=600))
    uri = f"{parts.path}?{parts.query}"
    for now, fine in ((NOW, True), (NOW + 599, True), (NOW + 600, False)):
        assert is_timed_hmac_valid(b"mysecrettoken", uri, 10_800, now, 8, url_safe=url_safe) is fine
    assert not is_timed_hmac_valid(b"another", uri, 10_800, NOW, 8, url_safe=url_safe)


def test_no_link_of_cloudflare_lives_longer_than_its_rule(in_front):
    cdn = in_front(Cloudflare(CloudflareConfig(base_url=BASE, token_key=Secret("k"), token_ttl=600)))
    assert f"?verify={NOW}-" in cdn.sign("k", expires=600)
    with pytest.raises(ConfigError, match="1 to 600 seconds"):
        cdn.sign("k", expires=601)
    with pytest.raises(UnsupportedError):
        cdn.sign("k", expires=600, scope="k")


# ---- tokens

KEY = Secret("sixteen bytes and more")


@pytest.fixture
def tokens(in_front):
    return in_front(TokenCDN(TokenConfig(base_url="https://x.org/a", key=KEY)))


def target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.mark.parametrize("key", HOSTILE)
def test_a_token_opens_its_object_for_its_time(tokens, key):
    link = target(tokens.sign(key, expires=60))
    assert verify_token(KEY, link, now=NOW)
    assert verify_token(KEY, link, now=NOW + 59)
    assert not verify_token(KEY, link, now=NOW + 60)
    assert not verify_token(Secret("another key, long enough"), link, now=NOW)
    assert not verify_token(KEY, link.replace("/a/", "/b/", 1), now=NOW)
    assert not verify_token(KEY, link.replace(f"expires={NOW + 60}", f"expires={NOW + 61}"), now=NOW)


def test_the_token_is_what_the_documentation_says(tokens):
    link = tokens.sign("v/a b", expires=60, starts=5, client="192.0.2.0/24", scope="v/a ")
    message = f"mgs-1\nscope:/a/v/a%20\n{NOW + 60}\n{NOW + 5}\n192.0.2.0/24"
    mac = hmac.new(KEY.reveal().encode(), message.encode(), "sha256").digest()
    token = base64.urlsafe_b64encode(mac).decode().rstrip("=")
    assert link == (
        f"https://x.org/a/v/a%20b?expires={NOW + 60}&starts={NOW + 5}&client=192.0.2.0%2F24&scope=%2Fa%2Fv%2Fa%2520"
        f"&token={token}"
    )
    plain = tokens.sign("k", expires=60)
    mac = hmac.new(KEY.reveal().encode(), f"mgs-1\npath:/a/k\n{NOW + 60}\n\n".encode(), "sha256").digest()
    assert plain == f"https://x.org/a/k?expires={NOW + 60}&token={base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def test_tokens_with_a_start_an_address_and_a_scope(tokens):
    link = target(tokens.sign("v/1", expires=60, starts=10, client="192.0.2.0/24", scope="v/"))
    for now, client, fine in (
        (NOW + 10, "192.0.2.7", True),
        (NOW + 9, "192.0.2.7", False),
        (NOW + 10, "192.0.3.7", False),
        (NOW + 10, "::ffff:192.0.2.7", True),
        (NOW + 10, "::ffff:192.0.3.7", False),
        (NOW + 10, "2001:db8::1", False),
        (NOW + 10, "nobody", False),
        (NOW + 10, None, False),
    ):
        assert verify_token(KEY, link, now=now, client=client) is fine, (now, client)
    scoped = target(tokens.sign("v/1", scope="v/"))
    assert verify_token(KEY, scoped.replace("/a/v/1?", "/a/v/2/deep?"), now=NOW)
    assert not verify_token(KEY, scoped.replace("/a/v/1?", "/a/w/1?"), now=NOW)
    for path in (
        "/a/v/../w/1",
        "/a/v/%2e%2e/w/1",
        "/a/v/.%2E/w",
        "/a/v/..",
        "/a/v/%2f..%2fw",
        "/a/v/..\\w",
        "/a/v/.%5cw",
        "/a/v/..;x=1/w",
    ):
        assert not verify_token(KEY, scoped.replace("/a/v/1?", f"{path}?"), now=NOW), path


def test_what_is_not_made_here_opens_nothing(tokens):
    link = target(tokens.sign("k", expires=60))
    path, _, query = link.partition("?")
    expires, token = query.split("&")
    for wrong in (
        path,
        f"{path}?",
        f"{path}?{expires}",
        f"{path}?{token}",
        f"{path}?{token}&{expires}",
        f"{path}?{expires}&{expires}&{token}",
        f"{path}?{expires}&{token}&{token}",
        f"{path}?{expires}&{token}&x=1",
        f"{path}?x=1&{expires}&{token}",
        f"{path}?{expires}&starts=&{token}",
        f"{path}?{expires}&scope=%2F&{token}",
        f"{path}?{expires}&client=0.0.0.0%2F0&{token}",
        f"{path}?expires=%0A{expires[8:]}&{token}",
        f"{path}?expires=-1&{token}",
        f"{path}?expires=1e18&{token}",
        f"{path}?{expires}&token=",
        f"{path}?{expires}&token=gr%C3%B6%C3%9Fe",
        f"{path}?{expires}&token=%ff",
        f"{path}\ud800?{expires}&{token}",
        f"{path}ü?{expires}&{token}",
    ):
        assert not verify_token(KEY, wrong, now=NOW), wrong
    assert verify_token(KEY, link, now=NOW)


@pytest.mark.parametrize("key", ["a\\..\\b", "..\\b", "a\\."])
def test_no_link_is_made_that_is_never_allowed(tokens, key):
    for scope in (None, ""):
        with pytest.raises(InvalidKeyError, match="backslashes"):
            tokens.sign(key, scope=scope)


def test_a_key_that_could_be_guessed_is_refused(in_front):
    with pytest.raises(ConfigError, match="16 bytes"):
        in_front(TokenCDN(TokenConfig(base_url=BASE, key=Secret("short")))).sign("k")
