"""Multi-status documents: of every server's style, hostile, cut at every byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mediagit_storage.backends.webdav.multistatus import (
    MultiStatus,
    attributes_of,
    etag_token,
    parse_multistatus,
    propfind,
    proppatch,
)
from mediagit_storage.errors import IntegrityError, LimitExceededError, TruncatedError
from mediagit_storage.http.xml import parse_records
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import Attributes

APACHE = b"""<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:g0="DAV:">
<D:href>/dir/</D:href>
<D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Sun, 22 Nov 2026 00:42:16 GMT</lp1:getlastmodified><lp1:getetag>W/"1000-a"</lp1:getetag></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><g0:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
</D:response>
<D:response xmlns:lp1="DAV:"><D:href>/dir/b%20%25&amp;%3f%23c</D:href>
<D:propstat><D:prop><lp1:resourcetype/><lp1:getcontentlength>5</lp1:getcontentlength>
<lp1:getlastmodified>Sun, 22 Nov 2026 00:42:16 GMT</lp1:getlastmodified><lp1:getetag>W/"5-b"</lp1:getetag></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>"""

NGINX = b"""<?xml version="1.0" encoding="utf-8" ?><D:multistatus xmlns:D="DAV:"><D:response><D:href>/k</D:href>
<D:propstat><D:prop><D:getcontentlength>5</D:getcontentlength>
<D:getlastmodified>Sun, 22 Nov 2026 00:42:16 GMT</D:getlastmodified><D:resourcetype></D:resourcetype></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"""


def one(inner: str) -> bytes:
    return f'<multistatus xmlns="DAV:"><response><href>/k</href>{inner}</response></multistatus>'.encode()


def test_apaches_style():
    folder, file = parse_multistatus(APACHE)
    assert (folder.href, folder.folder, folder.size, folder.etag) == ("/dir/", True, None, "1000-a")
    assert (file.href, file.folder, file.size, file.etag) == ("/dir/b%20%25&%3f%23c", False, 5, "5-b")
    assert file.modified == datetime(2026, 11, 22, 0, 42, 16, tzinfo=UTC)


def test_without_an_etag_time_and_size_make_one():
    [file] = parse_multistatus(NGINX)
    assert file.etag == "6b023a68-5"


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ('"a"', "a"),
        ('W/"a"', "a"),
        ('w/"a"', "a"),
        ("bare", "bare"),
        ("", None),
        ('""', None),
        (None, None),
        (' "a" ', "a"),
    ],
)
def test_tokens(value, token):
    assert etag_token(value, None, None) == token


def test_what_a_server_does_not_have_or_hides_does_not_count():
    [found] = parse_multistatus(
        one(
            "<propstat><prop><getcontentlength>9</getcontentlength></prop><status>HTTP/1.1 403 Forbidden</status></propstat>"
            "<propstat><prop><getcontentlength>5</getcontentlength></prop><status>HTTP/1.1 200 OK</status></propstat>"
            "<propstat><prop><getetag/></prop><status>HTTP/1.1 404 Not Found</status></propstat>"
        )
    )
    assert (found.size, found.etag, found.folder) == (5, None, False)


def test_a_status_of_its_own():
    [found] = parse_multistatus(one("<status>HTTP/1.1 507 Insufficient Storage</status>"))
    assert found.status == 507


@pytest.mark.parametrize(
    ("inner", "size"),
    [
        ("<getcontentlength> 5 </getcontentlength>", 5),
        ("<getcontentlength>-1</getcontentlength>", None),
        ("<getcontentlength>5e3</getcontentlength>", None),
        ("<getcontentlength>99999999999999999999999</getcontentlength>", None),
        ("", None),
    ],
)
def test_sizes(inner, size):
    [found] = parse_multistatus(one(f"<propstat><prop>{inner}</prop></propstat>"))
    assert found.size == size


def test_an_odd_time_costs_only_the_time():
    [found] = parse_multistatus(one("<propstat><prop><getlastmodified>yesterday</getlastmodified></prop></propstat>"))
    assert found.modified is None


@pytest.mark.parametrize("document", [APACHE, NGINX])
def test_in_pieces_of_one_byte(document):
    found = []
    reader = MultiStatus(found.append)
    for index in range(len(document)):
        reader.feed(document[index : index + 1])
    reader.close()
    assert found == parse_multistatus(document)


@covers(219)
@pytest.mark.parametrize("cut", range(20, len(NGINX) - 2, 7))
def test_a_document_that_ends_early_is_no_listing(cut):
    with pytest.raises(IntegrityError):
        parse_multistatus(NGINX[:cut])


@covers(219)
@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "y">]><multistatus xmlns="DAV:"/>', IntegrityError),
        (b'<?xml version="1.0"?><!DOCTYPE m SYSTEM "file:///etc/passwd"><m/>', IntegrityError),
        (b"<html><body>login</body></html>", IntegrityError),
        (b"not xml", IntegrityError),
        (b"", TruncatedError),
        (b"<multistatus/>trailing", IntegrityError),
        (b"<multistatus>" + b"<a>" * 100, LimitExceededError),
        (one("<status>nonsense</status>"), IntegrityError),
        (one("&undefined;"), IntegrityError),
    ],
)
def test_hostile_documents(document, kind):
    with pytest.raises(kind):
        parse_multistatus(document)


@covers(220)
def test_an_endless_text_is_cut_off():
    reader = MultiStatus(lambda _: None)
    reader.feed(b'<multistatus xmlns="DAV:"><response><href>')
    with pytest.raises(LimitExceededError):
        [reader.feed(b"x" * 100_000) for _ in range(100)]


def test_resources_come_while_the_document_arrives():
    found = []
    reader = MultiStatus(found.append)
    half = APACHE.index(b"<D:response xmlns:lp1", 300)
    reader.feed(APACHE[:half])
    assert [each.href for each in found] == ["/dir/"]


# ---- attributes


@pytest.mark.parametrize(
    "attributes",
    [
        Attributes(),
        Attributes(content_type="text/plain; charset=utf-8"),
        Attributes(metadata={"a": "<&>\"' é 日本 \\ ", "empty": ""}, tags={"t": "]]>"}),
        Attributes(cache_control="x", content_encoding="gzip", content_disposition="attachment"),
    ],
)
def test_attributes_make_the_round_trip(attributes):
    document = parse_records(proppatch(attributes), ("set",))
    [(_, record)] = document.records
    assert attributes_of(record["prop/mgs-attributes"]) == attributes


@pytest.mark.parametrize("text", ["{", "[]", '{"unknown": "x"}', "7"])
def test_a_damaged_property_is_an_error(text):
    with pytest.raises(IntegrityError):
        attributes_of(text)


def test_questions_are_documents():
    for question in (propfind(attributes=False), propfind(attributes=True, quota=True)):
        assert parse_records(question).root == "propfind"
