"""Pages of listings: the fast reading and the careful one are the same, and neither loses or invents a key."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mediagit_storage.backends.s3 import listing
from mediagit_storage.backends.s3.listing import (
    UploadedPart,
    all_standard,
    parse_objects,
    parse_parts,
    parse_uploads,
    parse_versions,
    plain_etag,
)
from mediagit_storage.errors import IntegrityError, LimitExceededError, StorageError, TruncatedError
from mediagit_storage.http.xml import MAX_DOCUMENT
from mediagit_storage.types import Folder, ObjectInfo, PendingUpload

NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05.000Z"


def row(key="k", size="1", etag="&quot;e&quot;", modified=STAMP, extra="<StorageClass>STANDARD</StorageClass>") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>{etag}</ETag>"
        f"<Size>{size}</Size>{extra}</Contents>"
    )


def page(*content: str, encoding="url", truncated="false", root="ListBucketResult") -> bytes:
    kind = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    head = f"<Name>b</Name><Prefix/>{kind}<IsTruncated>{truncated}</IsTruncated>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} {NS}>{head}{"".join(content)}</{root}>'.encode()


def careful(data: bytes, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_fast_rows", lambda _data: None)
        return parse_objects(data, **options)


def outcome(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except StorageError as error:
        return type(error)


def test_a_page():
    data = page(
        row("a%20b", "0"), row("c", "7"), "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>",
        "<NextContinuationToken>t&amp;=</NextContinuationToken>", truncated="true",
    )  # fmt: skip
    assert listing._fast_rows(data) is not None
    assert parse_objects(data) == (
        [ObjectInfo("a b", 0, 0, WHEN, "e"), ObjectInfo("c", 7, 7, WHEN, "e")],
        [Folder("d/")],
        "t&=",
    )


@pytest.mark.parametrize(
    ("extras", "standard"),
    [
        ((), True),
        (("<StorageClass>STANDARD</StorageClass>",) * 2, True),
        (("<StorageClass>STANDARD</StorageClass>", "<StorageClass>GLACIER</StorageClass>"), False),
        (("<StorageClass>STANDARD</StorageClass>", ""), False),
        (("<StorageClass/>",), False),
        (("<StorageClass>STANDARD_IA</StorageClass>",), False),
    ],
)
def test_only_a_page_that_names_the_usual_class_for_all_is_believed(extras, standard):
    data = page(*(row(f"k{number}", extra=extra) for number, extra in enumerate(extras)))
    assert all_standard(data, parse_objects(data)) is standard


def test_a_key_is_no_storage_class():
    data = page(row(escape("<StorageClass>STANDARD</StorageClass>"), extra=""), encoding="")
    assert not all_standard(data, parse_objects(data))


# ---- both ways are one ---------------------------------------------------------------------------------------------

KEYS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=12
)
AWKWARD = st.sampled_from(
    [" a", "a ", "a  b", "&amp;", "<Contents>", "</Key>", "]]>", "a+b", "%2F", "a//b", "x/", '"', "é"]
)
SHAPES = st.sampled_from(
    [
        "<Key>{key}</Key><LastModified>{when}</LastModified><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>",
        "<Key>{key}</Key><LastModified>{when}</LastModified><ETag>&#34;{etag}&#34;</ETag><Size>{size}</Size><X/>",
        '<ETag>"{etag}"</ETag><Size>{size}</Size><Key>{key}</Key><LastModified>{when}</LastModified>',
        "<Key>{key}</Key><Owner><ID>o</ID><Key>no</Key></Owner><Size>{size}</Size><ETag>{etag}</ETag>@<Class>G</Class>",
        "\n <Key>{key}</Key>\n @\n\t<ETag>{etag}</ETag>\n <Size>{size}</Size>\n <Owner>\n  <ID></ID>\n </Owner>\n",
        "<Key><![CDATA[{key}]]></Key><LastModified>{when}</LastModified><ETag>{etag}</ETag><Size>{size}</Size>",
        "<Key>{key}</Key><!-- --><LastModified>{when}</LastModified><ETag>{etag}</ETag><Size>{size}</Size>",
        "<Key>{key}</Key><Key>{key}</Key><LastModified>{when}</LastModified><ETag/><Size>{size}</Size>",
        "<Key>{key}</Key><LastModified>{when}</LastModified><Size>{size}</Size>",
    ]
).map(lambda shape: shape.replace("@", "<LastModified>{when}</LastModified>"))
TIMES = st.sampled_from(
    [STAMP, "2026-01-02T03:04:05Z", "1999-12-31T23:59:59.999Z", "2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05"]
)
ROWS = st.tuples(KEYS | AWKWARD, TIMES, st.integers(0, 2**50), st.sampled_from(["", "0123abcdef", "abc-12", "a&amp;b"]))
BETWEEN = st.sampled_from(
    ["", "\n", "  \n  ", "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>", "<!-- x -->", "text"]
)


@given(
    st.lists(ROWS, max_size=6), st.lists(SHAPES, min_size=1, max_size=2), BETWEEN, st.sampled_from(["url", "plus", ""])
)
def test_fast_and_careful_reading_agree(rows, shapes, between, encoding):
    """Random keys in every shape a server may use, also mixed ones, with anything between the rows."""
    spelt = {"url": quote, "plus": quote_plus, "": escape}[encoding]
    parts = []
    for number, (key, when, size, etag) in enumerate(rows):
        shape = shapes[number % len(shapes)]
        assume("CDATA" not in shape or "]]>" not in key or encoding)
        text = key if "CDATA" in shape and not encoding else spelt(key)
        parts.append(f"<Contents>{shape.format(key=text, when=when, size=size, etag=etag)}</Contents>{between}")
    data = page(*parts, encoding="url" if encoding else "")
    for plus in (True, False):
        assert outcome(parse_objects, data, plus_is_space=plus) == outcome(careful, data, plus_is_space=plus)
    complete = all("<ETag" in shape for shape in shapes[: len(rows)])
    if complete:
        keys = [info.key for info in parse_objects(data, plus_is_space=encoding == "plus").objects]
        assert keys == [key for key, _, _, _ in rows]


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "<StorageClass>STANDARD</StorageClass>",
        "<Owner><ID>1</ID><DisplayName>a</DisplayName></Owner><StorageClass>X</StorageClass>",
        "\n  <ChecksumAlgorithm>CRC32C</ChecksumAlgorithm>\n  <Empty/>\n",
    ],
)
def test_the_shapes_of_real_servers_are_read_fast(extra):
    data = page(*[row(f"k{number}", str(number), extra=extra) for number in range(50)])
    assert listing._fast_rows(data) is not None
    assert parse_objects(data) == careful(data)
    assert len(parse_objects(data).objects) == 50


@pytest.mark.parametrize(
    "data",
    [
        page(row(), "<!-- <Contents> -->", row()),
        page(f"<!-- {row()} -->"),
        page(f"<![CDATA[{row()}]]>"),
        page(row(), row(extra="")),
        page(row(), "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>", row()),
        page(row("a\rb")),
        page(row("a&#13;b"), encoding=""),
        page(row(), row("a&unknown;b")),
        page(row("<b/>")),
        page("<Contents><Key>k</Contents></Key>"),
        page("<Contents a='1'></Contents>"),
        b"\xef\xbb\xbf" + page(row()),
        page(row()).replace(b"UTF-8", b"iso-8859-1"),
        page(row("é")).replace(b"UTF-8", b"UTF-16").decode().encode("utf-16"),
        b"",
        b"<a>",
    ],
)
def test_what_is_irregular_is_left_to_the_careful_reading(data):
    assert listing._fast_rows(data) is None
    assert outcome(parse_objects, data) == outcome(careful, data)


def test_doctype_is_refused_on_both_ways():
    data = page(row()).replace(b"<ListBucketResult", b"<!DOCTYPE R []><ListBucketResult", 1)
    assert outcome(parse_objects, data) is outcome(careful, data) is IntegrityError


WHOLE = page(*[row(f"k{number}") for number in range(3)], "<KeyCount>3</KeyCount>")


@pytest.mark.parametrize("end", [*range(0, len(WHOLE), 7), len(WHOLE) - 1])
def test_a_cut_off_page_is_never_a_short_one(end):
    with pytest.raises(TruncatedError):
        parse_objects(WHOLE[:end])


# ---- what a page must say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        page(row(size="-1")),
        page(row(size="")),
        page(row(size="1_0")),
        page(row(size=" 1")),
        page(row(size="\u0661")),
        page(row(modified="yesterday")),
        page(row(), truncated="true"),
        page(row(), truncated="perhaps"),
        page("<Contents><Key>k</Key></Contents>"),
        page("<CommonPrefixes/>"),
        page(row(), root="ListAllMyBucketsResult"),
        page(row(), root="Error"),
    ],
)
def test_a_page_that_cannot_be_right_is_an_integrity_error(data):
    for parse in (parse_objects, careful):
        with pytest.raises(IntegrityError):
            parse(data)


def test_keys_are_decoded_only_where_the_server_says_that_it_encoded_them():
    assert parse_objects(page(row("a%2Fb+c"), encoding="")).objects[0].key == "a%2Fb+c"
    assert parse_objects(page(row("a%2Fb+c"))).objects[0].key == "a/b c"
    assert parse_objects(page(row("a%2Fb+c")), plus_is_space=False).objects[0].key == "a/b+c"
    assert parse_objects(page(row("%FF%0A"))).objects[0].key == "\udcff\n"


def test_folders_are_decoded_too():
    data = page(
        "<CommonPrefixes><Prefix>a%20b/</Prefix></CommonPrefixes>",
        "<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>",
    )
    assert parse_objects(data).folders == [Folder("a b/"), Folder("c/")]


def test_an_empty_page():
    assert parse_objects(page()) == ([], [], None)


def test_a_last_page_has_no_token_whatever_it_holds():
    assert parse_objects(page("<NextContinuationToken>t</NextContinuationToken>")).next_token is None


def test_size_is_bounded():
    with pytest.raises(LimitExceededError, match="bytes"):
        parse_objects(page(row(), " " * MAX_DOCUMENT))


@pytest.mark.parametrize(
    ("text", "etag"), [('"a"', "a"), ("a", "a"), ('W/"a"', 'W/"a"'), ('"', '"'), ("", ""), ('""', ""), ('"a', '"a')]
)
def test_etags(text, etag):
    assert plain_etag(text) == etag


# ---- versions, uploads, parts --------------------------------------------------------------------------------------


def test_versions():
    data = page(
        f"<Version><Key>a%2Bb</Key><VersionId>2</VersionId><IsLatest>true</IsLatest><LastModified>{STAMP}</LastModified>"
        '<ETag>"e"</ETag><Size>5</Size><Owner><ID>x</ID></Owner></Version>',
        f"<DeleteMarker><Key>a%2Bb</Key><VersionId>1</VersionId><LastModified>{STAMP}</LastModified></DeleteMarker>",
        f'<Version><Key>z</Key><VersionId>null</VersionId><LastModified>{STAMP}</LastModified><ETag>"f"</ETag><Size>0</Size></Version>',
        "<CommonPrefixes><Prefix>p%2F</Prefix></CommonPrefixes>",
        "<NextKeyMarker>z%201</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>",
        root="ListVersionsResult", truncated="true",
    )  # fmt: skip
    assert parse_versions(data) == (
        [
            ObjectInfo("a+b", 5, 5, WHEN, "e", "2"),
            ObjectInfo("a+b", modified=WHEN, version="1", deleted=True),
            ObjectInfo("z", 0, 0, WHEN, "f", "null"),
        ],
        [Folder("p/")],
        "z 1",
        "v",
    )
    assert parse_versions(page(root="ListVersionsResult")) == ([], [], None, None)


def test_uploads():
    data = page(
        f"<Upload><Key>a%20b</Key><UploadId>u/1+</UploadId><Initiated>{STAMP}</Initiated></Upload>",
        "<NextKeyMarker>a%20b</NextKeyMarker><NextUploadIdMarker>u/1+</NextUploadIdMarker>",
        root="ListMultipartUploadsResult", truncated="true",
    )  # fmt: skip
    assert parse_uploads(data) == ([PendingUpload("a b", "u/1+", WHEN)], "a b", "u/1+")
    assert parse_uploads(page(root="ListMultipartUploadsResult")) == ([], None, None)


def test_parts():
    data = page(
        '<Part><PartNumber>1</PartNumber><ETag>"a"</ETag><Size>5</Size></Part>',
        '<Part><PartNumber>10000</PartNumber><ETag>"b"</ETag><Size>0</Size></Part>',
        "<NextPartNumberMarker>10000</NextPartNumberMarker>",
        root="ListPartsResult", truncated="true",
    )  # fmt: skip
    assert parse_parts(data) == ([UploadedPart(1, 5, "a"), UploadedPart(10000, 0, "b")], 10000)
    assert parse_parts(page(root="ListPartsResult")) == parse_parts(page(root="ListPartsResponse")) == ([], None)


@pytest.mark.parametrize(
    ("parse", "root", "entry"),
    [
        (parse_versions, "ListVersionsResult", "<Version><Key>k</Key></Version>"),
        (parse_uploads, "ListMultipartUploadsResult", "<Upload><Key>k</Key></Upload>"),
        (parse_parts, "ListPartsResult", "<Part><PartNumber>x</PartNumber></Part>"),
    ],
)
def test_the_others_are_as_strict(parse, root, entry):
    for data in (page(entry, root=root), page(root=root, truncated="true"), page(root="Other")):
        with pytest.raises(IntegrityError):
            parse(data)
    with pytest.raises(TruncatedError):
        parse(page(root=root)[:-1])
    if parse is parse_parts:
        with pytest.raises(IntegrityError):
            parse(page("<NextPartNumberMarker>x</NextPartNumberMarker>", root=root, truncated="true"))
