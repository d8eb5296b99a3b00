"""Two storages as one: where objects are found, what is written where, and what is told of it."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage.backend import BatchLimits, ReadOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.config import Profile
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    ConfigError,
    ConnectionLostError,
    InvalidKeyError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    ThrottledError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.events import on_event
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer
from mediagit_storage.layers.migrating import MigratingConfig, MigratingLayer
from mediagit_storage.layers.migrating.rounds import ROUND
from mediagit_storage.layers.migrating.tokens import of_new, of_old, told_of_new, told_of_old
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.opening import open_storage
from mediagit_storage.profile_editing import add_profile, rename_profile
from mediagit_storage.scope import scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.sources import Unread, content
from mediagit_storage.testing.wrappers import CallLog, WithoutCapabilities
from mediagit_storage.types import (
    Attributes,
    Checksum,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Folder,
    ObjectInfo,
    PutOptions,
    ReadOptions,
)

ATTRIBUTES = Attributes(content_type="image/png", metadata={"a": "b"}, tags={"t": "1"})


class Sides:
    """A new and an old storage, what each is asked, and the two as one."""

    def __init__(self, new=None, old=None, *, copy_on_read=False):
        self.new = Storage(new or MemoryBackend("new"))
        self.old = Storage(old or MemoryBackend("old"))
        self.new_log, self.old_log = CallLog(self.new.backend), CallLog(self.old.backend)
        self.layer = MigratingLayer(self.new_log, self.old_log, MigratingConfig(copy_on_read))
        self.store = Storage(self.layer)

    @property
    def calls(self):
        return self.new_log.calls, self.old_log.calls


@pytest.fixture
def sides():
    """``new`` and ``both`` in the new storage, ``old`` and another ``both`` in the old one."""
    found = Sides()
    found.new.put("new", b"in the new")
    found.new.put("both", b"newer")
    found.old.put("old", b"in the old", attributes=ATTRIBUTES)
    found.old.put("both", b"stale")
    return found


# ---- reading


def test_what_the_new_storage_has_is_never_asked_of_the_old(sides):
    for key, data in (("new", b"in the new"), ("both", b"newer")):
        assert sides.store.get(key) == data
        assert sides.store.get(key, suffix=3) == data[-3:]
        assert b"".join(sides.store.stream(key)) == data
        assert sides.store.stat(key) == sides.new.stat(key)
        assert sides.store.exists(key)
    assert [each.value for each in sides.store.get_many(["new", "both"])] == [b"in the new", b"newer"]
    assert sides.old_log.calls == []


def test_the_old_storage_is_asked_for_what_the_new_one_lacks(sides):
    assert sides.store.get("old") == b"in the old"
    assert sides.calls == (["read"], ["read"])
    assert sides.store.get("old", offset=3, length=3) == b"the"
    with sides.store.stream("old") as stream:
        assert stream.info.attributes == ATTRIBUTES
        assert b"".join(stream) == b"in the old"
    with sides.store.open("old") as file:
        file.seek(-3, 2)
        assert file.read() == b"old"
    assert sides.store.stat("old").attributes == ATTRIBUTES
    assert sides.store.get_ranges("old", [(0, 2), (3, 3)]) == [b"in", b"the"]
    assert sides.new.exists("old") is False


def test_a_download_in_ranges_is_of_one_storage(tmp_path):
    class Parallel(MemoryBackend):
        @property
        def capabilities(self):
            return Capabilities(**{**_all(super().capabilities), "parallel_reads": True})

    sides = Sides(Parallel("new"), Parallel("old"))
    data = content(17 * 1024 * 1024)
    sides.old.put("large", data)
    sides.store.download("large", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data


def _all(capabilities):
    return {name: getattr(capabilities, name) for name in Capabilities.__slots__}


def test_what_neither_has_is_not_found(sides):
    for call in (sides.store.get, sides.store.stat, sides.store.stream):
        with pytest.raises(NotFoundError) as caught:
            call("gone")
        assert caught.value.store == "memory://new"
    assert sides.store.exists("gone") is False


def test_items_of_a_batch_come_in_order_from_both(sides):
    keys = ["old", "gone", "new", "both", "old"]
    found = [(each.key, each.value, type(each.error)) for each in sides.store.get_many(keys)]
    assert found == [
        ("old", b"in the old", type(None)),
        ("gone", None, NotFoundError),
        ("new", b"in the new", type(None)),
        ("both", b"newer", type(None)),
        ("old", b"in the old", type(None)),
    ]
    assert sides.calls == (["batch"], ["batch"])
    assert [each.value and each.value.etag for each in sides.store.stat_many(keys)] == [
        sides.store.stat("old").etag,
        None,
        sides.new.stat("new").etag,
        sides.new.stat("both").etag,
        sides.store.stat("old").etag,
    ]


@pytest.mark.parametrize("room", [1, 10**9])
def test_a_batch_of_many_goes_in_rounds_and_holds_little(room):
    """Everything lies in the old storage; what waits is bounded by the caller's limits, whatever they are."""
    sides = Sides()
    keys = [f"{number:05}" for number in range(2 * ROUND + 10)]
    sides.old.put_many((key, key.encode()) for key in keys).run()
    outcomes = sides.store.get_many(keys, limits=BatchLimits(4, room))
    assert [each.value for each in outcomes] == [key.encode() for key in keys]
    if room > 1:
        assert sides.calls == (["batch"] * 3, ["batch"] * 3)


