"""The place of a range takes that range, once, and nothing outside of itself."""

from __future__ import annotations

import os

import pytest

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http import placing
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.placing import FileSink


def told(content_range=None):
    lines = [] if content_range is None else [f"Content-Range: {content_range}\r\n".encode()]
    return Headers([b"HTTP/1.1 206 Word\r\n", *lines])


RIGHT = told("bytes 10-19/100")


def fill(sink, pieces):
    for piece in pieces:
        sink.take(piece)
    return sink.finish()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A sink for 10 bytes from 10 that writes whenever it has 4, its file, and what it told of."""
    monkeypatch.setattr(placing, "_GATHERED", 4)
    arrived = []
    with (tmp_path / "f").open("w+b") as file:
        file.write(b"." * 30)
        file.flush()
        yield FileSink(file.fileno(), 10, 10, arrived.append), lambda: os.pread(file.fileno(), 99, 0), arrived


@pytest.mark.parametrize(
    ("status", "headers", "accepted"),
    [
        (206, RIGHT, True),
        (200, RIGHT, True),
        (206, told("bytes 10-19/*"), True),
        (403, RIGHT, False),
        (304, RIGHT, False),
        (206, told(), False),
        (206, told("bytes 0-9/100"), False),
        (206, told("bytes 10-20/100"), False),
        (206, told("bytes 10-18/100"), False),
    ],
)
def test_what_is_accepted(place, status, headers, accepted):
    assert place[0].accepts(status, headers) is accepted


def test_pieces_lie_one_behind_the_other(place):
    sink, written, arrived = place
    assert sink.accepts(206, RIGHT)
    for piece in (b"a", b"bcdefg", b"hi", b"j"):
        sink.take(piece)
    assert arrived == [7]
    assert sink.finish() == sink.finish() == 10
    assert written() == b"." * 10 + b"abcdefghij" + b"." * 10
    assert arrived == [7, 3]


def test_a_second_attempt_begins_again_and_tells_only_of_what_is_new(place):
    sink, written, arrived = place
    assert sink.accepts(206, RIGHT)
    sink.take(b"wrong!")
    sink.take(b"x")
    assert sink.accepts(206, RIGHT)
    for piece in (b"abcd", b"efghi", b"j"):
        sink.take(piece)
    assert sink.finish() == 10
    assert written()[10:20] == b"abcdefghij"
    assert arrived == [6, 3, 1]


def test_less_is_counted_as_it_is(place):
    sink, written, _ = place
    assert sink.accepts(206, RIGHT)
    sink.take(b"abc")
    assert sink.finish() == 3
    assert written()[9:14] == b".abc."


@pytest.mark.parametrize("pieces", [[b"abcdefghijk"], [b"abcdefghij", b"k"], [b"abcdefghij", b"klmn"]])
def test_more_is_refused_and_touches_nothing_else(place, pieces):
    sink, written, arrived = place
    assert sink.accepts(206, RIGHT)
    with pytest.raises(IntegrityError, match="more than the 10 bytes"):
        fill(sink, pieces)
    assert written()[20:] == b"." * 10
    assert sum(arrived) <= 10


def test_what_came_in_another_way_is_written_too(place):
    sink, written, arrived = place
    sink.put(b"abcdefghij")
    assert written()[9:21] == b".abcdefghij."
    assert arrived == [10]
