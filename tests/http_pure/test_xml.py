"""The XML reader and writer: exact text, hard limits, and no silent ends."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import IntegrityError, InvalidKeyError, LimitExceededError, TruncatedError
from mediagit_storage.http.xml import MAX_DEPTH, RecordParser, element, escape, looks_whole, parse_records

NS = "http://s3.amazonaws.com/doc/2006-03-01/"


def test_fields_and_records():
    document = parse_records(
        b'<?xml version="1.0"?><R xmlns="u"><A>1</A><B><C>2</C></B>'
        b"<Row><Key>k</Key><Owner><ID>o</ID></Owner></Row><Row/><A>3</A></R>",
        ("Row",),
    )
    assert document.root == "R"
    assert document.fields == {"A": "3", "B/C": "2"}
    assert document.records == [("Row", {"Key": "k", "Owner/ID": "o"}), ("Row", {})]


def test_records_deeper_down_and_a_root_without_elements():
    document = parse_records(b"<T><TagSet><Tag><Key>a</Key></Tag><Tag><Key>b</Key></Tag></TagSet></T>", ("Tag",))
    assert [record["Key"] for _, record in document.records] == ["a", "b"]
    assert parse_records(b"<LocationConstraint>eu</LocationConstraint>").fields == {"": "eu"}


@pytest.mark.parametrize("indent", ["", "  ", "\t", "\r\n    "])
def test_white_space_between_elements_does_not_count_and_inside_does(indent):
    text = f"<R>\n{indent}<Row>\n{indent}<Key> a  b\t</Key>\n{indent}<Empty> </Empty>\n{indent}</Row>\n</R>\n"
    assert parse_records(text.encode(), ("Row",)).records == [("Row", {"Key": " a  b\t", "Empty": " "})]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf<R><K>\xc3\xa9</K></R>",
        '<?xml version="1.0" encoding="UTF-16"?><R><K>é</K></R>'.encode("utf-16"),
        '<?xml version="1.0" encoding="iso-8859-1"?><R><K>é</K></R>'.encode("latin-1"),
        b"<R><K>&#xE9;</K></R>",
        "<R><K><![CDATA[é]]></K></R>".encode(),
        "<R><!-- K --><?p?><K><!-- -->é</K></R>".encode(),
        '<s:R xmlns:s="u"><s:K a="1">é</s:K></s:R>'.encode(),
    ],
)
def test_every_spelling_of_the_same_document(data):
    document = parse_records(data)
    assert (document.root, document.fields) == ("R", {"K": "é"})
    # In pieces of one byte, too.
    parser = RecordParser()
    for byte in data:
        parser.feed(bytes([byte]))
    assert parser.close() == document


BOMB = b'<!DOCTYPE R [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><R>&b;</R>'


@pytest.mark.parametrize(
    "data",
    [
        BOMB,
        b'<!DOCTYPE R SYSTEM "file:///etc/passwd"><R/>',
        b'<!DOCTYPE R [<!ENTITY x SYSTEM "http://198.51.100.1/">]><R>&x;</R>',
        b"<!DOCTYPE R><R/>",
        b"<R>&unknown;</R>",
        b"<R>&#0;</R>",
        b"<R>\x01</R>",
        b"<R></S>",
        b"<R/><S/>",
        b"<html><br></html>",
        b'{"json": true}',
        b"<R>\xff</R>",
    ],
)
def test_what_is_not_plain_xml_is_refused(data):
    with pytest.raises(IntegrityError) as caught:
        parse_records(data)
    assert not isinstance(caught.value, TruncatedError)


WHOLE = (
    '<?xml version="1.0"?>\n<R xmlns="u"><A>é</A><Row><Key>a&amp;b</Key><![CDATA[x]]></Row><!-- c --><B/></R>'.encode()
)


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_a_cut_off_document_is_never_a_short_one(end):
    with pytest.raises(TruncatedError):
        parse_records(WHOLE[:end], ("Row",))


def test_size_is_bounded():
    parse_records(b"<R>" + b"a" * 93 + b"</R>", limit=100)
    with pytest.raises(LimitExceededError, match="100 bytes"):
        parse_records(b"<R>" + b"a" * 94 + b"</R>", limit=100)
    parser = RecordParser(limit=100)
    parser.feed(b"<R>" + b"a" * 90)
    with pytest.raises(LimitExceededError):
        parser.feed(b"a" * 8)


def test_depth_is_bounded():
    def nested(depth: int) -> bytes:
        return b"<a>" * depth + b"</a>" * depth

    parse_records(nested(MAX_DEPTH))
    with pytest.raises(LimitExceededError, match="deeper"):
        parse_records(nested(MAX_DEPTH + 1))
    with pytest.raises(LimitExceededError, match="deeper"):
        parse_records(nested(100_000))


def possible(text: str) -> bool:
    return all(c in "\t\n\r" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF for c in text)


@given(st.text(max_size=40))
def test_what_is_written_reads_back_exactly_or_is_refused(text):
    if not possible(text):
        with pytest.raises(InvalidKeyError, match="cannot be sent"):
            escape(text)
        return
    document = element("R", element("K", escape(text)))
    assert parse_records(document.encode()).fields == {"K": text}
    assert ET.fromstring(document).findtext("K") == text
    assert ET.fromstring(f'<R k="{escape(text)}"/>').get("k") == text


def test_each_character_that_xml_cannot_hold_is_refused():
    for number in [*range(0x20), 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x7F, 0x85]:
        character = chr(number)
        if possible(character):
            assert parse_records(element("R", element("K", escape(character))).encode()).fields["K"] == character
        else:
            with pytest.raises(InvalidKeyError, match=f"U\\+{number:04X}"):
                escape(character)


@pytest.mark.parametrize(
    ("document", "whole"),
    [
        (b"<a><b>1</b></a>", True),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<a xmlns="u"><b/></a>\r\n', True),
        (b"\xef\xbb\xbf<ns:a ><b/></ns:a >", True),
        (b"<a><b>1</b>", False),
        (b"<a><b>1</b></a", False),
        (b"<a><b>1</b></b>", False),
        (b"<Error><Code>SlowDown</Code></Error>", False),
        (b"<Errors></Errors>", True),
        (b"", False),
        (b"no document </a>", False),
    ],
)
def test_what_looks_whole(document, whole):
    assert looks_whole(document) is whole