def test_a_batch_that_is_left_early_closes_the_inner_ones(sides):
    outcomes = iter(sides.store.get_many(["old", "new"] * 10))
    assert [each.key for each in islice(outcomes, 3)] == ["old", "new", "old"]
    outcomes.close()


def test_a_batch_asks_no_more_than_it_is_given():
    """None from the caller means: nothing more before something is answered."""
    sides = Sides()
    sides.old.put("a", b"1")
    answered = []

    def operations():
        yield ReadOperation("a")
        while not answered:
            yield None
        yield ReadOperation("b")

    for operation, value, error in sides.layer.batch(operations(), BatchLimits()):
        answered.append((operation.key, value and value.data, type(error)))
    assert answered == [("a", b"1", type(None)), ("b", None, NotFoundError)]


class Picky(MemoryBackend):
    """Holds no empty segments, and says so whatever it is asked."""


def _picky(name):
    def method(self, key, *args, **kwargs):
        if any(isinstance(each, str) and "//" in each for each in (key, *args)):
            raise InvalidKeyError("no empty segments here")
        return getattr(MemoryBackend, name)(self, key, *args, **kwargs)

    return method


for _name in ("read", "stream", "stat", "put", "delete", "copy"):
    setattr(Picky, _name, _picky(_name))


def test_a_key_that_the_new_storage_cannot_hold_lies_in_the_old():
    sides = Sides(Picky("new"))
    sides.old.backend.put("a//b", BytesSource(b"odd"), PutOptions())
    assert names(sides.store.list()) == ["a//b"]
    assert sides.store.get("a//b") == b"odd"
    assert b"".join(sides.store.stream("a//b")) == b"odd"
    assert sides.store.get("a//b", if_match=sides.store.stat("a//b").etag) == b"odd"
    assert [each.value for each in sides.store.get_many(["a//b"])] == [b"odd"]
    sides.store.copy("a//b", "c")
    assert sides.new.get("c") == b"odd"
    for source in ("c", "gone"):
        with pytest.raises(InvalidKeyError if source == "c" else NotFoundError):
            sides.layer.copy(source, "x//y", CopyOptions())
    for call in (sides.store.get, sides.store.stat):
        with pytest.raises(NotFoundError):
            call("gone//gone")
    sides.store.rename("a//b", "d")
    assert names(sides.store.list()) == ["c", "d"]
    sides.store.delete("gone//gone")


def test_a_key_that_the_old_storage_cannot_hold_lies_in_the_new():
    sides = Sides(old=Picky("old"))
    sides.layer.put("a//b", BytesSource(b"odd"), PutOptions(if_absent=True))
    assert sides.store.get("a//b") == b"odd"
    for call in (sides.store.get, sides.store.stat, lambda key: sides.store.get(key, if_match="x")):
        with pytest.raises(NotFoundError):
            call("gone//gone")
    sides.store.delete("a//b", missing_ok=False)
    assert not sides.store.exists("a//b")


# ---- listing


def names(entries):
    return [each.prefix if isinstance(each, Folder) else each.key for each in entries]


def test_listings_are_merged_and_the_new_one_wins(sides):
    sides.new.put("d/new", b"")
    sides.old.put("d/old", b"")
    sides.old.put("e/old", b"")
    assert names(sides.store.list()) == ["both", "d/new", "d/old", "e/old", "new", "old"]
    assert next(sides.store.list("both")).etag == sides.new.stat("both").etag
    assert names(sides.store.list("d/")) == ["d/new", "d/old"]
    assert names(sides.store.list(start_after="d/new")) == ["d/old", "e/old", "new", "old"]
    assert names(sides.store.list_dir()) == ["both", "d/", "e/", "new", "old"]
    assert names(sides.store.list_dir(start_after="d/")) == ["e/", "new", "old"]
    listed = {info.key: info.etag for info in sides.store.list()}
    assert listed == {key: sides.store.stat(key).etag for key in listed}


@given(
    st.dictionaries(
        st.sampled_from(["a", "a/b", "a-", "é", "\uffff", "😀", "z"]), st.sampled_from(["new", "old", "both"])
    )
)
def test_any_merge_is_sorted_and_complete(where):
    sides = Sides()
    for key, side in where.items():
        for storage, name in ((sides.new, "new"), (sides.old, "old")):
            if side in {name, "both"}:
                storage.put(key, name.encode())
    infos = [*sides.store.list()]
    assert [info.key for info in infos] == sorted(where, key=str.encode)
    assert {info.key: sides.store.get(info.key) for info in infos} == {
        key: b"old" if side == "old" else b"new" for key, side in where.items()
    }


