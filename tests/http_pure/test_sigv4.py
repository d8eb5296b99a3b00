"""Our signatures against AWS's published examples and against botocore's signer on random requests."""

from __future__ import annotations

import datetime as dt
import hashlib
import pickle
import string
import threading
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import ConfigError
from mediagit_storage.http.encoding import encode_path, encode_query
from mediagit_storage.http.request import Request
from mediagit_storage.http.sigv4 import EMPTY_SHA256, MAX_PRESIGN_SECONDS, UNSIGNED, Credentials, Signer
from mediagit_storage.secrets import Secret

botocore_auth = pytest.importorskip("botocore.auth")
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials as BotocoreCredentials  # noqa: E402

ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MAY_24 = 1369353600  # 20130524T000000Z


def signer(*, region="us-east-1", host="examplebucket.s3.amazonaws.com", token=None) -> Signer:
    return Signer(Credentials(ID, Secret(SECRET), None if token is None else Secret(token)), region=region, host=host)


def signature(fields: list[tuple[str, str]]) -> str:
    return dict(fields)["Authorization"].rpartition("Signature=")[2]


# ---- the published examples: "Examples: Signature Calculations" in the S3 API reference ----------------------------


def test_example_get_object():
    fields = signer().sign("GET", "/test.txt", "", [("range", "bytes=0-9")], payload=EMPTY_SHA256, now=MAY_24)
    assert fields == [
        ("x-amz-content-sha256", EMPTY_SHA256),
        ("x-amz-date", "20130524T000000Z"),
        (
            "Authorization",
            (
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                " SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
                " Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
        ),
    ]


def test_example_put_object():
    headers = [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]
    digest = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    path = "/" + encode_path("test$file.text")
    assert (
        signature(signer().sign("PUT", path, "", headers, payload=digest, now=MAY_24))
        == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


def test_example_get_bucket_lifecycle():
    query = encode_query([("lifecycle", "")])
    assert query == "lifecycle="
    assert (
        signature(signer().sign("GET", "/", query, payload=EMPTY_SHA256, now=MAY_24))
        == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


def test_example_list_objects():
    query = encode_query([("prefix", "J"), ("max-keys", "2")])
    assert (
        signature(signer().sign("GET", "/", query, payload=EMPTY_SHA256, now=MAY_24))
        == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def test_example_presigned_get():
    query = signer().presign("GET", "/test.txt", expires=86400, now=MAY_24)
    assert query == (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


# ---- botocore as the oracle ----------------------------------------------------------------------------------------

#: Keys of every kind that matters: what has to be encoded, what must not be normalised, and any Unicode.
KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.lists(st.sampled_from(["a", "", ".", "..", "+", "%2F", " ", "é", "😀", "~", "*", "(", "'"]), max_size=8).map(
        "/".join
    ),
)
NAMES = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20)
VALUES = st.text(string.ascii_letters + string.digits + " \t;=/%+,:\"'()", max_size=30)
HEADERS = st.dictionaries(NAMES.map(lambda name: f"x-amz-meta-{name}"), VALUES, max_size=5).flatmap(
    lambda metadata: st.dictionaries(
        st.sampled_from(
            ["Content-Type", "range", "If-Match", "If-None-Match", "content-md5", "x-amz-acl", "Cache-Control"]
        ),
        VALUES,
        max_size=4,
    ).map(lambda more: {**{name.lower(): value for name, value in metadata.items()}, **more})
)
QUERIES = st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=5).filter(
    lambda pairs: all(not 0xD800 <= ord(c) < 0xE000 for pair in pairs for text in pair for c in text)
)
HOSTS = st.sampled_from(["s3.eu-west-1.amazonaws.com", "my-bucket.s3.amazonaws.com", "localhost:9000", "[::1]:8333"])
MOMENTS = st.integers(0, 4_000_000_000)


def signed_by_botocore(request, kind, token, region, now, **options):
    """``request``, signed by botocore at the second ``now``; a body over https is left to TLS."""
    request.context["client_config"] = SimpleNamespace(s3={"payload_signing_enabled": request.url.startswith("http:")})
    with pytest.MonkeyPatch.context() as patch:
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        patch.setattr(botocore_auth, "get_current_datetime", lambda: moment)
        kind(BotocoreCredentials(ID, SECRET, token), "s3", region, **options).add_auth(request)
    return request


@given(
    key=KEYS, headers=HEADERS, query=QUERIES, host=HOSTS, now=MOMENTS,
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]),
    token=st.none() | st.just("FwoGZXIvYXdz%s%EXAMPLETOKEN/+=="),
    region=st.sampled_from(["us-east-1", "eu-central-1", "auto"]),
    body=st.none() | st.binary(max_size=20),
)  # fmt: skip
def test_header_signatures_are_botocores(key, headers, query, host, now, method, token, region, body):
    scheme, payload = ("https", UNSIGNED) if body is None else ("http", hashlib.sha256(body).hexdigest())
    path = f"/{encode_path(key)}"
    request = AWSRequest(
        method=method, url=f"{scheme}://{host}{path}", headers={**headers, "Host": host}, params=query, data=body or b""
    )
    expected = signed_by_botocore(request, botocore_auth.S3SigV4Auth, token, region, now).headers
    made = dict(
        signer(region=region, host=host, token=token).sign(
            method, path, encode_query(query), list(headers.items()), payload=payload, now=now
        )
    )
    assert made["Authorization"] == expected["Authorization"]
    assert made["x-amz-content-sha256"] == expected["X-Amz-Content-SHA256"]
    assert made["x-amz-date"] == expected["X-Amz-Date"]
    assert made.get("x-amz-security-token") == expected.get("X-Amz-Security-Token")


