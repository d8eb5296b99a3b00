"""Many objects at once: every item answered, in the order given, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from mediagit_storage.backend import BatchLimits
from mediagit_storage.errors import InvalidKeyError, NotFoundError
from mediagit_storage.source import SourceData
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.types import Attributes

__all__ = ["BatchContract"]

_SMALL = BatchLimits(concurrency=3, buffer_bytes=10_000)


class BatchContract(BackendCase):
    """`get_many`, `put_many`, `stat_many`, `delete_many`: native, or by threads."""

    @covers(12)
    def test_every_item_is_answered_in_order(self) -> None:
        """Present, missing, repeated and impossible keys each have their own outcome at their own place."""
        bodies = {f"k/{number}": self.content(number * 100, number) for number in range(20)}
        for key, body in bodies.items():
            self.prepare.put(key, body)
        asked = ["k/3", "gone", "k/0", "k/3", "", "k/19", "I'm a < & weird path", "k/1"]
        for limits in (BatchLimits(), _SMALL, BatchLimits(concurrency=1, buffer_bytes=1)):
            outcomes = [*self.store.get_many(asked, limits=limits)]
            assert [each.key for each in outcomes] == asked
            for key, value, error in outcomes:
                if key in bodies:
                    assert error is None
                    assert value == bodies[key], f"{key!r} got another object's bytes"
                else:
                    assert value is None
                    assert isinstance(error, InvalidKeyError if key == "" else NotFoundError), f"{key!r}: {error!r}"
                    self.assert_context(error, "get", key)
        stats = [*self.store.stat_many(asked)]
        assert [(each.key, each.value.size if each.value else None) for each in stats] == [
            (key, len(bodies[key]) if key in bodies else None) for key in asked
        ]

    @covers(12, 17, 23)
    def test_putting_many(self) -> None:
        """Every kind of source; an item that fails stores nothing, says why, and does not stop the others."""
        items: list[tuple[str, SourceData]] = [
            ("a", b"bytes"),
            ("b/c", iter([b"pie", b"ces"])),
            ("a//b", b"x"),
            ("d", failing(b"x" * 5000)),
            ("e", bytearray(b"array")),
            ("f", b""),
        ]
        outcomes = [*self.store.put_many(items, attributes=self.limited(Attributes(metadata={"a": "1"})))]
        assert [each.key for each in outcomes] == [key for key, _ in items]
        errors = {each.key: type(each.error) for each in outcomes if each.error is not None}
        assert errors == {"a//b": InvalidKeyError, "d": DeliberateError}
        assert self.keys() == ["a", "b/c", "e", "f"]
        assert self.store.get("b/c") == b"pieces"
        assert [each.value.size for each in outcomes if each.value is not None] == [5, 6, 5, 0]
        assert self.store.stat("e").attributes == self.limited(Attributes(metadata={"a": "1"}))

    @covers(12)
    def test_deleting_many(self) -> None:
        """Missing and repeated ones among them; the rest stays."""
        keys = self.fill([*(f"d/{number}" for number in range(20)), "keep"])
        asked = [key for key in keys if key != "keep"]
        asked[5:5] = ["missing", asked[0], "I'm a < & weird path"]
        outcomes = [*self.store.delete_many(asked)]
        assert [each.key for each in outcomes] == asked
        assert all(each.error is None for each in outcomes)
        assert self.keys() == ["keep"]
        [strict] = self.store.delete_many(["missing"], missing_ok=False)
        assert isinstance(strict.error, NotFoundError)

    @covers(12)
    def test_deleting_more_than_a_page(self) -> None:
        """More than one request's worth."""
        keys = self.fill([*(f"d/{number}" for number in range(self.many)), "keep"])
        asked = [key for key in keys if key != "keep"]
        outcomes = [*self.store.delete_many(asked)]
        assert [each.key for each in outcomes] == asked
        assert all(each.error is None for each in outcomes)
        assert self.keys() == ["keep"]

    @covers(12)
    def test_running_a_batch_collects_its_errors(self) -> None:
        """`run` does everything, counts, and raises what failed as one group."""
        assert self.store.put_many((f"k{number}", b"x") for number in range(5)).run() == 5
        with raises(ExceptionGroup) as caught:
            self.store.get_many(["k0", "gone", "k1", "gone/too"]).run()
        assert [type(each) for each in caught[0].exceptions] == [NotFoundError, NotFoundError]

    @covers(59)
    def test_an_error_of_the_callers_iterator_surfaces(self) -> None:
        """It comes out unchanged and stops the batch."""
        self.fill(["a", "b"])

        def keys() -> Iterator[str]:
            yield "a"
            yield "b"
            raise DeliberateError

        with raises(DeliberateError):
            list(self.store.get_many(keys()))
        assert self.store.get("a") == b"x"

    @covers(12, 21)
    def test_a_batch_is_lazy(self) -> None:
        """An endless iterator of keys is pulled only as far as its outcomes are; leaving early ends it."""
        self.fill(["k"])
        pulled = 0

        def endless() -> Iterator[str]:
            nonlocal pulled
            while True:
                pulled += 1
                yield "k"

        with self.store.get_many(endless(), limits=_SMALL) as batch:
            assert [each.value for each in islice(batch, 50)] == [b"x"] * 50
        assert pulled <= 50 + 4200, f"{pulled} keys were pulled for 50 outcomes"
        assert self.store.get("k") == b"x"

    @covers(12, 38, 44)
    def test_create_only_batches(self) -> None:
        """What exists is reported for its item; the others are created."""
        if not self.has("if_absent"):
            self.refused("if_absent", lambda store, _: store.put_many([("k", b"x")], if_absent=True).run())
            return
        self.store.put("b", b"old")
        outcomes = [*self.store.put_many([("a", b"1"), ("b", b"2"), ("c", b"3")], if_absent=True)]
        assert [isinstance(each.error, FileExistsError) for each in outcomes] == [False, True, False]
        assert [self.store.get(key) for key in "abc"] == [b"1", b"old", b"3"]