def test_a_listing_asks_for_what_is_wanted_and_holds_nothing():
    """A million entries a side, of which a few are looked at; and many, of which none are kept."""

    class Endless(MemoryBackend):
        pulled = 0

        def list(self, prefix, options):
            for number in range(4000):
                self.pulled += 1
                yield ObjectInfo(f"{number:09}{self.description[-3:]}", 1)

    new, old = Endless("new"), Endless("old")
    store = Storage(MigratingLayer(new, old))
    listing = store.list()
    assert [info.key[-3:] for info in islice(listing, 4)] == ["new", "old"] * 2
    assert max(new.pulled, old.pulled) <= 3
    listing.close()
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.list()) == 8000
        assert tracemalloc.get_traced_memory()[1] < 60_000
    finally:
        tracemalloc.stop()


# ---- ETags


@given(st.text(max_size=5) | st.sampled_from(["~old", "~new", "x~old", "x~new~new", 'W/"1"', "x~old~new"]))
def test_tokens_come_back_as_they_were_and_name_one_storage(etag):
    new, old = told_of_new(ObjectInfo("k", etag=etag)).etag, told_of_old(ObjectInfo("k", etag=etag)).etag
    assert (of_new(new), of_old(new)) == (etag, None)
    assert (of_new(old), of_old(old)) == (None, etag)


def test_the_same_etag_in_both_is_two_tokens(sides):
    """Both count their writes: the first object of each has the same ETag, and other content."""
    assert sides.new.stat("new").etag == sides.old.stat("old").etag
    token = sides.store.stat("old").etag
    assert token != sides.store.stat("new").etag
    assert sides.store.get("old", if_match=token) == b"in the old"
    with pytest.raises(NotModifiedError):
        sides.store.get("old", if_none_match=token)
    for wrong in (sides.old.stat("old").etag, "made-up", "made-up~old"):
        with pytest.raises(PreconditionError):
            sides.store.get("old", if_match=wrong)
        assert sides.store.get("old", if_none_match=wrong) == b"in the old"
    with pytest.raises(NotFoundError):
        sides.store.get("gone", if_match=token)
    with pytest.raises(PreconditionError):
        sides.store.get("both", if_match=sides.old.stat("both").etag + "~old")


def test_a_migration_of_a_migration_tells_three_storages_apart():
    first, second, third = MemoryBackend("1"), MemoryBackend("2"), MemoryBackend("3")
    for number, each in enumerate((first, second, third)):
        Storage(each).put(f"k{number}", b"")
    for stack in (
        MigratingLayer(MigratingLayer(third, second), first),
        MigratingLayer(third, MigratingLayer(second, first)),
    ):
        store = Storage(stack)
        tokens = [store.stat(f"k{number}").etag for number in range(3)]
        assert len(set(tokens)) == 3
        for number, token in enumerate(tokens):
            assert store.get(f"k{number}", if_match=token) == b""
            with pytest.raises(PreconditionError):
                store.get(f"k{number}", if_match=tokens[number - 1])
        for number, token in enumerate(tokens):
            with pytest.raises(PreconditionError):
                store.put(f"k{number}", b"", if_match=tokens[number - 1])
            written = store.put(f"k{number}", b"", if_match=token)
            store.delete(f"k{number}", if_match=written.etag)
            Storage((first, second, third)[number]).put(f"k{number}", b"")


def test_a_version_of_the_old_storage_would_name_nothing():
    sides = Sides(old=MemoryBackend("old", versioning=True))
    assert sides.old.put("k", b"1").version is not None
    assert sides.store.stat("k").version is None
    sides.store.delete("k")
    assert not sides.store.exists("k")
    with pytest.raises(UnsupportedError):
        sides.store.stat("k", version="1")


def test_a_digest_is_that_of_the_storage_that_the_token_is_of(sides):
    layer = MigratingLayer(ChecksumLayer(sides.new.backend), ChecksumLayer(sides.old.backend))
    store = Storage(layer)
    store.put("both", b"newest")
    Storage(layer.old).put("old", b"1")
    for key, data in (("both", b"newest"), ("old", b"1")):
        wanted = ReadOptions(if_match=store.stat(key).etag)
        assert layer.content_checksum(key, wanted) == Checksum("blake3", blake3(data).digest())


# ---- writing


def test_writes_go_to_the_new_storage(sides):
    sides.store.put("old", b"again")
    assert (sides.new.get("old"), sides.old.get("old")) == (b"again", b"in the old")
    assert sides.store.get("old") == b"again"
    assert "put" not in sides.old_log.calls


def test_create_only_looks_at_both(sides):
    for key in ("new", "old", "both"):
        source = Unread()
        with pytest.raises(AlreadyExistsError):
            sides.store.put(key, source, if_absent=True)
        assert not source.touched or key == "new"
        [outcome] = sides.store.put_many([(key, b"x")], if_absent=True)
        assert isinstance(outcome.error, AlreadyExistsError)
    assert sides.new.exists("old") is False
    sides.store.put("fresh", b"x", if_absent=True)
    sides.store.put_many([("fresher", b"x")], if_absent=True).run()
    assert sides.new.get("fresh") == sides.new.get("fresher") == b"x"


