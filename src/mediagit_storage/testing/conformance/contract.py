"""What every put, get, stat and delete promises."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from datetime import UTC, timedelta

from mediagit_storage.errors import BucketNotFoundError, ChecksumError, IntegrityError, NotFoundError, StorageError
from mediagit_storage.source import SourceData
from mediagit_storage.testing.conformance.base import BackendCase, Call, Calls, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.types import Attributes, BytesLike, Checksum, ObjectInfo

__all__ = ["DeleteContract", "ErrorContract", "ObjectContract", "SourceContract"]


class ErrorContract(BackendCase):
    """Absence is proven, told apart from a missing bucket, and every error says where it comes from."""

    @covers(1)
    def test_reading_a_missing_key_is_not_found(self) -> None:
        """Each way to read a missing key is a `NotFoundError` that names operation, key and storage."""
        reads: Calls = {
            "get": [
                lambda: self.store.get("gone"),
                lambda: self.store.get("gone", offset=1, length=2),
                lambda: self.store.get("gone", suffix=1),
                lambda: self.store.stream("gone"),
            ],
            "stat": [lambda: self.store.stat("gone"), lambda: self.store.open("gone")],
            "copy": [lambda: self.store.copy("gone", "other")],
        }
        for operation, calls in reads.items():
            for call in calls:
                with raises(NotFoundError) as caught:
                    call()
                assert not isinstance(caught[0], BucketNotFoundError), "the bucket is there"
                self.assert_context(caught[0], operation, "gone")

    @covers(1)
    def test_exists_tells_presence_from_absence(self) -> None:
        """`exists` is True for what is there and False for what is proven absent."""
        self.prepare.put("here", b"")
        assert self.store.exists("here") is True
        assert self.store.exists("her") is False
        assert self.store.exists("here/below") is False

    @covers(2)
    def test_a_missing_bucket_is_told_from_a_missing_key(self) -> None:
        """Without its bucket every call is a `BucketNotFoundError`, `exists` too: nothing is proven about the key."""
        backend = self.missing_bucket()
        if backend is None:
            self.refusals.append("missing_bucket")
            return
        with self.storage(backend) as store:
            calls: list[Call] = [
                lambda: store.get("k"),
                lambda: store.stat("k"),
                lambda: store.exists("k"),
                lambda: store.put("k", b"x"),
                lambda: store.put("k", iter([b"x"])),
                lambda: list(store.list()),
                lambda: list(store.list_dir()),
                lambda: store.delete("k"),
                lambda: store.copy("k", "l"),
                lambda: store.rename("k", "l"),
            ]
            for call in calls:
                with raises(BucketNotFoundError) as caught:
                    call()
                assert caught[0].store == store.description


class ObjectContract(BackendCase):
    """What is stored is what is read, seen and listed, at once and everywhere."""

    @covers(4)
    def test_a_second_connection_sees_a_put_at_once(self) -> None:
        """get, stat and list of another connection see an object as soon as `put` has returned."""
        other = self.another()
        self.prepare.put("a/b", b"first")
        assert other.get("a/b") == b"first"
        assert other.stat("a/b").size == 5
        assert [info.key for info in other.list("a/")] == ["a/b"]
        self.prepare.put("a/b", b"second")
        assert other.get("a/b") == b"second"
        self.prepare.delete("a/b")
        self.assert_absent("a/b", other)

    @covers(6)
    def test_an_empty_object_is_an_object(self) -> None:
        """Zero bytes can be put, seen, listed, read, copied and deleted."""
        assert self.store.put("empty", b"").size == 0
        assert self.store.put("empty-stream", iter(())).size == 0
        assert self.store.get("empty") == b""
        assert [*self.store.stream("empty")] in ([], [b""])
        assert self.store.stat("empty").size == 0
        assert [(info.key, info.size) for info in self.store.list(exact=True)] == [("empty", 0), ("empty-stream", 0)]
        assert self.store.copy("empty", "twin").size == 0
        assert self.store.get("twin") == b""
        self.store.delete("empty")
        self.assert_absent("empty")

    @covers(7, 26)
    def test_sizes_around_every_threshold(self) -> None:
        """Bodies just below, at and above each size the backend cares for come back whole, however they were given."""
        for edge in self.chunk_sizes:
            for size in sorted({max(0, edge - 1), edge, edge + 1, 2 * edge + 1}):
                data = self.content(size)
                info = self.store.put("body", data)
                assert info.size == size, f"put said {info.size} for {size}"
                assert self.store.get("body") == data, f"get of {size} bytes put at once"
                self.store.put("body", iter([data[:7], data[7:]]))
                assert b"".join(self.store.stream("body")) == data, f"stream of {size} bytes put in pieces"
                assert self.store.stat("body").size == size

    @covers(8)
    def test_an_overwrite_replaces_bytes_and_attributes(self) -> None:
        """The second put leaves nothing of the first: neither its bytes nor its attributes."""
        first = self.limited(Attributes(content_type="text/plain", metadata={"old": "1"}, tags={"t": "1"}))
        second = self.limited(Attributes(content_type="image/png", metadata={"new": "2"}))
        self.store.put("k", b"a longer body", attributes=first)
        self.store.put("k", b"short", attributes=second)
        assert self.store.get("k") == b"short"
        found = self.store.stat("k")
        assert found.size == 5
        assert found.attributes == second
        self.store.put("k", b"plain")
        assert self.store.stat("k").attributes == Attributes()

    @covers(13, 15)
    def test_stat_list_and_put_tell_the_same(self) -> None:
        """Size, time and ETag are the same in what put returns, in `stat`, in a listing and in what a stream says.

        A listing that is not to be exact may leave sizes out, and tells no others.
        """
        put = self.prepare.put("dir/k", self.content(1000))
        stat = self.store.stat("dir/k")
        [listed] = self.store.list("dir/", exact=True)
        [level] = self.store.list_dir("dir/", exact=True)
        assert isinstance(level, ObjectInfo)
        for entry in (*self.store.list("dir/"), *self.store.list_dir("dir/")):
            assert isinstance(entry, ObjectInfo)
            assert entry.size in {None, 1000}, f"a listing says {entry.size} bytes"
            assert (entry.key, entry.modified, entry.etag) == ("dir/k", put.modified, put.etag)
        with self.store.stream("dir/k") as stream:
            streamed = stream.info
        for info in (stat, listed, level, streamed):
            assert (info.key, info.size, info.etag) == ("dir/k", 1000, put.etag)
            # A read may leave the time out, and tells no other.
            assert info.modified == put.modified or (info is streamed and info.modified is None)
        assert stat.attributes is not None, "stat fetches attributes"

    @covers(14)
    def test_times_are_aware_utc_and_near_the_clock(self) -> None:
        """``modified`` is in UTC, says so, and is not far from now."""
        before = time.time()
        modified = self.prepare.put("k", b"x").modified
        after = time.time()
        assert modified is not None
        assert modified.tzinfo is not None
        assert modified.utcoffset() == timedelta(0)
        assert before - self.clock_tolerance <= modified.astimezone(UTC).timestamp() <= after + self.clock_tolerance

    @covers(14)
    def test_times_do_not_go_back(self) -> None:
        """A later write is not older than an earlier one."""
        times = [self.prepare.put(f"k{number % 3}", b"x").modified for number in range(20)]
        known = [each for each in times if each is not None]
        assert len(known) == len(times)
        assert known == sorted(known)

    @covers(15)
    def test_the_etag_changes_with_the_content(self) -> None:
        """Another content has another ETag, also when its size and the second of its time are the same."""
        seen = [self.prepare.put("k", bytes([number])).etag for number in range(20)]
        assert all(isinstance(etag, str) and etag for etag in seen)
        assert len(set(seen)) == len(seen), "two contents shared an ETag"
        assert self.store.stat("k").etag == seen[-1]


class SourceContract(BackendCase):
    """Whatever the bytes come from, all of them are stored or nothing."""

    @covers(17)
    def test_every_kind_of_source(self) -> None:
        """Bytes-like objects, files at a position and iterables store the same; a caller's file stays open."""
        data = self.content(5000)
        path = self.folder / "source"
        path.write_bytes(b"skipped" + data)
        words = memoryview(bytearray(data)).cast("I")
        sources: list[SourceData] = [
            data,
            bytearray(data),
            memoryview(data),
            words,
            [data[:10], b"", data[10:]],
            iter([data]),
        ]
        for place, source in enumerate(sources):
            self.store.put("k", source)
            assert self.store.get("k") == data, f"source number {place}"
        for buffering in (0, -1):
            with path.open("rb", buffering=buffering) as file:
                file.seek(7)
                self.store.put("k", file)
                assert not file.closed, "the caller's file was closed"
            assert self.store.get("k") == data, f"a file with buffering={buffering}"
        memory = io.BytesIO(b"skipped" + data)
        memory.seek(7)
        self.store.put("k", memory)
        assert self.store.get("k") == data
        assert not memory.closed, "the caller's file was closed"
        every_other: memoryview = memoryview(data)[::2]
        self.store.put("k", every_other)
        assert self.store.get("k") == data[::2], "a view with gaps"
        self.store.put("k", iter([every_other]))
        assert self.store.get("k") == data[::2], "a piece with gaps"

    @covers(17)
    def test_text_is_refused(self) -> None:
        """A str, a text file and pieces of str are a `TypeError`; nothing is stored."""
        texts: list[object] = ["text", io.StringIO("text"), iter([b"bytes", "text"]), 7, None]
        for source in texts:
            with raises(TypeError):
                self.store.put("k", source)  # type: ignore[arg-type]  # that is what is tested
        self.assert_absent("k")

    @covers(18)
    def test_a_wrong_declared_size_stores_nothing(self) -> None:
        """Data longer or shorter than declared are an `IntegrityError`, and the old object stays."""
        data = self.content(1000)
        for old in (None, b"old"):
            if old is not None:
                self.store.put("k", old)
            for size in (len(data) + 42, len(data) - 1, 0):
                sources: list[SourceData] = [data, iter([data[:500], data[500:]]), io.BytesIO(data)]
                for source in sources:
                    with raises(IntegrityError) as caught:
                        self.store.put("k", source, size=size)
                    self.assert_context(caught[0], "put", "k")
            if old is None:
                self.assert_absent("k")
            else:
                assert self.store.get("k") == old
        assert self.store.put("k", iter([data]), size=1000).size == 1000

    @covers(20)
    def test_a_wrong_declared_checksum_stores_nothing(self) -> None:
        """Data with another digest than declared are a `ChecksumError`, and the old object stays."""
        data = self.content(1000)
        right = Checksum("sha256", hashlib.sha256(data).digest())
        wrong = Checksum("sha256", hashlib.sha256(b"other").digest())
        for source in (data, iter([data])):
            with raises(ChecksumError):
                self.store.put("k", source, checksum=wrong)
            self.assert_absent("k")
        self.store.put("k", b"old")
        with raises(ChecksumError):
            self.store.put("k", iter([data]), checksum=wrong)
        assert self.store.get("k") == b"old"
        self.store.put("k", iter([data]), checksum=right)
        assert self.store.get("k") == data

    @covers(23)
    def test_a_failing_source_stores_nothing(self) -> None:
        """The source's own error comes out unchanged; no part is visible, listed or left over; the old object stays."""
        data = self.content(100_000)
        with raises(DeliberateError):
            self.store.put("new", failing(data))
        self.assert_absent("new")
        self.store.put("k", b"old", attributes=self.limited(Attributes(metadata={"a": "1"})))
        before = self.store.stat("k")
        with raises(DeliberateError):
            self.store.put("k", failing(data))
        assert self.store.get("k") == b"old"
        assert self.store.stat("k") == before
        assert self.keys() == ["k"]
        if self.has("pending_uploads"):
            assert [*self.store.pending_uploads()] == []

    @covers(97)
    def test_a_put_is_invisible_until_it_is_complete(self) -> None:
        """While the source is read neither get, stat nor list show a part; at the end everything is there."""
        other, looks = self.another(), list[str]()

        def pieces() -> Iterator[BytesLike]:
            for _ in range(3):
                yield self.content(50_000)
                self.assert_absent("k", other)
                assert [*other.list()] == []
                looks.append("absent")

        self.store.put("k", pieces())
        assert len(looks) == 3
        assert other.stat("k").size == 150_000

    @covers(108, 21)
    def test_a_source_of_unknown_size_may_be_an_iterator_of_tiny_pieces(self) -> None:
        """Single bytes and empty pieces are put together."""
        self.store.put("k", (bytes([number % 256]) if number % 3 else b"" for number in range(3000)))
        assert self.store.get("k") == bytes(number % 256 for number in range(3000) if number % 3)


