"""Answers: header fields and documents back to this library's values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mediagit_storage.backends.s3.answers import (
    parse_attributes,
    parse_bulk_delete,
    parse_completed,
    parse_copied,
    parse_info,
    parse_tags,
    parse_upload_id,
    parse_versioning,
    tag_count,
)
from mediagit_storage.errors import IntegrityError, TruncatedError
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Attributes, ObjectInfo

WHEN = datetime(2026, 11, 21, 8, 49, 37, tzinfo=UTC)
USUAL = [("Last-Modified", "Sat, 21 Nov 2026 08:49:37 GMT"), ("ETag", '"e-2"'), ("Content-Length", "5")]


def test_a_whole_object():
    assert parse_info("k", Headers.of(USUAL)) == ObjectInfo("k", 5, 5, WHEN, "e-2")
    assert parse_info("k", Headers.of([*USUAL, ("x-amz-version-id", "null")])).version == "null"
    assert parse_info("k", Headers.of([])) == ObjectInfo("k")
    assert parse_info("k", Headers.of([("ETag", '"e"'), ("Content-Length", "0")]), size=9).size == 9


def test_a_part_has_the_size_of_the_whole():
    assert parse_info("k", Headers.of([*USUAL, ("Content-Range", "bytes 10-14/100")])).size == 100
    assert parse_info("k", Headers.of([*USUAL, ("Content-Range", "bytes */100")])).size == 100
    assert parse_info("k", Headers.of([*USUAL, ("Content-Range", "bytes 10-14/*")])).size is None


@pytest.mark.parametrize("field", [("Content-Length", "-1"), ("Content-Length", "5, 5"), ("Last-Modified", "now")])
def test_fields_that_cannot_be(field):
    with pytest.raises(IntegrityError):
        parse_info("k", Headers.of([field]))


def test_attributes():
    headers = Headers.of(
        [
            ("Content-Type", "image/png"),
            ("Cache-Control", "no-cache"),
            ("Content-Encoding", "aws-chunked,gzip"),
            ("Content-Disposition", "inline"),
            ("x-amz-storage-class", "GLACIER"),
            ("X-Amz-Meta-Name", "=?UTF-8?Q?caf=C3=A9?="),
            ("x-amz-meta-raw", "é"),
            ("x-amz-meta-mgs-token", "t"),
            ("x-amz-request-id", "r"),
        ]
    )
    found = parse_attributes(headers, {"a": "b"})
    assert found.hidden == {"token": "t"}
    assert found.attributes == Attributes(
        "image/png", "no-cache", "gzip", "inline", {"name": "café", "raw": "é"}, "GLACIER", {"a": "b"}
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [("aws-chunked", None), ("", None), ("gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("a, b", "a, b")],
)
def test_the_framing_of_an_upload_is_no_encoding_of_the_object(value, expected):
    assert parse_attributes(Headers.of([("content-encoding", value)])).attributes.content_encoding == expected


def test_tag_counts():
    assert [
        tag_count(Headers.of(fields)) for fields in ([], [("x-amz-tagging-count", "3")], [("x-amz-tagging-count", "x")])
    ] == [0, 3, 0]


# ---- documents -----------------------------------------------------------------------------------------------------


def test_documents():
    assert parse_tags(
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>&amp;</Value></Tag><Tag><Key>b</Key><Value/></Tag></TagSet></Tagging>"
    ) == {
        "a": "&",
        "b": "",
    }
    assert parse_tags(b"<Tagging><TagSet/></Tagging>") == {}
    upload = b"<InitiateMultipartUploadResult><Key>k</Key><UploadId>u&amp;1</UploadId></InitiateMultipartUploadResult>"
    assert parse_upload_id(upload) == parse_upload_id(upload.replace(b"Result", b"")) == "u&1"
    done = b'\n<CompleteMultipartUploadResult><ETag>"e-2"</ETag></CompleteMultipartUploadResult>'
    assert parse_completed(done.strip()) == "e-2"
    assert parse_versioning(b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>") is True
    assert parse_versioning(b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>") is False
    assert parse_versioning(b"<VersioningConfiguration/>") is False
    assert (
        parse_versioning(b"<GetBucketVersioningResponse><Status>Enabled</Status></GetBucketVersioningResponse>") is True
    )


def test_copies():
    body = b"<CopyObjectResult><LastModified>2026-11-21T08:49:37.000Z</LastModified><ETag>&quot;e&quot;</ETag></CopyObjectResult>"
    headers = Headers.of([("x-amz-version-id", "v")])
    assert parse_copied("k", body, headers) == ObjectInfo("k", modified=WHEN, etag="e", version="v")
    part = body.replace(b"CopyObjectResult", b"CopyPartResult")
    assert parse_copied("k", part, Headers.of([])).etag == "e"
    assert parse_copied("k", b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>", headers).modified is None


def test_bulk_deletes():
    body = (
        b"<DeleteResult><Deleted><Key>a &lt;</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><VersionId>1"
        b"</VersionId><Message>m</Message></Error><Deleted><Key>c</Key><VersionId>2</VersionId></Deleted></DeleteResult>"
    )
    result = parse_bulk_delete(body)
    assert result.deleted == [("a <", None), ("c", "2")]
    assert [(key, version, record["Code"]) for key, version, record in result.failed] == [("b", "1", "AccessDenied")]


@pytest.mark.parametrize(
    "parse",
    [
        parse_tags,
        parse_upload_id,
        parse_completed,
        parse_versioning,
        parse_bulk_delete,
        lambda body: parse_copied("k", body, Headers.of([])),
    ],
)
def test_every_document_is_checked(parse):
    with pytest.raises(IntegrityError, match="belongs"):
        parse(b"<Error><Code>x</Code></Error>")
    with pytest.raises(TruncatedError):
        parse(b"<Tagging><TagSet>")


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_upload_id, b"<InitiateMultipartUploadResult/>"),
        (parse_completed, b"<CompleteMultipartUploadResult/>"),
        (parse_bulk_delete, b"<DeleteResult><Deleted/></DeleteResult>"),
        (parse_tags, b"<Tagging><TagSet><Tag/></TagSet></Tagging>"),
    ],
)
def test_what_is_missing_is_an_integrity_error(parse, body):
    with pytest.raises(IntegrityError, match="has no"):
        parse(body)
