"""Opening, closing, looking, copying a storage object to another process."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

from mediagit_storage.errors import CancelledError, ClosedError, StorageTimeoutError, UnsupportedError
from mediagit_storage.scope import scope
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import Unread, content
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import ConnectionInfo, FindingLevel, PendingUpload

__all__ = ["LifecycleContract", "every_call"]


def every_call(store: Storage, source: Unread, folder: str) -> dict[str, Callable[[], object]]:
    """One call of each public method that may reach the backend."""
    upload = PendingUpload("k", "id", datetime.now(UTC))
    return {
        "get": lambda: store.get("k"),
        "get_ranges": lambda: store.get_ranges("k", [(0, 1)]),
        "stream": lambda: store.stream("k"),
        "open": lambda: store.open("k"),
        "open wb": lambda: store.open("k", "wb"),
        "stat": lambda: store.stat("k"),
        "exists": lambda: store.exists("k"),
        "put": lambda: store.put("k", source),
        "put bytes": lambda: store.put("k", b"abc"),
        "upload": lambda: store.upload(os.devnull, "k"),
        "download": lambda: store.download("k", os.path.join(folder, "file")),  # noqa: PTH118
        "copy": lambda: store.copy("k", "l"),
        "rename": lambda: store.rename("k", "l"),
        "delete": lambda: store.delete("k"),
        "list": lambda: list(store.list()),
        "list_dir": lambda: list(store.list_dir()),
        "list_consistent": store.list_consistent,
        "get_many": lambda: list(store.get_many(["k"])),
        "put_many": lambda: list(store.put_many([("k", b"x")])),
        "stat_many": lambda: list(store.stat_many(["k"])),
        "delete_many": lambda: list(store.delete_many(["k"])),
        "delete_versions": lambda: list(store.delete_versions([("k", "1")])),
        "presign": lambda: store.presign("k"),
        "pending_uploads": lambda: list(store.pending_uploads()),
        "stat_upload": lambda: store.stat_upload(upload),
        "abort_upload": lambda: store.abort_upload(upload),
        "create": store.create,
        "check": store.check,
        "connection_info": store.connection_info,
        "with_layer": lambda: store.with_layer(CallLog),
        "with_prefix": lambda: store.with_prefix("p/"),
        "backend": lambda: store.backend,
        "capabilities": lambda: store.capabilities,
        "with": store.__enter__,
    }


#: What makes no request, and so need not ask a scope.
_FREE = {
    "presign",
    "connection_info",
    "with_layer",
    "with_prefix",
    "backend",
    "capabilities",
    "with",
    "open wb",
    "check",
}


#: The capability that a call needs, where that has another name.
_NEEDED = {"abort_upload": "pending_uploads", "stat_upload": "pending_uploads", "delete_versions": "versions"}


class LifecycleContract(BackendCase):
    """Closing, scopes, connection info, description, check, fork."""

    @covers(22)
    def test_a_closed_storage_does_nothing_more(self) -> None:
        """Every call is a `ClosedError`, no source is read; closing twice is fine; `repr` and description still work."""
        self.store.put("k", b"x")
        log, source = CallLog(self.backend), Unread()
        store = self.beside(log)
        store.close()
        store.close()
        for name, call in every_call(store, source, str(self.folder)).items():
            with raises(ClosedError, what=name):
                call()
        assert log.calls == []
        assert not source.touched
        assert store.description == self.store.description
        assert "closed" in repr(store)
        assert self.store.get("k") == b"x", "a storage that does not own its backend closed it"

    @covers(22)
    def test_a_file_that_was_open_when_the_storage_was_closed(self) -> None:
        """A reader of a closed storage fetches nothing more."""
        self.prepare.put("k", content(500_000))
        store = self.beside(self.backend)
        reader = store.open("k")
        store.close()
        for read in (lambda: reader.read_at(0, 5), reader.read, lambda: reader.readinto(bytearray(5))):
            with raises(ClosedError):
                read()

    @covers(24)
    def test_a_cancelled_scope_makes_no_io(self) -> None:
        """Inside a scope that is cancelled or over no call reaches the backend, and no source is read."""
        for ended, kind in ((scope(), CancelledError), (scope(timeout=0), StorageTimeoutError)):
            log, source = CallLog(self.backend), Unread()
            store = self.beside(log)
            with ended as around:
                if kind is CancelledError:
                    around.cancel()
                for name, call in every_call(store, source, str(self.folder)).items():
                    capability = _NEEDED.get(name, name)
                    if name in _FREE or not getattr(store.capabilities, capability, True):
                        continue
                    with raises(kind, what=name) as caught:
                        call()
                    assert caught[0].store == store.description, f"{name} does not name the storage"
            assert set(log.calls) <= {"batch"}, f"the backend was called: {log.calls}"
            assert not source.touched
        assert self.keys() == []

    def test_connection_info_is_json(self) -> None:
        """It makes the round trip through JSON to an equal value, and is the same when asked twice."""
        info = self.store.connection_info()
        again = ConnectionInfo.from_json(json.loads(json.dumps(info.to_json())))
        assert again == info
        assert self.store.connection_info() == info

    def test_the_description_is_one_line(self) -> None:
        """Description and `repr` are short, printable and free of line breaks."""
        for text in (self.store.description, repr(self.store), repr(self.backend)):
            assert text
            assert text.isprintable()

    def test_check_finds_a_healthy_storage(self) -> None:
        """No finding failed, nothing is left behind; without writing nothing is written."""
        self.store.put("k", b"x")
        for write in (True, False):
            findings = self.store.check(write=write)
            assert findings
            failed = [each for each in findings if each.level is FindingLevel.FAILED]
            assert failed == [], f"failed: {failed}"
            assert self.keys() == ["k"]
        log = CallLog(self.backend)
        self.beside(log).check(write=False)
        assert not {"put", "delete"} & set(log.calls)

    def test_creating_what_exists_is_fine(self) -> None:
        """`create` keeps the objects, or is refused where nothing can be created."""
        self.store.put("k", b"x")
        try:
            self.store.create()
        except UnsupportedError:
            self.refusals.append("create")
        assert self.store.get("k") == b"x"

    @covers(117)
    def test_a_forked_child_reads_and_writes(self) -> None:
        """After a fork both sides go on working; what the child wrote is there where storages outlive a process."""
        self.store.put("k", b"x")
        context = multiprocessing.get_context("fork")
        child = context.Process(target=_in_child, args=(self.store,))
        child.start()
        child.join(60)
        assert child.exitcode == 0, f"the child ended with {child.exitcode}"
        assert self.store.get("k") == b"x"
        assert set(self.keys()) <= {"k", "child"}
        child.close()

    @covers(117)
    def test_a_pickle_leads_to_the_same_objects_or_is_refused(self) -> None:
        """A storage that outlives its process can be pickled; one that cannot says so with a `TypeError`."""
        self.store.put("k", b"x")
        try:
            data = pickle.dumps(self.store)
        except TypeError:
            self.refusals.append("pickle")
            return
        with pickle.loads(data) as again:  # noqa: S301  # written three lines above
            assert again.get("k") == b"x"
            again.put("l", b"y")
        assert self.store.get("l") == b"y"


def _in_child(store: Storage) -> None:
    # A failed assertion ends the child with another code than 0.
    assert store.get("k") == b"x"
    store.put("child", iter([b"from ", b"the child"]))
    assert store.get("child") == b"from the child"
    assert [info.key for info in store.list()] == ["child", "k"]
