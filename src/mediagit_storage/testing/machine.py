"""A Hypothesis state machine that drives a storage and compares it with the model after every step.

A backend joins by a subclass, whose ``TestCase`` pytest runs::

    class Mine(StorageMachine):
        def open_backend(self):
            return MyBackend(tempfile.mkdtemp())

    TestMine = Mine.TestCase

It needs Hypothesis.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    InvalidRangeError,
    KeyConflictError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.testing.model import Held, Model
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.types import Attributes, Folder

__all__ = ["StorageMachine"]

#: Few keys, so that rules meet; with folders in folders, awkward neighbours of a slash, and an object beside a folder.
KEYS = st.sampled_from(["a", "a/b", "a/b/c", "a-", "a b/c", "d/x", "d/x.y", "d/é", "A", "%41", "😀"])
DATA = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"x" * 70_000, bytes(range(256)) * 600]))
ATTRIBUTES = st.sampled_from(
    [None, Attributes(content_type="text/plain"), Attributes(metadata={"m": "1"}), Attributes(metadata={"n": "é"})]
)
HOW = st.sampled_from(["bytes", "pieces", "writer", "batch"])
OFFSETS = st.one_of(st.integers(0, 50), st.sampled_from([65_536, 69_999, 70_000, 153_600]))


class StorageMachine(RuleBasedStateMachine):
    """Puts, reads, lists, copies, renames and deletes at random. ``store`` and ``model`` must always agree."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = self.open_backend()
        self.store = Storage(self.backend)
        self.model = Model(nested_keys=self.store.capabilities.nested_keys)
        self.etags: dict[str, str] = {}

    @abstractmethod
    def open_backend(self) -> StorageBackend:
        """A backend over a new, empty storage."""

    def reopen_backend(self) -> StorageBackend:
        """The same storage opened again, after ``backend`` was closed; by default it is not closed at all."""
        return self.backend

    # ---- rules that write

    @rule(key=KEYS, data=DATA, attributes=ATTRIBUTES, how=HOW, if_absent=st.booleans())
    def put(self, key: str, data: bytes, attributes: Attributes | None, how: str, if_absent: bool) -> None:  # noqa: FBT001
        """Any way to write, plain or create-only."""
        new = Held(data, attributes or Attributes())
        expected: type[StorageError] | None = None
        if self.model.conflicts(key):
            expected = KeyConflictError
        elif if_absent and key in self.model.objects:
            expected = AlreadyExistsError
        self._write(key, new, expected, lambda: self._put(key, data, attributes, how, if_absent=if_absent))

    @rule(key=KEYS, data=DATA, right=st.booleans())
    def put_if_match(self, key: str, data: bytes, right: bool) -> None:  # noqa: FBT001
        """Over a known object, or with an ETag that is stale or of another object."""
        etag = self.etags.get(key) if right else "stale"
        if self.model.conflicts(key) or etag is None or not self.store.capabilities.if_match:
            return
        expected = None if right else PreconditionError
        self._write(key, Held(data), expected, lambda: self.store.put(key, data, if_match=etag).etag)

    @rule(key=KEYS, data=DATA, how=st.sampled_from(["source", "writer", "size", "abort"]))
    def put_that_fails(self, key: str, data: bytes, how: str) -> None:
        """A source that fails, a writer whose block raises, a wrong size, an abandoned writer: nothing changes."""
        try:
            if how == "source":
                self.store.put(key, failing(data))
            elif how == "size":
                self.store.put(key, iter([data]), size=len(data) + 1)
            elif how == "writer":
                self._break_off(key, data)
            else:
                file = self.store.open(key, "wb")
                file.write(data)
                file.abort()
                return
        except (DeliberateError, StorageError):
            return
        raise AssertionError(f"{how} did not fail")

    @rule(key=KEYS, strict=st.booleans())
    def delete(self, key: str, strict: bool) -> None:  # noqa: FBT001
        """Present or not; strict deletes tell."""
        try:
            self.store.delete(key, missing_ok=not strict)
        except NotFoundError:
            assert strict, "a plain delete of a missing object raised"
            assert key not in self.model.objects, f"{key!r} was not found by a delete"
        else:
            assert not strict or key in self.model.objects, "a strict delete of a missing object did not raise"
            self._forget(key)

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete_many(self, keys: list[str]) -> None:
        """Repeated and missing ones among them."""
        assert self.store.delete_many(keys).run() == len(keys)
        for key in keys:
            self._forget(key)

    @rule(source=KEYS, destination=KEYS, move=st.booleans(), if_absent=st.booleans())
    def copy_or_rename(self, source: str, destination: str, move: bool, if_absent: bool) -> None:  # noqa: FBT001
        """To another key or the same, over an object or not."""
        held = self.model.objects.get(source)
        expected: type[StorageError] | None = None
        if held is None:
            expected = NotFoundError
        elif move and source == destination:
            self.store.rename(source, destination)
            return
        elif self.model.conflicts(destination, leaving=source if move and source != destination else None):
            expected = KeyConflictError
        elif if_absent and destination in self.model.objects:
            expected = AlreadyExistsError
        elif move and self.model.conflicts(destination):
            # Only the source stands in the way of its own new name: whether that works is the storage's own choice.
            return
        call = self.store.rename if move else self.store.copy
        self._write(
            destination, held or Held(b""), expected, lambda: call(source, destination, if_absent=if_absent).etag
        )
        if expected is None and move:
            self._forget(source)

    # ---- rules that read

    @rule(key=KEYS, offset=st.none() | OFFSETS, length=st.none() | OFFSETS)
    def get(self, key: str, offset: int | None, length: int | None) -> None:
        """A part or the whole, at once and as a stream."""
        held = self.model.objects.get(key)
        for read in (self._get, self._stream):
            try:
                data = read(key, offset, length)
            except NotFoundError:
                assert held is None, f"{key!r} was not found"
            except InvalidRangeError:
                assert held is not None, "the range was looked at before the object"
                assert offset is not None, "no start was given"
                assert offset >= len(held.data), "the range is inside"
            else:
                assert held is not None, f"{key!r} was read, and is not there"
                end = len(held.data) if length is None else (offset or 0) + length
                assert data == held.data[offset or 0 : end]

    @rule(keys=st.lists(KEYS, max_size=5))
    def get_many(self, keys: list[str]) -> None:
        """Each item has its own bytes or error."""
        outcomes = [*self.store.get_many(keys)]
        assert [each.key for each in outcomes] == keys
        for key, value, error in outcomes:
            held = self.model.objects.get(key)
            assert value == (None if held is None else held.data)
            assert isinstance(error, NotFoundError) == (held is None)

    @rule(prefix=st.sampled_from(["", "a", "a/", "a/b", "d/", "d/x", "😀", "z"]), after=st.none() | KEYS)
    def list_some(self, prefix: str, after: str | None) -> None:
        """From any place, flat and by level."""
        assert [info.key for info in self.store.list(prefix, start_after=after)] == self.model.listing(prefix, after)
        entries = self.store.list_dir(prefix, start_after=after)
        level = [each.prefix if isinstance(each, Folder) else each.key for each in entries]
        assert level == self.model.level(prefix, after)

    @rule()
    def reopen(self) -> None:
        """Close and open again."""
        self.store.close()
        self.backend = self.reopen_backend()
        self.store = Storage(self.backend)

    # ---- what always holds

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        """The same keys in the same order, with the same bytes and attributes."""
        expected = [(key, self.model.objects[key]) for key in self.model.listing()]
        assert [*self.seen().items()] == expected

    @invariant()
    @precondition(lambda self: self.store.capabilities.pending_uploads)
    def nothing_is_pending(self) -> None:
        """No call leaves an unfinished upload behind."""
        assert [*self.store.pending_uploads()] == []

    def teardown(self) -> None:
        """Close."""
        self.store.close()

    # ---- parts

    def _break_off(self, key: str, data: bytes) -> None:
        with self.store.open(key, "wb") as file:
            file.write(data)
            raise DeliberateError

    def seen(self) -> dict[str, Held]:
        """What the storage holds, in the order of its listing."""
        return {info.key: self.look(info.key) for info in self.store.list()}

    def look(self, key: str) -> Held:
        """One object as the storage shows it."""
        info = self.store.stat(key)
        data = self.store.get(key)
        assert info.size == len(data)
        assert info.attributes is not None
        return Held(data, info.attributes)

    def _write(self, key: str, new: Held, expected: type[StorageError] | None, call: Callable[[], str | None]) -> None:
        try:
            etag = call()
        except StorageError as error:
            assert expected is not None, f"unexpected: {error!r}"  # noqa: PT017  # it decides what is right
            assert isinstance(error, expected), f"{expected.__name__} was expected: {error!r}"  # noqa: PT017
            return
        assert expected is None, f"{expected.__name__} was expected, and {key!r} was written"
        self.model.objects[key] = new
        if etag is not None:
            self.etags[key] = etag

    def _forget(self, key: str) -> None:
        self.model.objects.pop(key, None)
        self.etags.pop(key, None)

    def _put(self, key: str, data: bytes, attributes: Attributes | None, how: str, *, if_absent: bool) -> str | None:
        if how == "bytes":
            return self.store.put(key, data, attributes=attributes, if_absent=if_absent).etag
        if how == "pieces":
            return self.store.put(key, _pieces(data), attributes=attributes, if_absent=if_absent).etag
        if how == "writer":
            with self.store.open(key, "wb", attributes=attributes, if_absent=if_absent) as file:
                for piece in _pieces(data):
                    file.write(piece)
            return file.info.etag
        [outcome] = self.store.put_many([(key, data)], attributes=attributes, if_absent=if_absent)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.value is not None
        return outcome.value.etag

    def _get(self, key: str, offset: int | None, length: int | None) -> bytes:
        return self.store.get(key, offset=offset, length=length)

    def _stream(self, key: str, offset: int | None, length: int | None) -> bytes:
        with self.store.stream(key, offset=offset, length=length) as stream:
            return b"".join(stream)


def _pieces(data: bytes) -> Iterator[bytes]:
    third = len(data) // 3 + 1
    for start in range(0, len(data), third):
        yield data[start : start + third]