def test_a_write_over_an_object_of_the_old_storage_on_condition(sides):
    token = sides.store.stat("old").etag
    for wrong in (sides.old.stat("old").etag, "x~old", sides.store.stat("new").etag):
        with pytest.raises(PreconditionError):
            sides.store.put("old", b"x", if_match=wrong)
    info = sides.store.put("old", b"first", if_match=token)
    with pytest.raises(PreconditionError):
        sides.store.put("old", b"second", if_match=token)
    sides.store.put("old", b"second", if_match=info.etag)
    assert sides.store.get("old") == b"second"
    assert sides.old.get("old") == b"in the old"


def test_a_late_token_of_the_old_storage_writes_nothing(sides):
    """The object was brought over, or overwritten, since it was looked at."""
    token = sides.store.stat("old").etag
    sides.new.put("old", b"in the old")
    with pytest.raises(PreconditionError):
        sides.store.put("old", b"x", if_match=token)
    with pytest.raises(PreconditionError):
        sides.store.delete("old", if_match=token)
    with pytest.raises(PreconditionError):
        sides.store.get("old", if_match=token)
    assert sides.new.get("old") == sides.old.get("old") == b"in the old"


# ---- deleting


@pytest.mark.parametrize("key", ["new", "old", "both", "gone"])
@pytest.mark.parametrize("many", [False, True])
def test_deletes_go_to_both(sides, key, many):
    if many:
        sides.store.delete_many([key]).run()
    else:
        sides.store.delete(key)
    assert not sides.new.exists(key)
    assert not sides.old.exists(key)


@pytest.mark.parametrize("key", ["new", "old", "both", "gone"])
def test_strict_deletes_tell_what_was_nowhere(sides, key):
    if key == "gone":
        with pytest.raises(NotFoundError):
            sides.store.delete(key, missing_ok=False)
        [outcome] = sides.store.delete_many([key], missing_ok=False)
        assert isinstance(outcome.error, NotFoundError)
        return
    sides.store.delete(key, missing_ok=False)
    assert not sides.store.exists(key)


def test_deletes_on_condition_change_nothing_where_they_fail(sides):
    stale = sides.old.stat("both").etag
    for key in ("new", "old", "both", "gone"):
        for wrong in ("x", "x~old", f"{stale}~old") if key != "old" else ("x", "x~old", sides.old.stat("old").etag):
            with pytest.raises(PreconditionError):
                sides.store.delete(key, if_match=wrong)
    assert names(sides.old.list()) == ["both", "old"]
    assert names(sides.new.list()) == ["both", "new"]
    for key in ("new", "old", "both"):
        sides.store.delete(key, if_match=sides.store.stat(key).etag)
    assert [*sides.store.list()] == []


class TestAReadOnlyOldStorage:
    @pytest.fixture
    def sides(self):
        inner = MemoryBackend("old")
        Storage(inner).put("old", b"1")
        Storage(inner).put("both", b"stale")
        found = Sides(old=ReadOnlyLayer(inner))
        found.new.put("both", b"2")
        found.new.put("new", b"3")
        return found

    @pytest.mark.parametrize("key", ["old", "both"])
    def test_what_it_has_is_not_deleted(self, sides, key):
        before = sides.store.get(key)
        for conditions in ({}, {"missing_ok": False}, {"if_match": sides.store.stat(key).etag}):
            with pytest.raises(PermissionDeniedError, match="delete it when the migration is over") as caught:
                sides.store.delete(key, **conditions)
            assert caught.value.store == "memory://old"
        [outcome] = sides.store.delete_many([key])
        assert isinstance(outcome.error, PermissionDeniedError)
        assert sides.store.get(key) == before

    def test_all_else_is(self, sides):
        sides.store.delete("new", missing_ok=False)
        sides.store.delete("gone")
        sides.store.delete_many(["gone"]).run()
        with pytest.raises(NotFoundError):
            sides.store.delete("gone", missing_ok=False)
        assert names(sides.store.list()) == ["both", "old"]

    def test_a_condition_on_what_it_never_had(self, sides):
        with pytest.raises(PreconditionError):
            sides.store.delete("gone", if_match="x~old")


# ---- copying and moving


def test_a_copy_within_the_new_storage_stays_there(sides):
    sides.store.copy("new", "target")
    assert sides.new.get("target") == b"in the new"
    assert sides.calls == (["copy"], [])


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_copy_out_of_the_old_storage_takes_its_attributes_along(sides, size):
    sides.old.put("old", content(size), attributes=ATTRIBUTES)
    info = sides.store.copy("old", "target")
    assert sides.new.get("target") == content(size)
    assert sides.new.stat("target").attributes == ATTRIBUTES
    assert info.etag == sides.store.stat("target").etag
    sides.store.copy("old", "old", attributes=Attributes(content_type="text/plain"))
    assert sides.store.stat("old").attributes == Attributes(content_type="text/plain")
    assert sides.store.get("old") == content(size)
    assert sides.old.stat("old").attributes == ATTRIBUTES


