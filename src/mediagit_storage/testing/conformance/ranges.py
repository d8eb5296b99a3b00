"""Parts of objects: every edge gives the same answer everywhere."""

from __future__ import annotations

import random
from typing import NamedTuple

from mediagit_storage.errors import InvalidRangeError, NotFoundError
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.wrappers import CallLog

__all__ = ["RangeContract"]


class _Case(NamedTuple):
    """One range of an object of 10 bytes, and what it gives; None is an `InvalidRangeError`."""

    offset: int | None
    length: int | None
    suffix: int | None
    expected: bytes | None


_TEN = b"0123456789"
_CASES = (
    _Case(None, None, None, _TEN),
    _Case(0, None, None, _TEN),
    _Case(0, 10, None, _TEN),
    _Case(0, 11, None, _TEN),
    _Case(0, 1, None, b"0"),
    _Case(3, 4, None, b"3456"),
    _Case(9, 1, None, b"9"),
    _Case(9, 100, None, b"9"),
    _Case(4, None, None, b"456789"),
    _Case(None, 3, None, b"012"),
    _Case(None, 99, None, _TEN),
    _Case(10, None, None, None),
    _Case(10, 1, None, None),
    _Case(11, 1, None, None),
    _Case(2**40, 5, None, None),
    _Case(0, 0, None, b""),
    _Case(5, 0, None, b""),
    _Case(10, 0, None, b""),
    _Case(99, 0, None, b""),
    _Case(None, 0, None, b""),
    _Case(None, None, 0, b""),
    _Case(None, None, 1, b"9"),
    _Case(None, None, 9, b"123456789"),
    _Case(None, None, 10, _TEN),
    _Case(None, None, 11, _TEN),
    _Case(None, None, 2**40, _TEN),
)
_EMPTY_CASES = (
    _Case(None, None, None, b""),
    _Case(0, None, None, None),
    _Case(0, 1, None, None),
    _Case(1, None, None, None),
    _Case(0, 0, None, b""),
    _Case(None, 5, None, b""),
    _Case(None, None, 0, b""),
    _Case(None, None, 5, b""),
)


