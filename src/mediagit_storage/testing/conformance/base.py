"""What a backend tells the conformance suite, and what the tests of the suite share."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar

import pytest

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import StorageError, UnsupportedError
from mediagit_storage.keys import KeyRules
from mediagit_storage.storage import Storage
from mediagit_storage.testing.sources import Unread, content
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import Attributes, Folder

__all__ = ["BackendCase", "Call", "Calls", "raises"]

#: Something to call, and such calls by the name of their operation.
Call: TypeAlias = Callable[[], object]
Calls: TypeAlias = Mapping[str, Sequence[Call]]

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


@contextmanager
def raises(*kinds: type[E], what: str = "the call") -> Iterator[list[E]]:
    """The block must raise one of ``kinds``; the list holds the error afterwards. Another error passes through."""
    caught: list[E] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    assert caught, f"{what}: {' or '.join(kind.__name__ for kind in kinds)} was expected, and nothing was raised"


class BackendCase(ABC):
    """One fresh, empty storage for each test: ``backend``, and ``store`` over it.

    Write `open_backend`. Override `reopen` and `missing_bucket` where the backend can do what they ask for, and the
    class attributes where its sizes or speed differ. ``folder`` is an empty folder of the test's own.
    """

    #: Around each of these sizes a body is stored and read: name every threshold and part size of the backend.
    chunk_sizes: ClassVar[Sequence[int]] = (1, 64 * 1024, 1024 * 1024)
    #: The size in bytes of an object that is large for this backend.
    large: ClassVar[int] = 5_000_000
    #: How many objects the tests of long listings and batches store: more than a page holds.
    many: ClassVar[int] = 1001
    #: A storage class that the storage takes, other than its usual one.
    storage_class: ClassVar[str] = "STANDARD_IA"
    #: How often tests of races repeat.
    rounds: ClassVar[int] = 5
    #: Whether it differs from a storage that passes the whole suite in one respect only: of a variant `make test` runs the
    #: checks of the core, and the others carry the mark ``long``.
    variant: ClassVar[bool] = False
    #: The longest time that the storage's clock may differ from this machine's, in seconds.
    clock_tolerance: ClassVar[float] = 300.0

    folder: Path
    backend: StorageBackend
    store: Storage
    prepare: Storage

    # ---- what a backend says

    @abstractmethod
    def open_backend(self) -> StorageBackend:
        """A backend over a new, empty storage."""

    def reopen(self, backend: StorageBackend) -> StorageBackend:
        """A second connection to the objects of ``backend``; by default the same one is used."""
        return backend

    def missing_bucket(self) -> StorageBackend | None:
        """A backend whose bucket or root does not exist, None where that cannot be."""
        return None

    def prepare_backend(self) -> StorageBackend:
        """What objects are stored through before a test reads them: for layers that cannot write."""
        return self.backend

    def storage(self, backend: StorageBackend, *, keys: KeyRules = "strict", owned: bool = True) -> Storage:
        """What the tests call: another face of a storage than `Storage` itself joins by this."""
        return Storage(backend, keys=keys, owned=owned)

    # ---- begin and end

    @pytest.fixture(autouse=True)
    def conformance_case(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
        """Open before and close after each test; tell pytest which capabilities a passing test saw refused."""
        with self.running(tmp_path):
            yield
            request.node.user_properties.extend(("refused", name) for name in self.refusals)

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """The time of one test: everything is open inside and closed afterwards. For runners other than pytest."""
        self.folder = folder
        self.refusals: list[str] = []
        self._others: list[Storage] = []
        self.backend = self.open_backend()
        self.store = self.storage(self.backend)
        self.prepare = Storage(self.prepare_backend(), owned=False)
        try:
            yield
        finally:
            for each in self._others:
                each.close()
            self.store.close()
            # Runners keep the case to their own end, and with it all objects in memory that it leads to.
            del self.backend, self.store, self.prepare, self._others

    # ---- what tests use

    def another(self) -> Storage:
        """A second connection to the same objects."""
        backend = self.reopen(self.backend)
        return self.beside(backend, owned=backend is not self.backend)

    def beside(self, backend: StorageBackend, *, keys: KeyRules = "strict", owned: bool = False) -> Storage:
        """One more `storage`, which is closed at the end of the test."""
        store = self.storage(backend, keys=keys, owned=owned)
        self._others.append(store)
        return store

    def has(self, capability: str) -> bool:
        """Whether the storage under test has a capability (for ``presign`` and ``attributes``: any of it)."""
        return bool(getattr(self.store.capabilities, capability))

    def refused(self, capability: str, call: Callable[[Storage, Unread], object]) -> None:
        """``call`` must be refused with `UnsupportedError` before any I/O and before a byte of its source is read."""
        assert not self.has(capability), f"{capability} is said to be there"
        log, source = CallLog(self.backend), Unread()
        with raises(UnsupportedError) as caught:
            call(self.beside(log), source)
        assert not source.touched, "the source was read before the refusal"
        assert log.calls == [], f"the backend was called before the refusal: {log.calls}"
        assert caught[0].operation is not None, "the refusal does not name the operation"
        self.refusals.append(capability)

    def fill(self, keys: Iterable[str], data: bytes = b"x") -> list[str]:
        """Store ``data`` under each key and return the keys in the order of a listing."""
        names = list(keys)
        self.prepare.put_many((key, data) for key in names).run()
        return sorted(names, key=lambda key: key.encode())

    def keys(self, prefix: str = "", *, start_after: str | None = None) -> list[str]:
        """The keys a listing shows."""
        return [info.key for info in self.store.list(prefix, start_after=start_after)]

    def level(self, prefix: str = "", *, start_after: str | None = None) -> list[str]:
        """What one level shows: keys, and prefixes of folders."""
        entries = self.store.list_dir(prefix, start_after=start_after)
        return [each.prefix if isinstance(each, Folder) else each.key for each in entries]

    def walk(self, prefix: str = "") -> Iterator[str]:
        """Every key below a prefix, found level by level."""
        for name in self.level(prefix):
            if name.endswith("/") and name != prefix:
                yield from self.walk(name)
            else:
                yield name

    def limited(self, attributes: Attributes) -> Attributes:
        """The part of ``attributes`` that the storage under test keeps."""
        kept = self.store.capabilities.attributes
        empty = Attributes()
        values = {name: getattr(attributes if name in kept else empty, name) for name in Attributes.__slots__}
        return Attributes(**values)

    def assert_absent(self, key: str, store: Storage | None = None) -> None:
        """Every way to look says that there is no such object."""
        seen = store or self.store
        assert not seen.exists(key), f"{key!r} exists"
        assert key not in [info.key for info in seen.list(key)], f"{key!r} is listed"
        for read in (seen.get, seen.stat, seen.stream):
            with raises(FileNotFoundError):
                read(key)

    def assert_context(self, error: StorageError, operation: str, key: str | None) -> None:
        """An error names the operation, the caller's own key, and the storage."""
        assert error.operation == operation, f"operation is {error.operation!r}, not {operation!r}"
        assert error.key == key, f"key is {error.key!r}, not {key!r}"
        assert error.store == self.store.description, f"store is {error.store!r}"

    def together(self, *jobs: Callable[[], T]) -> list[T | Exception]:
        """Run the jobs in a thread each, begun at one moment; their results or errors in order."""
        barrier = threading.Barrier(len(jobs))
        results: list[T | Exception] = [RuntimeError("did not end")] * len(jobs)

        def work(place: int, job: Callable[[], T]) -> None:
            barrier.wait()
            try:
                results[place] = job()
            except Exception as error:  # noqa: BLE001  # the test looks at every outcome
                results[place] = error

        threads = [threading.Thread(target=work, args=each) for each in enumerate(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    @staticmethod
    def content(size: int, seed: int = 0) -> bytes:
        """``size`` bytes that look random and are always the same."""
        return content(size, seed)
