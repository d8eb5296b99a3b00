"""Copies and renames: as atomic as a put, never a loss."""

from __future__ import annotations

from functools import partial

from mediagit_storage.errors import AlreadyExistsError, NotFoundError, PreconditionError
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import Attributes, CopyOptions, ObjectInfo

__all__ = ["CopyContract"]


class CopyContract(BackendCase):
    """`copy` and `rename`, whether the storage does them itself or they are put together here."""

    @covers(89, 95)
    def test_a_copy_is_the_same_and_the_source_stays(self) -> None:
        """To a new key, into a folder, over an object; empty and larger ones; the source is unchanged."""
        for size in (0, 5, self.large):
            data = self.content(size)
            self.store.put("source", data)
            before = self.store.stat("source")
            self.store.put("old", b"to be replaced")
            for target in ("new", "folder/inside", "old"):
                info = self.store.copy("source", target)
                assert (info.key, info.size) == (target, size)
                assert self.store.get(target) == data
            assert self.store.stat("source") == before
            assert self.store.get("source") == data
            assert self.keys() == ["folder/inside", "new", "old", "source"]

    @covers(85)
    def test_a_copy_keeps_or_replaces_attributes(self) -> None:
        """Those of the source by default, the given ones otherwise; later changes of one do not show in the other."""
        first = self.limited(Attributes(content_type="text/plain", metadata={"a": "1"}))
        second = self.limited(Attributes(content_type="image/png", metadata={"b": "2"}))
        self.store.put("source", b"x", attributes=first)
        self.store.copy("source", "kept")
        self.store.copy("source", "replaced", attributes=second)
        self.store.copy("source", "emptied", attributes=Attributes())
        assert self.store.stat("kept").attributes == first
        assert self.store.stat("replaced").attributes == second
        assert self.store.stat("emptied").attributes == Attributes()
        self.store.put("source", b"y", attributes=second)
        assert self.store.get("kept") == b"x"
        assert self.store.stat("kept").attributes == first
        self.store.delete("source")
        assert self.store.get("kept") == b"x"

    @covers(85)
    def test_a_copy_on_condition_of_its_source(self) -> None:
        """Layers copy what they looked at: another ETag of the source is a failed condition, and changes nothing."""
        if not self.store.capabilities.server_copy:
            return
        backend = self.store.backend
        etag = self.store.put("source", b"looked at").etag
        backend.copy("source", "copy", CopyOptions(if_match=etag))
        assert self.store.get("copy") == b"looked at"
        self.store.put("source", b"another one")
        for target in ("copy", "new"):
            with raises(PreconditionError):
                backend.copy("source", target, CopyOptions(if_match=etag or "none"))
        assert self.store.get("copy") == b"looked at"
        self.assert_absent("new")

    @covers(90)
    def test_a_missing_source_changes_nothing(self) -> None:
        """Copy and rename of a missing key are not found, also create-only; the target stays."""
        self.store.put("target", b"old")
        calls = {"copy": self.store.copy, "rename": self.store.rename}
        for operation, call in calls.items():
            for target in ("target", "new"):
                with raises(NotFoundError) as caught:
                    call("gone", target)
                self.assert_context(caught[0], operation, "gone")
            if self.has("copy_if_absent"):
                with raises(NotFoundError):
                    call("gone", "new", if_absent=True)
        assert self.store.get("target") == b"old"
        assert self.keys() == ["target"]

    @covers(91)
    def test_onto_itself_nothing_is_lost(self) -> None:
        """A copy onto itself keeps the object, with new attributes if given; a rename onto itself does nothing."""
        first = self.limited(Attributes(metadata={"a": "1"}))
        second = self.limited(Attributes(metadata={"b": "2"}))
        data = self.content(70_000)
        self.store.put("k", data, attributes=first)
        self.store.copy("k", "k")
        assert self.store.get("k") == data
        assert self.store.stat("k").attributes == first
        self.store.copy("k", "k", attributes=second)
        assert self.store.get("k") == data
        assert self.store.stat("k").attributes == second
        before = self.store.stat("k")
        self.store.rename("k", "k")
        assert self.store.get("k") == data
        assert self.store.stat("k") == before
        with raises(NotFoundError):
            self.store.rename("gone", "gone")

    @covers(38, 44)
    def test_a_create_only_copy(self) -> None:
        """Over an object it is an `AlreadyExistsError` and changes nothing; to a new key it copies."""
        if not self.has("copy_if_absent"):
            self.refused("copy_if_absent", lambda store, _: store.rename("k", "l", if_absent=True))
            return
        self.store.put("source", b"new")
        self.store.put("target", b"old")
        before = self.store.stat("target")
        for call in (self.store.copy, self.store.rename):
            with raises(AlreadyExistsError):
                call("source", "target", if_absent=True)
            assert self.store.stat("target") == before
            assert self.store.get("source") == b"new"
        self.store.copy("source", "copied", if_absent=True)
        self.store.rename("source", "moved", if_absent=True)
        assert self.keys() == ["copied", "moved", "target"]
        assert self.store.get("moved") == b"new"

    @covers(89)
    def test_a_rename_moves_everything(self) -> None:
        """Bytes and attributes are under the new key, in a folder too, over an object too; the old key is gone."""
        attributes = self.limited(Attributes(content_type="text/plain", metadata={"a": "1"}))
        for target in ("new", "deep/er/new", "old"):
            data = self.content(5000)
            self.store.put("source", data, attributes=attributes)
            self.store.put("old", b"to be replaced")
            info = self.store.rename("source", target)
            assert (info.key, info.size) == (target, 5000)
            assert self.store.get(target) == data
            assert self.store.stat(target).attributes == attributes
            self.assert_absent("source")
        assert self.keys() == ["deep/er/new", "new", "old"]

    @covers(96)
    def test_renames_that_cross(self) -> None:
        """Into folders of each other's names, one after the other, without a loss."""
        self.store.put("a", b"A")
        self.store.put("b/x", b"B")
        self.store.rename("a", "c/x")
        self.store.rename("b/x", "a")
        self.store.rename("c/x", "b")
        assert self.keys() == ["a", "b"]
        assert (self.store.get("a"), self.store.get("b")) == (b"B", b"A")

    @covers(93)
    def test_of_many_create_only_renames_one_wins(self) -> None:
        """Nobody's bytes are lost: the winner's are at the target, the others' where they were."""
        if not self.has("copy_if_absent"):
            self.refused("copy_if_absent", lambda store, _: store.rename("k", "l", if_absent=True))
            return
        for turn in range(self.rounds):
            sources = [f"s{turn}/{number}" for number in range(8)]
            for key in sources:
                self.store.put(key, key.encode())
            target = f"target{turn}"
            results = self.together(*(partial(self.store.rename, key, target, if_absent=True) for key in sources))
            won = [key for key, each in zip(sources, results, strict=True) if isinstance(each, ObjectInfo)]
            assert len(won) == 1, f"{len(won)} renames succeeded: {results}"
            assert sum(isinstance(each, AlreadyExistsError) for each in results) == 7, f"outcomes: {results}"
            assert self.store.get(target) == won[0].encode()
            assert self.keys(f"s{turn}/") == [key for key in sources if key != won[0]]
