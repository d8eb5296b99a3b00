"""Sources cut into parts: exact lengths whatever the chunks are, one chunk held, memory given back."""

from __future__ import annotations

import tracemalloc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.http.multipart import PartLimits, Sizes
from mediagit_storage.http.parts import Pieces, SourcePart, digester, small_source
from mediagit_storage.http.uploading import FileParts, Parts, Whole, WholeFile, planned
from mediagit_storage.source import BytesSource, FileSource, IterableSource

KIB = 1024
SIZES = Sizes(part=4 * KIB, threshold=16 * KIB, concurrency=3, buffer=32 * KIB)
LIMITS = PartLimits(min_part=1, max_part=64 * KIB, max_parts=100, max_object=10**6)


def body_of(part: SourcePart) -> bytes:
    body = part.body()
    return body if isinstance(body, bytes) else body.read(part.length)


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(1, 40))
def test_parts_are_the_source_in_equal_lengths(chunks, length):
    whole = b"".join(chunks)
    found = [each for each in Pieces(iter(chunks)).parts(lambda _: length, "md5") if each is not None]
    assert b"".join(map(body_of, found)) == whole
    assert [each.number for each in found] == [*range(1, len(found) + 1)]
    assert all(each.length == length for each in found[:-1])
    assert all(each.digest().digest == digester("md5")(body_of(each)) for each in found)


@given(st.lists(st.binary(max_size=20), max_size=20), st.lists(st.integers(0, 30), max_size=10))
def test_what_is_taken_and_put_back_comes_again(chunks, counts):
    whole, pieces, place = b"".join(chunks), Pieces(iter(chunks)), 0
    for count in counts:
        taken = pieces.take(count)
        assert taken == whole[place : place + count]
        assert pieces.exhausted == (place + len(taken) == len(whole))
        pieces.put_back(taken[len(taken) // 2 :])
        place += len(taken) // 2
    assert pieces.take_all(10**6) == whole[place:]
    assert pieces.exhausted


def test_at_least_so_much_and_what_came_with_it():
    pieces = Pieces(iter([b"abc", b"def", b"ghi"]))
    assert pieces.take_all(4) == b"abcdef"
    assert pieces.take_all(1) == b"ghi"
    assert pieces.take_all(1) == b""


def test_no_more_of_a_source_is_asked_for_than_a_part_needs():
    asked = []

    def chunks():
        for number in range(10):
            asked.append(number)
            yield bytes(10)

    parts = Pieces(chunks()).parts(lambda _: 20, "md5")
    assert next(parts).length == 20
    assert asked == [0, 1]


def test_memory_of_a_stored_part_is_used_again():
    parts = Pieces(iter([bytes(1000)] * 5)).parts(lambda _: 1000, "md5")
    first = next(parts)
    memory = weakref.ref(first.body()._view.obj)
    first.release()
    second = next(parts)
    assert second.body()._view.obj is memory()
    with pytest.raises(ValueError, match="released"):
        first.body()


def test_a_stream_of_tiny_chunks_takes_no_more_than_it_is_long():
    pieces = Pieces(bytes([each % 256]) for each in range(200_000))
    tracemalloc.start()
    try:
        assert len(pieces.gather(200_000)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# ---- how a source travels


def test_what_lies_in_memory():
    upload = planned(BytesSource(bytes(8 * KIB)), SIZES, LIMITS, "md5", single=8 * KIB)
    assert isinstance(upload, Whole)
    upload = planned(BytesSource(bytes(8 * KIB + 1)), SIZES, LIMITS, "md5", single=8 * KIB)
    assert isinstance(upload, Parts)
    assert not upload.held
    assert [each.length for each in upload.parts] == [4 * KIB, 4 * KIB, 1]


@pytest.mark.parametrize(("size", "kind"), [(4 * KIB, Whole), (8 * KIB, WholeFile), (8 * KIB + 1, FileParts)])
def test_a_file(tmp_path, size, kind):
    (tmp_path / "file").write_bytes(bytes(size))
    with (tmp_path / "file").open("rb") as file:
        upload = planned(FileSource(file), SIZES, LIMITS, "md5", single=8 * KIB)
    assert isinstance(upload, kind)


@pytest.mark.parametrize(
    ("size", "least", "kind"),
    [
        (0, 0, Whole),
        (4 * KIB, 0, Whole),
        (4 * KIB + 1, 0, Parts),
        (8 * KIB, 8 * KIB, Whole),
        (8 * KIB + 1, 8 * KIB, Parts),
    ],
)
def test_a_stream(size, least, kind):
    source = IterableSource(bytes(1) for _ in range(size))
    upload = planned(source, SIZES, LIMITS, "md5", single=KIB, stream_single=least)
    assert isinstance(upload, kind)
    if isinstance(upload, Parts):
        assert upload.held
        assert sum(each.length for each in upload.parts if each is not None) == size


def test_what_is_small_is_read_at_once(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        assert small_source(FileSource(file), 7) == b"content"
        file.seek(0)
        assert small_source(FileSource(file), 6) is None
    assert small_source(BytesSource(b"content"), 1) == b"content"
    assert small_source(IterableSource(iter([b"content"])), 100) is None
