"""Names, documents, attributes, digests, keys and many calls in one request: pure functions."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.gcs.digests import compare_with, hash_value, parse_hashes, text_digester, usable
from mediagit_storage.backends.gcs.listing import marked
from mediagit_storage.backends.gcs.multiparts import Inner, batch_body, parse_batch
from mediagit_storage.backends.gcs.names import (
    check_written,
    condition_query,
    generation_of,
    generation_value,
    is_google,
    object_path,
    upload_path,
)
from mediagit_storage.backends.gcs.resources import (
    ObjectResource,
    decode_bucket,
    decode_object,
    decode_page,
    decode_rewritten,
    encode,
    to_info,
)
from mediagit_storage.backends.gcs.shapes import (
    MADE_UP_TYPE,
    MAX_METADATA,
    attributes_of,
    copied_object,
    hidden_of,
    key_fields,
    multipart_body,
    new_object,
)
from mediagit_storage.errors import (
    ChecksumError,
    ConfigError,
    IntegrityError,
    InvalidKeyError,
    LimitExceededError,
    TruncatedError,
)
from mediagit_storage.http.encoding import percent_decode
from mediagit_storage.secrets import Secret
from mediagit_storage.types import Attributes, Checksum, PutOptions, Retention

# ---- names


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("k", "k"), ("a/b", "a%2Fb"), ("a//b", "a%2F%2Fb"), ("folder/", "folder%2F"), ("../x", "..%2Fx"),
        ("a b+c", "a%20b%2Bc"), ("%2F", "%252F"), ("é", "%C3%A9"), ("?#&=", "%3F%23%26%3D"),
    ],
)  # fmt: skip
def test_a_key_is_one_segment(key, path):
    assert object_path("bucket", key) == f"/storage/v1/b/bucket/o/{path}"


@given(st.text(min_size=1).filter(lambda key: max(key) < "\ud800" or max(key) > "\udfff"))
def test_every_key_has_a_path_of_its_own(key):
    segment = object_path("b", key).removeprefix("/storage/v1/b/b/o/")
    assert "/" not in segment
    assert percent_decode(segment) == key


def test_buckets_cannot_lead_elsewhere():
    assert upload_path("a/../b?c") == "/upload/storage/v1/b/a%2F..%2Fb%3Fc/o"


@pytest.mark.parametrize("key", [".", "..", "a\nb", "a\rb", ".well-known/acme-challenge/x"])
def test_keys_that_the_service_does_not_take(key):
    with pytest.raises(InvalidKeyError):
        check_written(key)


def test_all_other_keys_are_taken():
    for key in ("a//b", "folder/", "/lead", "../x", ".hidden", "a/..", ".well-known/other", "[*]#"):
        check_written(key)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "01", "1.5", "abc", "1" * 20, "9223372036854775808", "١٢", "deleted-1"]
)
def test_what_is_no_generation(text):
    assert generation_of(text) is None
    assert generation_value(text) == "1", "never 0, which means that there is no object"


def test_conditions():
    assert condition_query(if_absent=True) == [("ifGenerationMatch", "0")]
    assert condition_query(if_match="1795307877217437") == [("ifGenerationMatch", "1795307877217437")]
    assert condition_query(if_match="0") == [("ifGenerationMatch", "1")]
    assert condition_query(if_none_match="12") == [("ifGenerationNotMatch", "12")]
    assert condition_query() == []


@pytest.mark.parametrize(
    ("origin", "google"),
    [
        ("https://storage.googleapis.com", True), ("https://storage.me-central2.rep.googleapis.com", True),
        ("https://STORAGE.googleapis.com", True), ("http://storage.googleapis.com", False),
        ("https://storage.googleapis.com.evil.example", False), ("https://evilgoogleapis.com", False),
        ("https://storage.googleapis.com:444", False), ("https://example.com", False),
    ],
)  # fmt: skip
def test_google_is_told_by_its_name(origin, google):
    assert is_google(origin) is google


def test_marks_of_deletions():
    assert marked("deleted-17") == "17"
    assert marked("17") is None


# ---- documents

RESOURCE = {
    "kind": "storage#object", "name": "a/b", "generation": "1795307877217437", "size": "5", "crc32c": "mnG7TA==",
    "md5Hash": "XUFAKrxLKna5cZ2REBfFkg==", "timeCreated": "2026-11-22T00:37:57.217378Z",
    "updated": "2026-11-23T00:00:00Z", "contentType": "text/plain", "storageClass": "NEARLINE",
    "metadata": {"a": "é "}, "somethingNew": {"x": [1]},
}  # fmt: skip


def test_an_object_is_read():
    info = to_info(decode_object(json.dumps(RESOURCE).encode()))
    assert (info.key, info.size, info.stored_size, info.etag) == ("a/b", 5, 5, "1795307877217437")
    assert info.version == info.etag
    assert info.modified == datetime(2026, 11, 22, 0, 37, 57, tzinfo=UTC), "later changes of metadata change no bytes"


def test_numbers_may_be_numbers_too():
    assert decode_object(b'{"name": "k", "generation": 12, "size": 3}').size == 3


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"x"', b"<html>", b'{"size": "x"}', b'{"metadata": {"a": 1}}', b"\xff"]
)
def test_what_is_no_object(body):
    with pytest.raises(IntegrityError):
        decode_object(body)


def test_what_is_cut_off():
    whole = json.dumps(RESOURCE).encode()
    for end in range(1, len(whole) - 1):
        with pytest.raises(TruncatedError):
            decode_object(whole[:end])


def test_an_object_without_a_generation_is_none():
    with pytest.raises(IntegrityError):
        to_info(ObjectResource(name="k"))


def test_pages_copies_and_buckets():
    page = decode_page(json.dumps({"items": [RESOURCE], "prefixes": ["a/"], "nextPageToken": "t"}).encode())
    assert ([each.name for each in page.items], page.prefixes, page.next_page_token) == (["a/b"], ("a/",), "t")
    assert decode_page(b'{"kind": "storage#objects"}').items == ()
    part = decode_rewritten(b'{"done": false, "rewriteToken": "x", "totalBytesRewritten": "5"}')
    assert (part.done, part.rewrite_token, part.total_bytes_rewritten, part.resource) == (False, "x", 5, None)
    with pytest.raises(IntegrityError):
        decode_rewritten(b"{}")
    assert decode_bucket(b'{"name": "b", "versioning": {"enabled": true}}').versioning.enabled


# ---- attributes


def test_attributes_there_and_back():
    attributes = Attributes(
        "text/plain", "no-store", "gzip", 'attachment; filename="a b"', {"name": "日本 ", "empty": ""}, "NEARLINE"
    )
    document = json.loads(encode(new_object("k", attributes, token="T")))
    assert document["metadata"] == {"name": "日本 ", "empty": "", "mgs-token": "T"}
    back = decode_object(json.dumps({**document, "generation": "1"}).encode())
    assert attributes_of(back) == attributes
    assert hidden_of(back) == {"token": "T"}


def test_what_nobody_gave_reads_back_as_nothing():
    document = json.loads(encode(new_object("k", None)))
    assert document == {"name": "k", "contentType": MADE_UP_TYPE}
    made = ObjectResource("k", 1, content_type=MADE_UP_TYPE, storage_class="STANDARD", cache_control="")
    assert attributes_of(made) == Attributes()


def test_digests_holds_and_retention_are_part_of_the_description():
    until = datetime(2030, 1, 2, tzinfo=UTC)
    options = PutOptions(retention=Retention("compliance", until), legal_hold=True)
    document = json.loads(encode(new_object("k", None, options=options, digest=("crc32c", "mnG7TA=="))))
    assert document["temporaryHold"] is True
    assert document["retention"] == {"mode": "Locked", "retainUntilTime": "2030-01-02T00:00:00.000Z"}
    assert document["crc32c"] == "mnG7TA=="
    options = PutOptions(retention=Retention("governance", until))
    document = json.loads(encode(new_object("k", None, options=options, digest=("md5", "x"))))
    assert document["retention"]["mode"] == "Unlocked"
    assert document["md5Hash"] == "x"
    assert "temporaryHold" not in document


def test_too_much_metadata_is_refused_beforehand():
    new_object("k", Attributes(metadata={"n": "x" * (MAX_METADATA - 1)}))
    with pytest.raises(LimitExceededError):
        new_object("k", Attributes(metadata={"n": "x" * MAX_METADATA}))
    with pytest.raises(LimitExceededError):
        new_object("k", Attributes(metadata={"n": "é" * (MAX_METADATA // 2)}))


def test_copies_keep_what_they_are_not_told():
    """Also what this library has no name for, and never another write's token."""
    resource = ObjectResource(
        "k", 1, content_language="de", custom_time="2020-01-01T00:00:00Z", storage_class="COLDLINE",
        metadata={"a": "1", "mgs-token": "old"},
    )  # fmt: skip
    kept = copied_object(resource, None, None)
    assert (kept.content_language, kept.custom_time, kept.storage_class) == ("de", "2020-01-01T00:00:00Z", "COLDLINE")
    assert kept.metadata == {"a": "1"}
    assert copied_object(resource, None, "new").metadata == {"a": "1", "mgs-token": "new"}
    assert copied_object(resource, Attributes(metadata={"b": "2"}), "new").metadata == {"b": "2", "mgs-token": "new"}
    assert copied_object(resource, Attributes(), "new").storage_class is None


