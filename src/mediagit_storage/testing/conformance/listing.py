"""Listings: sorted by bytes, complete, lazy, exact, with raw prefixes."""

from __future__ import annotations

import random
import threading
from itertools import islice

from mediagit_storage.errors import CancelledError, KeyConflictError, StorageTimeoutError, UnavailableError
from mediagit_storage.scope import scope
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import DeliberateError
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import Folder

__all__ = ["ListingContract"]

#: Keys around a slash: what sorts before, at and after it, in the order of their bytes.
_AROUND_A_SLASH = (
    "a b",
    "a!b/c",
    "a+b",
    "a-",
    "a-b/x",
    "a.b/y",
    "a/ ",
    "a/b c/d",
    "a/b/c",
    "a0",
    "aa/b",
    "b",
    "é/f",
    "｡/x",
    "😀/z",
)


class ListingContract(BackendCase):
    """`list`, `list_dir` and `list_consistent` agree with each other and with what was stored."""

    @covers(47)
    def test_nothing_is_an_empty_listing(self) -> None:
        """An empty storage and a prefix that nothing has list nothing, and are no error."""
        assert self.keys() == []
        assert self.level() == []
        self.fill(["a/b"])
        for prefix in ("b", "a/c", "a/b/", "a/b/c", "A", "/"):
            assert self.keys(prefix) == [], f"listing {prefix!r}"
            assert self.level(prefix) == [], f"one level of {prefix!r}"

    @covers(49, 50)
    def test_a_prefix_is_a_string(self) -> None:
        """Any text that a key starts with finds it: within a segment, at its end, and the key itself."""
        keys = self.fill(["foo", "foo.bar/y", "foobar", "fop/x", "g/h/i", "g/hh", "g/h.txt"])
        for prefix in (
            "",
            "f",
            "fo",
            "foo",
            "foo.",
            "foo.bar",
            "foo.bar/",
            "foo.bar/y",
            "g/h",
            "g/h/",
            "g/hh",
            "fop/x",
        ):
            expected = [key for key in keys if key.startswith(prefix)]
            assert self.keys(prefix) == expected, f"listing {prefix!r}"

    @covers(49, 50, 51)
    def test_an_object_beside_a_folder_of_its_name(self) -> None:
        """Where ``a`` and ``a/b`` may live side by side both are listed, on one level too."""
        self.prepare.put("a", b"1")
        if not self.store.capabilities.nested_keys:
            with raises(KeyConflictError) as caught:
                self.prepare.put("a/b", b"2")
            self.assert_context(caught[0], "put", "a/b")
            assert self.keys() == ["a"]
            self.refusals.append("nested_keys")
            return
        self.prepare.put("a/b", b"2")
        assert self.keys() == ["a", "a/b"]
        assert self.level() == ["a", "a/"]
        assert self.level("a") == ["a", "a/"]
        assert self.level("a/") == ["a/b"]

    @covers(49, 52)
    def test_the_order_is_that_of_the_bytes(self) -> None:
        """Keys that sort before, at and after a slash, and beyond ASCII, come in the order of their UTF-8 bytes."""
        shuffled = list(_AROUND_A_SLASH)
        random.Random(52).shuffle(shuffled)
        assert self.fill(shuffled) == list(_AROUND_A_SLASH)
        assert self.keys() == list(_AROUND_A_SLASH)
        for prefix in ("a", "a/", "a-", "a."):
            assert self.keys(prefix) == [key for key in _AROUND_A_SLASH if key.startswith(prefix)]

    @covers(51, 52)
    def test_one_level(self) -> None:
        """Objects and folders of a level are sorted together; each folder comes once."""
        keys = self.fill(_AROUND_A_SLASH)
        for prefix in ("", "a", "a/", "a/b", "a-", "é", "😀/", "aa/b"):
            expected = list[str]()
            for key in keys:
                if key.startswith(prefix):
                    cut = key.find("/", len(prefix))
                    name = key if cut < 0 else key[: cut + 1]
                    if name not in expected:
                        expected.append(name)
            assert self.level(prefix) == expected, f"one level of {prefix!r}"
        kinds = {isinstance(each, Folder) for each in self.store.list_dir("a/")}
        assert kinds == {True, False}

    @covers(51)
    def test_walking_all_levels_finds_every_key(self) -> None:
        """The union of all levels is the flat listing."""
        keys = self.fill([*_AROUND_A_SLASH, "deep/1/2/3/4/5/6/7/8/9", "deep/1/2/3/4/5/6.x"])
        assert sorted(self.walk(), key=str.encode) == keys

    @covers(55)
    def test_start_after_is_exclusive(self) -> None:
        """A listing begins behind ``start_after``: a key, an absent one, one within a folder, or one past the end."""
        keys = self.fill(_AROUND_A_SLASH)
        for after in [*keys, "", "a", "a/", "a/b", "a/b/", "a/b/c0", "a.", "a.zzz", "zzz", "\U0010ffff", "é", "\x01"]:
            for prefix in ("", "a", "a/"):
                expected = [key for key in keys if key.startswith(prefix) and key.encode() > after.encode()]
                assert self.keys(prefix, start_after=after) == expected, f"after {after!r} in {prefix!r}"

    @covers(55)
    def test_start_after_on_one_level(self) -> None:
        """The same for one level, where a folder stands at the place of its prefix."""
        self.fill(_AROUND_A_SLASH)
        for prefix in ("", "a/"):
            whole = self.level(prefix)
            for after in [*whole, *_AROUND_A_SLASH, "a", "a/b/c0", "zzz", "a."]:
                expected = [name for name in whole if name.encode() > after.encode()]
                assert self.level(prefix, start_after=after) == expected, f"after {after!r} in {prefix!r}"

    @covers(53, 65)
    def test_more_than_a_page(self) -> None:
        """A listing longer than any page is complete, without a key twice, and can be cut anywhere."""
        keys = self.fill(f"page/{number:05}" for number in range(self.many))
        assert self.keys("page/") == keys
        assert self.level("page/") == keys
        middle = self.many // 2
        assert self.keys("page/", start_after=keys[middle]) == keys[middle + 1 :]
        assert [info.key for info in islice(self.store.list(), 3)] == keys[:3]

    @covers(64)
    def test_characters_that_mean_something_elsewhere(self) -> None:
        """``%``, ``_``, spaces, dots, quotes and wildcards in a prefix are plain characters."""
        keys = self.fill(
            ["100%/a", "100/a", "x_y/a", "xzy/a", "s p/a", "dot./a", "q'\"/a", "*/a", "[a]/b", "a?b/c", "\\/w"]
        )
        assert self.keys() == keys
        for prefix in ("100%", "x_", "s ", "dot.", "q'", "*", "[", "a?", "\\"):
            assert self.keys(prefix) == [key for key in keys if key.startswith(prefix)], f"listing {prefix!r}"
            assert self.level(prefix) == [key[: key.index("/") + 1] for key in keys if key.startswith(prefix)]

    @covers(59)
    def test_leaving_a_listing_early(self) -> None:
        """The caller's own error in the middle of a listing comes out unchanged, and the storage goes on working."""
        keys = self.fill(f"k{number}" for number in range(20))
        for _ in range(self.rounds):
            with raises(DeliberateError):
                for info in self.store.list():
                    if info.key == keys[3]:
                        raise DeliberateError
        assert self.keys() == keys

    @covers(61)
    def test_cancelling_a_listing(self) -> None:
        """A cancelled or timed-out scope stops a listing, before the first item or between two."""
        self.fill(f"k{number}" for number in range(20))
        with scope() as cancelled:
            cancelled.cancel()
            for begin in (self.store.list, self.store.list_dir):
                with raises(CancelledError):
                    list(begin(""))
        with scope() as later:
            listing = self.store.list()
            next(listing)
            later.cancel()
            with raises(CancelledError):
                list(listing)
        with scope(timeout=0), raises(StorageTimeoutError):
            list(self.store.list())

    @covers(62, 63)
    def test_a_listing_under_concurrent_writes(self) -> None:
        """Keys that are there throughout appear exactly once, in order, whatever others write and delete meanwhile."""
        stable = self.fill(f"d/{number:03}-stable" for number in range(60))
        stop = threading.Event()
        chance = random.Random(63)

        def disturb() -> None:
            while not stop.is_set():
                key = f"d/{chance.randrange(60):03}-moving"
                self.prepare.put(key, b"y")
                self.prepare.delete(key)

        other = threading.Thread(target=disturb)
        other.start()
        try:
            for _ in range(self.rounds):
                for seen in (self.keys("d/"), self.level("d/")):
                    assert seen == sorted(set(seen)), "out of order, or twice"
                    assert [key for key in seen if key.endswith("-stable")] == stable
        finally:
            stop.set()
            other.join()

    @covers(63)
    def test_a_consistent_listing(self) -> None:
        """`list_consistent` returns what two runs agreed on, and gives up when somebody keeps writing."""
        keys = self.fill(["a", "b/c", "d"])
        assert [info.key for info in self.store.list_consistent()] == keys
        assert [info.key for info in self.store.list_consistent("b")] == ["b/c"]
        with raises(ValueError):
            self.store.list_consistent(max_attempts=1)
        written = iter(range(100))

        def write(name: str) -> None:
            if name == "list":
                self.prepare.put("d", b"x" * next(written))

        noisy = CallLog(self.backend, write)
        with raises(UnavailableError):
            self.beside(noisy).list_consistent(max_attempts=3)