@given(
    key=KEYS, host=HOSTS, now=MOMENTS, expires=st.integers(1, MAX_PRESIGN_SECONDS),
    method=st.sampled_from(["GET", "PUT", "DELETE"]),
    token=st.none() | st.just("FwoGZXIvYXdz%s%EXAMPLETOKEN/+=="),
    query=st.dictionaries(st.sampled_from(["versionId", "response-content-type", "x-id"]), st.text("aé +/%&=", max_size=8)),
    content_type=st.none() | st.just("image/png"),
)  # fmt: skip
def test_presigned_queries_are_botocores(key, host, now, expires, method, token, query, content_type):
    headers = [] if content_type is None else [("content-type", content_type)]
    path = f"/{encode_path(key)}"
    request = AWSRequest(
        method=method, url=f"https://{host}{path}", headers={**dict(headers), "Host": host}, params=dict(query)
    )
    signed_by_botocore(request, botocore_auth.S3SigV4QueryAuth, token, "us-east-1", now, expires=expires)
    made = signer(host=host, token=token).presign(method, path, query.items(), headers, expires=expires, now=now)
    ours = dict(parse_qsl(made, keep_blank_values=True, strict_parsing=True))
    theirs = dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True))
    if content_type is None:
        assert ours == theirs
    else:
        # botocore leaves a presigned content type out of the signature; ours binds whoever uses the link.
        assert ours["X-Amz-SignedHeaders"] == "content-type;host"


@given(key=KEYS)
def test_keys_are_encoded_as_botocore_does(key):
    from botocore.utils import percent_encode

    assert encode_path(key) == percent_encode(key, safe="/~")


# ---- our own promises ----------------------------------------------------------------------------------------------


def test_the_template_of_a_second_changes_nothing():
    """A signer that has signed before gives the same as a fresh one, forwards and backwards in time and across days."""
    used = signer(token="T")
    for now in (MAY_24, MAY_24, MAY_24 + 1, MAY_24 + 86400, MAY_24 - 1, 0, MAY_24):
        for headers in ([], [("range", "bytes=0-1")], [("Range", "bytes=0-1"), ("if-match", '"x"')], [("a%s", "%")]):
            assert used.sign("GET", "/k", "", headers, now=now) == signer(token="T").sign(
                "GET", "/k", "", headers, now=now
            )


def test_many_sets_of_fields_do_not_pile_up():
    one = signer()
    for number in range(500):
        one.sign("PUT", "/k", "", [(f"x-amz-meta-{number}", "v")], now=MAY_24)
    assert len(one._template.known) <= 16


@pytest.mark.parametrize("value", ["AAAAAA==", "", "%s", "a  b", "\N{SNOWMAN}"])
@pytest.mark.parametrize("name", ["x-amz-checksum-crc32c", "a-first", "z-last", "Content-MD5", "expect"])
def test_a_last_value_that_changes_is_signed_as_if_it_were_the_first(name, value):
    used = signer()
    used.sign("PUT", "/k", "", [("content-type", "a/b"), (name, "before")], now=MAY_24)
    fields = [("content-type", "a/b"), (name, value)]
    assert used.sign("PUT", "/k", "", fields, now=MAY_24) == signer().sign("PUT", "/k", "", fields[::-1], now=MAY_24)


@pytest.mark.parametrize("token", [None, "T"])
def test_lines_are_all_the_fields_with_the_same_signature(token):
    used = signer(token=token)
    for fields in ([], [("content-type", "a/b")], [("content-type", "a/b"), ("content-md5", "x=")], [("range", "")]):
        for path in ("/k", "/l"):
            lines = used.lines("PUT", path, "a=b", fields, now=MAY_24)
            added = signer(token=token).sign("PUT", path, "a=b", fields, now=MAY_24)
            assert dict(lines.fields()) == dict([*fields, *added])
            assert Request("PUT", f"https://h{path}", lines).headers == lines.fields()


