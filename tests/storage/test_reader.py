"""Objects as seekable files: what the standard library's own readers need of them, in few requests."""

import io
import random
import threading
import zipfile

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ClosedError, PreconditionError, TruncatedError
from mediagit_storage.storage import Storage
from mediagit_storage.testing.broken.base import BentReads
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities

DATA = content(3_000_001)


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def store(backend):
    store = Storage(backend)
    store.put("k", DATA)
    return store


def test_random_seeks_and_reads_equal_those_of_a_file_in_memory(store):
    chance, twin = random.Random(7), io.BytesIO(DATA)
    with store.open("k") as file:
        for _ in range(300):
            match chance.randrange(7):
                case 0:
                    place = chance.randrange(len(DATA) + 100)
                    assert file.seek(place) == twin.seek(place)
                case 1:
                    step = chance.randrange(-1000, 1000)
                    if twin.tell() + step >= 0:
                        assert file.seek(step, io.SEEK_CUR) == twin.seek(step, io.SEEK_CUR)
                case 2:
                    back = -chance.randrange(len(DATA))
                    assert file.seek(back, io.SEEK_END) == twin.seek(back, io.SEEK_END)
                case 3:
                    size = chance.choice([0, 1, 100, 200_000, 2_000_000])
                    assert file.read(size) == twin.read(size)
                case 4:
                    ours, theirs = bytearray(chance.randrange(300_000)), bytearray()
                    count = file.readinto(ours)
                    theirs = twin.read(len(ours))
                    assert bytes(ours[:count]) == theirs
                case 5:
                    assert file.readline() == twin.readline()
                case _:
                    piece = file.read1(1000)
                    assert piece == twin.read(len(piece))
                    assert piece or twin.tell() >= len(DATA)
            assert file.tell() == twin.tell()


@pytest.mark.parametrize("place", [-1, -(10**9)])
def test_a_negative_position_is_refused(store, place):
    with store.open("k") as file:
        with pytest.raises(ValueError, match="negative"):
            file.seek(place)
        with pytest.raises(ValueError, match="negative"):
            file.read_at(place, 1)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 9)
        assert file.tell() == 0


def test_reading_in_order_takes_few_requests(backend, store):
    log = CallLog(backend)
    with Storage(log).open("k") as file:
        assert b"".join(iter(lambda: file.read(1000), b"")) == DATA
    assert log.calls.count("read") <= 6, "blocks grow while the reading goes on in order"


def test_lines_come_from_the_read_ahead(backend):
    lines = [b"line %d\n" % number for number in range(20_000)]
    Storage(backend).put("lines", b"".join(lines))
    log = CallLog(backend)
    with Storage(log).open("lines") as file:
        assert file.readlines() == lines
    assert log.calls.count("read") <= 3


def test_text_and_archives_work_over_it(store):
    with store.open("z", "wb") as out, zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "é\n" * 1000)
        archive.writestr("b.bin", DATA[:100_000])
    with store.open("z") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("b.bin") == DATA[:100_000]
        with archive.open("a.txt") as inner:
            assert io.TextIOWrapper(inner, "utf-8").read() == "é\n" * 1000
    store.put("text", "eins\nzwei\r\ndreiß\n".encode())
    with io.TextIOWrapper(store.open("text"), "utf-8", newline="") as text:
        assert text.readlines() == ["eins\n", "zwei\r\n", "dreiß\n"]


def test_read_at_from_many_threads_keeps_the_position(store):
    wrong = []
    with store.open("k") as file:
        file.seek(1234)

        def look(seed):
            chance = random.Random(seed)
            for _ in range(50):
                place, size = chance.randrange(len(DATA)), chance.randrange(5000)
                if file.read_at(place, size) != DATA[place : place + size]:
                    wrong.append(place)

        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert file.tell() == 1234
    assert wrong == []


def test_an_overwrite_is_noticed_and_never_mixed_in(store):
    with store.open("k") as file:
        assert file.read(10) == DATA[:10]
        store.put("k", b"other")
        with pytest.raises(PreconditionError):
            file.read_at(2_000_000, 10)


def test_an_open_file_stays_with_its_version_where_versions_are_kept():
    store = Storage(MemoryBackend(versioning=True))
    version = store.put("k", DATA).version
    with store.open("k", version=version) as file:
        store.put("k", b"other")
        assert file.read() == DATA
    assert store.get_ranges("k", [(0, 3), (5, 7)], version=version) == [DATA[:3], DATA[5:12]]


def test_without_conditions_it_reads_all_the_same(backend, store):
    plain = Storage(WithoutCapabilities(backend, "read_conditions"))
    with plain.open("k") as file:
        assert file.read() == DATA
    assert plain.get_ranges("k", [(5, 5)]) == [DATA[5:10]]


class GivesNothing(BentReads):
    """Answers every part with no bytes at all."""

    def bend(self, content, options):
        return content._replace(data=b"")


def test_a_storage_that_gives_no_bytes_does_not_hang_a_reader():
    store = Storage(GivesNothing())
    store.put("k", b"some bytes")
    with store.open("k") as file, pytest.raises(TruncatedError):
        file.read()


def test_a_closed_reader_says_so(store):
    file = store.open("k")
    assert (file.readable(), file.seekable(), file.writable(), file.mode, file.name) == (True, True, False, "rb", "k")
    file.close()
    file.close()
    for call in (file.read, file.read1, file.peek, file.tell, lambda: file.seek(0), lambda: file.read_at(0, 1)):
        with pytest.raises(ClosedError):
            call()


def test_only_two_modes(store):
    for mode in ("r", "w", "ab", "r+b", "rt", ""):
        with pytest.raises(ValueError, match="mode"):
            store.open("k", mode)