class RangeContract(BackendCase):
    """`get`, `stream`, `get_ranges` and files over an object agree with slicing its bytes."""

    def _check(self, key: str, case: _Case) -> None:
        offset, length, suffix, expected = case
        if expected is None:
            for read in (self.store.get, self.store.stream):
                with raises(InvalidRangeError) as caught:
                    read(key, offset=offset, length=length, suffix=suffix)
                self.assert_context(caught[0], "get", key)
            return
        data = self.store.get(key, offset=offset, length=length, suffix=suffix)
        assert data == expected, f"get of {case} gave {data[:40]!r}"
        with self.store.stream(key, offset=offset, length=length, suffix=suffix) as stream:
            streamed = b"".join(stream)
        assert streamed == expected, f"stream of {case} gave {streamed[:40]!r}"

    @covers(26, 27, 28, 29, 31)
    def test_the_edges_of_a_small_object(self) -> None:
        """Clipping at the end, starts at and past the end, length 0, suffixes: one table."""
        self.prepare.put("ten", _TEN)
        for case in _CASES:
            self._check("ten", case)

    @covers(28, 29, 31)
    def test_the_edges_of_an_empty_object(self) -> None:
        """Any given start is out of range, except for length 0; a suffix and the whole are empty."""
        self.prepare.put("empty", b"")
        for case in _EMPTY_CASES:
            self._check("empty", case)

    @covers(26)
    def test_parts_of_a_large_object(self) -> None:
        """The first and last bytes, some within, and the whole."""
        data = self.content(self.large)
        self.prepare.put("large", data)
        size = len(data)
        for offset, length in ((0, 10), (1, 10), (2, 1), (5, 0), (size - 5, 5), (size // 2, 1_500_000), (0, size)):
            assert self.store.get("large", offset=offset, length=length) == data[offset : offset + length]
        assert self.store.get("large", suffix=1_100_000) == data[-1_100_000:]
        assert b"".join(self.store.stream("large", offset=1)) == data[1:]

    @covers(27)
    def test_a_part_tells_where_it_starts_and_how_large_the_object_is(self) -> None:
        """A clipped part knows the range it really has and the size of the whole."""
        self.prepare.put("ten", _TEN)
        with self.store.stream("ten", offset=8, length=99) as stream:
            assert stream.info.size == 10
            assert b"".join(stream) == b"89"
        with self.store.open("ten") as file:
            assert file.info.size == 10
            assert file.read_at(8, 99) == b"89"
            assert file.read_at(10, 1) == b""

    @covers(30)
    def test_negative_numbers_are_refused_without_io(self) -> None:
        """So is a suffix beside an offset. The backend is not called, and no object need exist."""
        log = CallLog(self.backend)
        store = self.beside(log)
        for offset, length, suffix in (
            (-1, None, None),
            (0, -1, None),
            (None, -5, None),
            (None, None, -1),
            (0, None, 1),
            (None, 1, 1),
        ):
            for read in (store.get, store.stream):
                with raises(InvalidRangeError) as caught:
                    read("k", offset=offset, length=length, suffix=suffix)
                self.assert_context(caught[0], "get", "k")
        with raises(InvalidRangeError):
            store.get_ranges("k", [(0, 1), (-1, 5)])
        assert log.calls == []

    @covers(31, 1)
    def test_a_missing_object_comes_before_everything(self) -> None:
        """Length 0, an offset past any end and an empty list of ranges are `NotFoundError` for a missing key."""
        for offset, length, suffix in ((None, 0, None), (0, 0, None), (99, None, None), (None, None, 0)):
            for read in (self.store.get, self.store.stream):
                with raises(NotFoundError):
                    read("gone", offset=offset, length=length, suffix=suffix)
        wanted: list[list[tuple[int, int]]] = [[], [(0, 0)], [(5, 5)]]
        for ranges in wanted:
            with raises(NotFoundError):
                self.store.get_ranges("gone", ranges)

    @covers(32)
    def test_many_ranges_at_once(self) -> None:
        """Unordered, overlapping, adjacent, repeated, empty, far apart and clipped: each part is its slice, in order."""
        data = self.content(300_000)
        self.prepare.put("k", data)
        ranges = [(200_000, 10), (0, 5), (5, 5), (3, 10), (0, 5), (7, 0), (299_990, 99), (0, 300_000), (150_000, 1)]
        assert self.store.get_ranges("k", ranges) == [data[start : start + length] for start, length in ranges]
        assert self.store.get_ranges("k", []) == []
        with raises(InvalidRangeError) as caught:
            self.store.get_ranges("k", [(0, 5), (300_000, 1)])
        self.assert_context(caught[0], "get", "k")

    @covers(33)
    def test_random_ranges(self) -> None:
        """Fifty random parts equal the slices."""
        data = self.content(100_003)
        self.prepare.put("k", data)
        chance = random.Random(33)
        for _ in range(50):
            start = chance.randrange(len(data))
            length = chance.randrange(len(data))
            assert self.store.get("k", offset=start, length=length) == data[start : start + length]

    @covers(26)
    def test_a_file_over_an_object_reads_like_a_file(self) -> None:
        """Reads, seeks and lines of the file equal those of a file in memory."""
        data = b"".join(b"line %d\n" % number for number in range(5000))
        self.prepare.put("lines", data)
        with self.store.open("lines") as file:
            assert file.readline() == b"line 0\n"
            assert file.seek(-7, 2) == len(data) - 7
            assert file.read() == data[-7:]
            file.seek(1234)
            assert file.read(100) == data[1234:1334]
            assert file.tell() == 1334
            file.seek(0)
            assert sum(1 for _ in file) == 5000