@pytest.mark.parametrize("field", [("x-a", "b\r\nx: y"), ("x-a", " b"), ("x a", "b"), ("x-a", "b\n"), ("x\n", "")])
def test_lines_hold_nothing_that_must_not_be_sent(field):
    used = signer()
    for fields in ([field], [field, ("last", "x")], [("first", "x"), field]):
        with pytest.raises(ConfigError, match="plain name"):
            used.lines("PUT", "/k", "", fields, now=MAY_24)


@pytest.mark.parametrize(
    "value", ["b\r\nx: y", " b", "b ", "b\n", "\tb", "b\0", "\N{SNOWMAN}", "\N{NO-BREAK SPACE}b", "\x7f"]
)
def test_a_field_that_was_fine_does_not_vouch_for_its_next_value(value):
    used = signer()
    used.lines("PUT", "/k", "", [("x-a", "b")], now=MAY_24)
    with pytest.raises(ConfigError, match="plain name"):
        used.lines("PUT", "/k", "", [("x-a", value)], now=MAY_24)


@pytest.mark.parametrize("value", ["AAAAAA==", "", "%s", "a  b", "a\tb", "~!"])
def test_the_line_of_a_last_value_that_changes(value):
    used = signer()
    for each in ("before", value, "after", value):
        fields = [("content-type", "a/b"), ("x-a", each)]
        assert used.lines("PUT", "/k", "", fields, now=MAY_24) == signer().lines("PUT", "/k", "", fields, now=MAY_24)
        assert dict(used.lines("PUT", "/k", "", fields, now=MAY_24).fields())["x-a"] == each


def test_what_proxies_change_is_not_covered():
    fields = [("User-Agent", "x"), ("Accept-Encoding", "gzip"), ("expect", ""), ("Connection", "close")]
    one = dict(signer().sign("GET", "/k", "", fields, now=MAY_24))
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in one["Authorization"]
    assert one == dict(signer().sign("GET", "/k", now=MAY_24))


def test_runs_of_blanks_do_not_count():
    """SigV4 folds them in what is signed, because intermediaries may."""
    one = signature(signer().sign("GET", "/k", "", [("x-amz-meta-a", "  two   words ")], now=MAY_24))
    assert one == signature(signer().sign("GET", "/k", "", [("x-amz-meta-a", "two words")], now=MAY_24))


@pytest.mark.parametrize("key", ["a//b", "folder/", "../x", "./x", "/lead", "a/../b", "%2F", "+", " "])
def test_nothing_is_normalised(key):
    """Two keys that a normaliser would fold have two signatures."""
    paths = {encode_path(key), encode_path(key.replace("//", "/")), encode_path(f"x{key}")}
    signatures = {signature(signer().sign("GET", f"/{path}", now=MAY_24)) for path in paths}
    assert len(signatures) == len(paths)


@pytest.mark.parametrize("expires", [0, -1, MAX_PRESIGN_SECONDS + 1])
def test_a_link_lives_one_second_to_seven_days(expires):
    with pytest.raises(ConfigError, match="seven days"):
        signer().presign("GET", "/k", expires=expires, now=MAY_24)
    assert "X-Amz-Expires=604800&" in signer().presign("GET", "/k", expires=MAX_PRESIGN_SECONDS, now=MAY_24)


def test_any_change_changes_a_link():
    def link(
        method="GET", path="/k", query=(), headers=(), expires=60, now=MAY_24, region="us-east-1", host="h.example"
    ):
        return signer(region=region, host=host).presign(method, path, query, headers, expires=expires, now=now)[-64:]

    links = [
        link(), link(method="PUT"), link(path="/K"), link(query=[("versionId", "1")]), link(headers=[("content-type", "a")]),
        link(expires=61), link(now=MAY_24 + 1), link(region="eu-west-1"), link(host="g.example"),
    ]  # fmt: skip
    assert len(set(links)) == len(links)


def test_nothing_shows_the_secret():
    one = signer(token="session-token-canary")
    one.sign("GET", "/k", now=MAY_24)
    shown = f"{one!r} {one._credentials!r} {one._credentials}"
    assert SECRET not in shown
    assert "canary" not in shown
    assert ID in repr(one)
    with pytest.raises(TypeError, match="refuses to be pickled"):
        pickle.dumps(one._credentials)


@pytest.mark.parametrize("wrong", ["", " x", "x\n", "a b\r\n", "é"])
def test_what_cannot_be_a_credential_is_refused_without_showing_it(wrong):
    for make in (
        lambda: Credentials(wrong, Secret(SECRET)),
        lambda: Credentials(ID, Secret(wrong)),
        lambda: Credentials(ID, Secret(SECRET), Secret(wrong)),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert not wrong.strip() or wrong not in str(caught.value)


def test_threads_share_a_signer():
    one, wrong = signer(), []

    def work(start: int) -> None:
        for second in range(start, start + 200):
            if one.sign("GET", "/k", now=second % 7) != expected[second % 7]:
                wrong.append(second)

    expected = [signer().sign("GET", "/k", now=second) for second in range(7)]
    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
