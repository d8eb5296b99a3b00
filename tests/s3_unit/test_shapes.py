"""Requests: what attributes, conditions, ranges, locks and encryption become on the wire."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.s3.answers import parse_attributes
from mediagit_storage.backends.s3.services import SERVICES
from mediagit_storage.backends.s3.shapes import (
    Encryption,
    attribute_fields,
    condition_fields,
    copy_fields,
    etag_field,
    list_query,
    lock_fields,
    payer_fields,
    response_query,
    tagging_value,
    uploads_query,
    versions_query,
)
from mediagit_storage.errors import ConfigError, LimitExceededError, UnsupportedError
from mediagit_storage.http.headers import Headers
from mediagit_storage.secrets import Secret
from mediagit_storage.types import Attributes, Retention

AWS, B2, R2, GENERIC = (SERVICES[name] for name in ("aws", "b2", "r2", "generic"))
KEY = base64.b64encode(bytes(range(32))).decode()


# ---- attributes ----------------------------------------------------------------------------------------------------


def test_all_attributes():
    attributes = Attributes(
        content_type="text/plain", cache_control="max-age=60", content_encoding="gzip",
        content_disposition='attachment; filename="a b.txt"', metadata={"Author": "someone", "empty": ""},
        storage_class="GLACIER", tags={"a b": "c/d", "é": "+"},
    )  # fmt: skip
    assert attribute_fields(attributes, AWS, hidden={"token": "t"}) == [
        ("content-type", "text/plain"),
        ("cache-control", "max-age=60"),
        ("content-encoding", "gzip"),
        ("content-disposition", 'attachment; filename="a b.txt"'),
        ("x-amz-meta-author", "someone"),
        ("x-amz-meta-empty", ""),
        ("x-amz-meta-mgs-token", "t"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-tagging", "a%20b=c%2Fd&%C3%A9=%2B"),
    ]


def test_nothing_given_sends_a_type_that_reads_back_as_none():
    for nothing in (None, Attributes()):
        fields = attribute_fields(nothing, GENERIC)
        assert fields == [("content-type", "binary/octet-stream")]
        assert parse_attributes(Headers.of(fields)).attributes == Attributes()


NAMES = st.from_regex(r"[a-z0-9._-]{1,12}", fullmatch=True).filter(lambda name: not name.startswith("mgs-"))
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
PLAIN = st.none() | st.text("abc/;=\"' 0", min_size=1, max_size=10).filter(lambda text: text == text.strip())


TOKENS = st.fixed_dictionaries({}, optional={"token": VALUES})


@given(PLAIN, PLAIN, st.dictionaries(NAMES, VALUES, max_size=5), TOKENS)
def test_what_is_sent_reads_back(content_type, disposition, metadata, hidden):
    attributes = Attributes(content_type=content_type, content_disposition=disposition, metadata=metadata)
    fields = attribute_fields(attributes, R2, hidden=hidden)
    assert all(name == name.lower() and value.isascii() and value.isprintable() for name, value in fields)
    assert len({name for name, _ in fields}) == len(fields)
    found = parse_attributes(Headers.of(fields))
    assert found.attributes == attributes
    assert found.hidden == hidden


def test_what_layers_keep_is_shown_to_them_and_the_backends_own_is_not():
    attributes = Attributes(metadata={"mgs-blake3": "00", "a": "b"})
    found = parse_attributes(Headers.of(attribute_fields(attributes, R2, hidden={"token": "x"})))
    assert found == (attributes, {"token": "x"})


def test_metadata_is_bounded_before_anything_is_sent():
    assert attribute_fields(Attributes(metadata={"k": "x" * 2047}), AWS)
    for metadata in ({"k": "x" * 2048}, {"k": "é" * 1000}, {f"k{n}": "x" * 200 for n in range(11)}):
        with pytest.raises(LimitExceededError, match="keeps 2,048"):
            attribute_fields(Attributes(metadata=metadata), AWS)
    assert attribute_fields(Attributes(metadata={"k": "x" * 5000}), R2)


@pytest.mark.parametrize(
    "name", ["content_type", "cache_control", "content_encoding", "content_disposition", "storage_class"]
)
@pytest.mark.parametrize("value", ["é", " a", "a "])
def test_what_http_cannot_keep_is_refused(name, value):
    with pytest.raises(UnsupportedError, match=name):
        attribute_fields(Attributes(**{name: value}), AWS)


def test_what_the_service_does_not_keep_is_refused():
    with pytest.raises(UnsupportedError, match="no tags"):
        attribute_fields(Attributes(tags={"a": "b"}), B2)
    with pytest.raises(UnsupportedError, match="'GLACIER'; it has STANDARD"):
        attribute_fields(Attributes(storage_class="GLACIER"), R2)
    assert ("x-amz-storage-class", "ODD") in attribute_fields(Attributes(storage_class="ODD"), GENERIC)


TAG_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.dictionaries(TAG_TEXT, TAG_TEXT | st.just(""), max_size=10))
def test_tags_are_a_form(tags):
    assert dict(parse_qsl(tagging_value(tags, AWS), keep_blank_values=True)) == tags


@pytest.mark.parametrize("tags", [{f"k{n}": "v" for n in range(11)}, {"k" * 129: "v"}, {"k": "v" * 257}, {"": "v"}])
def test_tags_are_bounded(tags):
    with pytest.raises(LimitExceededError):
        tagging_value(tags, AWS)


# ---- conditions and ranges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("etag", "field"), [("a-1", '"a-1"'), ('"a"', '"a"'), ('W/"a"', 'W/"a"'), ("*", "*"), ("W", '"W"')]
)
def test_etags_in_conditions(etag, field):
    assert etag_field(etag) == field
    assert condition_fields(if_match=etag) == [("if-match", field)]
    assert condition_fields(if_none_match=etag) == [("if-none-match", field)]


def test_conditions():
    assert condition_fields() == []
    assert condition_fields(if_absent=True) == [("if-none-match", "*")]
    assert condition_fields(if_match="a", if_none_match="b") == [("if-match", '"a"'), ("if-none-match", '"b"')]
    for wrong in ("", "a\r\nx: y", "é"):
        with pytest.raises(ConfigError, match="ETag"):
            condition_fields(if_match=wrong)


def test_copies():
    assert copy_fields("/b/k", replace=False) == [
        ("x-amz-copy-source", "/b/k"),
        ("x-amz-metadata-directive", "COPY"),
    ]
    assert copy_fields("/b/k", replace=True, if_match="e", tags=True)[1:] == [
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-copy-source-if-match", '"e"'),
    ]


def test_locks():
    until = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert lock_fields(Retention("compliance", until), AWS, legal_hold=True) == [
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", "2030-01-02T03:04:05.000Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
    ]
    assert lock_fields(None, R2) == []
    for call in (
        lambda: lock_fields(Retention("governance", until), R2),
        lambda: lock_fields(None, R2, legal_hold=True),
    ):
        with pytest.raises(UnsupportedError, match="object lock"):
            call()


def test_requester_pays():
    assert payer_fields(requester_pays=True) == [("x-amz-request-payer", "requester")]
    assert payer_fields(requester_pays=False) == []


# ---- encryption ----------------------------------------------------------------------------------------------------


def test_managed_keys():
    assert Encryption("sse-s3").write_fields() == [("x-amz-server-side-encryption", "AES256")]
    kms = Encryption("sse-kms", kms_key_id="arn:aws:kms:x", kms_context='{"a": "é"}', bucket_key=True)
    fields = dict(kms.write_fields())
    assert fields["x-amz-server-side-encryption"] == "aws:kms"
    assert fields["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:aws:kms:x"
    assert base64.b64decode(fields["x-amz-server-side-encryption-context"]).decode() == '{"a": "é"}'
    assert fields["x-amz-server-side-encryption-bucket-key-enabled"] == "true"
    assert Encryption("sse-kms").write_fields() == [("x-amz-server-side-encryption", "aws:kms")]
    for managed in (kms, Encryption("sse-s3")):
        assert managed.key_fields() == managed.source_fields() == []


def test_customer_keys():
    one = Encryption("sse-c", customer_key=Secret(KEY))
    digest = base64.b64encode(hashlib.md5(bytes(range(32))).digest()).decode()
    expected = [("algorithm", "AES256"), ("key", KEY), ("key-md5", digest)]
    prefix = "x-amz-server-side-encryption-customer-"
    assert one.write_fields() == one.key_fields() == [(f"{prefix}{name}", value) for name, value in expected]
    assert one.source_fields() == [
        (f"x-amz-copy-source-{name.removeprefix('x-amz-')}", value) for name, value in one.key_fields()
    ]
    assert KEY not in repr(one)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "sse-c"},
        {"kind": "sse-s3", "customer_key": Secret(KEY)},
        {"kind": "sse-s3", "kms_key_id": "x"},
        {"kind": "sse-c", "customer_key": Secret("short")},
        {"kind": "sse-c", "customer_key": Secret(KEY[:-4])},
        {"kind": "sse-c", "customer_key": Secret("é" * 44)},
    ],
)
def test_encryption_that_cannot_be(options):
    with pytest.raises(ConfigError):
        Encryption(**options)


def test_encryption_that_the_service_or_the_way_does_not_allow():
    Encryption("sse-kms").check(AWS, "https")
    with pytest.raises(UnsupportedError, match="does not have sse-kms"):
        Encryption("sse-kms").check(B2, "https")
    customer = Encryption("sse-c", customer_key=Secret(KEY))
    customer.check(AWS, "https")
    with pytest.raises(UnsupportedError, match="https"):
        customer.check(AWS, "http")


# ---- queries -------------------------------------------------------------------------------------------------------


def test_list_queries():
    always = [("list-type", "2"), ("encoding-type", "url")]
    assert list_query("") == always
    assert list_query("a/", one_level=True, start_after="a/b", max_keys=5) == [
        *always, ("prefix", "a/"), ("delimiter", "/"), ("start-after", "a/b"), ("max-keys", "5"),
    ]  # fmt: skip
    assert list_query("a", start_after="b", token="t") == [*always, ("prefix", "a"), ("continuation-token", "t")]
    assert versions_query("a", after_key="k", after_version="v") == [
        ("versions", ""), ("encoding-type", "url"), ("prefix", "a"), ("key-marker", "k"), ("version-id-marker", "v"),
    ]  # fmt: skip
    assert uploads_query("") == [("uploads", ""), ("encoding-type", "url")]
    assert uploads_query("a", after_key="k", after_upload="u")[2:] == [
        ("prefix", "a"), ("key-marker", "k"), ("upload-id-marker", "u"),
    ]  # fmt: skip


def test_responses_of_links():
    assert response_query({"Content-Type": "a/b", "content_disposition": "x"}) == [
        ("response-content-type", "a/b"),
        ("response-content-disposition", "x"),
    ]
    with pytest.raises(ConfigError, match="set-cookie"):
        response_query({"set-cookie": "x"})
