"""Many copies that a server makes itself, within a bucket and between two that the same credentials open."""

from __future__ import annotations

from collections import Counter

import pytest

from mediagit_storage.backend import DEFAULT_LIMITS, StatOperation
from mediagit_storage.backends.s3 import relocating
from mediagit_storage.errors import NotFoundError, PermissionDeniedError
from mediagit_storage.facets import Relocation
from mediagit_storage.storage import Storage
from mediagit_storage.tools.copying import CopyTask, copy_objects, move_objects
from mediagit_storage.types import Attributes, ObjectInfo

KEYS = [f"d/{number:03} é" for number in range(40)]


@pytest.fixture
def source(server, bucket, open_s3):
    store = Storage(open_s3(server, bucket))
    for key in KEYS:
        store.put(key, key.encode(), attributes=Attributes(content_type="text/x-a", metadata={"of": key[2:5]}))
    return store


@pytest.fixture
def other(server, new_bucket, open_s3):
    return Storage(open_s3(server, new_bucket(server)))


def tasks():
    return [CopyTask(key, f"to/{key}", len(key.encode())) for key in KEYS]


def held(store, prefix=""):
    return {info.key: store.get(info.key).decode() for info in store.list(prefix)}


@pytest.mark.parametrize("where", ["within", "between"])
@pytest.mark.parametrize("transfer", [copy_objects, move_objects])
def test_prefixes_are_copied_without_their_bytes_coming_here(source, other, where, transfer, monkeypatch):
    target = source if where == "within" else other
    assert target.backend.copies_from(source.backend)
    calls = Counter()
    for name in ("read", "stream", "put", "copy"):
        monkeypatch.setattr(type(source.backend), name, lambda *_, name=name: calls.update([name]))
    outcomes = list(transfer(source, target, tasks()))
    monkeypatch.undo()
    assert [each.error for each in outcomes] == [None] * len(KEYS)
    assert not calls
    assert held(target, "to/") == {f"to/{key}": key for key in KEYS}
    about = target.stat(f"to/{KEYS[7]}").attributes
    # rclone's server adds an entry of its own.
    assert (about.content_type, about.metadata["of"]) == ("text/x-a", "007")
    assert held(source, "d/") == ({} if transfer is move_objects else {key: key for key in KEYS})


def test_each_failure_is_its_own(source, monkeypatch):
    monkeypatch.setattr(relocating, "_GROUP", 3)
    pairs = [(KEYS[0], "x"), ("missing", "y"), (KEYS[1], KEYS[1]), *((key, f"z/{key}") for key in KEYS[2:6])]
    operations = iter([Relocation(*each) for each in pairs])
    done = {
        each.operation.source: each for each in source.backend.copy_batch(source.backend, operations, DEFAULT_LIMITS)
    }
    assert isinstance(done.pop("missing").error, NotFoundError)
    assert all(each.error is None and each.info is not None for each in done.values())
    assert done[KEYS[0]].etag == source.stat(KEYS[0]).etag
    assert source.get("x").decode() == KEYS[0]
    assert len(held(source, "z/")) == 4


def test_other_options_are_another_service(server, bucket, open_s3, source):
    slow = open_s3(server, bucket, part_size=6 * 1024 * 1024)
    assert not slow.copies_from(source.backend)
    (look,) = slow.batch(iter([StatOperation(KEYS[0])]), DEFAULT_LIMITS)
    assert look.error is None


def looked_at(store, monkeypatch):
    """The keys of objects that are looked at one by one from now on."""
    looks, batch = [], store.backend.batch

    def watched(operations, limits):
        return batch((looks.append(each.key) or each for each in operations), limits)

    monkeypatch.setattr(store.backend, "batch", watched)
    return looks


