"""Compressed objects: what is stored, how it is read, and what becomes of damage, bombs and objects of others."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import threading
import tracemalloc
from contextlib import suppress
from io import BytesIO

import pytest
import pyzstd
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mediagit_storage.backend import BatchLimits, PutOperation
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    CancelledError,
    ConfigError,
    IntegrityError,
    InvalidRangeError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.layers.compress.codec import Codec, worth_compressing
from mediagit_storage.layers.compress.framing import HEAD, TableWriter
from mediagit_storage.layers.prefix import PrefixConfig
from mediagit_storage.opening import open_storage
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.types import Checksum, CopyOptions, ListOptions, PresignOptions, PutOptions, ReadOptions

MIB = 1024 * 1024
TEXT = b"".join(b"line %d of a text that becomes smaller\n" % number for number in range(40_000))
NOISE = os.urandom(MIB)


class Requests(Layer):
    """``made`` holds each read of the inner storage: its key, where it began, how much came."""

    layer_name = "requests"

    def __init__(self, inner, before=lambda name: None):
        super().__init__(inner, PrefixConfig("unused"))
        self.made = []
        self.puts = []
        self.before = before

    def put(self, key, source, options):
        self.puts.append((source, options))
        return self.inner.put(key, source, options)

    def read(self, key, options):
        self.before("read")
        content = self.inner.read(key, options)
        self.made.append((content.start, len(content.data)))
        return content

    def stream(self, key, options):
        self.before("stream")
        body = self.inner.stream(key, options)
        self.made.append((body.start, body.length))
        return body

    def stat(self, key, version=None):
        self.before("stat")
        return self.inner.stat(key, version)


@pytest.fixture
def memory():
    return MemoryBackend(versioning=True)


@pytest.fixture
def raw(memory):
    return Storage(memory)


@pytest.fixture
def requests(memory):
    return Requests(memory)


@pytest.fixture
def open_with(requests):
    """Opens the same objects with options of the layer."""
    return lambda **options: Storage(CompressLayer(requests, CompressConfig(**options)))


@pytest.fixture
def store(open_with):
    return open_with(frame_size=64 * 1024)


def stock(data: bytes, tmp_path) -> bytes:
    """What the program of zstd makes of an object."""
    file = tmp_path / "object.zst"
    file.write_bytes(data)
    program = shutil.which("zstd")
    assert program, "the tests need the program zstd (Debian's package zstd)"
    return subprocess.run([program, "-q", "-d", "-c", file], check=True, capture_output=True).stdout


# ---- what is stored


@pytest.mark.parametrize("level", [-5, 1, 3, 19])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000, 1_200_000])
@covers(204)
def test_the_stock_program_restores_an_object(open_with, raw, tmp_path, level, size):
    data = TEXT[: size // 2] + NOISE[: size - size // 2]
    store = open_with(level=level, frame_size=4096 if size < 100_000 else 256 * 1024)
    for given_as in (data, BytesIO(data), iter([data[:5], data[5:]])):
        assert store.put("k", given_as).size == size
        assert stock(raw.get("k"), tmp_path) == data


def test_others_find_their_way_by_the_table(store, raw, tmp_path):
    data = TEXT[:MIB] + NOISE
    store.put("k", data)
    (tmp_path / "object").write_bytes(raw.get("k"))
    with pyzstd.SeekableZstdFile(tmp_path / "object") as file:
        for place in (0, 1, 65_535, 65_536, MIB - 1, MIB, 2 * MIB - 10):
            file.seek(place)
            assert file.read(100) == data[place : place + 100]


def test_text_becomes_smaller_and_noise_hardly_larger(open_with, raw):
    store = open_with()
    assert store.put("text", TEXT).stored_size < len(TEXT) / 5
    for size in (0, 1, 1000):
        assert raw.stat("tiny").size <= size + 160 if store.put("tiny", NOISE[:size]) else False
    assert store.put("noise", NOISE).stored_size < len(NOISE) * 1.001
    assert raw.stat("noise").size == store.stat("noise").stored_size


def test_what_would_not_shrink_is_stored_at_no_effort(monkeypatch):
    used = []
    made = zstandard.ZstdCompressor

    class Spy:
        def __init__(self, *, level, **options):
            self._level, self._inner = level, made(level=level, **options)

        def compress(self, data):
            used.append((self._level, len(data)))
            return self._inner.compress(data)

    monkeypatch.setattr(zstandard, "ZstdCompressor", Spy)
    codec = Codec(19)
    frame = codec.compress(NOISE)
    assert codec.decompress(frame, len(NOISE)) == NOISE
    assert len(frame) < len(NOISE) * 1.0001
    assert [level for level, size in used if size == len(NOISE)] == [-100]
    assert sum(size for level, size in used if level == 1) <= len(NOISE) // 50
    used.clear()
    codec.compress(TEXT)
    assert [level for level, size in used if size == len(TEXT)] == [19]


@pytest.mark.parametrize("size", [131_072, 1_000_001])
def test_samples_tell_noise_from_text(size):
    compress = zstandard.ZstdCompressor(level=1).compress
    assert worth_compressing(TEXT[:size], compress)
    assert not worth_compressing(NOISE[:size], compress)
    # What is repeated in part is found, too.
    assert worth_compressing(NOISE[: size // 2] + bytes(size // 2), compress)


def test_each_frame_says_its_checksum(store, raw):
    store.put("k", TEXT[:200_000])
    stored = raw.get("k")
    assert stored.startswith(HEAD)
    parameters = zstandard.get_frame_parameters(stored[len(HEAD) :])
    assert parameters.has_checksum
    assert parameters.content_size == 64 * 1024


def test_what_the_caller_declares_is_meant_of_the_plain_bytes(store, requests):
    right = Checksum("sha256", hashlib.sha256(TEXT).digest())
    assert store.put("k", iter([TEXT]), size=len(TEXT), checksum=right).size == len(TEXT)
    assert store.put("k", TEXT[:100], checksum=Checksum("sha256", hashlib.sha256(TEXT[:100]).digest())).size == 100
    assert {options.checksum for _, options in requests.puts} == {None}
    for data in (TEXT, iter([TEXT]), BytesIO(TEXT), iter([TEXT[:9]])):
        with pytest.raises(IntegrityError):
            store.put("other", data, checksum=right._replace(digest=bytes(32)))
        with pytest.raises(IntegrityError):
            store.put("other", data, size=len(TEXT) + 1)
    assert not store.exists("other")


def test_a_put_can_be_begun_anew_where_its_source_can(memory):
    """A backend that reads the source twice, as one does that tries again, gets the same object."""
    seen = []

    class Again(Layer):
        layer_name = "again"

        def put(self, key, source, options):
            assert source.rewindable
            first = next(iter(source.chunks()))
            seen.append([b"".join(source.chunks()) for _ in range(2)])
            assert seen[-1][0].startswith(bytes(first))
            return self.inner.put(key, source, options)

    store = Storage(CompressLayer(Again(memory, PrefixConfig("unused")), CompressConfig(frame_size=4096, threads=2)))
    for data in (TEXT[:100], TEXT[:100_000], [TEXT[:50_000], TEXT[50_000:100_000]], BytesIO(TEXT)):
        size = store.put("k", data).size
        assert seen[-1][0] == seen[-1][1]
        assert store.stat("k").size == size
        assert store.get("k") == TEXT[:size]


def test_a_source_that_comes_once_is_not_called_rewindable(store, requests):
    store.put("k", iter([TEXT]))
    assert not requests.puts[0][0].rewindable
    with pytest.raises(StorageError, match="rewound"):
        [*requests.puts[0][0].chunks()]


def test_errors_of_the_source_pass_and_leave_nothing(open_with):
    for threads in (1, 2):
        with pytest.raises(DeliberateError):
            open_with(frame_size=4096, threads=threads).put("k", failing(TEXT[:50_000]))
    assert [*open_with().list()] == []


def test_frames_are_compressed_side_by_side_and_only_a_few_are_held(memory):
    """Two threads are at work at the same time, and the source is never far ahead of what was handed on."""
    pulled = 0
    taken = []
    together = threading.Barrier(2, timeout=60)

    class Slow(Layer):
        layer_name = "slow"

        def put(self, key, source, options):
            taken.extend((pulled, len(chunk)) for chunk in source.chunks())
            return self.inner.put(key, BytesSource(b""), options)

    def pieces():
        nonlocal pulled
        for _ in range(20):
            pulled += 1
            yield bytes(4096)

    layer = CompressLayer(Slow(memory, PrefixConfig("unused")), CompressConfig(frame_size=4096, threads=2))
    compress = layer._codec.compress
    layer._codec.compress = lambda data: (together.wait(), compress(data))[1]
    layer.put("k", IterableSource(pieces()), PutOptions())
    assert len(taken) == 22
    assert max(ahead - place for place, (ahead, _) in enumerate(taken)) <= 4


# ---- what is read, and by how many requests


def test_a_small_object_is_one_request_however_it_is_read(store, requests):
    store.put("k", TEXT[:5000])
    for read in (
        lambda: store.get("k"),
        lambda: store.get("k", offset=4000, length=10),
        lambda: store.get("k", suffix=10),
        lambda: store.get("k", length=0),
        lambda: b"".join(store.stream("k")),
        lambda: store.stat("k"),
    ):
        requests.made.clear()
        read()
        assert len(requests.made) == 1


@covers(205)
def test_a_range_takes_the_end_and_the_frames_that_hold_it(store, requests):
    data = NOISE + TEXT[:100_000]
    stored = store.put("k", data).stored_size
    requests.made.clear()
    assert store.get("k", offset=200_000, length=10) == data[200_000:200_010]
    (tail_start, tail_length), (start, length) = requests.made
    assert (tail_start + tail_length, tail_length) == (stored, 32 * 1024)
    assert 65_536 <= length <= 65_600
    assert 3 * 65_536 <= start <= 3 * 65_600
    for offset, size in ((0, 1), (65_535, 2), (65_536, 65_536), (1, 1_000_000), (len(data) - 1, 5)):
        requests.made.clear()
        assert store.get("k", offset=offset, length=size) == data[offset : offset + size]
        assert b"".join(store.stream("k", offset=offset, length=size)) == data[offset : offset + size]
        assert len(requests.made) <= 4
        frames = (min(len(data), offset + size) - 1) // 65_536 - offset // 65_536 + 1
        assert sum(length for _, length in requests.made) <= 2 * (frames * 65_600 + 32 * 1024)
    requests.made.clear()
    assert store.get("k") == data
    assert requests.made == [(0, stored)]


def test_the_end_is_read_once_for_a_reader_that_pins_the_object(store, requests):
    data = NOISE + TEXT[:100_000]
    store.put("k", data)
    requests.made.clear()
    assert store.get_ranges("k", [(0, 10), (300_000, 10), (600_000, 10)]) == [
        data[:10],
        data[300_000:300_010],
        data[600_000:600_010],
    ]
    assert len(requests.made) == 1 + 3
    requests.made.clear()
    with store.open("k") as file:
        for place in (500_000, 0, 900_000):
            file.seek(place)
            assert file.read(7) == data[place : place + 7]
        assert file.read_at(123, 4) == data[123:127]
    assert len(requests.made) == 1 + 4
    etag = store.stat("k").etag
    requests.made.clear()
    assert store.get("k", offset=5, length=5, if_match=etag) == data[5:10]
    assert len(requests.made) == 1
    store.put("k", TEXT)
    for options in ({"length": 5}, {"length": 0}, {"offset": 1 << 40}, {}):
        with pytest.raises(PreconditionError):
            store.get("k", if_match=etag, **options)
    store.delete("k")
    with pytest.raises((NotFoundError, PreconditionError)):
        store.get("k", offset=1 << 40, if_match=etag)


def test_only_so_many_ends_are_remembered(store):
    for number in range(40):
        store.put("k", NOISE[number : number + 200_000])
        store.stat("k")
    assert len(store.backend._reader._known) == 16


def test_a_table_longer_than_the_first_read_of_the_end(open_with, requests):
    store = open_with(frame_size=4096)
    data = NOISE * 14
    stored = store.put("k", data).stored_size
    requests.made.clear()
    assert store.stat("k").size == len(data)
    (_, first), (start, length) = requests.made
    assert first == 32 * 1024 < length == stored - start
    requests.made.clear()
    assert store.get("k", offset=9_000_000, length=10_000) == data[9_000_000:9_010_000]
    assert len(requests.made) == 3
    assert store.get("k", suffix=10_000_000) == data[-10_000_000:]
    assert store.get("k") == data


@given(st.data())
@settings(max_examples=150)
def test_ranges_are_slices(data):
    size = data.draw(st.integers(0, 30_000))
    content = NOISE[: size // 2] + TEXT[: size - size // 2]
    memory = MemoryBackend()
    Storage(CompressLayer(memory, CompressConfig(frame_size=data.draw(st.integers(4096, 9000))))).put("k", content)
    store = Storage(CompressLayer(memory, CompressConfig(frame_size=MIB)))
    offset = data.draw(st.none() | st.integers(0, 31_000))
    length = data.draw(st.none() | st.integers(0, 31_000))
    suffix = None if offset is not None or length is not None else data.draw(st.none() | st.integers(0, 31_000))
    if offset is not None and offset >= size and length != 0:
        with pytest.raises(InvalidRangeError):
            store.get("k", offset=offset, length=length)
        return
    end = None if length is None else (offset or 0) + length
    expected = content[max(0, size - suffix) :] if suffix is not None else content[offset:end]
    assert store.get("k", offset=offset, length=length, suffix=suffix) == expected
    with store.stream("k", offset=offset, length=length, suffix=suffix) as body:
        assert b"".join(body) == expected
        assert body.info.size == size


def test_a_read_is_of_one_version_whatever_is_written_meanwhile(memory):
    """Another object comes between the read of the end and that of the frames: the read begins anew."""
    data, other = NOISE + b"one", TEXT
    plain = Storage(CompressLayer(memory, CompressConfig(frame_size=65_536)))
    waiting = []

    def before(name):
        if name == "stream" and waiting:
            plain.put("k", waiting.pop())

    log = Requests(memory, before)
    for pinning in (True, False):
        inner = log if pinning else _unpinned(log)
        store = Storage(CompressLayer(inner, CompressConfig(frame_size=65_536)))
        for read in (
            lambda store=store: store.get("k", offset=10, length=100_000),
            lambda store=store: b"".join(store.stream("k", offset=10, length=100_000)),
        ):
            plain.put("k", data)
            waiting[:] = [other]
            assert read() == other[10:100_010]
        plain.put("k", data)
        waiting[:] = [other * number for number in range(1, 20)]
        with pytest.raises(UnavailableError, match="written to"):
            store.get("k", offset=10, length=100_000)
    etag = plain.put("k", data).etag
    waiting[:] = [other]
    with pytest.raises(PreconditionError):
        Storage(CompressLayer(log)).get("k", offset=10, length=100_000, if_match=etag)


def _unpinned(inner):
    from mediagit_storage.testing.wrappers import WithoutCapabilities

    return WithoutCapabilities(inner, "read_conditions")


def test_what_is_deleted_meanwhile_is_missing(memory):
    plain = Storage(CompressLayer(memory))
    plain.put("k", NOISE)
    store = Storage(CompressLayer(Requests(memory, lambda name: name == "stream" and plain.delete("k"))))
    with pytest.raises(NotFoundError):
        store.get("k", offset=10, length=10)


def test_closing_a_read_early_closes_the_one_below(memory):
    closed = []

    class Watched(Layer):
        layer_name = "watched"

        def stream(self, key, options):
            body = self.inner.stream(key, options)
            close = body.close
            body.close = lambda: (closed.append(key), close())
            return body

    inner = Watched(memory, PrefixConfig("unused"))
    store = Storage(CompressLayer(inner, CompressConfig(frame_size=4096, threads=2)))
    store.put("k", NOISE)
    body = store.backend.stream("k", ReadOptions())
    pieces = iter(body)
    assert next(pieces) == NOISE[:4096]
    body.close()
    assert closed
    assert [*pieces] == []
    assert [*body] == []


# ---- damage


def spoilt_reads(store):
    """Ways to read the object ``k``, and what of its content each gives."""
    yield "get", lambda: store.get("k"), slice(None)
    yield "stream", lambda: b"".join(store.stream("k")), slice(None)
    yield "range", lambda: store.get("k", offset=4000, length=200), slice(4000, 4200)
    yield "suffix", lambda: store.get("k", suffix=300), slice(-300, None)


@pytest.mark.parametrize("foreign", ["refuse", "pass"])
@covers(201)
def test_no_flipped_bit_changes_what_is_read(raw, open_with, foreign):
    """Every bit of an object is tried: an `IntegrityError`, or the content as it was (some bits are padding of zstd's)."""
    store = open_with(frame_size=4096, foreign=foreign, threads=1)
    content = TEXT[:4500]
    store.put("k", content)
    stored = raw.get("k")
    harmless = 0
    for place in range(len(stored)):
        for bit in range(8):
            spoilt = bytearray(stored)
            spoilt[place] ^= 1 << bit
            raw.put("k", bytes(spoilt))
            for name, read, part in spoilt_reads(store):
                try:
                    assert read() == content[part], f"{name}: bit {bit} of byte {place}"
                except IntegrityError:
                    continue
                if name == "get":
                    harmless += 1
                    assert _in_compressed_data(stored, place), f"bit {bit} of byte {place} is not looked at"
            with suppress(IntegrityError):
                assert store.stat("k").size == len(content)
    assert harmless < len(stored) * 8 / 20


def _in_compressed_data(stored: bytes, place: int) -> bool:
    """Whether a byte is a frame's, behind its header and before its checksum."""
    begin = len(HEAD)
    while stored[begin : begin + 4] == b"\x28\xb5\x2f\xfd":
        header = zstandard.frame_header_size(stored[begin:])
        entry = stored.index(b"\x28\xb5\x2f\xfd", begin + 4) if b"\x28\xb5\x2f\xfd" in stored[begin + 4 :] else -125
        end = entry if entry > 0 else stored.rindex(b"mgs-zstd") - 8
        if begin + header <= place < end - 4:
            return True
        begin = end
    return False


@pytest.mark.parametrize("foreign", ["refuse", "pass"])
def test_every_truncation_is_noticed(raw, open_with, foreign):
    store = open_with(frame_size=4096, foreign=foreign, threads=1)
    content = TEXT[:4500]
    store.put("k", content)
    stored = raw.get("k")
    # An object of nothing may be somebody else's.
    for length in range(1 if foreign == "pass" else 0, len(stored)):
        raw.put("k", stored[:length])
        for name, read, _ in spoilt_reads(store):
            with pytest.raises(IntegrityError):
                pytest.fail(f"{name} of {length} bytes gave {read()!r}")
        with pytest.raises(IntegrityError):
            store.stat("k")


@covers(203)
def test_what_was_joined_moved_or_put_in_is_noticed(raw, open_with):
    store = open_with(frame_size=4096)
    store.put("k", NOISE[:12_288])
    stored = raw.get("k")
    store.put("k", NOISE[20_000:32_288])
    other = raw.get("k")
    size = (len(stored) - stored.rindex(b"mgs-zstd") + 8, len(HEAD))
    end = len(stored) - size[0]
    frame = (end - len(HEAD)) // 3
    first, second = len(HEAD), len(HEAD) + frame
    for spoilt in (
        stored + stored,
        stored + b"\0",
        b"\0" + stored,
        stored[:first] + stored[second : second + frame] + stored[first:second] + stored[second + frame :],
        stored[:first] + other[first:second] + stored[second:],
        stored[:second] + stored[second + frame :],
        stored[:end] + other[end:],
        stored[:second] + stored[first:],
        other[:first] + stored[first:end] + stored[first:end] + stored[end:],
    ):
        assert spoilt != stored
        raw.put("k", spoilt)
        with pytest.raises(IntegrityError):
            store.get("k")
        with pytest.raises(IntegrityError):
            b"".join(store.stream("k"))


def test_a_body_of_the_wrong_length_below_is_noticed(memory):
    class Short(Layer):
        layer_name = "short"
        change = staticmethod(lambda chunks: chunks)

        def stream(self, key, options):
            body = self.inner.stream(key, options)
            chunks = [*body]
            body.__class__ = type("Changed", (type(body),), {"__iter__": lambda _: self.change(iter(chunks))})
            return body

    inner = Short(memory, PrefixConfig("unused"))
    store = Storage(CompressLayer(inner, CompressConfig(frame_size=65_536, threads=2)))
    store.put("k", NOISE)
    assert store.get("k", offset=0, length=300_000) == NOISE[:300_000]
    for change in (
        lambda chunks: iter([next(chunks)[:-1]]),
        lambda chunks: iter([next(chunks)[1:]]),
        lambda chunks: iter([next(chunks) + b"x"]),
        lambda chunks: iter([next(chunks), b"x"]),
        lambda chunks: iter([]),
    ):
        inner.change = change
        with pytest.raises(IntegrityError):
            store.get("k", offset=0, length=300_000)


# ---- bombs


def bomb(frames: list[tuple[bytes, int]]) -> bytes:
    """An object of these frames, each of which is said to have so many plain bytes."""
    table = TableWriter()
    for frame, size in frames:
        table.add(frame, size)
    return b"".join((HEAD, *(frame for frame, _ in frames), table.finish()))


@covers(199)
def test_a_bomb_is_refused_before_it_goes_off(raw, open_with):
    big = 512 * MIB
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj(size=big)
    piece = bytes(MIB)
    frame = b"".join(compressor.compress(piece) for _ in range(512)) + compressor.flush()
    assert len(frame) < 64 * 1024
    honest, lying = bomb([(frame, big)]), bomb([(frame, MIB)])
    store = open_with()
    tracemalloc.start()
    try:
        for data, error in ((honest, LimitExceededError), (lying, IntegrityError)):
            raw.put("k", data)
            for read in (lambda: store.get("k"), lambda: store.get("k", length=10), lambda: [*store.stream("k")]):
                with pytest.raises(error):
                    read()
        with pytest.raises(LimitExceededError):
            store.stat("k") if raw.put("k", honest) else None
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_an_object_above_the_largest_size_is_refused(open_with):
    open_with().put("k", bytes(5 * MIB))
    store = open_with(max_size=5 * MIB - 1)
    for read in (lambda: store.get("k"), lambda: store.get("k", length=1), lambda: store.stat("k")):
        with pytest.raises(LimitExceededError, match="max_size"):
            read()
    assert open_with(max_size=5 * MIB).get("k") == bytes(5 * MIB)
    with pytest.raises(LimitExceededError, match="max_frame_size"):
        open_with(frame_size=4096, max_frame_size=4096).get("k")


# ---- objects of others


FOREIGN = {
    "empty": b"",
    "text": TEXT[:1000],
    "long text": TEXT[:100_000],
    "zstd": zstandard.ZstdCompressor().compress(TEXT),
    "ends like a table": TEXT + b"\x02\0\0\0\x80\xb1\xea\x92\x8f",
}


def seekable(tmp_path) -> bytes:
    with pyzstd.SeekableZstdFile(tmp_path / "other.zst", "w", max_frame_content_size=10_000) as file:
        file.write(TEXT)
    return (tmp_path / "other.zst").read_bytes()


@pytest.mark.parametrize("kind", [*FOREIGN, "seekable"])
def test_what_others_wrote_is_refused_or_passed_as_it_is(raw, open_with, kind, tmp_path):
    data = seekable(tmp_path) if kind == "seekable" else FOREIGN[kind]
    raw.put("k", data)
    refusing, passing = open_with(), open_with(foreign="pass")
    for read in (refusing.get, refusing.stat, refusing.stream, lambda key: refusing.get(key, suffix=1)):
        with pytest.raises(IntegrityError, match="foreign"):
            read("k")
    assert passing.get("k") == data
    assert passing.stat("k").size == len(data)
    assert b"".join(passing.stream("k")) == data
    assert passing.get("k", suffix=10) == data[-10:]
    assert passing.get("k", length=5) == data[:5]
    if data:
        assert passing.get("k", offset=len(data) // 2, length=100) == data[len(data) // 2 :][:100]
    assert [info.size for info in refusing.list(exact=True)] == [None]
    assert [info.size for info in passing.list(exact=True)] == [len(data)]
    assert passing.copy("k", "twin").size == len(data)
    assert refusing.copy("k", "twin").size is None
    passing.put("k", passing.get("k"))
    assert refusing.get("k") == data


# ---- copies, listings, what is offered


def test_copies_and_renames_move_stored_bytes(store, raw, requests):
    store.put("k", NOISE + TEXT)
    requests.made.clear()
    copied = store.copy("k", "twin")
    assert (copied.size, copied.stored_size) == (len(NOISE + TEXT), raw.stat("k").size)
    assert store.rename("k", "moved").size == len(NOISE + TEXT)
    assert sum(length for _, length in requests.made) == 2 * 32 * 1024
    assert raw.get("moved") == raw.get("twin")
    assert store.get("moved") == NOISE + TEXT


def test_listings_tell_sizes_only_when_they_are_to_be_exact(store, raw, requests):
    sizes = {f"k{number:02}": number * 100 for number in range(60)}
    for key, size in sizes.items():
        store.put(key, TEXT[:size])
    requests.made.clear()
    listed = [*store.list()]
    assert requests.made == []
    assert {info.size for info in listed} == {None}
    assert [info.stored_size for info in listed] == [info.size for info in raw.list()]
    assert [(info.key, info.size) for info in store.list(exact=True)] == [*sizes.items()]
    assert len(requests.made) == 60
    requests.made.clear()
    listing = store.list(exact=True)
    assert next(listing).size == 0
    listing.close()
    assert len(requests.made) < 40, "a listing that is left early reads on"


def test_listings_of_versions_have_the_sizes_of_each(store):
    store.put("k", TEXT[:10])
    store.put("k", TEXT[:200_000])
    store.delete("k")
    listed = [*store.list(versions=True, exact=True)]
    assert [(info.size, info.deleted) for info in listed] == [(None, True), (200_000, False), (10, False)]
    assert store.get("k", version=listed[2].version) == TEXT[:10]
    assert store.get("k", version=listed[1].version, suffix=10) == TEXT[199_990:200_000]
    assert store.stat("k", version=listed[2].version).size == 10


def test_an_object_that_is_written_while_it_is_listed_is_told_as_it_is_now():
    memory = MemoryBackend()
    plain = Storage(CompressLayer(memory))
    plain.put("k", TEXT[:10])
    newer = []
    store = Storage(
        CompressLayer(Requests(memory, lambda _: newer.append(plain.put("k", TEXT[:20])) if not newer else None))
    )
    [info] = store.list(exact=True)
    assert (info.size, info.etag) == (20, newer[0].etag)
    newer.clear()
    copied = store.copy("k", "k")
    assert copied.size is None
    assert copied.etag != newer[0].etag
    backend = CompressLayer(Requests(memory, lambda _: plain.delete("k")))
    assert [info.size for info in backend.list("", ListOptions(exact=True))] == [None]


def test_capabilities_leave_out_what_needs_the_stored_bytes(memory):
    layer = CompressLayer(memory)
    assert memory.capabilities.batch
    assert not layer.capabilities.batch
    assert not layer.capabilities.replace_head
    assert not layer.capabilities.resumable_uploads
    assert layer.capabilities.presign == {"DELETE"}
    for method in ("GET", "PUT"):
        with pytest.raises(UnsupportedError):
            Storage(layer).presign("k", method=method)
        with pytest.raises(UnsupportedError, match="compressed"):
            layer.presign("k", PresignOptions(method=method))
    assert layer.presign("k", PresignOptions(method="DELETE"))
    with pytest.raises(UnsupportedError):
        layer.replace_head("k", b"", 0, if_match="x")
    layer.put("k", BytesSource(b"x"), PutOptions())
    assert layer.content_checksum("k", ReadOptions()) is None


# ---- opening


def test_it_is_opened_by_name_and_says_how(tmp_path):
    folder = tmp_path / "objects"
    spec = {"layer": "compress", "level": 9, "frame_size": 65_536, "foreign": "pass"}
    with open_storage(folder, layers=[spec], create=True) as store:
        store.put("k", TEXT)
        info = store.connection_info()
        assert "CompressLayer" in repr(store.backend)
    assert info.config["layers"] == [spec]
    with open_storage(info) as again:
        assert again.get("k") == TEXT
    assert (folder / "k").stat().st_size < len(TEXT) / 5


def test_it_travels_to_another_process(tmp_path):
    with open_storage(tmp_path, layers=[{"layer": "compress", "level": 9}]) as store:
        store.put("k", TEXT)
        with pickle.loads(pickle.dumps(store)) as again:
            assert again.get("k", suffix=10) == TEXT[-10:]
            assert again.connection_info() == store.connection_info()


def test_a_cancelled_scope_stops_the_work_between_frames(memory):
    """Also where source and storage are in memory, and nobody else would look."""
    layer = CompressLayer(memory, CompressConfig(frame_size=4096, threads=1))
    layer.put("k", BytesSource(TEXT), PutOptions())
    compress, decompress = layer._codec.compress, layer._codec.decompress
    calls = []
    with scope() as around:
        layer._codec.compress = lambda data: (calls.append(around.cancel()), compress(data))[1]
        with pytest.raises(CancelledError):
            layer.put("other", BytesSource(TEXT), PutOptions())
    with scope() as around:
        layer._codec.decompress = lambda *frame: (calls.append(around.cancel()), decompress(*frame))[1]
        with pytest.raises(CancelledError):
            layer.read("k", ReadOptions())
    assert len(calls) <= 4
    assert not Storage(memory).exists("other")


@pytest.mark.parametrize(
    "options",
    [
        {"level": 23},
        {"level": -101},
        {"frame_size": 4095},
        {"frame_size": 65 * MIB},
        {"max_frame_size": 4095},
        {"max_frame_size": 129 * MIB},
        {"threads": -1},
        {"foreign": "guess"},
        {"max_size": -1},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        CompressConfig(**options)


def test_threads_are_the_cores_unless_said_otherwise():
    assert 1 <= CompressConfig().workers <= 8
    assert CompressConfig(threads=3).workers == 3


def test_a_missing_library_names_the_extra(monkeypatch, memory):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"mediagit-storage\[compress\]"):
        CompressLayer(memory)


def test_the_library_is_loaded_with_the_first_layer():
    code = (
        "import sys, mediagit_storage, mediagit_storage.layers.compress as compress\n"
        "assert 'zstandard' not in sys.modules\n"
        "compress.CompressLayer(mediagit_storage.MemoryBackend())\n"
        "assert 'zstandard' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_works_in_a_forked_child(store):
    store.put("k", NOISE)
    child = os.fork()
    if child == 0:
        try:
            good = store.get("k") == NOISE and store.put("child", TEXT).size == len(TEXT)
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_copy_that_is_done_does_not_fail_because_its_size_cannot_be_told(memory):
    class Down(Layer):
        layer_name = "down"

        def read(self, key, options):
            raise UnavailableError("down")

    CompressLayer(memory).put("a", BytesSource(TEXT), PutOptions())
    down = CompressLayer(Down(memory, None))
    assert down.copy("a", "b", CopyOptions()).size is None
    assert down.rename("b", "c").size is None
    assert CompressLayer(memory).read("c", ReadOptions()).data == TEXT


def test_there_are_no_batches_below_it(memory):
    with pytest.raises(UnsupportedError, match="batches"):
        list(CompressLayer(memory).batch(iter([PutOperation("k", BytesSource(b"raw"))]), BatchLimits()))
    assert not Storage(memory).exists("k")


def test_no_thread_outlives_a_put_that_failed(memory):
    """Also where somebody keeps the error, as outcomes of `put_many` do."""

    class Broken(MemoryBackend):
        def put(self, key, source, options):
            pieces = source.chunks()
            next(pieces)
            next(pieces)
            raise UnavailableError("down")

    before = threading.active_count()
    layer = CompressLayer(Broken("x"), CompressConfig(frame_size=4096, threads=2))
    kept = []
    for _ in range(3):
        with pytest.raises(UnavailableError) as caught:
            layer.put("k", IterableSource(iter([os.urandom(100_000)])), PutOptions())
        kept.append(caught.value)
    assert threading.active_count() <= before