def test_the_storage_class_stays_behind_and_what_cannot_be_kept_is_told(tmp_path):
    sides = Sides(WithoutCapabilities(MemoryBackend("new")))
    sides.old.put("k", b"1", attributes=Attributes(storage_class="COLD", tags={"a": "b"}))
    sides.store.copy("k", "l")
    assert sides.new.stat("l").attributes == Attributes(tags={"a": "b"})
    local = Sides(LocalBackend(tmp_path, durability="none"))
    local.old.put("k", b"1", attributes=Attributes(storage_class="COLD", content_type="a/b"))
    local.store.copy("k", "l")
    assert local.new.stat("l").attributes == Attributes(content_type="a/b")
    few = Sides(WithoutCapabilities(MemoryBackend("new"), "attributes"))
    few.old.put("k", b"1", attributes=Attributes(tags={"a": "b"}))
    with pytest.raises(UnsupportedError, match="does not keep tags; say with attributes="):
        few.store.copy("k", "l")
    assert few.store.copy("k", "l", attributes=Attributes()).size == 1


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_copy_is_never_of_two_objects(sides, size):
    """The rule is broken, and somebody writes to the old storage between the look and the read."""

    def write(name):
        if name in {"read", "stream"}:
            sides.old.put("old", content(size, 1))

    sides.old.put("old", content(size))
    store = Storage(MigratingLayer(sides.new.backend, CallLog(sides.old.backend, write)))
    with pytest.raises(PreconditionError):
        store.copy("old", "target")
    assert not sides.new.exists("target")


def test_what_layers_keep_with_an_object_comes_along(sides):
    store = Storage(ChecksumLayer(sides.layer, ChecksumConfig(missing="refuse")))
    Storage(ChecksumLayer(sides.old.backend)).put("k", b"1")
    store.copy("k", "l")
    store.copy("k", "k", attributes=ATTRIBUTES)
    for key in ("k", "l"):
        assert store.get(key) == sides.new.get(key) == b"1"
        assert store.stat(key).checksum == Checksum("blake3", blake3(b"1").digest())


def test_copies_that_must_not_overwrite_look_at_both(sides):
    for target in ("new", "old", "both"):
        for source in ("new", "old"):
            with pytest.raises(AlreadyExistsError):
                sides.store.copy(source, target, if_absent=True)
    for number, source in enumerate(("new", "old")):
        sides.store.copy(source, f"n{number}", if_absent=True)
    assert (sides.new.get("n0"), sides.new.get("n1")) == (b"in the new", b"in the old")
    with pytest.raises(NotFoundError):
        sides.store.copy("gone", "n2")


def test_a_copy_onto_itself_does_not_undo_what_is_written_meanwhile(sides):
    def written_meanwhile(name):
        if name == "put":
            sides.new.put("old", b"newer")

    layer = MigratingLayer(CallLog(sides.new.backend, written_meanwhile), sides.old.backend)
    Storage(layer).copy("old", "old", attributes=Attributes(content_type="a/b"))
    assert sides.store.get("old") == b"newer"
    assert sides.store.stat("old").attributes == Attributes(content_type="a/b")


@pytest.mark.parametrize("source", ["new", "old", "both"])
@pytest.mark.parametrize("target", ["old", "both", "fresh"])
def test_moves_leave_nothing_behind_in_either(sides, source, target):
    data, attributes = sides.store.get(source), sides.store.stat(source).attributes
    sides.store.rename(source, target)
    assert sides.store.get(target) == data
    assert sides.store.stat(target).attributes == attributes
    if source != target:
        assert not sides.store.exists(source)
        assert not sides.new.exists(source)
        assert not sides.old.exists(source)


# ---- what goes wrong

ERRORS = [ConnectionLostError, ThrottledError, PermissionDeniedError, StorageError, BucketNotFoundError]


def failing(storage, error):
    def fail(name):
        raise error("it went wrong")

    return CallLog(storage.backend, fail)


@pytest.mark.parametrize("error", ERRORS)
def test_what_the_new_storage_does_not_prove_is_never_asked_of_the_old(sides, error):
    """However it fails, no stale object of the old storage is shown, deleted, or taken for absent."""
    before = {info.key: sides.old.get(info.key) for info in sides.old.list()}
    old = CallLog(sides.old.backend)
    store = Storage(MigratingLayer(failing(sides.new, error), old))
    calls = [
        lambda: store.get("both"),
        lambda: store.get("both", if_none_match="x"),
        lambda: store.get("both", if_match="x~old"),
        lambda: store.stream("both"),
        lambda: store.stat("both"),
        lambda: store.exists("both"),
        lambda: store.open("both"),
        lambda: store.presign("both"),
        lambda: store.copy("both", "target"),
        lambda: store.put("both", b"x"),
        lambda: store.delete("both", if_match="x"),
        lambda: store.delete("both", if_match="x~old"),
        lambda: next(store.list()),
        lambda: next(store.list_dir()),
        lambda: [*store.get_many(["both"])],
        lambda: [*store.stat_many(["both"])],
        store.create,
    ]
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert caught.value.store == "memory://new"
    assert old.calls == []
    assert {info.key: sides.old.get(info.key) for info in sides.old.list()} == before


