"""Parts of objects in header fields."""

from __future__ import annotations

import pytest

from mediagit_storage.errors import IntegrityError, InvalidRangeError
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.ranges import ContentRange, parse_content_range, range_value, sent_part, whole_size
from mediagit_storage.ranges import Span
from mediagit_storage.types import ByteRange


def test_content_ranges():
    assert parse_content_range("bytes 10-14/100") == ContentRange(10, 5, 100)
    assert parse_content_range(" bytes 0-0/1 ") == ContentRange(0, 1, 1)
    assert parse_content_range("bytes 0-9/*") == ContentRange(0, 10, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes -1-4/10",
        "bytes 0-9",
        "items 0-9/10",
        "bytes a-b/c",
        "bytes */10",
    ],
)
def test_ranges_that_cannot_be(text):
    with pytest.raises(IntegrityError, match="range"):
        parse_content_range(text)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (ByteRange(), None),
        (ByteRange(0), "bytes=0-"),
        (ByteRange(5), "bytes=5-"),
        (ByteRange(5, 1), "bytes=5-5"),
        (ByteRange(0, 10), "bytes=0-9"),
        (ByteRange(None, 10), "bytes=0-9"),
        (ByteRange(5, 0), None),
        (ByteRange(None, 0), None),
        (ByteRange(suffix=7), "bytes=-7"),
        (ByteRange(suffix=0), None),
        (ByteRange(2**62, 2**62), f"bytes={2**62}-{2**63 - 1}"),
    ],
)
def test_ranges(wanted, value):
    assert range_value(wanted) == value


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ([], None),
        ([("Content-Length", "5")], 5),
        ([("Content-Length", "5"), ("Content-Range", "bytes 10-14/100")], 100),
        ([("Content-Length", "5"), ("Content-Range", "bytes 10-14/*")], None),
        ([("Content-Length", "0"), ("Content-Range", "bytes */100")], 100),
    ],
)
def test_the_size_of_the_whole(fields, size):
    assert whole_size(Headers.of(fields)) == size


def test_a_part_is_the_one_that_was_asked_for():
    assert sent_part("bytes 10-14/100", ByteRange(10, 5)) == (Span(10, 5), 100)
    assert sent_part("bytes 90-99/100", ByteRange(90, 50)) == (Span(90, 10), 100)
    for other in ("bytes 11-14/100", "bytes 10-15/100", "bytes 10-14/*"):
        with pytest.raises(IntegrityError):
            sent_part(other, ByteRange(10, 5))
    with pytest.raises(InvalidRangeError):
        sent_part("bytes 10-14/100", ByteRange(100, 5))
