"""The XML bodies we send, read back by another parser."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backends.s3 import documents
from mediagit_storage.backends.s3.documents import CompletedPart
from mediagit_storage.errors import InvalidKeyError

NS = {"s": "http://s3.amazonaws.com/doc/2006-03-01/"}
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=20
)


@given(
    st.lists(
        st.tuples(TEXT | st.sampled_from(["a\nb", "\r\n", "\t", " x ", "I'm a < & weird path"]), st.none() | TEXT),
        max_size=5,
    ),
    st.booleans(),
)
def test_bulk_delete(objects, quiet):
    root = ET.fromstring(documents.bulk_delete(objects, quiet=quiet))
    assert root.tag == f"{{{NS['s']}}}Delete"
    found = [
        (each.findtext("s:Key", None, NS), each.findtext("s:VersionId", None, NS))
        for each in root.findall("s:Object", NS)
    ]
    assert found == objects
    assert (root.findtext("s:Quiet", None, NS) == "true") is quiet


@pytest.mark.parametrize("key", ["\x01", "a\x00b", "\ufffe", "\x1b[0m", "\udcff"])
def test_a_key_that_xml_cannot_hold_is_refused(key):
    with pytest.raises(InvalidKeyError, match="cannot be sent"):
        documents.bulk_delete([("fine", None), (key, None)])


def test_complete_upload_is_in_order():
    parts = [CompletedPart(10, "j"), CompletedPart(2, "b", ("ChecksumCRC32C", "AAAA==")), CompletedPart(1, '"a&"')]
    root = ET.fromstring(documents.complete_upload(parts))
    found = [{each.tag.partition("}")[2]: each.text for each in part} for part in root.findall("s:Part", NS)]
    assert found == [
        {"ETag": '"a&"', "PartNumber": "1"},
        {"ChecksumCRC32C": "AAAA==", "ETag": "b", "PartNumber": "2"},
        {"ETag": "j", "PartNumber": "10"},
    ]


def test_bucket_documents():
    assert documents.create_bucket(None) == b""
    assert ET.fromstring(documents.create_bucket("eu-west-1")).findtext("s:LocationConstraint", None, NS) == "eu-west-1"
    for enabled, status in ((True, "Enabled"), (False, "Suspended")):
        assert ET.fromstring(documents.versioning(enabled=enabled)).findtext("s:Status", None, NS) == status
