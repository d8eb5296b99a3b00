"""What layers promise beyond the suite: a prefix among neighbours, and nothing that changes through read-only."""

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import PermissionDeniedError
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import (
    ConformanceSuite,
    ListingContract,
    RangeContract,
)
from mediagit_storage.testing.conformance.lifecycle import every_call
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import Unread
from mediagit_storage.testing.wrappers import CallLog


class TestMemoryThroughPrefix(ConformanceSuite):
    def open_backend(self):
        inner = MemoryBackend("inner")
        outside = Storage(inner)
        # Neighbours that must not be seen: what sorts before, what shares the text, and the prefix itself.
        for key in ("inside", "inside/", "inside/tree", "inside/tree!", "inside/treetop", "zebra"):
            Storage(inner, keys="raw", owned=False).put(key, b"not yours")
        self.outside = outside
        return PrefixLayer(inner, "inside/tree/")

    def missing_bucket(self):
        return PrefixLayer(MemoryBackend("missing", created=False), "inside/")


class TestMemoryReadOnly(RangeContract, ListingContract):
    """Everything that reads, with the objects stored from below."""

    def open_backend(self):
        self.inner = MemoryBackend("inner")
        return ReadOnlyLayer(self.inner)

    def prepare_backend(self):
        return self.inner

    @covers(135)
    def test_nothing_can_be_changed(self):
        """Whatever could change something is refused before the inner storage is called or a source read."""
        log, source = CallLog(self.inner), Unread()
        store = Storage(ReadOnlyLayer(log))
        self.prepare.put("k", b"x")
        calls = every_call(store, source, str(self.folder))
        for name in ("put", "put bytes", "upload", "copy", "rename", "delete", "create", "abort_upload"):
            with pytest.raises(PermissionDeniedError):
                calls[name]()
        for method in ("PUT", "DELETE"):
            with pytest.raises(PermissionDeniedError):
                store.presign("k", method=method)
        with pytest.raises(PermissionDeniedError), store.open("k", "wb") as file:
            file.write(b"y")
        for batch in (store.put_many([("k", b"y")]), store.delete_many(["k"])):
            [outcome] = batch
            assert isinstance(outcome.error, PermissionDeniedError)
        assert not source.touched
        assert set(log.calls) <= {"batch"}
        assert self.store.get("k") == b"x"
