"""Sources: whatever a user hands to put, read exactly, never closed, rewound or refused."""

from __future__ import annotations

import array
import gzip
import io
import mmap
import os
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.errors import StorageError
from mediagit_storage.source import CHUNK, BytesSource, FileSource, IterableSource, as_source


def content(source) -> bytes:
    return b"".join(source.chunks())


DATA = bytes(range(256)) * 5000


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_bytes_like(wrap, data):
    source = as_source(wrap(data))
    assert (type(source), source.size, source.rewindable) == (BytesSource, len(data), True)
    assert source.buffer() == data
    assert content(source) == content(source) == data


@pytest.mark.parametrize("code", ["B", "b", "H", "I", "d"])
def test_views_of_wider_items_count_bytes(code):
    view = memoryview(array.array(code, range(100)))
    source = as_source(view)
    assert source.size == view.nbytes == len(source.buffer())
    assert content(source) == view.tobytes()
    assert content(as_source([view])) == view.tobytes()


def test_a_view_of_several_dimensions():
    view = memoryview(bytes(12)).cast("B", (3, 4))
    assert (as_source(view).size, content(as_source(view))) == (12, bytes(12))


@pytest.mark.parametrize("wide", [False, True])
def test_a_view_with_gaps(wide):
    view = memoryview(array.array("H", range(10)))[::2] if wide else memoryview(b"0123456789")[::2]
    source = as_source(view)
    assert source.size == view.nbytes
    assert content(source) == view.tobytes()
    assert content(as_source(iter([view]))) == view.tobytes()


@pytest.mark.parametrize("start", [0, 5, len(DATA)])
def test_a_file_counts_from_where_it_stands_and_stays_open(tmp_path, start):
    (tmp_path / "f").write_bytes(DATA)
    with (tmp_path / "f").open("rb") as file:
        file.seek(start)
        source = as_source(file)
        assert (type(source), source.size, source.rewindable, source.start) == (
            FileSource,
            len(DATA) - start,
            True,
            start,
        )
        assert source.buffer() is None
        assert file.tell() == start
        assert content(source) == content(source) == DATA[start:]
        assert not file.closed


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_a_file_on_disk_can_be_read_by_position(tmp_path, mode, buffering):
    (tmp_path / "f").write_bytes(DATA)
    with (tmp_path / "f").open(mode, buffering=buffering) as file:
        file.seek(10)
        source = as_source(file)
        assert source.descriptor() == file.fileno()
        assert source.pread(5, 3) == DATA[13:18]
        assert source.pread(100, len(DATA) - 12) == DATA[-2:]
        assert file.tell() == 10


def test_what_was_written_and_not_flushed_is_read(tmp_path):
    with (tmp_path / "f").open("w+b") as file:
        file.write(b"hello")
        file.seek(0)
        source = as_source(file)
        assert source.size == 5
        assert source.pread(5, 0) == b"hello"


def test_files_that_are_not_on_disk_have_no_descriptor():
    for file in (io.BytesIO(b"abc"), io.BufferedReader(io.BytesIO(b"abc")), io.BufferedRandom(io.BytesIO(b"abc"))):
        source = as_source(file)
        assert (source.descriptor(), source.pread(1, 0)) == (None, None)
        assert (source.size, content(source)) == (3, b"abc")


def test_members_of_archives():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("m")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        file = archive.extractfile("m")
        source = as_source(file)
        assert (source.size, source.pread(2, 1), content(source)) == (3, None, b"abc")
        file.close()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("m", DATA)
    with zipfile.ZipFile(packed) as archive, archive.open("m") as file:
        assert content(as_source(file)) == DATA


def test_a_compressed_file_gives_its_content(tmp_path):
    with gzip.open(tmp_path / "f.gz", "wb") as file:
        file.write(DATA)
    with gzip.open(tmp_path / "f.gz", "rb") as file:
        source = as_source(file)
        assert source.pread(1, 0) is None
        assert content(source) == DATA


def test_a_mapped_file(tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    with (tmp_path / "f").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert content(as_source(mapped)) == DATA


def test_a_pipe_is_read_once():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(b"abc")
    with os.fdopen(reading, "rb") as file:
        source = as_source(file)
        assert (source.size, source.rewindable, source.pread(1, 0)) == (None, False, None)
        assert content(source) == b"abc"
        with pytest.raises(StorageError, match="rewound"):
            content(source)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux makes up files")
def test_a_file_that_the_kernel_makes_up():
    with open("/proc/cpuinfo", "rb") as file:
        source = as_source(file)
        assert source.size in {None, 0} or source.size > 0
        assert content(source)


class Reader:
    """The least that a binary file is."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def read(self, size, /):
        assert size == CHUNK
        answer = self.answers.pop(0) if self.answers else b""
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_short_reads_are_no_end():
    assert content(as_source(Reader(b"a", b"bc", b"d"))) == b"abcd"


def test_a_file_that_has_no_data_now_is_no_end():
    source = as_source(Reader(b"a", None, b"b"))
    with pytest.raises(BlockingIOError, match="no data now"):
        content(source)


def test_errors_of_a_file_pass_unchanged():
    error = OSError("bad disk")
    with pytest.raises(OSError, match="bad disk") as caught:
        content(as_source(Reader(b"a", error)))
    assert caught.value is error


def test_text_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(TypeError, match="encode"):
        as_source("text")
    with pytest.raises(TypeError, match="'rb'"):
        as_source(io.StringIO("text"))
    (tmp_path / "f").write_text("text")
    with (tmp_path / "f").open() as file, pytest.raises(TypeError, match="'rb'"):
        as_source(file)
    with pytest.raises(TypeError, match="'rb'"):
        content(as_source(Reader("text")))


@pytest.mark.parametrize("data", [None, 5, 1.5, object()])
def test_what_is_nothing_of_the_kind_is_refused(data):
    with pytest.raises(TypeError, match="bytes-like, a binary file or an iterable"):
        as_source(data)


@pytest.mark.parametrize("pieces", [[1, 2], ["a"], [b"a", None], {"k": b"v"}, array.array("H", [1])])
def test_pieces_that_are_not_bytes_are_refused(pieces):
    with pytest.raises(TypeError, match="bytes-like pieces"):
        content(as_source(pieces))


def test_a_list_can_be_gone_through_again_and_an_iterator_cannot():
    again = as_source([b"a", bytearray(b"b"), memoryview(b"c"), b""])
    assert (type(again), again.size, again.rewindable, again.buffer()) == (IterableSource, None, True, None)
    assert content(again) == content(again) == b"abc"
    once = as_source(iter([b"a"]))
    assert not once.rewindable
    assert content(once) == b"a"
    with pytest.raises(StorageError, match="rewound"):
        content(once)


def test_errors_of_an_iterator_pass_unchanged():
    error = LookupError("mine")

    def pieces():
        yield b"a"
        raise error

    with pytest.raises(LookupError) as caught:
        content(as_source(pieces()))
    assert caught.value is error


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_every_kind_reads_the_same(pieces):
    data = b"".join(pieces)
    kinds = [
        data,
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        pieces,
        iter(pieces),
        Reader(*[p for p in pieces if p]),
    ]
    assert [content(as_source(kind)) for kind in kinds] == [data] * len(kinds)