@pytest.mark.parametrize("error", ERRORS)
def test_an_old_storage_that_fails_is_named_and_proves_nothing(sides, error):
    store = Storage(MigratingLayer(sides.new.backend, failing(sides.old, error)))
    calls = [
        lambda: store.get("old"),
        lambda: store.get("old", if_match="x"),
        lambda: store.stream("old"),
        lambda: store.stat("old"),
        lambda: store.exists("old"),
        lambda: store.copy("old", "target"),
        lambda: store.copy("new", "target", if_absent=True),
        lambda: store.put("old", b"x", if_absent=True),
        lambda: store.put("old", b"x", if_match="x~old"),
        lambda: store.delete("both"),
        lambda: store.delete("both", missing_ok=False),
        lambda: [*store.list()],
        lambda: [*store.list_dir()],
    ]
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert caught.value.store == "memory://old"
    for key, data in (("new", b"in the new"), ("both", b"newer")):
        assert store.get(key) == data
        assert store.stat(key).size == len(data)
    assert store.put("new", b"more", if_match=store.stat("new").etag).size == 4


def test_a_body_of_the_old_storage_that_breaks_names_it(sides):
    class Breaking(MemoryBackend):
        def stream(self, key, options):
            body = super().stream(key, options)
            broken = type("Broken", (type(body),), {"__iter__": lambda _: self.broken()})
            body.__class__ = broken
            return body

        def broken(self):
            yield b"in"
            raise ConnectionLostError("it broke off")

    old = Breaking("breaking")
    Storage(old).put("old", b"in the old")
    store = Storage(MigratingLayer(MemoryBackend("new"), old))
    with pytest.raises(ConnectionLostError) as caught:
        b"".join(store.stream("old"))
    assert (caught.value.store, caught.value.key) == ("memory://breaking", "old")


# ---- links


def test_links_lead_to_where_the_object_lies(sides):
    new, old = sides.new.backend, sides.old.backend
    assert new.redeem(sides.store.presign("both")).data == b"newer"
    assert old.redeem(sides.store.presign("old")).data == b"in the old"
    assert sides.new_log.calls == ["stat", "presign", "stat"]
    new.redeem(sides.store.presign("old", method="PUT"), "PUT", b"by a link")
    assert sides.store.get("old") == b"by a link"
    with pytest.raises(UnsupportedError):
        sides.store.presign("old", method="DELETE")
    without = Sides(old=WithoutCapabilities(MemoryBackend("old"), "presign"))
    assert without.store.capabilities.presign == {"PUT"}


# ---- bringing over what is read