# ---- digests


def test_digests_by_an_independent_library():
    google_crc32c = pytest.importorskip("google_crc32c")
    assert text_digester("crc32c")(b"hello") == "mnG7TA=="
    assert text_digester("md5")(b"hello") == base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert google_crc32c.value(b"hello").to_bytes(4, "big") == parse_hashes("crc32c=mnG7TA==")["crc32c"]


def test_the_field_of_digests():
    value = "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg=="
    found = parse_hashes(value)
    assert found == parse_hashes(value.replace(",", ", "))
    assert usable(found, "crc32c") == Checksum("crc32c", base64.b64decode("mnG7TA=="))
    assert usable(found, "md5") == Checksum("md5", base64.b64decode("XUFAKrxLKna5cZ2REBfFkg=="))
    assert usable(parse_hashes("crc32c=mnG7TA=="), "md5") is None, "a composite object has no MD5"
    assert parse_hashes(None) == {}
    assert parse_hashes("crc32c=!!!,md5") == {}
    assert hash_value("crc32c", "mnG7TA==") == "crc32c=mnG7TA=="


def test_what_was_stored_is_what_was_sent():
    resource = ObjectResource("k", 1, 5, crc32c="mnG7TA==", md5_hash="M")
    compare_with(resource, "crc32c", "mnG7TA==", 5)
    compare_with(resource, "md5", "M", 5)
    compare_with(ObjectResource("k", 1), "crc32c", "mnG7TA==", 5)
    with pytest.raises(ChecksumError):
        compare_with(resource, "crc32c", "AAAAAA==", 5)
    with pytest.raises(IntegrityError):
        compare_with(resource, "crc32c", "mnG7TA==", 6)


