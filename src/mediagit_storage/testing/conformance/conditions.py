"""Conditions: atomic where they are promised, refused before anything is sent where they are not."""

from __future__ import annotations

from functools import partial

from mediagit_storage.errors import (
    AlreadyExistsError,
    ConfigError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
)
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError, Unread, failing
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = ["ConditionContract"]


class ConditionContract(BackendCase):
    """Create-only writes, writes and deletes over a known object, reads of a known or a changed object."""

    def _etag(self, key: str, data: bytes) -> str:
        etag = self.prepare.put(key, data).etag
        assert etag is not None
        return etag

    def _create(self, key: str, body: bytes) -> ObjectInfo:
        # In three pieces, so that the writers really meet.
        return self.store.put(key, iter([body[:10], body[10:4000], body[4000:]]), if_absent=True)

    @covers(38, 44)
    def test_create_only_meets_an_object(self) -> None:
        """A second create-only writer is an `AlreadyExistsError`, and the object is unchanged; a new key is created."""
        if not self.has("if_absent"):
            self.refused("if_absent", lambda store, source: store.put("k", source, if_absent=True))
            return
        first = self.store.put("k", b"first", if_absent=True, attributes=self.limited(Attributes(metadata={"n": "1"})))
        before = self.store.stat("k")
        assert before.etag == first.etag
        for source in (b"second", iter([b"sec", b"ond"])):
            with raises(AlreadyExistsError) as caught:
                self.store.put("k", source, if_absent=True)
            self.assert_context(caught[0], "put", "k")
        assert self.store.get("k") == b"first"
        assert self.store.stat("k") == before
        self.store.delete("k")
        self.store.put("k", iter([b"again"]), if_absent=True)
        assert self.store.get("k") == b"again"

    @covers(39)
    def test_a_refused_create_has_no_side_effect(self) -> None:
        """Nothing new is listed, nothing is pending, the times are as before."""
        if not self.has("if_absent"):
            self.refused("if_absent", lambda store, source: store.put("d/k", source, if_absent=True))
            return
        self.store.put("d/k", b"first")
        before = [*self.store.list()]
        with raises(AlreadyExistsError):
            self.store.put("d/k", b"second", if_absent=True)
        with raises(DeliberateError):
            self.store.put("e/new", failing(b"abc"), if_absent=True)
        assert [*self.store.list()] == before
        assert self.level() == ["d/"]
        if self.has("pending_uploads"):
            assert [*self.store.pending_uploads()] == []

    @covers(42, 38)
    def test_of_many_creators_exactly_one_succeeds(self) -> None:
        """Whoever wins, its bytes are there whole; the others know that they lost."""
        if not self.has("if_absent"):
            self.refused("if_absent", lambda store, source: store.put("k", source, if_absent=True))
            return
        for turn in range(self.rounds):
            key = f"k{turn}"
            bodies = [bytes([number]) * 5000 for number in range(32)]
            results = self.together(*(partial(self._create, key, body) for body in bodies))
            won = [place for place, each in enumerate(results) if isinstance(each, ObjectInfo)]
            lost = [each for each in results if isinstance(each, AlreadyExistsError)]
            assert len(won) == 1, f"{len(won)} creators succeeded: {results}"
            assert len(lost) == 31, f"unexpected outcomes: {results}"
            assert self.store.get(key) == bodies[won[0]]

    @covers(40, 44)
    def test_a_write_over_a_known_object(self) -> None:
        """The current ETag writes; a stale one, a made-up one and a missing object are a `PreconditionError`."""
        if not self.has("if_match"):
            self.refused("if_match", lambda store, source: store.put("k", source, if_match='"e"'))
            return
        first = self._etag("k", b"one")
        second = self.store.put("k", b"two", if_match=first).etag
        assert second is not None
        assert second != first
        for etag in (first, "made-up", '"0"'):
            for source in (b"three", iter([b"three"])):
                with raises(PreconditionError) as caught:
                    self.store.put("k", source, if_match=etag)
                self.assert_context(caught[0], "put", "k")
        assert self.store.get("k") == b"two"
        assert self.store.stat("k").etag == second
        with raises(PreconditionError):
            self.store.put("missing", b"x", if_match=second)
        self.assert_absent("missing")
        self.store.delete("k")
        with raises(PreconditionError):
            self.store.put("k", b"x", if_match=second)
        self.assert_absent("k")

    @covers(42, 118)
    def test_of_many_updaters_exactly_one_succeeds(self) -> None:
        """A counter that is read, raised and written on condition loses no step."""
        if not self.has("if_match"):
            self.refused("if_match", lambda store, source: store.put("n", source, if_match='"e"'))
            return
        self._etag("n", b"0")

        def raise_it() -> int:
            lost = 0
            while True:
                info = self.store.stat("n")
                if self.has("read_conditions"):
                    try:
                        value = int(self.store.get("n", if_match=info.etag))
                    except PreconditionError:
                        continue
                else:
                    value = int(self.store.get("n"))
                try:
                    self.store.put("n", str(value + 1).encode(), if_match=info.etag)
                except PreconditionError:
                    lost += 1
                else:
                    return lost

        results = self.together(*[raise_it] * 8)
        assert all(isinstance(each, int) for each in results), f"unexpected outcomes: {results}"
        assert self.store.get("n") == b"8"

    @covers(44)
    def test_two_conditions_exclude_each_other(self) -> None:
        """``if_absent`` with ``if_match`` is a `ConfigError`, and no byte of the source is read."""
        source = Unread()
        with raises(ConfigError):
            self.store.put("k", source, if_absent=True, if_match='"e"')
        assert not source.touched

    @covers(43, 44)
    def test_a_delete_on_condition(self) -> None:
        """Only the object that was named is deleted; another one, or none, is a `PreconditionError`."""
        if not self.has("delete_if_match"):
            self.refused("delete_if_match", lambda store, _: store.delete("k", if_match='"e"'))
            return
        first = self._etag("k", b"one")
        second = self._etag("k", b"two")
        for etag in (first, "made-up"):
            with raises(PreconditionError) as caught:
                self.store.delete("k", if_match=etag)
            self.assert_context(caught[0], "delete", "k")
        assert self.store.get("k") == b"two"
        self.store.delete("k", if_match=second)
        self.assert_absent("k")
        with raises(PreconditionError):
            self.store.delete("k", if_match=second)

    @covers(36, 44)
    def test_reads_on_condition(self) -> None:
        """``if_match`` reads only the named object, ``if_none_match`` only another one, and their errors differ."""
        if not self.has("read_conditions"):
            self.refused("read_conditions", lambda store, _: store.get("k", if_match='"e"'))
            self.refused("read_conditions", lambda store, _: store.stream("k", if_none_match='"e"'))
            return
        etag = self._etag("k", b"body")
        assert self.store.get("k", if_match=etag) == b"body"
        assert self.store.get("k", if_none_match="made-up") == b"body"
        assert b"".join(self.store.stream("k", if_match=etag)) == b"body"
        for read in (self.store.get, self.store.stream):
            with raises(PreconditionError) as caught:
                read("k", if_match="made-up")
            assert not isinstance(caught[0], NotModifiedError)
            self.assert_context(caught[0], "get", "k")
            with raises(NotModifiedError):
                read("k", if_none_match=etag)
        self.prepare.put("k", b"other")
        with raises(PreconditionError):
            self.store.get("k", if_match=etag)
        assert self.store.get("k", if_none_match=etag) == b"other"

    @covers(36, 31)
    def test_a_missing_object_comes_before_its_conditions(self) -> None:
        """A conditional read of a missing key is not found, whatever the condition."""
        if not self.has("read_conditions"):
            self.refused("read_conditions", lambda store, _: store.get("k", if_match='"e"'))
            return
        for if_match, if_none_match in (("e", None), (None, "e")):
            for read in (self.store.get, self.store.stream):
                with raises(NotFoundError):
                    read("gone", if_match=if_match, if_none_match=if_none_match)
