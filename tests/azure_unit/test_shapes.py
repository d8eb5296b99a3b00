"""What requests look like, what answers say, and that one undoes the other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.azure.answers import (
    parse_attributes,
    parse_blocks,
    parse_delegation_key,
    parse_info,
    parse_list,
    parse_tags,
    stored_md5,
    tag_count,
)
from mediagit_storage.backends.azure.deleting import parse_batch
from mediagit_storage.backends.azure.ordering import in_order
from mediagit_storage.backends.azure.shapes import (
    attribute_fields,
    block_id,
    block_list,
    decode_name,
    encode_name,
    encode_value_of,
    encryption_fields,
    list_query,
    metadata_fields,
    response_query,
    tags_value,
    version_query,
)
from mediagit_storage.errors import ConfigError, IntegrityError, LimitExceededError, TruncatedError, UnsupportedError
from mediagit_storage.http.encoding import decode_text
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Attributes

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
TOKEN = st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


# ---- metadata


@pytest.mark.parametrize(
    ("name", "encoded"),
    [("author", "author"), ("my_key", "my_key"), ("x-y", "x__2dy"), ("1st", "__31st"), ("a__b", "a__5f__5fb"),
     ("mgs-token", "mgs__2dtoken"), ("a.b", "a__2eb"), ("_", "_"), ("__2d", "__5f__5f2d")],
)  # fmt: skip
def test_names_become_identifiers(name, encoded):
    assert encode_name(name) == encoded
    assert decode_name(encoded) == name


@given(TOKEN)
def test_every_name_comes_back_and_is_an_identifier(name):
    assert IDENTIFIER(encode_name(name))
    assert decode_name(encode_name(name)) == name


@given(st.lists(TOKEN, min_size=2, max_size=2, unique=True))
def test_no_two_names_become_one(names):
    assert encode_name(names[0]) != encode_name(names[1])


@pytest.mark.parametrize("name", ["a__zz", "a__b", "hdi__isfolder", "x__2", "__41"])
def test_names_that_others_made_are_left_as_they_are(name):
    assert decode_name(name) == name


@given(TEXT)
def test_every_value_comes_back_and_is_a_field(text):
    value = encode_value_of(text)
    assert value
    assert value.isascii()
    assert value == value.strip()
    assert "  " not in value
    assert decode_text(value) == text


def test_the_hidden_entries_are_apart():
    fields = metadata_fields({"a": "1"}, {"token": "t"})
    assert fields == [("x-ms-meta-a", "1"), ("x-ms-meta-mgs__2dtoken", "t")]
    stored = parse_attributes(Headers.of(fields))
    assert (dict(stored.attributes.metadata), stored.hidden) == ({"a": "1"}, {"token": "t"})


def test_too_much_metadata_is_refused():
    with pytest.raises(LimitExceededError):
        metadata_fields({"a": "x" * 8200})
    metadata_fields({"a": "x" * 8000})


# ---- attributes

WHOLE = Attributes(
    content_type="text/plain",
    cache_control="no-cache",
    content_encoding="gzip",
    content_disposition='attachment; filename="a b"',
    metadata={"x-y": "ü", "empty": ""},
    storage_class="Cool",
    tags={"a b": "c/d"},
)


def test_all_attributes_are_fields():
    fields = dict(attribute_fields(WHOLE))
    assert fields["x-ms-blob-content-type"] == "text/plain"
    assert fields["x-ms-blob-cache-control"] == "no-cache"
    assert fields["x-ms-blob-content-encoding"] == "gzip"
    assert fields["x-ms-access-tier"] == "Cool"
    assert fields["x-ms-tags"] == "a%20b=c%2Fd"


def test_all_attributes_are_read_back():
    answered = [
        (name.removeprefix("x-ms-blob-") if "x-ms-blob-c" in name else name, value)
        for name, value in attribute_fields(WHOLE)
    ]
    assert parse_attributes(Headers.of([*answered, ("x-ms-tag-count", "1")]), WHOLE.tags).attributes == WHOLE


def test_nothing_reads_back_as_nothing():
    answered = [
        ("content-type", "binary/octet-stream"),
        ("x-ms-access-tier", "Hot"),
        ("x-ms-access-tier-inferred", "true"),
    ]
    assert dict(attribute_fields(None)) == {"x-ms-blob-content-type": "binary/octet-stream"}
    assert parse_attributes(Headers.of(answered)).attributes == Attributes()


@pytest.mark.parametrize(
    "attributes",
    [
        Attributes(content_disposition="filename=é"), Attributes(cache_control=" x"), Attributes(storage_class="GLACIER"),
        Attributes(tags={"a": "b&c"}), Attributes(tags={"é": "b"}),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(attributes):
    with pytest.raises(UnsupportedError):
        attribute_fields(attributes)


@pytest.mark.parametrize("tags", [{str(n): "x" for n in range(11)}, {"a" * 129: "x"}, {"a": "x" * 257}, {"": "x"}])
def test_too_many_or_too_long_tags(tags):
    with pytest.raises(LimitExceededError):
        tags_value(tags)


# ---- the rest of requests


def test_block_names_have_one_length():
    ids = [block_id("u" * 32, number) for number in (1, 9, 10, 50_000)]
    assert len({len(each) for each in ids}) == 1
    assert block_list(ids[:1]) == (
        f'<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>{ids[0]}</Latest></BlockList>'.encode()
    )


def test_queries():
    assert list_query("") == [("comp", "list")]
    assert ("delimiter", "/") in list_query("a", one_level=True)
    assert ("include", "versions") in list_query("a", include="versions", marker="m")
    assert version_query(None) == []
    assert version_query("2026-01-01T00:00:00.0000000Z") == [("versionid", "2026-01-01T00:00:00.0000000Z")]
    assert version_query("snapshot:2026") == [("snapshot", "2026")]
    assert response_query({"Content_Type": "a", "cache-control": "b"}) == {"rsct": "a", "rscc": "b"}
    with pytest.raises(ConfigError):
        response_query({"etag": "x"})


def test_encryption():
    fields = encryption_fields(bytes(32), None)
    assert [name for name, _ in fields.reading] == [
        "x-ms-encryption-key", "x-ms-encryption-key-sha256", "x-ms-encryption-algorithm",
    ]  # fmt: skip
    assert fields.reading == fields.writing
    assert encryption_fields(None, "scope") == ([], [("x-ms-encryption-scope", "scope")])
    with pytest.raises(ConfigError):
        encryption_fields(None, "é")


# ---- answers

DATE = "Sun, 22 Nov 2026 01:02:03 GMT"
LIST = f"""\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://x/" ContainerName="c">
<Prefix>a</Prefix><Blobs>
<Blob><Name>a&amp;b</Name><Properties><Creation-Time>{DATE}</Creation-Time><Last-Modified>{DATE}</Last-Modified><Etag>0x8D</Etag>
<Content-Length>5</Content-Length><Content-MD5 /><AccessTier>Hot</AccessTier></Properties><OrMetadata /></Blob>
<Blob><Name Encoded="true">bell%07%25</Name><Snapshot>2026-01-01T00:00:00.0000000Z</Snapshot><Properties>
<Last-Modified>{DATE}</Last-Modified><Etag>"0x8E"</Etag><Content-Length>0</Content-Length></Properties></Blob>
<Blob><Name>dir</Name><Properties><ResourceType>directory</ResourceType><Content-Length>0</Content-Length></Properties></Blob>
<Blob><Name>gone</Name><Deleted>true</Deleted><Properties><Content-Length>0</Content-Length></Properties></Blob>
<Blob><Name>v</Name><VersionId>V1</VersionId><IsCurrentVersion>true</IsCurrentVersion><Properties>
<Last-Modified>{DATE}</Last-Modified><Etag>e</Etag><Content-Length>1</Content-Length></Properties></Blob>
<BlobPrefix><Name>x/</Name></BlobPrefix></Blobs><NextMarker>2!80!x</NextMarker></EnumerationResults>""".encode()


def test_a_page_of_a_listing():
    page = parse_list(LIST)
    assert [(each.key, each.size, each.etag, each.version) for each in page.objects] == [
        ("a&b", 5, "0x8D", None),
        ("bell\a%", 0, "0x8E", "snapshot:2026-01-01T00:00:00.0000000Z"),
        ("v", 1, "e", "V1"),
    ]
    assert [each.prefix for each in page.folders] == ["x/"]
    assert page.marker == "2!80!x"
    assert parse_list(b"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>").marker is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (LIST[:-40], TruncatedError), (b"", TruncatedError), (b"<html/>", IntegrityError),
        (LIST.replace(b"<Content-Length>5<", b"<Content-Length>-5<"), IntegrityError),
        (b"<EnumerationResults><Blobs><Blob/></Blobs></EnumerationResults>", IntegrityError),
        (b'<!DOCTYPE x><EnumerationResults/>', IntegrityError),
    ],
)  # fmt: skip
def test_what_is_no_page(body, kind):
    with pytest.raises(kind):
        parse_list(body)


def test_info_and_checksums():
    headers = Headers.of(
        [("content-length", "5"), ("last-modified", DATE), ("etag", '"0x8D"'), ("x-ms-version-id", "V1"),
         ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="), ("x-ms-tag-count", "2")]
    )  # fmt: skip
    info = parse_info("k", headers)
    assert (info.size, info.etag, info.version) == (5, "0x8D", None)
    assert parse_info("k", headers, versions=True).version == "V1"
    checksum = stored_md5(headers)
    assert checksum is not None
    assert checksum.digest.hex() == "5d41402abc4b2a76b9719d911017c592"
    assert tag_count(headers) == 2
    assert stored_md5(Headers.of([("content-md5", "zz")])) is None
    assert stored_md5(Headers.of([])) is None


def test_small_documents():
    assert parse_tags(b"<Tags><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tags>") == {"a": "b"}
    blocks = (
        b"<BlockList><CommittedBlocks/><UncommittedBlocks><Block><Name>dS0wMDAwMQ==</Name><Size>7</Size></Block>"
        b"<Block><Name>/////w==</Name><Size>8</Size></Block></UncommittedBlocks></BlockList>"
    )
    assert [(each.name, each.size) for each in parse_blocks(blocks)] == [("u-00001", 7), ("", 8)]
    key = b"".join(
        f"<{name}>{name}</{name}>".encode()
        for name in ("SignedOid", "SignedTid", "SignedStart", "SignedExpiry", "SignedService", "SignedVersion", "Value")
    )
    found = parse_delegation_key(b"<UserDelegationKey>" + key + b"</UserDelegationKey>")
    assert found.object_id == "SignedOid"
    assert found.value.reveal() == "Value"
    with pytest.raises(IntegrityError):
        parse_delegation_key(b"<UserDelegationKey/>")


# ---- batches

PARTS = (
    b"--B\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\nHTTP/1.1 404 Gone\r\nx-ms-error-code: BlobNotFound\r\n\r\n"
    b"<Error><Code>BlobNotFound</Code></Error>\r\n"
    b"--B\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\nx-ms-request-id: r\r\n\r\n\r\n--B--"
)


def test_the_answers_of_a_batch_by_their_numbers():
    found = parse_batch("multipart/mixed; boundary=B", PARTS)
    assert {number: part.status for number, part in found.items()} == {0: 202, 1: 404}
    assert found[1].headers.get("x-ms-error-code") == "BlobNotFound"
    assert b"BlobNotFound" in found[1].body


@pytest.mark.parametrize(("kind", "body"), [("text/html", PARTS), ("multipart/mixed; boundary=B", PARTS[:-10]),
                                            ("multipart/mixed; boundary=B", b"--B\r\n\r\nwords\r\n--B--")])  # fmt: skip
def test_what_is_no_answer_to_a_batch(kind, body):
    with pytest.raises(IntegrityError):
        parse_batch(kind, body)


# ---- the order of listings

NAMES = st.lists(
    st.text(st.sampled_from("ab/\ud7ff\ue000\uff61\uffff\U00010000\U0001f600\U0010ffff"), max_size=5), unique=True
)


@given(NAMES)
def test_both_orders_of_servers_come_out_in_ours(names):
    wanted = sorted(names, key=str.encode)
    assert [*in_order(iter(sorted(names, key=lambda name: name.encode("utf-16-be"))), str)] == wanted
    assert [*in_order(iter(wanted), str)] == wanted


def test_any_other_order_is_an_error():
    with pytest.raises(IntegrityError, match="ordered=false"):
        list(in_order(iter(["b", "a"]), str))


def test_plain_names_pass_at_once():
    def endless():
        number = 0
        while True:
            number += 1
            yield f"{number:09}"

    names = in_order(endless(), str)
    assert [next(names) for _ in range(3)] == ["000000001", "000000002", "000000003"]
