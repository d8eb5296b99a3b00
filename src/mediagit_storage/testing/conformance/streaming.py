"""Writing piece by piece: `open(key, "wb")`, unfinished uploads, cancelled puts, local files."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Final

from mediagit_storage.errors import AlreadyExistsError, CancelledError, StorageError, StorageTimeoutError
from mediagit_storage.progress import Progress, on_progress
from mediagit_storage.scope import scope
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError, failing, long_stream
from mediagit_storage.types import Attributes, BytesLike, PendingUpload

__all__ = ["StreamingContract"]

_UPLOAD: Final = PendingUpload("k", "id", datetime(2026, 1, 1, tzinfo=UTC))


class StreamingContract(BackendCase):
    """Nothing is visible before the end, and nothing stays of what had no end."""

    @covers(9, 103)
    def test_a_writer_closed_without_a_write(self) -> None:
        """An empty object, also over an existing one."""
        for _ in range(2):
            with self.store.open("k", "wb"):
                pass
            assert self.store.get("k") == b""
            assert self.store.stat("k").size == 0
            self.store.put("k", b"not empty")

    @covers(97, 21)
    def test_a_writer_commits_at_its_close(self) -> None:
        """Nothing is seen before, everything after; pieces of any length and kind are joined in order."""
        pieces: list[BytesLike] = [b"a" * 10, b"", bytearray(b"b" * 300_000), memoryview(b"c" * 2_000_000), b"d"]
        with self.store.open("k", "wb") as file:
            for piece in pieces:
                assert file.write(piece) == len(piece)
                self.assert_absent("k")
            assert file.tell() == sum(map(len, pieces))
        assert self.store.get("k") == b"".join(pieces)
        assert file.info.size == file.tell()

    @covers(17)
    def test_a_source_may_use_one_buffer_again_and_again(self) -> None:
        """A piece is good until the next is asked for: of a loop that fills one buffer every filling is stored."""
        fillings = [bytes([number]) * 60_000 for number in range(4)]

        def refilled() -> Iterator[bytearray]:
            buffer = bytearray(60_000)
            for filling in fillings:
                buffer[:] = filling
                yield buffer
            buffer[:] = b"x" * len(buffer)

        for size in (None, 240_000):
            self.store.put("k", refilled(), size=size)
            assert self.store.get("k") == b"".join(fillings)

    @covers(97, 109)
    def test_an_abandoned_writer_leaves_nothing(self) -> None:
        """An exception in its block, `abort`, and being garbage-collected: the old object stays, nothing is pending."""
        self.store.put("old", b"old")
        for key in ("new", "old"):
            with raises(DeliberateError):
                self._break_off(key)
            file = self.store.open(key, "wb")
            file.write(self.content(600_000))
            file.abort()
            file = self.store.open(key, "wb")
            file.write(self.content(600_000))
            thread = file._thread  # noqa: SLF001  # to see its end
            assert thread is not None, "nothing was handed over yet"
            del file
            gc.collect()
            thread.join(30)
            assert not thread.is_alive()
        assert self.keys() == ["old"]
        assert self.store.get("old") == b"old"
        if self.has("pending_uploads"):
            assert [*self.store.pending_uploads()] == []

    def _break_off(self, key: str) -> None:
        with self.store.open(key, "wb") as file:
            file.write(self.content(600_000))
            raise DeliberateError

    @covers(38, 100)
    def test_two_writers_of_one_key(self) -> None:
        """Interleaved, the object is one of the two, whole: that of the one closed last."""
        first, second = self.store.open("k", "wb"), self.store.open("k", "wb")
        for _ in range(20):
            first.write(b"1" * 50_000)
            second.write(b"2" * 50_001)
        second.close()
        assert self.store.get("k") == b"2" * 20 * 50_001
        first.close()
        assert self.store.get("k") == b"1" * 20 * 50_000

    @covers(38)
    def test_a_create_only_writer(self) -> None:
        """It loses against an object that came first, and says so at its close."""
        if not self.has("if_absent"):
            self.refused("if_absent", lambda store, _: store.open("k", "wb", if_absent=True))
            return
        file = self.store.open("k", "wb", if_absent=True)
        file.write(b"mine")
        self.store.put("k", b"theirs")
        with raises(AlreadyExistsError) as caught:
            file.close()
        self.assert_context(caught[0], "put", "k")
        assert self.store.get("k") == b"theirs"

    @covers(23)
    def test_a_put_that_is_cancelled_never_appears(self) -> None:
        """Cancelled from another thread in the middle of its source, or out of time: the old object stays."""
        for old in (None, b"old"):
            if old is not None:
                self.store.put("k", old)
            with scope() as inside, raises(CancelledError) as caught:
                self.store.put("k", self._interrupted(inside.cancel))
            self.assert_context(caught[0], "put", "k")
            with scope(timeout=0.05) as timed, raises(StorageTimeoutError):
                self.store.put("k", self._interrupted(partial(timed.sleep, 5)))
            if old is None:
                self.assert_absent("k")
            else:
                assert self.store.get("k") == old
        if self.has("pending_uploads"):
            assert [*self.store.pending_uploads()] == []

    def _interrupted(self, interrupt: Callable[[], object]) -> Iterator[bytes]:
        yield self.content(100_000)
        other = threading.Thread(target=_quietly, args=(interrupt,))
        other.start()
        other.join()
        yield self.content(100_000)
        yield self.content(100_000)

    @covers(98, 107, 109)
    def test_unfinished_uploads_are_seen_and_can_be_aborted(self) -> None:
        """While a put runs it may be listed as pending; aborting it makes that put fail and leaves no object."""
        if not self.has("pending_uploads"):
            self.refused("pending_uploads", lambda store, _: store.pending_uploads())
            self.refused("pending_uploads", lambda store, _: store.stat_upload(_UPLOAD))
            self.refused("pending_uploads", lambda store, _: store.abort_upload(_UPLOAD))
            self.refusals.append("pending_uploads")
            return
        seen = list[str]()

        def pieces() -> Iterator[bytes]:
            yield self.content(self.large)
            for upload in self.store.pending_uploads("up/"):
                seen.append(upload.key)
                assert upload.started.tzinfo is not None
                self._look_closely(upload)
                self.store.abort_upload(upload)
                self.store.abort_upload(upload)
            yield b"the end"

        try:
            self.store.put("up/k", pieces())
        except StorageError:
            aborted = True
            self.assert_absent("up/k")
        else:
            aborted = False
        assert seen == (["up/k"] if aborted else []), "a put fails when its upload is aborted, and only then"
        assert [*self.store.pending_uploads()] == []

    def _look_closely(self, upload: PendingUpload) -> None:
        """What `stat_upload` adds is the size and the time of what has arrived."""
        found = self.store.stat_upload(upload)
        assert (found.key, found.id, found.started) == (upload.key, upload.id, upload.started)
        assert found.size is None or 0 <= found.size <= self.large
        assert found.active is None or found.active.tzinfo is not None
        assert upload.id in [each.id for each in self.store.pending_uploads(upload.key)]
        assert [*self.store.pending_uploads(f"{upload.key}/")] == []

    @covers(108, 21)
    def test_memory_stays_bounded(self) -> None:
        """A stream of unknown size goes through without being held, but for what a storage in memory keeps of it."""
        size = 48 * 1024 * 1024
        tracemalloc.start()
        try:
            self.store.put("large", long_stream(size))
            peak_put = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            held = tracemalloc.get_traced_memory()[0]
            count = sum(len(piece) for piece in self.store.stream("large"))
            peak_get = tracemalloc.get_traced_memory()[1] - held
        finally:
            tracemalloc.stop()
        assert count == size
        assert peak_get < 24 * 1024 * 1024, f"reading took {peak_get:,} bytes"
        # What stays held is the stored object itself, which may be compressed; it was put together of its pieces.
        assert peak_put - 2 * held < 24 * 1024 * 1024, f"writing took {peak_put:,} bytes, and {held:,} stay"

    def test_local_files_make_the_round_trip(self) -> None:
        """`upload` and `download` keep the bytes; a download that fails leaves no file and spoils none."""
        source, target = self.folder / "source", self.folder / "target"
        for size in (0, 1, 3_000_000):
            source.write_bytes(self.content(size))
            self.store.upload(source, "file")
            info = self.store.download("file", target)
            assert info.size == size
            assert target.read_bytes() == self.content(size)
        with raises(FileNotFoundError):
            self.store.download("gone", target)
        assert len(target.read_bytes()) == 3_000_000
        with raises(FileExistsError):
            self.store.download("file", target, overwrite=False)
        assert {each.name for each in self.folder.iterdir()} >= {"source", "target"}
        assert not [each for each in self.folder.iterdir() if each.name.endswith(".part")]

    def test_progress_begins_with_zero_and_ends_with_the_total(self) -> None:
        """Every transfer reports 0 first and its total last; one that fails reports what it had reached."""
        reports = list[Progress]()
        data = self.content(2_500_000)
        with on_progress(reports.append):
            for act in (
                lambda: self.store.put("k", data),
                lambda: self.store.put("k", iter([data[:1000], data[1000:]])),
                lambda: self.store.get("k"),
                lambda: b"".join(self.store.stream("k")),
            ):
                reports.clear()
                act()
                assert reports[0].completed == 0
                assert (reports[-1].completed, reports[-1].total) == (len(data), len(data))
                counts = [each.completed for each in reports]
                assert counts == sorted(counts)
            reports.clear()
            with raises(DeliberateError):
                self.store.put("k", failing(data, 500_000))
            assert reports[0].completed == 0
            assert reports[-1].completed == len(data)

    def test_a_writer_takes_attributes(self) -> None:
        """Those of `put`."""
        attributes = self.limited(Attributes(content_type="text/plain"))
        with self.store.open("k", "wb", attributes=attributes) as file:
            file.write(b"x")
        assert self.store.stat("k").attributes == attributes


def _quietly(interrupt: Callable[[], object]) -> None:
    try:
        interrupt()
    except StorageTimeoutError:
        return
