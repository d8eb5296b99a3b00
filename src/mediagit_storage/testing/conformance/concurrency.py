"""Many threads at one storage: whole objects, clean errors, no lost update."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from mediagit_storage.errors import NotFoundError, StorageError
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers

__all__ = ["ConcurrencyContract"]


def _body(mark: int, size: int) -> bytes:
    """A body that shows whether it is whole and of one writer."""
    return bytes([mark]) * size


class ConcurrencyContract(BackendCase):
    """Readers, writers, listers and deleters of the same keys at the same time."""

    @covers(5)
    def test_readers_see_whole_objects_during_overwrites(self) -> None:
        """Each read is one writer's body, whole, with two writers at work, also of several megabytes."""
        for size in (10_000, self.large // 2):
            self.prepare.put("k", _body(0, size))
            stop, torn = threading.Event(), list[str]()

            def write(marks: range, size: int = size) -> None:
                for mark in marks:
                    data = _body(mark, size + mark)
                    self.prepare.put("k", iter([data[: size // 3], data[size // 3 :]]))

            def read(stop: threading.Event = stop, torn: list[str] = torn, size: int = size) -> None:
                while not stop.is_set():
                    with self.store.stream("k") as stream:
                        streamed = b"".join(stream)
                    seen = (self.store.get("k"), streamed)
                    torn.extend(f"{len(data)} bytes" for data in seen if data != _body(data[0], size + data[0]))

            readers = [threading.Thread(target=read) for _ in range(2)]
            for reader in readers:
                reader.start()
            try:
                outcome = self.together(lambda: write(range(1, 12)), lambda: write(range(12, 23)))
            finally:
                stop.set()
                for reader in readers:
                    reader.join()
            assert outcome == [None, None]
            assert torn == []

    @covers(5)
    def test_a_stream_is_of_one_version(self) -> None:
        """A stream that was begun ends with the bytes it began with, or with an error; overwritten or deleted meanwhile."""
        size = self.large
        for change in (lambda: self.prepare.put("k", _body(2, size)), lambda: self.prepare.delete("k")):
            self.prepare.put("k", _body(1, size))
            received = bytearray()
            with self.store.stream("k") as stream:
                pieces = iter(stream)
                received += next(pieces)
                change()
                try:
                    for piece in pieces:
                        received += piece
                except StorageError:
                    continue  # an honest error is as good as the old bytes
            assert bytes(received) == _body(1, size), "the stream mixed two versions, or was cut"

    @covers(114, 117)
    def test_a_mixed_load(self) -> None:
        """Getters, putters, deleters and listers in many threads see valid data and no error but "not found"."""
        keys = [f"m/{number}" for number in range(8)]

        def work(seed: int) -> list[str]:
            chance, wrong = random.Random(seed), list[str]()
            for _ in range(25):
                key, size = chance.choice(keys), chance.randrange(1, 3000)
                try:
                    match chance.randrange(4):
                        case 0:
                            self.store.put(key, _body(seed + 1, size))
                        case 1:
                            data = self.store.get(key)
                            if not data or data != _body(data[0], len(data)):
                                wrong.append(f"{key}: torn")
                        case 2:
                            self.store.delete(key)
                        case _:
                            seen = self.keys("m/")
                            if seen != sorted(set(seen)) or not set(seen) <= set(keys):
                                wrong.append(f"listed {seen}")
                except NotFoundError:
                    pass
            return wrong

        results = self.together(*(lambda seed=seed: work(seed) for seed in range(32)))
        assert results == [[]] * 32

    @covers(115, 4)
    def test_an_acknowledged_object_is_never_missing(self) -> None:
        """Five connections look while one writes; once `put` has returned nobody misses the object."""
        others = [self.another() for _ in range(5)]
        written: list[str] = []
        done = threading.Event()

        def write() -> list[str]:
            try:
                for number in range(30):
                    self.prepare.put(f"w/{number}", str(number).encode())
                    written.append(f"w/{number}")
            finally:
                done.set()
            return []

        def look(number: int) -> list[str]:
            missed = list[str]()
            over = False
            while not over:
                over = done.is_set()  # before looking: the last round sees everything that was written
                for key in tuple(written):
                    try:
                        if others[number].get(key) != key[2:].encode():
                            missed.append(f"{key}: other bytes")
                    except NotFoundError:
                        missed.append(key)
            return missed

        results = self.together(write, *(lambda number=number: look(number) for number in range(5)))
        assert results == [[]] * 6

    @covers(116)
    def test_twenty_keys_written_and_read_in_parallel(self) -> None:
        """Each key reads back its own bytes."""
        bodies = {f"p/{number}": self.content(20_000, number) for number in range(20)}
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda item: self.prepare.put(*item), bodies.items()))
            read = dict(zip(bodies, pool.map(self.store.get, bodies), strict=True))
        assert read == bodies

    @covers(25)
    def test_abandoned_reads_do_not_exhaust_anything(self) -> None:
        """Streams that are not read to their end nor closed do not stop later calls."""
        data = self.content(3_000_000)
        self.prepare.put("k", data)
        for _ in range(50):
            stream = self.store.stream("k")
            next(iter(stream))
            del stream
        assert self.store.get("k") == data

    @covers(16)
    def test_an_error_of_the_reader_passes_through(self) -> None:
        """What the consumer of a stream raises comes out unchanged, and the storage goes on working."""
        self.prepare.put("k", self.content(3_000_000))
        for _ in range(8):
            with raises(ZeroDivisionError), self.store.stream("k") as stream:
                for piece in stream:
                    assert len(piece) // 0
        assert len(self.store.get("k")) == 3_000_000