def test_what_a_listing_tells_of_is_not_looked_at_again(server, source, other, monkeypatch):
    looks = looked_at(source, monkeypatch)
    outcomes = {each.task.source: each for each in copy_objects(source, other, [*tasks(), CopyTask("e", "to/e", 1)])}
    assert isinstance(outcomes.pop("e").error, NotFoundError)
    assert [each.error for each in outcomes.values()] == [None] * len(KEYS)
    assert sorted(looks) == sorted(["e"] if source.backend.config.service != "seaweedfs" else [*KEYS, "e"])
    assert held(other, "to/") == {f"to/{key}": key for key in KEYS}
    etags = {info.key: info.etag for info in source.list()}
    assert {key: each.etag for key, each in outcomes.items()} == etags
    about = other.stat(f"to/{KEYS[7]}").attributes
    assert (about.content_type, about.metadata["of"]) == ("text/x-a", "007")


@pytest.mark.parametrize("server", ["moto", "localstack"], indirect=True)
def test_a_storage_class_that_a_listing_does_not_tell_of_is_asked_for(source, other, monkeypatch):
    source.put(KEYS[20], b"cold", attributes=Attributes(storage_class="STANDARD_IA"))
    looks = looked_at(source, monkeypatch)
    assert [each.error for each in copy_objects(source, other, tasks())] == [None] * len(KEYS)
    assert sorted(looks) == KEYS
    classes = {key: other.stat(f"to/{key}").attributes.storage_class for key in (KEYS[19], KEYS[20])}
    assert classes == {KEYS[19]: None, KEYS[20]: "STANDARD_IA"}


@pytest.mark.parametrize("server", ["moto"], indirect=True)
def test_who_may_not_list_copies_all_the_same(source, other, monkeypatch):
    def refused(prefix, start_after):
        raise PermissionDeniedError("no listings for you")
        yield

    monkeypatch.setattr(source.backend._lister, "standard", refused)
    assert [each.error for each in copy_objects(source, other, tasks())] == [None] * len(KEYS)


@pytest.mark.parametrize("server", ["moto"], indirect=True)
def test_a_listing_that_tells_of_little_is_not_gone_on_with(source, other, monkeypatch):
    pages = []

    def counted(prefix, start_after):
        for number in range(1000):
            pages.append(number)
            yield [ObjectInfo(f"d/000/{number:03}", 1, 1, etag="e"), source.stat(KEYS[number])]

    monkeypatch.setattr(source.backend._lister, "standard", counted)
    assert [each.error for each in copy_objects(source, other, tasks())] == [None] * len(KEYS)
    assert pages == [0]
    assert held(other, "to/") == {f"to/{key}": key for key in KEYS}


@pytest.mark.parametrize("server", ["localstack"], indirect=True)
def test_what_changed_since_it_was_listed_is_copied_as_it_is_now(source, other, monkeypatch):
    listed = source.backend._lister.standard

    def and_overwritten(prefix, start_after):
        for page in listed(prefix, start_after):
            source.put(KEYS[7], b"newer", attributes=Attributes(content_type="text/newer", storage_class="STANDARD_IA"))
            source.delete(KEYS[8])
            yield page

    monkeypatch.setattr(source.backend._lister, "standard", and_overwritten)
    outcomes = {each.task.source: each for each in copy_objects(source, other, tasks())}
    assert isinstance(outcomes.pop(KEYS[8]).error, NotFoundError)
    assert [each.error for each in outcomes.values()] == [None] * (len(KEYS) - 1)
    assert outcomes[KEYS[7]].etag == source.stat(KEYS[7]).etag
    assert other.get(f"to/{KEYS[7]}") == b"newer"
    about = other.stat(f"to/{KEYS[7]}").attributes
    assert (about.content_type, about.storage_class) == ("text/newer", "STANDARD_IA")


@pytest.mark.parametrize("server", ["moto"], indirect=True)
def test_an_object_that_is_copied_onto_itself_and_elsewhere_keeps_what_describes_it(source):
    pairs = [*((key, f"to/{key}") for key in KEYS), (KEYS[7], KEYS[7])]
    operations = (Relocation(*each) for each in pairs)
    done = [*source.backend.copy_batch(source.backend, operations, DEFAULT_LIMITS)]
    assert [each.error for each in done] == [None] * len(pairs)
    for key in (KEYS[7], f"to/{KEYS[7]}"):
        about = source.stat(key).attributes
        assert (about.content_type, about.metadata) == ("text/x-a", {"of": "007"})
