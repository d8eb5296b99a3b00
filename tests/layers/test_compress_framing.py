"""The format of compressed objects, without a storage: what is written is found again, and nothing else is believed."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import IntegrityError, LimitExceededError, UnsupportedError
from mediagit_storage.layers.compress import framing
from mediagit_storage.layers.compress.framing import (
    END_SIZE,
    HEAD,
    Limits,
    TableWriter,
    check_frame,
    has_head,
    parse_layout,
    read_ending,
)
from mediagit_storage.layers.compress.source import in_frames
from mediagit_storage.ranges import Span
from mediagit_storage.testing.covers import covers

LIMITS = Limits(1024 * 1024)

#: Frames as the table knows them: stored size, plain size, checksum.
FRAMES = st.lists(
    st.tuples(st.integers(10, 5000), st.integers(1, 4096), st.binary(min_size=4, max_size=4)), max_size=40
)


def written(frames):
    table = TableWriter()
    for stored, plain, checksum in frames:
        table.add(bytes(stored - 4) + checksum, plain)
    return table.finish(), len(HEAD) + sum(stored for stored, _, _ in frames)


def parsed(ending: bytes, frames_end: int, limits: Limits = LIMITS):
    stored = frames_end + len(ending)
    found = read_ending(ending, stored)
    return None if found is None else parse_layout(ending[-found.size :], stored, limits)


@given(FRAMES)
def test_a_table_is_found_again(frames):
    layout = parsed(*written(frames))
    assert layout.frames == len(frames)
    assert layout.plain_size == sum(plain for _, plain, _ in frames)
    assert [b - a for a, b in zip(layout.plain, layout.plain[1:], strict=False)] == [each[1] for each in frames]
    assert [b - a for a, b in zip(layout.stored, layout.stored[1:], strict=False)] == [each[0] for each in frames]
    assert layout.stored[0] == len(HEAD)
    assert [struct.pack("<I", each) for each in layout.checksums] == [each[2] for each in frames]


@given(FRAMES, st.integers(0, 50_000), st.integers(0, 50_000))
def test_the_frames_of_a_part_are_those_that_hold_it_and_no_others(frames, start, length):
    layout = parsed(*written(frames))
    length = max(0, min(length, layout.plain_size - start))
    owners = [place for place, (_, plain, _) in enumerate(frames) for _ in range(plain)]
    expected = sorted(set(owners[start : start + length]))
    assert [*layout.covering(Span(start, length))] == expected


@given(FRAMES, st.data())
def test_no_changed_end_is_believed(frames, data):
    """Bytes of the end and table that were changed, moved, cut off or added to make no layout."""
    ending, frames_end = written(frames)
    place = data.draw(st.integers(0, len(ending) - 1))
    flipped = bytearray(ending)
    flipped[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(ending) - 1))
    # Added before or cut at the front: the object is longer or shorter than the table says.
    for spoilt in (bytes(flipped), ending[:cut], ending + ending[cut:] + b"x"):
        try:
            found = parsed(spoilt, frames_end)
        except (IntegrityError, UnsupportedError):
            continue
        assert found is None
    # No room for a head, and then: not the bytes that the table tells of.
    assert parsed(ending, len(HEAD) - 1) is None
    for other in {max(len(HEAD), frames_end - 1), frames_end + 1} - {frames_end}:
        with pytest.raises(IntegrityError):
            parsed(ending, other)


@given(st.binary(max_size=300), st.integers(0, 5000), st.booleans())
def test_noise_makes_no_layout_and_no_strange_error(noise, more, footed):
    if footed:
        noise += struct.pack("<IBI", len(noise) // 12, 0x80, 0x8F92EAB1)
    stored = len(noise) + more
    try:
        found = read_ending(noise, stored)
        layout = None if found is None else parse_layout(noise[-found.size :], stored, LIMITS)
    except (IntegrityError, LimitExceededError):
        return
    assert layout is None


def sealed(entries: list[tuple[int, int, int]], version: int = 1) -> bytes:
    """An end and table with any entries, and digests that are right."""
    body = b"".join(struct.pack("<III", *each) for each in entries)
    body += struct.pack("<IBI", len(entries), 0x80, 0x8F92EAB1)
    table = struct.pack("<II", 0x184D2A5E, len(body)) + body
    fields = struct.pack("<8sHH", b"mgs-zstd", version, 1) + framing._digest(table)
    return struct.pack("<II", 0x184D2A5B, 32) + fields + struct.pack("<I", zlib.crc32(fields)) + table


HEAD_ENTRY, END_ENTRY = (len(HEAD), 0, 0), (END_SIZE, 0, 0)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([(25, 0, 0), (99, 5, 7), END_ENTRY], id="another head"),
        pytest.param([(24, 1, 0), (99, 5, 7), END_ENTRY], id="a head with content"),
        pytest.param([HEAD_ENTRY, (99, 5, 7), (41, 0, 0)], id="another end"),
        pytest.param([HEAD_ENTRY, (99, 0, 7), END_ENTRY], id="an empty frame"),
        pytest.param([HEAD_ENTRY, (98, 5, 7), END_ENTRY], id="one byte too few"),
        pytest.param([HEAD_ENTRY, (99, 5, 7), (0xFFFFFFFF, 1, 0), END_ENTRY], id="far too many"),
        pytest.param([HEAD_ENTRY, END_ENTRY], id="a frame left out"),
    ],
)
def test_a_table_that_does_not_fit_the_object_is_refused(entries):
    with pytest.raises(IntegrityError):
        parsed(sealed(entries), len(HEAD) + 99)
    assert parsed(sealed([HEAD_ENTRY, (99, 5, 7), END_ENTRY]), len(HEAD) + 99).plain_size == 5


@covers(206)
def test_a_later_version_of_the_format_says_so():
    with pytest.raises(UnsupportedError, match="version 2"):
        parsed(sealed([HEAD_ENTRY, (99, 5, 7), END_ENTRY], version=2), len(HEAD) + 99)
    later = bytearray(HEAD)
    later[16] = 2
    assert has_head(bytes(later))


def test_a_head_is_known_also_when_it_is_cut_off():
    assert all(has_head(HEAD[:length]) for length in range(1, len(HEAD) + 1))
    assert not has_head(b"")
    for place in range(len(HEAD)):
        changed = bytearray(HEAD)
        changed[place] ^= 1
        assert has_head(bytes(changed)) == (place >= 16), "the magic number and the name are what counts"


@covers(199)
def test_limits_hold_before_anything_is_decompressed():
    ending = sealed([HEAD_ENTRY, (99, 2000, 7), (99, 3000, 8), END_ENTRY])
    assert parsed(ending, len(HEAD) + 198, Limits(3000, 5000)).plain_size == 5000
    with pytest.raises(LimitExceededError, match="max_frame_size"):
        parsed(ending, len(HEAD) + 198, Limits(2999))
    with pytest.raises(LimitExceededError, match="max_size"):
        parsed(ending, len(HEAD) + 198, Limits(3000, 4999))
    # A number of frames that would need more memory than a reader gives, in an object large enough to have them.
    footer = struct.pack("<IBI", 0xFFFFFFFF, 0x80, 0x8F92EAB1)
    with pytest.raises(LimitExceededError, match="frames"):
        read_ending(footer, 1 << 40)
    assert read_ending(footer, 1 << 20) is None


@covers(199)
def test_a_long_table_is_read_in_a_few_times_its_own_memory():
    count = 50_000
    ending = sealed([HEAD_ENTRY, *[(20, 5, 7)] * count, END_ENTRY])
    tracemalloc.start()
    try:
        layout = parsed(memoryview(ending), len(HEAD) + 20 * count, Limits(4096))
        assert tracemalloc.get_traced_memory()[1] < 3.5 * len(ending)
    finally:
        tracemalloc.stop()
    assert (layout.frames, layout.plain_size) == (count, 5 * count)


def test_a_writer_stops_at_the_frames_that_readers_take(monkeypatch):
    monkeypatch.setattr(framing, "MAX_FRAMES", 3)
    table = TableWriter()
    for _ in range(3):
        table.add(bytes(20), 5)
    with pytest.raises(LimitExceededError, match="frame_size"):
        table.add(bytes(20), 5)
    assert parsed(table.finish(), len(HEAD) + 60).frames == 3


def a_frame(data: bytes, **options) -> tuple[bytes, int]:
    frame = zstandard.ZstdCompressor(**{"level": 3, "write_checksum": True, **options}).compress(data)
    return frame, int.from_bytes(frame[-4:], "little")


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_791, 65_792, 300_000, 1_000_000])
@pytest.mark.parametrize("level", [-100, 1, 3, 19])
def test_frames_of_the_library_are_taken(size, level):
    frame, checksum = a_frame(b"abc" * (size // 3) + b"x" * (size % 3), level=level)
    check_frame(frame, size, checksum, LIMITS)
    with pytest.raises(IntegrityError):
        check_frame(frame, size + 1, checksum, LIMITS)
    with pytest.raises(IntegrityError):
        check_frame(frame, size, checksum ^ 1, LIMITS)


@covers(202)
def test_frames_of_other_kinds_are_refused():
    data = bytes(range(256)) * 1000
    window = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, write_checksum=True)
    stream = zstandard.ZstdCompressor(compression_params=window).compressobj()
    unsized = stream.compress(data) + stream.flush()
    sized = zstandard.ZstdCompressor(compression_params=window).compressobj(size=len(data))
    frame = bytearray(sized.compress(data) + sized.flush())
    frame[4] &= 0b11011111  # says that there is a window of its own
    frame[5:5] = bytes([(27 - 10) << 3])
    with pytest.raises(LimitExceededError, match="window"):
        check_frame(bytes(frame), len(data), int.from_bytes(frame[-4:], "little"), LIMITS)
    with pytest.raises((IntegrityError, LimitExceededError)):
        check_frame(unsized, len(data), int.from_bytes(unsized[-4:], "little"), Limits(1 << 28))
    for options in ({"write_checksum": False}, {"write_content_size": False}):
        with pytest.raises(IntegrityError):
            check_frame(*_with_size(data, options), LIMITS)
    with pytest.raises(IntegrityError):
        check_frame(HEAD, 5, int.from_bytes(HEAD[-4:], "little"), LIMITS)


def _with_size(data, options):
    frame, checksum = a_frame(data, **options)
    return frame, len(data), checksum


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.booleans())
def test_noise_is_no_frame_or_one_that_declares_what_is_expected(noise, size, magic):
    frame = b"\x28\xb5\x2f\xfd" * magic + noise
    checksum = int.from_bytes(frame[-4:], "little")
    try:
        check_frame(frame, size, checksum, LIMITS)
    except (IntegrityError, LimitExceededError):
        return
    assert zstandard.frame_content_size(frame) == size
    assert zstandard.get_frame_parameters(frame).has_checksum
    assert zstandard.get_frame_parameters(frame).dict_id == 0


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 25), st.booleans())
def test_pieces_of_any_size_become_frames_of_one(chunks, size, mutable):
    """Also where each piece is only good until the next is asked for."""

    def pieces():
        for chunk in chunks:
            held = bytearray(chunk)
            yield memoryview(held) if mutable else chunk
            held[:] = bytes(len(held))

    frames = [*in_frames(pieces(), size)]
    assert b"".join(frames) == b"".join(chunks)
    assert all(len(each) == size for each in frames[:-1])
    assert not frames or 0 < len(frames[-1]) <= size
