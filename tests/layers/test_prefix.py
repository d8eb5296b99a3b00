"""Prefix: the same storage under longer keys, and nothing shows them."""

from __future__ import annotations

import threading

import pytest

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    ConfigError,
    NotFoundError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.types import (
    Attributes,
    ByteRange,
    CopyOptions,
    DeleteOptions,
    Folder,
    ListOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

PLAIN = PutOptions()


@pytest.fixture
def inner():
    return MemoryBackend("x", versioning=True)


@pytest.fixture
def layer(inner):
    return PrefixLayer(inner, "p/")


ALL = ListOptions()


def keys(backend, prefix="", options=ALL):
    return [info.key for info in backend.list(prefix, options)]


def put(backend, *several):
    for key in several:
        backend.put(key, BytesSource(key.encode()), PLAIN)


def test_objects_lie_under_the_longer_key(layer, inner):
    info = layer.put("a/b", BytesSource(b"data"), PutOptions(Attributes(content_type="x/y")))
    assert info.key == "a/b"
    assert keys(inner) == ["p/a/b"]
    content = layer.read("a/b", ReadOptions(ByteRange(1, 2)))
    assert (content.info.key, content.data, content.start, content.info.size) == ("a/b", b"at", 1, 4)
    assert content.info.attributes.content_type == "x/y"
    body = layer.stream("a/b", ReadOptions(ByteRange(suffix=3)))
    assert (body.info.key, body.start, body.length, b"".join(body)) == ("a/b", 1, 3, b"ata")
    body.close()
    stat, bare = layer.stat("a/b"), inner.stat("p/a/b")
    assert (stat.key, bare.key) == ("a/b", "p/a/b")
    assert (stat.size, stat.stored_size, stat.modified, stat.etag, stat.version, stat.attributes, stat.deleted) == (
        bare.size, bare.stored_size, bare.modified, bare.etag, bare.version, bare.attributes, bare.deleted,
    )  # fmt: skip
    assert layer.stat("a/b", stat.version).key == "a/b"


def test_it_only_concatenates(inner):
    put(inner, "p/a", "p2/a", "p", "p/", "q", "p/p/a", "p/p")
    assert keys(PrefixLayer(inner, "p/")) == ["a", "p", "p/a"]
    assert keys(PrefixLayer(inner, "p")) == ["/", "/a", "/p", "/p/a", "2/a"]
    assert PrefixLayer(inner, "p").stat("2/a").key == "2/a"
    assert keys(PrefixLayer(inner, "p/"), "p") == ["p", "p/a"]
    assert keys(PrefixLayer(PrefixLayer(inner, "p/"), "p/")) == ["a"]


def test_listings(inner, layer):
    put(inner, "p/a", "p/b/c", "p/b/d", "p/e", "o", "q")
    assert keys(layer, "b/") == ["b/c", "b/d"]
    assert keys(layer, "", ListOptions(start_after="a")) == ["b/c", "b/d", "e"]
    assert keys(layer, "", ListOptions(start_after="")) == ["a", "b/c", "b/d", "e"]
    assert keys(layer, "", ListOptions(start_after="b/c")) == ["b/d", "e"]
    level = list(layer.list_dir("", ListOptions()))
    assert [entry.prefix if isinstance(entry, Folder) else entry.key for entry in level] == ["a", "b/", "e"]
    assert [entry.key for entry in layer.list_dir("b/", ListOptions(start_after="b/c"))] == ["b/d"]


def test_versions_are_listed_under_the_callers_key(inner, layer):
    put(layer, "a", "a")
    layer.delete("a", DeleteOptions())
    found = list(layer.list("", ListOptions(versions=True)))
    assert [(info.key, info.deleted) for info in found] == [("a", True), ("a", False), ("a", False)]


def test_an_object_named_by_the_prefix_itself_has_no_key_here(inner, layer):
    put(inner, "p/", "p/a")
    assert keys(layer) == ["a"]
    assert [entry.key for entry in layer.list_dir("", ListOptions())] == ["a"]


def test_a_listing_that_is_closed_closes_the_inner_one(inner):
    closed: list[str] = []

    class Watched(MemoryBackend):
        def list(self, prefix, options):
            try:
                yield from super().list(prefix, options)
            finally:
                closed.append(prefix)

    watched = Watched("x")
    put(watched, "p/a", "p/b")
    listing = PrefixLayer(watched, "p/").list("", ListOptions())
    assert next(listing).key == "a"
    listing.close()
    assert closed == ["p/"]


def test_an_inner_storage_that_lists_strangers_is_an_error():
    class Loose(MemoryBackend):
        def list(self, prefix, options):
            return super().list("", options)

    loose = Loose("x")
    put(loose, "stranger")
    with pytest.raises(StorageError, match="'stranger', which does not start with the prefix 'p/'"):
        keys(PrefixLayer(loose, "p/"))


def test_copy_and_rename_lengthen_both_keys(layer, inner):
    put(layer, "a")
    assert layer.copy("a", "b", CopyOptions()).key == "b"
    assert layer.rename("a", "c").key == "c"
    assert keys(inner) == ["p/b", "p/c"]
    with pytest.raises(AlreadyExistsError):
        layer.copy("b", "c", CopyOptions(if_absent=True))
    with pytest.raises(AlreadyExistsError):
        layer.rename("b", "c", if_absent=True)


def test_the_rest_is_under_the_longer_key_too(layer, inner):
    put(layer, "a")
    assert inner.redeem(layer.presign("a", PresignOptions())).data == b"a"
    info = layer.replace_head("a", b"XY", 1, if_match=layer.stat("a").etag)
    assert (info.key, inner.read("p/a", ReadOptions()).data) == ("a", b"XY")
    layer.delete("a", DeleteOptions())
    assert keys(inner) == []
    layer.create(versioning=False)
    assert list(layer.check()) == list(inner.check())


def test_unfinished_uploads(layer, inner):
    arrived, go = threading.Event(), threading.Event()

    def pieces():
        yield b"a"
        arrived.set()
        go.wait(30)

    errors: list[Exception] = []

    def upload():
        try:
            layer.put("up", IterableSource(pieces()), PLAIN)
        except StorageError as error:
            errors.append(error)

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        assert arrived.wait(30)
        found = list(layer.pending_uploads("u"))
        assert [upload.key for upload in found] == ["up"]
        assert list(layer.pending_uploads("x")) == []
        assert [upload.key for upload in inner.pending_uploads("")] == ["p/up"]
        layer.abort_upload(found[0])
    finally:
        go.set()
        thread.join()
    assert len(errors) == 1
    assert keys(inner) == []


def test_a_batch_is_mapped_item_by_item(layer, inner):
    put(layer, "a")
    same = ReadOperation("a")
    operations = [
        PutOperation("n", BytesSource(b"new")), None, same, same, ReadOperation("a"), StatOperation("n"),
        DeleteOperation("a"), ReadOperation("a"),
    ]  # fmt: skip
    completions = list(layer.batch(iter(operations), BatchLimits()))
    given = [operation for operation in operations if operation is not None]
    assert all(done.operation is operation for done, operation in zip(completions, given, strict=True))
    put_done, read, again, third, stat, delete, missing = completions
    assert put_done.value.key == stat.value.key == "n"
    assert read.value.info.key == again.value.info.key == third.value.info.key == "a"
    assert (read.value.data, delete.value) == (b"a", None)
    assert isinstance(missing.error, NotFoundError)
    assert keys(inner) == ["p/n"]


def test_a_batch_is_lazy_and_closes(layer):
    put(layer, "a")
    pulled: list[int] = []

    def operations():
        for number in range(1000):
            pulled.append(number)
            yield ReadOperation("a")

    batch = layer.batch(operations(), BatchLimits(concurrency=4))
    next(batch)
    next(batch)
    assert len(pulled) < 20
    batch.close()


class BrokenBody(Body):
    """Ends in an error that names the key."""

    start, length = 0, 2

    def __init__(self, key):
        self.info = ObjectInfo(key, 2)

    def __iter__(self):
        yield b"a"
        raise UnavailableError("broken", key=self.info.key)

    def close(self):
        """Holds nothing."""


class Failing(MemoryBackend):
    """Names the key it was given in every error."""

    def _fail(self, key):
        raise UnavailableError("broken", key=key)

    def put(self, key, source, options):
        self._fail(key)

    def read(self, key, options):
        self._fail(key)

    delete = presign = read

    def stat(self, key, version=None):
        self._fail(key)

    def stream(self, key, options):
        return BrokenBody(key)

    def copy(self, source, target, options):
        self._fail(target)

    def rename(self, source, target, *, if_absent=False):
        self._fail(source)

    def replace_head(self, key, head, old_length, *, if_match):
        self._fail(key)

    def abort_upload(self, upload):
        self._fail(upload.key)

    def batch(self, operations, limits):
        for operation in operations:
            yield Completion(operation, None, UnavailableError("broken", key=operation.key))


CALLS = {
    "put": lambda layer: layer.put("p/k", BytesSource(b""), PLAIN),
    "read": lambda layer: layer.read("p/k", ReadOptions()),
    "stream": lambda layer: list(layer.stream("p/k", ReadOptions())),
    "stat": lambda layer: layer.stat("p/k"),
    "delete": lambda layer: layer.delete("p/k", DeleteOptions()),
    "copy": lambda layer: layer.copy("source", "p/k", CopyOptions()),
    "rename": lambda layer: layer.rename("p/k", "target"),
    "presign": lambda layer: layer.presign("p/k", PresignOptions()),
    "replace_head": lambda layer: layer.replace_head("p/k", b"", 0, if_match="e"),
}


@pytest.mark.parametrize("name", CALLS)
def test_errors_show_the_callers_key(name):
    with pytest.raises(UnavailableError) as caught:
        CALLS[name](PrefixLayer(Failing("x"), "p/"))
    assert caught.value.key == "p/k"


def test_errors_of_a_batch_show_the_callers_key():
    layer = PrefixLayer(Failing("x"), "p/")
    assert [done.error.key for done in layer.batch(iter([ReadOperation("k")]), BatchLimits())] == ["k"]


def test_errors_of_a_source_keep_their_own_key(layer):
    def pieces():
        yield b"a"
        raise NotFoundError("gone", key="p/other")

    with pytest.raises(NotFoundError) as caught:
        layer.put("k", IterableSource(pieces()), PLAIN)
    assert caught.value.key == "p/other"


def test_keys_get_shorter_by_the_prefix(inner):
    assert PrefixLayer(inner, "p/").capabilities.max_key_bytes == inner.capabilities.max_key_bytes - 2
    assert PrefixLayer(inner, "\u20ac").capabilities.max_key_bytes == inner.capabilities.max_key_bytes - 3
    with pytest.raises(ConfigError, match="no room"):
        PrefixLayer(inner, "p" * inner.capabilities.max_key_bytes)
    with pytest.raises(ConfigError, match="not empty"):
        PrefixLayer(inner, "")


def test_what_it_calls_itself(layer):
    assert layer.description == "memory://x/p/"
    assert repr(layer) == "<PrefixLayer 'p/' over <MemoryBackend memory://x>>"
    assert layer.connection_info().config["layers"] == [{"layer": "prefix", "prefix": "p/"}]


def test_through_a_storage():
    storage = Storage(MemoryBackend("x"))
    part = storage.with_prefix("p/")
    part.put("a", b"1")
    with pytest.raises(NotFoundError) as caught:
        part.get("missing")
    assert caught.value.key == "missing"
    assert [outcome.key for outcome in part.stat_many(["a", "missing"])] == ["a", "missing"]
    assert storage.get("p/a") == b"1"
    part.close()
    assert storage.get("p/a") == b"1"
