"""Percent-encoding, text in header fields, and dates: exact and reversible."""

from __future__ import annotations

import email.header
import string
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.encoding import (
    MAX_WORD,
    decode_text,
    encode_path,
    encode_query,
    encode_text,
    encode_value,
    format_http_date,
    format_timestamp,
    parse_http_date,
    parse_timestamp,
    percent_decode,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXT)
def test_paths_and_values_are_rfc_3986(text):
    assert encode_path(text) == quote(text, safe="/-._~")
    assert encode_value(text) == quote(text, safe="-._~")
    assert percent_decode(encode_path(text)) == text
    assert percent_decode(encode_value(text), plus_is_space=True) == text


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a//b", "a//b"),
        ("../x", "../x"),
        ("folder/", "folder/"),
        ("+", "%2B"),
        ("%2F", "%252F"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("😀", "%F0%9F%98%80"),
        ("~-._", "~-._"),
        ("*'()!", "%2A%27%28%29%21"),
        ("#?&=;:@", "%23%3F%26%3D%3B%3A%40"),
        ("\n\x7f", "%0A%7F"),
        ("\udcff", "%FF"),
    ],
)
def test_keys_keep_their_exact_bytes(key, path):
    assert encode_path(key) == path
    assert percent_decode(path) == key


def test_a_query_is_sorted_by_what_is_sent():
    assert encode_query([("b", "2"), ("a", "é"), ("A", ""), ("a", " ")]) == "A=&a=%20&a=%C3%A9&b=2"
    assert encode_query([]) == ""


@given(st.text(string.ascii_letters + "%2F0+ é", max_size=30))
def test_decoding_is_what_the_standard_library_does(text):
    expected = unquote(text, errors="surrogateescape")
    assert percent_decode(text) == expected
    assert percent_decode(text, plus_is_space=True) == unquote(text.replace("+", " "), errors="surrogateescape")


# ---- text in header fields -----------------------------------------------------------------------------------------

CONTROL_FREE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80)
LOOKALIKES = st.sampled_from(["=?UTF-8?B?eA==?=", "=?utf-8?b?eA==?=", "=?x", "=?utf-8?q?a_b?=", " a", "b ", "a  b", ""])
ANY_TEXT = st.one_of(CONTROL_FREE, LOOKALIKES, st.lists(LOOKALIKES | CONTROL_FREE, max_size=3).map("".join))


def as_amazon_keeps_it(value: str) -> str:
    """What S3 does: decode words before it stores, give ASCII back as it is, and encode the rest as one word."""
    text = str(email.header.make_header(email.header.decode_header(value))) if "=?" in value else value
    # HTTP trims the ends of a field.
    return text.strip(" ") if text.isascii() else email.header.Header(text, "utf-8", maxlinelen=10**6).encode()


@given(ANY_TEXT)
def test_text_comes_back_from_a_server_that_keeps_fields_as_they_are(text):
    value = encode_text(text)
    assert value.isascii()
    assert value == value.strip()
    assert value.isprintable()
    assert decode_text(value) == text


@given(ANY_TEXT)
def test_text_comes_back_from_a_server_that_decodes_words(text):
    assert decode_text(as_amazon_keeps_it(encode_text(text))) == text


@given(st.text(st.characters(min_codepoint=0xA1, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80))
def test_other_readers_of_encoded_words_read_ours(text):
    value = encode_text(text)
    assert all(len(word) <= MAX_WORD for word in value.split(" "))
    assert str(email.header.make_header(email.header.decode_header(value))) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?UTF-8?Q?caf=C3=A9_noir?=", "café noir"),
        ("=?iso-8859-1?Q?caf=E9?=", "café"),
        ("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "éé"),
        ("=?UTF-8*en?B?w6k=?=", "é"),
        # A character cut in two by a careless writer.
        ("=?UTF-8?B?ww==?= =?UTF-8?B?qQ==?=", "é"),
        ("plain", "plain"),
        ("not =?UTF-8?B?w6k=?= alone", "not =?UTF-8?B?w6k=?= alone"),
        ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
        ("=?no-such-charset?B?w6k=?=", "=?no-such-charset?B?w6k=?="),
        ("=?UTF-8?B?/w==?=", "=?UTF-8?B?/w==?="),
    ],
)
def test_words_of_other_writers(value, text):
    assert decode_text(value) == text


# ---- dates ---------------------------------------------------------------------------------------------------------


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1970))
def test_dates_make_the_round_trip(aware):
    assert parse_http_date(format_http_date(aware)) == aware.replace(microsecond=0)
    assert parse_timestamp(format_timestamp(aware)) == aware.replace(microsecond=aware.microsecond // 1000 * 1000)


def test_dates_of_other_zones_and_forms():
    moment = datetime(2026, 11, 21, 10, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_http_date(moment) == "Sat, 21 Nov 2026 08:00:00 GMT"
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT").second == 59
    assert parse_timestamp("2026-11-21T10:00:00+02:00") == moment
    assert parse_timestamp("2026-11-21T08:00:00").tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "now", "Sat, 32 Nov 2026 08:00:00 GMT", "Sat, 21 Foo 2026 08:00:00 GMT", "2026-13-01"]
)
def test_what_is_no_date_is_an_integrity_error(text):
    for parse in (parse_http_date, parse_timestamp):
        with pytest.raises(IntegrityError, match="belongs"):
            parse(text)
