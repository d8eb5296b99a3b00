"""Read-only: what could change something is refused before the inner storage is asked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mediagit_storage.backend import (
    BatchLimits,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import NotFoundError, PermissionDeniedError
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.types import (
    CopyOptions,
    DeleteOptions,
    ListOptions,
    PendingUpload,
    PresignOptions,
    PutOptions,
    ReadOptions,
)


@pytest.fixture
def inner():
    backend = MemoryBackend("x")
    for key in ("a", "b/c"):
        backend.put(key, BytesSource(key.encode()), PutOptions())
    return backend


@pytest.fixture
def layer(inner):
    return ReadOnlyLayer(inner)


def never():
    raise AssertionError("the source was read")
    yield b""


MUTATORS = {
    "put": lambda layer: layer.put("n", IterableSource(never()), PutOptions()),
    "delete": lambda layer: layer.delete("a", DeleteOptions()),
    "copy": lambda layer: layer.copy("a", "n", CopyOptions()),
    "rename": lambda layer: layer.rename("a", "n"),
    "create": lambda layer: layer.create(versioning=True),
    "abort_upload": lambda layer: layer.abort_upload(PendingUpload("a", "id", datetime.now(UTC))),
    "replace_head": lambda layer: layer.replace_head("a", b"x", 1, if_match="e"),
    "presign": lambda layer: layer.presign("a", PresignOptions("PUT")),
}

READERS = {
    "capabilities", "description", "read", "stream", "stat", "list", "list_dir", "connection_info", "batch",
    "pending_uploads", "stat_upload", "content_checksum", "check", "close",
}  # fmt: skip


def test_every_method_of_the_contract_is_known_to_read_or_to_change():
    public = {name for name in vars(StorageBackend) if not name.startswith("_")}
    assert public == READERS | set(MUTATORS)


@pytest.mark.parametrize("name", MUTATORS)
def test_what_changes_is_refused_and_changes_nothing(layer, inner, name):
    before = list(inner.list("", ListOptions()))
    with pytest.raises(PermissionDeniedError, match="opened read-only"):
        MUTATORS[name](layer)
    assert list(inner.list("", ListOptions())) == before
    assert inner.read("a", ReadOptions()).data == b"a"


def test_a_missing_object_is_refused_as_well(layer):
    with pytest.raises(PermissionDeniedError):
        layer.delete("missing", DeleteOptions())


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_links_to_change_are_refused(layer, method):
    with pytest.raises(PermissionDeniedError):
        layer.presign("a", PresignOptions(method))


def test_reading_passes(layer, inner):
    assert layer.read("a", ReadOptions()).data == b"a"
    assert b"".join(layer.stream("b/c", ReadOptions())) == b"b/c"
    assert layer.stat("a").size == 1
    assert [info.key for info in layer.list("", ListOptions())] == ["a", "b/c"]
    assert len(list(layer.list_dir("", ListOptions()))) == 2
    assert list(layer.pending_uploads("")) == []
    assert inner.redeem(layer.presign("a", PresignOptions("GET"))).data == b"a"
    with pytest.raises(NotFoundError):
        layer.stat("missing")


def test_a_batch_refuses_item_by_item(layer, inner):
    operations = [
        PutOperation("n", IterableSource(never())),
        ReadOperation("a"),
        None,
        StatOperation("b/c"),
        DeleteOperation("a"),
        DeleteOperation("a"),
        None,
        ReadOperation("missing"),
        PutOperation("a", IterableSource(never())),
    ]
    completions = list(layer.batch(iter(operations), BatchLimits()))
    given = [operation for operation in operations if operation is not None]
    assert [completion.operation for completion in completions] == given
    assert all(done.operation is operation for done, operation in zip(completions, given, strict=True))
    kinds = [type(completion.error) for completion in completions]
    refused, fine = PermissionDeniedError, type(None)
    assert kinds == [refused, fine, fine, refused, refused, NotFoundError, refused]
    assert [info.key for info in inner.list("", ListOptions())] == ["a", "b/c"]


def test_a_batch_is_lazy_and_closes(layer):
    pulled: list[int] = []

    def operations():
        for number in range(1000):
            pulled.append(number)
            yield ReadOperation("a") if number % 2 else DeleteOperation("a")

    batch = layer.batch(operations(), BatchLimits(concurrency=4))
    for _ in range(4):
        next(batch)
    assert len(pulled) < 20
    batch.close()


def test_through_a_storage(inner):
    storage = Storage(ReadOnlyLayer(inner))
    for change in (
        lambda: storage.put("n", b"1"),
        lambda: storage.delete("a"),
        lambda: storage.copy("a", "n"),
        lambda: storage.rename("a", "n"),
        storage.create,
    ):
        with pytest.raises(PermissionDeniedError, match="read-only"):
            change()
    assert [type(outcome.error) for outcome in storage.put_many([("n", b"1")])] == [PermissionDeniedError]
    assert [type(outcome.error) for outcome in storage.delete_many(["a", "b"])] == [PermissionDeniedError] * 2
    assert [outcome.value for outcome in storage.get_many(["a", "b/c"])] == [b"a", b"b/c"]
