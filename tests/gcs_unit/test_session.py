"""Sessions of uploads as pure functions."""

from __future__ import annotations

import pytest

from mediagit_storage.backends.gcs.session import (
    CANCELLED,
    UNIT,
    Held,
    Stage,
    check_chunk_size,
    chunk_range,
    question,
    session_place,
    stage_of,
)
from mediagit_storage.errors import ConfigError, IntegrityError
from mediagit_storage.http.headers import Headers

NOTHING = Headers.of([])


@pytest.mark.parametrize(
    ("status", "fields", "stage"),
    [
        (200, [], Stage.COMPLETE), (201, [], Stage.COMPLETE), (404, [], Stage.GONE), (410, [], Stage.GONE),
        (CANCELLED, [], Stage.GONE), (400, [], Stage.FAILED), (412, [], Stage.FAILED), (503, [], Stage.FAILED),
        (302, [], Stage.FAILED), (308, [], Held(0)), (308, [("range", "bytes=0-0")], Held(1)),
        (308, [("Range", "bytes=0-262143")], Held(262144)),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, fields, stage):
    assert stage_of(status, Headers.of(fields)) == stage


@pytest.mark.parametrize("text", ["bytes=5-9", "bytes=0-", "0-9", "bytes=0-9,20-29", "bytes=-1", "bytes=0-" + "9" * 30])
def test_a_range_that_cannot_be(text):
    with pytest.raises(IntegrityError):
        stage_of(308, Headers.of([("range", text)]))


def test_what_a_chunk_says_about_itself():
    assert chunk_range(0, UNIT, None) == "bytes 0-262143/*"
    assert chunk_range(UNIT, 10, UNIT + 10) == "bytes 262144-262153/262154"
    assert chunk_range(UNIT, 0, UNIT) == "bytes */262144"
    assert question(None) == "bytes */*"
    assert question(100) == "bytes */100"


@pytest.mark.parametrize("size", [0, 1, UNIT - 1, UNIT + 1, 5_000_000])
def test_chunks_are_multiples_of_a_unit(size):
    with pytest.raises(ConfigError):
        check_chunk_size(size)


def test_chunks_that_are():
    for size in (UNIT, 8 * 1024 * 1024):
        check_chunk_size(size)


def test_a_session_is_looked_for_where_it_was_begun():
    """Whatever host its address names: a token must not go there."""
    place = "/upload/storage/v1/b/bucket/o?uploadType=resumable&name=a%2Fb&upload_id=ABC-_1"
    path, _, query = place.partition("?")
    for origin in ("https://storage.googleapis.com", "https://evil.example", "http://127.0.0.1:1", ""):
        assert session_place(origin + place) == (path, query)


@pytest.mark.parametrize(
    "location",
    [
        None, "", "https://storage.googleapis.com/", "/upload/storage/v1/b/bucket/o", "/elsewhere?upload_id=1",
        "/upload/storage/v1/b/bucket/o?upload_id=1\r\nx: y", "/upload/storage/v1/b/ü/o?upload_id=1", "javascript:upload_id=1",
    ],
)  # fmt: skip
def test_a_place_that_is_none(location):
    with pytest.raises(IntegrityError):
        session_place(location)