class TestCopyOnRead:
    @pytest.fixture
    def sides(self):
        found = Sides(copy_on_read=True)
        found.old.put("old", b"in the old", attributes=ATTRIBUTES)
        return found

    @pytest.mark.parametrize("how", ["get", "stream", "many"])
    def test_what_is_read_whole_is_brought_over(self, sides, how):
        reads = {
            "get": sides.store.get,
            "stream": lambda key: b"".join(sides.store.stream(key)),
            "many": lambda key: next(iter(sides.store.get_many([key]))).value,
        }
        assert reads[how]("old") == b"in the old"
        assert sides.new.get("old") == sides.old.get("old") == b"in the old"
        assert sides.new.stat("old").attributes == ATTRIBUTES
        sides.old_log.calls.clear()
        assert reads[how]("old") == b"in the old"
        assert sides.old_log.calls == []

    def test_the_etag_that_is_told_is_the_new_one(self, sides):
        with sides.store.stream("old") as stream:
            assert sides.store.put("old", b"x", if_match=stream.info.etag).size == 1

    def test_what_is_looked_at_in_part_stays(self, sides):
        sides.store.get("old", offset=3)
        sides.store.stat("old")
        sides.store.get("old", if_match=sides.store.stat("old").etag)
        with pytest.raises(NotFoundError):
            sides.store.get("gone")
        assert [*sides.new.list()] == []

    @pytest.mark.parametrize("error", [UnavailableError, PermissionDeniedError, CapacityError])
    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_reader_does_not_mind_what_hinders_it(self, sides, error, streamed):
        def fail(name):
            if name == "put":
                raise error("no")

        layer = MigratingLayer(CallLog(sides.new.backend, fail), sides.old.backend, MigratingConfig(copy_on_read=True))
        store, events = Storage(layer), []
        with on_event(events.append):
            assert (b"".join(store.stream("old")) if streamed else store.get("old")) == b"in the old"
        assert [(event.kind, event.key) for event in events] == [("migrating.left", "old")]

    @pytest.mark.parametrize("streamed", [False, True])
    def test_what_is_written_meanwhile_wins(self, sides, streamed):
        def write(name):
            if name == "put":
                sides.new.put("old", b"newer")

        layer = MigratingLayer(CallLog(sides.new.backend, write), sides.old.backend, MigratingConfig(copy_on_read=True))
        store = Storage(layer)
        found = b"".join(store.stream("old")) if streamed else store.get("old")
        assert found in {b"in the old", b"newer"}
        assert store.get("old") == b"newer"

    def test_what_is_deleted_meanwhile_does_not_come_back(self, sides):
        def delete(name):
            if name == "put":
                sides.layer.delete("old", DeleteOptions())

        layer = MigratingLayer(
            CallLog(sides.new.backend, delete), sides.old.backend, MigratingConfig(copy_on_read=True)
        )
        assert Storage(layer).get("old") == b"in the old"
        assert not sides.store.exists("old")

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_copy_whose_answer_got_lost_does_not_bring_back_what_is_deleted(self, sides, streamed):
        found, events = self.brought(sides, lambda: sides.old.delete("old"), lost=True, streamed=streamed)
        # A stream is opened again after the copy, where nothing is any more.
        assert found == (None if streamed else b"in the old")
        assert not sides.new.exists("old")
        assert [event.kind for event in events] == ["migrating.left"]

    def test_what_somebody_else_has_written_meanwhile_is_not_taken_for_the_copy(self, sides):
        def overwrite():
            sides.old.delete("old")
            sides.new.put("old", b"newer")

        self.brought(sides, overwrite, lost=True)
        assert sides.new.get("old") == b"newer"

    def test_a_copy_whose_answer_got_lost_stays_where_the_object_is(self, sides):
        assert self.brought(sides, lambda: None, lost=True)[0] == b"in the old"
        assert sides.new.get("old") == b"in the old"

    def test_a_copy_only_stays_where_the_old_storage_is_proven_to_have_the_object(self, sides):
        def fail(name):
            if name == "stat":
                raise ConnectionLostError("gone")

        found, events = self.brought(sides, lambda: None, old=CallLog(sides.old.backend, fail))
        assert found == b"in the old"
        assert not sides.new.exists("old")
        assert [(event.kind, "gone" in event.message) for event in events] == [("migrating.left", True)]

    def test_nothing_is_deleted_without_an_etag(self, sides):
        class Untold(MemoryBackend):
            def put(self, key, source, options):
                return replace(super().put(key, source, options), etag=None)

            def delete(self, key, options):
                assert options.if_match is not None
                super().delete(key, options)

        new = Untold("untold")
        found, events = self.brought(sides, lambda: sides.old.delete("old"), new=new)
        assert (found, events) == (b"in the old", [])
        assert not Storage(new).exists("old")

    def test_a_copy_that_cannot_be_taken_away_is_told(self, sides):
        def fail(name):
            if name == "delete":
                raise UnavailableError("no deletes now")

        new = CallLog(sides.new.backend, fail)
        _, (event,) = self.brought(sides, lambda: sides.old.delete("old"), new=new)
        assert event.kind == "migrating.left"
        assert "its copy could not be taken away: no deletes now" in event.message

    @pytest.mark.parametrize("at", ["put", "stat", "delete"])
    def test_the_end_of_a_scope_is_the_readers_matter(self, sides, at):
        def end(name):
            if name == at:
                inside.cancel()
                inside.check()

        new, old = CallLog(sides.new.backend, end), CallLog(sides.old.backend, end)
        with scope() as inside, pytest.raises(CancelledError):
            self.brought(sides, lambda: sides.old.delete("old"), new=new, old=old)

    def brought(self, sides, meanwhile, *, lost=False, streamed=False, new=None, old=None):
        """What a read gives, and the events, where something happens when the copy is stored."""

        class Meeting(Layer):
            layer_name = "meeting"

            def put(self, key, source, options):
                info = self.inner.put(key, source, options)
                meanwhile()
                if lost:
                    raise ConnectionLostError("the answer got lost")
                return info

        config, events = MigratingConfig(copy_on_read=True), []
        store = Storage(MigratingLayer(Meeting(new or sides.new.backend, config), old or sides.old.backend, config))
        with on_event(events.append):
            try:
                return (b"".join(store.stream("old")) if streamed else store.get("old")), events
            except NotFoundError:
                return None, events

    def test_readers_and_a_deleter_at_once_leave_nothing(self):
        for _ in range(20):
            sides = Sides(copy_on_read=True)
            sides.old.put("k", b"1")
            with ThreadPoolExecutor(4) as threads:
                reads = [threads.submit(sides.store.exists, "k") for _ in range(2)]
                reads += [threads.submit(list, sides.store.get_many(["k"] * 3)) for _ in range(3)]
                threads.submit(sides.store.delete, "k").result()
                for each in reads:
                    each.result()
            assert [*sides.store.list()] == []

    @pytest.mark.parametrize("lacking", ["if_absent", "delete_if_match"])
    def test_a_storage_where_it_could_undo_a_write_is_refused(self, lacking):
        new = WithoutCapabilities(MemoryBackend("new"), lacking)
        with pytest.raises(ConfigError, match="copy_on_read needs"):
            MigratingLayer(new, MemoryBackend("old"), MigratingConfig(copy_on_read=True))


# ---- capabilities, configuration


def test_capabilities_are_what_holds_wherever_an_object_lies():
    old = WithoutCapabilities(
        MemoryBackend("old"), "delete_if_match", "read_conditions", "batch", "exact_etags", "if_absent"
    )
    capabilities = MigratingLayer(MemoryBackend("new"), old).capabilities
    assert not capabilities.delete_if_match
    assert not capabilities.read_conditions
    assert not capabilities.batch
    assert not capabilities.exact_etags
    assert capabilities.if_absent
    new = WithoutCapabilities(MemoryBackend("new"), "if_absent")
    capabilities = MigratingLayer(new, MemoryBackend("old")).capabilities
    assert not capabilities.if_match
    assert not capabilities.copy_if_absent


