"""Moves that share their syncs: each is as good as a rename, none is told of before it is durable."""

import errno
import os

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import AlreadyExistsError, NotFoundError, StorageError
from mediagit_storage.facets import Relocation
from mediagit_storage.source import BytesSource
from mediagit_storage.testing.os_faults import Fault, FaultyOS, RecordingOS
from mediagit_storage.types import Attributes, ListOptions, PutOptions, ReadOptions


def put(backend, *keys):
    for key in keys:
        backend.put(key, BytesSource(key.encode()), PutOptions(Attributes(metadata={"of": key.replace("/", "-")})))


def keys(backend):
    return [info.key for info in backend.list("", ListOptions())]


def moves(*pairs, if_absent=False):
    return iter([Relocation(source, target, if_absent) for source, target in pairs])


def data(backend, key):
    return backend.read(key, ReadOptions()).data


@pytest.fixture(params=["plain", "sharded"])
def layout(request):
    return request.param


@pytest.mark.parametrize("if_absent", [False, True])
def test_many_moves_cost_two_or_three_syncs(root, layout, if_absent):
    system = RecordingOS()
    backend = LocalBackend(root, os=system, layout=layout)
    names = [f"a/{number:03}" for number in range(100)]
    put(backend, *names)
    before = [backend.stat(name) for name in names]
    system.calls.clear()
    done = [*backend.move_batch(moves(*((name, f"b/{name}") for name in names), if_absent=if_absent))]
    assert [each.error for each in done] == [None] * 100
    assert [each.info.etag for each in done] == [info.etag for info in before]
    assert [each.info.key for each in done] == [f"b/{name}" for name in names]
    assert keys(backend) == [f"b/{name}" for name in names]
    assert backend.stat("b/a/000").attributes == before[0].attributes
    assert system.names().count("syncfs") == (3 if if_absent else 2)
    assert system.names().count("fsync") <= 4  # the new folders
    assert layout == "sharded" or not (root / "a").exists()


def test_each_failure_is_its_own(root):
    backend = LocalBackend(root)
    put(backend, "a", "b", "c", "there")
    done = {
        each.operation.source: each
        for each in backend.move_batch(
            moves(("a", "x"), ("missing", "y"), ("b", "there"), ("no/folder", "z"), ("c", "x/under"), if_absent=True)
        )
    }
    assert done["a"].error is None
    assert isinstance(done["missing"].error, NotFoundError)
    assert isinstance(done["no/folder"].error, NotFoundError)
    assert isinstance(done["b"].error, AlreadyExistsError)
    assert done["c"].error is not None
    assert keys(backend) == ["b", "c", "there", "x"]


def test_what_is_more_than_another_name_is_done_alone_and_in_turn(root):
    backend = LocalBackend(root)
    put(backend, "folder/only", "x", "same")
    os.link(root / "same", root / "twin")
    pairs = (("folder/only", "moved"), ("x", "folder"), ("same", "twin"), ("moved", "moved"))
    done = [*backend.move_batch(moves(*pairs))]
    assert [each.error for each in done] == [None] * 4
    assert keys(backend) == ["folder", "moved", "twin"]
    assert data(backend, "folder") == b"x"
    assert data(backend, "moved") == b"folder/only"


def test_without_a_sync_of_the_whole_each_is_moved_alone(root):
    system = FaultyOS([Fault("syncfs", error=errno.ENOTSUP, persistent=True)])
    backend = LocalBackend(root, os=system)
    put(backend, "a/1", "a/2")
    assert [each.error for each in backend.move_batch(moves(("a/1", "b/1"), ("a/2", "b/2")))] == [None, None]
    assert keys(backend) == ["b/1", "b/2"]
    system.verify_all_used()


def test_a_sync_that_fails_is_told_of_every_object_of_its_group(root):
    system = FaultyOS([Fault("syncfs", nth=2, error=errno.EIO)])
    backend = LocalBackend(root, os=system)
    put(backend, "a/1", "a/2")
    done = [*backend.move_batch(moves(("a/1", "b/1"), ("a/2", "b/2"), if_absent=True))]
    assert all(isinstance(each.error, StorageError) for each in done)
    # Nothing is lost: both names are there.
    assert keys(backend) == ["a/1", "a/2", "b/1", "b/2"]
    system.verify_all_used()


def test_leaving_early_finishes_what_was_begun(root):
    system = RecordingOS()
    backend = LocalBackend(root, os=system)
    put(backend, "a/1", "a/2", "a/3")

    def endless():
        yield from moves(("a/1", "b/1"), ("missing", "x"), ("a/2", "b/2"), if_absent=True)

    results = backend.move_batch(endless())
    assert isinstance(next(results).error, NotFoundError)
    results.close()
    assert keys(backend) == ["a/2", "a/3", "b/1"]
    assert "syncfs" in system.names()


def test_without_durability_nothing_is_synced(root):
    system = RecordingOS()
    backend = LocalBackend(root, os=system, durability="none")
    put(backend, "a/1")
    assert [each.error for each in backend.move_batch(moves(("a/1", "b/1")))] == [None]
    assert not {"syncfs", "fsync"} & set(system.names())