class DeleteContract(BackendCase):
    """Deleting is idempotent, and what is deleted is gone everywhere."""

    @covers(10)
    def test_deleting_a_missing_object_is_fine(self) -> None:
        """Once, twice, and for what never was; with ``missing_ok=False`` it is a `NotFoundError`."""
        self.store.put("k", b"x")
        self.store.delete("k", missing_ok=False)
        self.store.delete("k")
        self.store.delete("k")
        self.store.delete("never/was")
        with raises(NotFoundError) as caught:
            self.store.delete("k", missing_ok=False)
        self.assert_context(caught[0], "delete", "k")

    @covers(11)
    def test_a_deleted_object_is_gone_for_every_call(self) -> None:
        """get, stat, exists and list agree; creating it again works and shows nothing of the old one."""
        attributes = self.limited(Attributes(metadata={"a": "1"}))
        self.store.put("d/k", b"old", attributes=attributes)
        self.store.delete("d/k")
        self.assert_absent("d/k")
        assert self.level() == []
        self.store.put("d/k", b"new")
        assert self.store.get("d/k") == b"new"
        assert self.store.stat("d/k").attributes == Attributes()
        assert self.keys() == ["d/k"]

    @covers(10, 49)
    def test_a_delete_takes_nothing_else(self) -> None:
        """Neighbours, keys that start with it and keys above it stay; a prefix is no key."""
        kept = self.fill(["a", "ab", "b/c", "b/cd", "b-", "B/c2"])
        for key in ("b", "b/", "a/", "c"):
            self.store.delete(key)
            assert self.keys() == kept, f"deleting {key!r} took something"
        self.store.delete("b/c")
        assert self.keys() == [key for key in kept if key != "b/c"]

    @covers(5, 8)
    def test_a_refused_overwrite_leaves_the_old_object(self) -> None:
        """Whatever makes a put fail, the object that was there reads as before."""
        self.store.put("k", b"old")
        before = self.store.stat("k")
        calls: list[Call] = [
            lambda: self.store.put("k", failing(b"x" * 10)),
            lambda: self.store.put("k", b"new", size=99),
            lambda: self.store.put("k", iter([b"new"]), size=99),
        ]
        for call in calls:
            with raises(Exception) as caught:
                call()
            assert isinstance(caught[0], DeliberateError | StorageError)
            assert self.store.stat("k") == before
            assert self.store.get("k") == b"old"