def test_what_both_know_of_themselves_is_told(sides, tmp_path):
    local = LocalBackend(tmp_path / "missing")
    new, old = MigratingLayer(local, MemoryBackend("old")), MigratingLayer(MemoryBackend("new"), local)
    told = [finding.name for finding in local.check()]
    assert told
    assert [finding.name for finding in new.check()] == told
    assert [finding.name for finding in old.check()] == [f"old storage: {name}" for name in told]


def test_what_either_keeps_of_an_object_is_forgotten():
    class Keeping(Layer):
        layer_name = "keeping"

        def __init__(self, inner):
            super().__init__(inner, MigratingConfig())
            self.forgotten = []

        def forget(self, key, version=None):
            self.forgotten.append(key)
            return key == "kept"

    new, old = Keeping(MemoryBackend("new")), Keeping(MemoryBackend("old"))
    for layer, keeping in ((MigratingLayer(new, old), [new, old]), (MigratingLayer(MemoryBackend("new"), old), [old])):
        assert layer.forget("kept") is True
        assert layer.forget("other") is False
        assert all(each.forgotten[-2:] == ["kept", "other"] for each in keeping)


def test_both_are_closed_whatever_the_first_says():
    class Sticky(MemoryBackend):
        closed = False

        def close(self):
            self.closed = True
            raise StorageError("it sticks")

    new, old = Sticky("new"), Sticky("old")
    with pytest.raises(StorageError):
        Storage(MigratingLayer(new, old)).close()
    assert new.closed
    assert old.closed


def test_a_profile_names_the_old_storage(tmp_path):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(
        f"""
[attic]
url = {json.dumps(str(tmp_path / "attic"))}

[media]
url = "memory://migrating-profile/folder"
[[media.layers]]
layer = "migrating"
old = "attic:sub"
copy_on_read = true
"""
    )
    environ = {"MGS_CONFIG": str(profiles)}
    with open_storage("attic:", environ=environ, create=True) as attic:
        attic.put("sub/k", b"from the attic")
    with open_storage("media:", environ=environ) as store:
        assert store.get("k") == b"from the attic"
        info = store.connection_info()
    again = ConnectionInfo.from_json(json.loads(json.dumps(info.to_json())))
    with open_storage(again) as store:
        assert [each.key for each in store.list()] == ["k"]
        assert isinstance(store.backend, MigratingLayer)
        assert isinstance(store.backend.old, PrefixLayer)
        assert "from <PrefixLayer 'sub/'" in repr(store.backend)
        assert store.connection_info() == info


def test_the_profile_that_a_cut_over_writes(tmp_path):
    """The old profile gets another name, and the new one names it: what asks for the profile goes on as before."""
    profiles = tmp_path / "profiles.toml"
    environ = {"MGS_CONFIG": str(profiles)}
    add_profile(Profile("media", "memory://cut-over-old"), profiles)
    with open_storage("media:", environ=environ) as store:
        store.put("k", b"1")
    rename_profile("media", "media-old", profiles)
    layers = ({"layer": "migrating", "old": "media-old:"},)
    add_profile(Profile("media", "memory://cut-over-new", layers=layers), profiles)
    with open_storage("media:", environ=environ) as store:
        assert store.get("k") == b"1"
        store.put("l", b"2")
    with open_storage("memory://cut-over-new") as store:
        assert [info.key for info in store.list()] == ["l"]


def test_a_pickle_reopens_both(tmp_path):
    for name in ("new", "old"):
        with open_storage(tmp_path / name, create=True) as store:
            store.put(name, name.encode())
    with open_storage(tmp_path / "new", layers=[{"layer": "migrating", "old": str(tmp_path / "old")}]) as store:
        again = pickle.loads(pickle.dumps(store))
        assert [again.get(info.key) for info in again.list()] == [b"new", b"old"]
        again.close()


def test_a_storage_that_is_or_holds_the_other_is_refused(tmp_path):
    bucket = MemoryBackend("bucket")
    (tmp_path / "link").symlink_to(".")
    pairs = [
        (bucket, bucket),
        (PrefixLayer(bucket, "projects/"), bucket),
        (bucket, PrefixLayer(bucket, "attic/")),
        (LocalBackend(tmp_path / "new"), LocalBackend(tmp_path / "link")),
    ]
    for new, old in pairs:
        with pytest.raises(ConfigError, match="one place, or one is in the other"):
            MigratingLayer(new, old)
    MigratingLayer(PrefixLayer(bucket, "projects/"), PrefixLayer(bucket, "attic/"))


def test_the_old_storage_has_to_be_named():
    with pytest.raises(ConfigError, match='old = "attic:"'):
        open_storage("memory://x", layers=["migrating"])
    with pytest.raises(ConfigError, match='old = "attic:"'):
        open_storage("memory://x", layers=[{"layer": "migrating", "old": ["memory://a", "memory://b"]}])
