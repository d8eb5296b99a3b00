"""Range arithmetic: every edge of what a part of an object means."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediagit_storage.errors import InvalidRangeError
from mediagit_storage.ranges import Span, check_range, coalesce, resolve_range
from mediagit_storage.types import ByteRange

numbers = st.integers(0, 40)
maybe = st.none() | numbers
wanted_ranges = st.tuples(maybe, maybe).map(lambda pair: ByteRange(*pair)) | numbers.map(lambda n: ByteRange(suffix=n))


@pytest.mark.parametrize(
    ("wanted", "size", "span"),
    [
        (ByteRange(), 10, (0, 10)),
        (ByteRange(), 0, (0, 0)),
        (ByteRange(0), 10, (0, 10)),
        (ByteRange(9), 10, (9, 1)),
        (ByteRange(0, 10), 10, (0, 10)),
        (ByteRange(1, 9), 10, (1, 9)),
        (ByteRange(5, 100), 10, (5, 5)),
        (ByteRange(None, 3), 10, (0, 3)),
        (ByteRange(None, 30), 10, (0, 10)),
        (ByteRange(None, 3), 0, (0, 0)),
        (ByteRange(5, 0), 10, (5, 0)),
        (ByteRange(50, 0), 10, (10, 0)),
        (ByteRange(0, 0), 0, (0, 0)),
        (ByteRange(suffix=3), 10, (7, 3)),
        (ByteRange(suffix=30), 10, (0, 10)),
        (ByteRange(suffix=0), 10, (10, 0)),
        (ByteRange(suffix=5), 0, (0, 0)),
        (ByteRange(2**33, 5), 2**33 + 2, (2**33, 2)),
    ],
)
def test_the_table(wanted, size, span):
    check_range(wanted)
    assert resolve_range(wanted, size) == span


@pytest.mark.parametrize(
    ("wanted", "size"),
    [(ByteRange(10), 10), (ByteRange(11, 1), 10), (ByteRange(0), 0), (ByteRange(0, 1), 0), (ByteRange(2**40), 2**33)],
)
def test_a_start_at_or_past_the_end_is_refused(wanted, size):
    check_range(wanted)
    with pytest.raises(InvalidRangeError, match="not inside"):
        resolve_range(wanted, size)


@pytest.mark.parametrize(
    "wanted", [ByteRange(-1), ByteRange(0, -1), ByteRange(None, -1), ByteRange(suffix=-1), ByteRange(-(2**70))]
)
def test_negative_numbers_are_refused(wanted):
    with pytest.raises(InvalidRangeError, match="negative"):
        check_range(wanted)


@pytest.mark.parametrize("wanted", [ByteRange(0, None, 1), ByteRange(None, 0, 1), ByteRange(1, 2, 3)])
def test_a_suffix_stands_alone(wanted):
    with pytest.raises(InvalidRangeError, match="suffix"):
        check_range(wanted)


@pytest.mark.parametrize("number", [1.0, "1", True, b"1"])
@pytest.mark.parametrize("field", ["offset", "length", "suffix"])
def test_what_is_no_whole_number_is_a_type_error(field, number):
    with pytest.raises(TypeError, match=field):
        check_range(ByteRange(**{field: number}))


@given(wanted_ranges, numbers)
def test_it_means_what_slicing_means(wanted, size):
    data = bytes(range(size))
    check_range(wanted)
    try:
        start, length = resolve_range(wanted, size)
    except InvalidRangeError:
        assert wanted.suffix is None
        assert wanted.length != 0
        assert wanted.offset is not None
        assert wanted.offset >= size
        return
    assert 0 <= start <= start + length <= size
    if wanted.suffix is not None:
        expected = data[max(0, size - wanted.suffix) :]
    else:
        first = wanted.offset or 0
        expected = data[first:] if wanted.length is None else data[first : first + wanted.length]
    assert data[start : start + length] == expected


requests = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=20)


@given(requests, st.integers(0, 40), st.integers(1, 120))
@example([(5, 5), (0, 5), (5, 5), (3, 0), (2, 30)], 0, 1)
def test_coalescing_is_invisible(ranges, gap, limit):
    data = bytes(index % 251 for index in range(300))
    parts = [b""] * len(ranges)
    for read in coalesce(ranges, gap, limit):
        body = data[read.offset : read.offset + read.length]
        assert len(body) == read.length
        for index, start, length in read.parts:
            parts[index] = body[start : start + length]
    assert parts == [data[offset : offset + length] for offset, length in ranges]


@given(requests, st.integers(0, 40), st.integers(1, 120))
def test_reads_keep_to_the_limit_the_gap_and_the_order(ranges, gap, limit):
    reads = coalesce(ranges, gap, limit)
    assert sum(len(read.parts) for read in reads) == sum(1 for _, length in ranges if length)
    assert [read.offset for read in reads] == sorted(read.offset for read in reads)
    for read in reads:
        assert read.length <= max(limit, *(length for _, _, length in read.parts))
        covered = 0
        for _, start, length in sorted(read.parts, key=lambda part: part[1]):
            assert start <= covered + gap
            covered = max(covered, start + length)
        assert covered == read.length


def test_neighbours_join_and_strangers_do_not():
    assert [(read.offset, read.length) for read in coalesce([(20, 5), (0, 5), (7, 3)], 2, 100)] == [(0, 10), (20, 5)]
    assert [(read.offset, read.length) for read in coalesce([(0, 5), (5, 5)], 0, 9)] == [(0, 5), (5, 5)]
    assert [(read.offset, read.length) for read in coalesce([(0, 50), (10, 5)], 0, 9)] == [(0, 50)]
    assert coalesce([], 10, 10) == []
    assert coalesce([(5, 0)], 10, 10) == []


def test_a_span_names_its_parts():
    assert Span(3, 4)._asdict() == {"start": 3, "length": 4}
