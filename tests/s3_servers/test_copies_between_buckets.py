"""Many copies that a server makes itself, within a bucket and between two that the same credentials open."""

from __future__ import annotations

from collections import Counter

import pytest

from mediagit_storage.backend import DEFAULT_LIMITS, StatOperation
from mediagit_storage.backends.s3 import relocating
from mediagit_storage.errors import NotFoundError
from mediagit_storage.facets import Relocation
from mediagit_storage.storage import Storage
from mediagit_storage.tools.copying import CopyTask, copy_objects, move_objects
from mediagit_storage.types import Attributes

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