# ---- keys of customers


def test_the_fields_of_a_customers_key():
    raw = bytes(range(32))
    text = base64.b64encode(raw).decode()
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
    assert key_fields(Secret(text)) == [
        ("x-goog-encryption-algorithm", "AES256"),
        ("x-goog-encryption-key", text),
        ("x-goog-encryption-key-sha256", digest),
    ]
    assert key_fields(Secret(text), source=True)[1] == ("x-goog-copy-source-encryption-key", text)
    assert key_fields(None) == []


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(bytes(31)).decode(), "é" * 44])
def test_a_key_of_another_size(text):
    with pytest.raises(ConfigError) as caught:
        key_fields(Secret(text))
    assert not text or text not in str(caught.value)


# ---- many parts


def test_a_description_and_its_bytes_by_an_independent_parser():
    data = b"\r\n--not-it\r\n\x00\xff" * 3
    body = multipart_body(new_object("a/ü", Attributes(content_type="image/png")), data, "BOUND")
    message = email.message_from_bytes(
        b"content-type: multipart/related; boundary=BOUND\r\n\r\n" + body, policy=email.policy.HTTP
    )
    first, second = message.iter_parts()
    assert json.loads(first.get_payload(decode=True)) == {"name": "a/ü", "contentType": "image/png"}
    assert second.get_content_type() == "image/png"
    assert data in body


def test_many_calls_by_an_independent_parser():
    body = batch_body([("DELETE", "/storage/v1/b/b/o/a%2Fb"), ("DELETE", "/x?y=1")], "BB", [("x-a", "1")])
    message = email.message_from_bytes(b"content-type: multipart/mixed; boundary=BB\r\n\r\n" + body)
    inner = message.get_payload()
    assert [part.get_content_type() for part in inner] == ["application/http"] * 2
    assert [part["content-id"] for part in inner] == ["<call-0>", "<call-1>"]
    lines = inner[0].get_payload().splitlines()
    assert lines[:2] == ["DELETE /storage/v1/b/b/o/a%2Fb HTTP/1.1", "x-a: 1"]


ANSWERS = (
    b"--b\r\nContent-Type: application/http\r\nContent-ID: <response-call-1>\r\n\r\n"
    b'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n{"error": {}}\r\n'
    b"--b\r\nContent-Type: application/http\r\nContent-ID: <response-call-0>\r\n\r\n"
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n\r\n--b--\r\n"
)


@pytest.mark.parametrize("kind", ["multipart/mixed; boundary=b", 'multipart/mixed; charset=x; boundary="b"'])
def test_answers_are_told_apart_by_their_numbers(kind):
    assert parse_batch(kind, ANSWERS) == [Inner(1, 404, b'{"error": {}}'), Inner(0, 204, b"")]


@pytest.mark.parametrize("end", [0, 10, 100, len(ANSWERS) // 2, len(ANSWERS) - 6])
def test_answers_that_were_cut_off(end):
    with pytest.raises(IntegrityError):
        parse_batch("multipart/mixed; boundary=b", ANSWERS[:end])


@pytest.mark.parametrize("kind", [None, "application/json", "multipart/mixed"])
def test_answers_without_a_boundary(kind):
    with pytest.raises(IntegrityError):
        parse_batch(kind, ANSWERS)


def test_an_answer_that_cannot_be_read():
    for spoilt in (ANSWERS.replace(b"response-call-1", b"something"), ANSWERS.replace(b"HTTP/1.1 404", b"nonsense")):
        with pytest.raises(IntegrityError):
            parse_batch("multipart/mixed; boundary=b", spoilt)
