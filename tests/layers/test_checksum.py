"""The BLAKE3 that is kept with each object: what it finds, where it comes from, and what happens where there is none."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from blake3 import blake3

import mediagit_storage as mgs
from mediagit_storage import hashing
from mediagit_storage.backend import BatchLimits, Body, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import (
    ChecksumError,
    ConfigError,
    IntegrityError,
    InvalidRangeError,
    NotFoundError,
    PreconditionError,
    StorageError,
    TruncatedError,
    UnsupportedError,
)
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer, stored_checksum
from mediagit_storage.layers.checksum.bodies import VerifiedBody
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.source import BytesSource, FileSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.remote import Remote
from mediagit_storage.testing.sources import DeliberateError, failing
from mediagit_storage.testing.wrappers import WithoutCapabilities, without_batch
from mediagit_storage.types import (
    Attributes,
    ByteRange,
    Checksum,
    CopyOptions,
    ObjectInfo,
    PutOptions,
    ReadOptions,
)

DATA = b"what is kept"
NAME = "mgs-blake3"


def digest(data):
    return Checksum("blake3", blake3(data).digest())


class Bent(MemoryBackend):
    """Gives other bytes than it was handed, as ``bend`` says; sizes and metadata agree with them."""

    def __init__(self, bend=None):
        super().__init__()
        self.bend = bend

    def _find(self, key, version):
        found = super()._find(key, version)
        return found if self.bend is None else replace(found, data=self.bend(found.data))


def describe(inner, key, text):
    """Another text in the place of the digest."""
    inner.copy(key, key, CopyOptions(Attributes(metadata={} if text is None else {NAME: text})))


@pytest.fixture
def inner():
    return Bent()


@pytest.fixture
def store(inner):
    with Storage(ChecksumLayer(inner)) as opened:
        yield opened


@pytest.fixture
def strict(inner):
    with Storage(ChecksumLayer(inner, ChecksumConfig(missing="refuse"))) as opened:
        yield opened


def streamed(store, key, **options):
    return b"".join(store.stream(key, **options))


def downloaded(store, key, folder):
    store.download(key, folder / "file")
    return (folder / "file").read_bytes()


def read_through(store, key):
    with store.open(key) as file:
        return file.read()


def fetched(store, key):
    [outcome] = store.get_many([key])
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def ways(store, folder):
    """Every way to read an object whole."""
    return [
        lambda: store.get("k"),
        lambda: store.get("k", offset=0),
        lambda: store.get("k", suffix=1000),
        lambda: streamed(store, "k"),
        lambda: fetched(store, "k"),
        lambda: downloaded(store, "k", folder),
        lambda: read_through(store, "k"),
    ]


# ---- what is found


@covers(136)
def test_a_flip_of_any_bit_is_found_by_every_way_to_read(store, inner, tmp_path):
    store.put("k", DATA)
    for place in range(len(DATA) * 8):
        damaged = bytearray(DATA)
        damaged[place // 8] ^= 1 << place % 8
        inner.bend = lambda _, damaged=bytes(damaged): damaged
        for read in ways(store, tmp_path):
            with pytest.raises(ChecksumError, match="blake3"):
                read()
    assert [*tmp_path.iterdir()] == []
    inner.bend = None
    assert all(read() == DATA for read in ways(store, tmp_path))


@covers(136)
@pytest.mark.parametrize("length", range(len(DATA)))
def test_an_object_that_got_shorter_is_found(store, inner, tmp_path, length):
    store.put("k", DATA)
    inner.bend = lambda data: data[:length]
    for number, read in enumerate(ways(store, tmp_path)):
        # A range of nothing has no start; a file of nothing is at its end before anything is read.
        if length == 0 and number in (1, 6):
            continue
        with pytest.raises((ChecksumError, InvalidRangeError)):
            read()


def test_an_object_that_got_longer_and_bytes_where_there_were_none_are_found(store, inner, tmp_path):
    for data in (DATA, b""):
        inner.bend = None
        store.put("k", data)
        inner.bend = lambda data: data + b"x"
        for read in ways(store, tmp_path):
            with pytest.raises(ChecksumError):
                read()


def test_an_object_in_the_place_of_another_is_found(store, inner):
    store.put("a", b"one")
    store.put("b", b"two")
    kept = inner.stat("a").attributes
    inner.put("a", BytesSource(b"two"), PutOptions(kept))
    with pytest.raises(ChecksumError):
        store.get("a")
    assert store.get("b") == b"two"


@pytest.mark.parametrize("text", ["", "00", "z" * 64, "A" * 64, "0" * 63, "0" * 65, " " + "0" * 63, "0" * 64])
def test_a_digest_that_is_none_or_wrong_is_an_error_and_never_passes(store, inner, tmp_path, text):
    store.put("k", DATA)
    describe(inner, "k", text)
    for read in ways(store, tmp_path):
        with pytest.raises(ChecksumError):
            read()
    assert store.exists("k")
    assert store.stat("k").checksum == (Checksum("blake3", bytes(32)) if text == "0" * 64 else None)


def test_a_stream_gives_all_but_its_last_piece_and_then_fails(store, inner):
    size = 3 * 1024 * 1024
    store.put("k", bytes(size))
    inner.bend = lambda data: b"x" + data[1:]
    pieces = iter(store.stream("k"))
    assert len(next(pieces)) + len(next(pieces)) == 2 * 1024 * 1024
    with pytest.raises(ChecksumError):
        next(pieces)


def test_a_body_that_ends_early_is_short_and_one_that_was_closed_is_just_over(inner):
    inner.put("k", BytesSource(bytes(3_000_000)), PutOptions())
    body = inner.stream("k", ReadOptions())
    body.length += 1
    with pytest.raises(TruncatedError):
        [*VerifiedBody(body, body.info, digest(bytes(3_000_000)))]
    left = VerifiedBody(inner.stream("k", ReadOptions()), body.info, digest(b"other"))
    pieces = iter(left)
    next(pieces)
    left.close()
    assert [*pieces] == []


def test_a_body_that_gives_more_than_was_announced_is_found():
    class Generous(Body):
        info, start, length = ObjectInfo("k", 3), 0, 3

        def __iter__(self):
            yield from (b"abc", b"d")

        def close(self):
            pass

    pieces = iter(VerifiedBody(Generous(), Generous.info, digest(b"abc")))
    assert next(pieces) == b"abc"
    with pytest.raises(ChecksumError):
        next(pieces)


def test_a_file_below_is_proved_before_it_is_handed_out(tmp_path):
    local = LocalBackend(tmp_path)
    layer = ChecksumLayer(local)
    layer.put("k", BytesSource(DATA), PutOptions())
    with layer.stream("k", ReadOptions()) as body:
        assert body.region().read(len(DATA), 0) == DATA
    with layer.stream("k", ReadOptions(ByteRange(1, 3))) as body:
        assert body.region().read(3, 0) == DATA[1:4]
    (tmp_path / "k").write_bytes(DATA[::-1])
    with layer.stream("k", ReadOptions()) as body, pytest.raises(ChecksumError):
        body.region()


# ---- parts of objects


def test_a_part_is_not_verified_and_says_so(store, inner):
    store.put("k", DATA)
    inner.bend = lambda data: b"X" + data[1:]
    layer = store.backend
    part = layer.read("k", ReadOptions(ByteRange(0, 4)))
    assert (part.data, part.info.checksum) == (b"X" + DATA[1:4], None)
    assert layer.stream("k", ReadOptions(ByteRange(0, 4))).info.checksum is None
    assert store.get("k", offset=3) == DATA[3:]
    inner.bend = None
    assert layer.read("k", ReadOptions(ByteRange(0, 100))).info.checksum == digest(DATA)
    assert layer.stream("k", ReadOptions(ByteRange(suffix=100))).info.checksum == digest(DATA)


def test_a_file_that_is_read_in_order_is_verified_however_it_is_read(store, inner):
    data = os.urandom(700_000)
    store.put("k", data)
    with store.open("k") as file:
        assert file.read(10) == data[:10]
        file.seek(0)
        assert b"".join(iter(lambda: file.read(99_999), b"")) == data
    inner.bend = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    with store.open("k") as file:
        assert file.read(600_000) == data[:600_000]
        with pytest.raises(ChecksumError) as caught:
            file.read()
    assert caught.value.key == "k"
    with store.open("k") as file:
        file.seek(1)
        assert len(file.read()) == len(data) - 1


def test_parts_that_are_fetched_side_by_side_are_verified_when_they_are_together(inner, tmp_path, monkeypatch):
    monkeypatch.setattr("mediagit_storage.downloading.LIMITS", replace_limits())
    for native in (False, True):
        remote = Remote(inner, tmp_path / "parts", native=native)
        with Storage(PrefixLayer(ChecksumLayer(remote), "p/")) as store:
            inner.bend = None
            store.put("k", bytes(10_000))
            assert downloaded(store, "k", tmp_path) == bytes(10_000)
            assert len(remote.ranges) > 1 or native
            inner.bend = lambda data: data[:5_000] + b"x" + data[5_001:]
            (tmp_path / "file").unlink()
            with pytest.raises(ChecksumError):
                store.download("k", tmp_path / "file")
            assert not (tmp_path / "file").exists()


def replace_limits():
    from mediagit_storage.downloading import LIMITS

    return LIMITS._replace(threshold=2_000, part=1_000)


# ---- objects without a digest


def test_what_others_wrote_is_read_unverified_or_refused(store, strict, inner, tmp_path):
    inner.put("k", BytesSource(DATA), PutOptions())
    assert all(read() == DATA for read in ways(store, tmp_path))
    assert store.stat("k").checksum is None
    for read in ways(strict, tmp_path):
        with pytest.raises(ChecksumError, match="keeps no blake3"):
            read()
    with pytest.raises(ChecksumError):
        strict.get("k", offset=3)
    assert strict.stat("k").size == len(DATA)


def test_a_storage_that_tells_no_attributes_is_not_trusted(inner):
    class Silent(Bent):
        def read(self, key, options):
            content = super().read(key, options)
            return content._replace(info=replace(content.info, attributes=None))

    layer = ChecksumLayer(Silent())
    layer.put("k", BytesSource(DATA), PutOptions())
    with pytest.raises(StorageError, match="no attributes"):
        layer.read("k", ReadOptions())


def test_links_to_write_are_refused_where_their_objects_would_be(store, strict, inner):
    assert inner.redeem(store.presign("k", method="PUT"), "PUT", DATA)
    assert store.get("k") == DATA
    with pytest.raises(UnsupportedError):
        strict.presign("k", method="PUT")
    with pytest.raises(UnsupportedError, match="must have a checksum"):
        strict.backend.presign("k", mgs.types.PresignOptions("PUT"))
    assert inner.redeem(strict.presign("k")).data == DATA


def test_a_head_cannot_be_replaced(store):
    info = store.put("k", DATA)
    assert not store.capabilities.replace_head
    with pytest.raises(UnsupportedError):
        store.backend.replace_head("k", b"x", 1, if_match=info.etag)


# ---- where the digest is, and who sees it


def test_the_digest_is_kept_among_the_metadata_and_shown_apart(store, inner):
    given = Attributes(content_type="text/plain", metadata={"a": "b"})
    assert store.put("k", DATA, attributes=given).checksum == digest(DATA)
    assert inner.stat("k").attributes.metadata == {"a": "b", NAME: blake3(DATA).hexdigest()}
    assert stored_checksum(inner.stat("k").attributes) == digest(DATA)
    info = store.stat("k")
    assert (info.attributes, info.checksum) == (given, digest(DATA))
    [outcome] = store.stat_many(["k"])
    assert outcome.value == info
    with store.stream("k") as stream:
        assert (stream.info.attributes, stream.info.checksum) == (given, digest(DATA))
    assert [each.checksum for each in store.list()] == [None]
    assert store.backend.content_checksum("k", ReadOptions()) == digest(DATA)


def test_whoever_has_no_such_layer_sees_nothing_of_it(store, inner):
    store.put("k", DATA, attributes=Attributes(metadata={"a": "b"}))
    bare = Storage(inner)
    assert bare.stat("k").attributes.metadata == {"a": "b"}
    assert bare.stream("k").info.attributes.metadata == {"a": "b"}
    [outcome] = bare.stat_many(["k"])
    assert outcome.value.attributes.metadata == {"a": "b"}
    assert bare.rename("k", "l").attributes is None
    assert bare.rename("l", "l").attributes.metadata == {"a": "b"}
    with pytest.raises(ConfigError, match="reserved"):
        bare.put("k", DATA, attributes=Attributes(metadata={NAME: "0" * 64}))


def test_an_overwrite_without_the_layer_leaves_no_stale_digest(store, inner):
    store.put("k", DATA)
    Storage(inner).put("k", b"other")
    assert store.get("k") == b"other"


# ---- copies and renames


def test_copies_and_renames_carry_it(strict, inner):
    strict.put("k", DATA, attributes=Attributes(metadata={"a": "b"}))
    assert strict.copy("k", "copy").checksum in (None, digest(DATA))
    strict.rename("copy", "moved")
    strict.copy("moved", "other", attributes=Attributes(content_type="x/y"))
    strict.copy("moved", "moved", attributes=Attributes(metadata={"c": "d"}))
    assert [strict.get(each) for each in ("k", "moved", "other")] == [DATA] * 3
    assert strict.stat("other").attributes == Attributes(content_type="x/y")
    assert strict.stat("moved").attributes == Attributes(metadata={"c": "d"})
    inner.put("bare", BytesSource(DATA), PutOptions())
    strict.copy("bare", "bare", attributes=Attributes(content_type="x/y"))
    assert strict.stat("bare").checksum is None


def test_a_copy_without_the_servers_help_is_hashed_anew(inner):
    layer = ChecksumLayer(WithoutCapabilities(inner, "server_copy", "server_rename"), ChecksumConfig(missing="refuse"))
    with Storage(layer) as store:
        store.put("k", DATA)
        store.rename("k", "l")
        assert store.stat("l").checksum == digest(DATA)
        inner.bend = lambda data: data[:-1]
        with pytest.raises(ChecksumError):
            store.copy("l", "m")
        assert not store.exists("m")


class Racing(MemoryBackend):
    """Somebody writes to the source of a copy, in the moment before it is made, as often as ``left`` says."""

    left = 0

    def copy(self, source, target, options):
        if self.left:
            self.left -= 1
            ChecksumLayer(self.written).put(source, BytesSource(b"written %d" % self.left), PutOptions())
        return super().copy(source, target, options)

    @property
    def written(self):
        return self


@pytest.mark.parametrize("target", ["k", "l"])
def test_a_source_that_is_written_to_meanwhile_is_copied_with_its_own_digest(target):
    inner = Racing()
    with Storage(ChecksumLayer(inner, ChecksumConfig(missing="refuse"))) as store:
        info = store.put("k", DATA)
        inner.left = 3
        store.copy("k", target, attributes=Attributes(content_type="x/y"))
        assert store.get(target) == b"written 0"
        inner.left = 100
        with pytest.raises(PreconditionError):
            store.copy("k", target, attributes=Attributes(content_type="x/y"))
        inner.left = 0
        asked = CopyOptions(Attributes(content_type="x/y"), if_match=info.etag)
        with pytest.raises(PreconditionError):
            store.backend.copy("k", target, asked)
        assert store.get("k").startswith(b"written")


@pytest.mark.parametrize("target", ["k", "l"])
def test_where_nothing_tells_contents_apart_new_attributes_are_refused(target):
    class Untold(Racing):
        """Tells no ETags."""

        def stat(self, key, version=None):
            return replace(super().stat(key, version), etag=None)

    inner = Untold()
    with Storage(ChecksumLayer(inner)) as store:
        store.put("k", DATA)
        inner.left = 1
        with pytest.raises(UnsupportedError, match="tells neither ETags nor versions"):
            store.copy("k", target, attributes=Attributes(content_type="x/y"))
        assert store.get("k") == DATA
        store.copy("k", "m")
        assert store.get("m").startswith(b"written")


def test_a_version_needs_no_etag_to_get_new_attributes():
    class Untold(MemoryBackend):
        def stat(self, key, version=None):
            return replace(super().stat(key, version), etag=None)

    with Storage(ChecksumLayer(Untold("v", versioning=True))) as store:
        first = store.put("k", DATA)
        store.put("k", b"newer")
        store.copy("k", "l", version=first.version, attributes=Attributes(content_type="x/y"))
        assert store.get("l") == DATA


def test_versions_have_each_their_own(tmp_path):
    with Storage(ChecksumLayer(MemoryBackend(versioning=True))) as store:
        old = store.put("k", b"old")
        store.put("k", b"new")
        assert store.get("k", version=old.version) == b"old"
        assert store.stat("k", version=old.version).checksum == digest(b"old")
        store.copy("k", "l", version=old.version, attributes=Attributes(content_type="x/y"))
        assert (store.get("l"), store.stat("l").checksum) == (b"old", digest(b"old"))


# ---- sources


class Sent(MemoryBackend):
    """Remembers with what metadata each put began, and whether those came late."""

    def __init__(self):
        super().__init__()
        self.puts = []

    def put(self, key, source, options):
        kept = stored_checksum(options.attributes)
        self.puts.append("late" if options.late_attributes is not None else "early" if kept else "none")
        return super().put(key, source, options)


class Rewindable:
    """An iterable that can be gone through again, and counts how often it is. Others come when ``second`` says so."""

    def __init__(self, first, second=None):
        self.pieces = [first, first if second is None else second]
        self.times = 0

    def __iter__(self):
        self.times += 1
        return iter(self.pieces[min(self.times - 1, 1)])


def late_or_not(late):
    inner = Sent()
    return inner, inner if late else WithoutCapabilities(inner, "late_metadata")


SPOOLING = ChecksumConfig(spool_bytes=1000)


@pytest.mark.parametrize("late", [True, False])
def test_where_the_digest_of_each_source_comes_from(late, tmp_path):
    inner, below = late_or_not(late)
    store = Storage(ChecksumLayer(below, SPOOLING))
    file = tmp_path / "file"
    file.write_bytes(DATA)
    again = Rewindable([DATA[:3], DATA[3:]])
    with file.open("rb") as opened, file.open("rb", buffering=0) as raw:
        for source in (DATA, bytearray(DATA), memoryview(DATA), opened, raw, io.BytesIO(DATA), again, iter([DATA])):
            assert store.put("k", source).checksum == digest(DATA)
            assert store.get("k") == DATA
    store.upload(file, "k")
    with store.open("k", "wb") as writer:
        writer.write(DATA)
        writer.flush()  # what is handed over in one piece is known before it is put
    assert store.get("k") == DATA
    late_ones = {5, 6, 7, 9} if late else set()
    assert inner.puts == ["late" if number in late_ones else "early" for number in range(10)]
    assert again.times == (1 if late else 2)


def test_a_stream_without_late_metadata_goes_through_a_file_of_bounded_size(monkeypatch, tmp_path):
    made = []
    real = mgs.layers.checksum.sources.tempfile.TemporaryFile

    def watched(*args, **options):
        made.append(real(*args, **options))
        status = os.fstat(made[-1].fileno())
        assert status.st_mode & 0o777 == 0o600
        assert status.st_nlink == 0
        return made[-1]

    monkeypatch.setattr(mgs.layers.checksum.sources.tempfile, "TemporaryFile", watched)
    _, below = late_or_not(False)
    store = Storage(ChecksumLayer(below, replace(SPOOLING, spool_folder=str(tmp_path))))
    store.put("k", iter([b"x" * 500, b"y" * 500]))
    assert store.get("k") == b"x" * 500 + b"y" * 500
    with pytest.raises(UnsupportedError, match="spool_bytes"):
        store.put("l", iter([b"x" * 500, b"y" * 501]))
    with pytest.raises(DeliberateError):
        store.put("l", failing(b"x"))
    with pytest.raises(IntegrityError):
        store.put("l", iter([b"x"]), size=2)
    [outcome] = store.put_many([("m", iter([b"x"]))])
    assert outcome.error is None
    assert [each.key for each in store.list()] == ["k", "m"]
    assert len(made) == 5
    assert all(each.closed for each in made)
    assert [*tmp_path.iterdir()] == []


def test_a_stream_that_cannot_be_kept_is_refused_before_it_is_read():
    def untouched():
        raise AssertionError("it was read")
        yield b""

    _, below = late_or_not(False)
    for config, size in ((ChecksumConfig(), None), (ChecksumConfig(), 0), (SPOOLING, 1001)):
        store = Storage(ChecksumLayer(below, config))
        with pytest.raises(UnsupportedError, match=r"spool_bytes.*checksum="):
            store.put("k", untouched(), size=size)
        assert not store.exists("k")


@pytest.mark.parametrize("late", [True, False])
def test_a_declared_digest_needs_no_file_and_is_held_to(late):
    inner, below = late_or_not(late)
    store = Storage(ChecksumLayer(below))
    store.put("k", iter([DATA]), checksum=digest(DATA))
    assert inner.puts == ["early"]
    assert store.get("k") == DATA
    for source in (iter([DATA]), DATA, io.BytesIO(DATA)):
        with pytest.raises(ChecksumError):
            store.put("l", source, checksum=digest(b"other"))
    with pytest.raises(IntegrityError):
        store.backend.put("l", IterableSource(iter([DATA])), PutOptions(checksum=digest(b"other")))
    sha = Checksum("sha256", bytes(32))
    with pytest.raises(ChecksumError):
        store.put("l", DATA, checksum=sha)
    assert not store.exists("l")


def test_a_source_that_is_another_the_second_time_is_not_stored():
    _, below = late_or_not(False)
    store = Storage(ChecksumLayer(below))
    for second in ([b"abd"], [b"ab"], [b"abcd"], []):
        with pytest.raises(IntegrityError):
            store.put("k", Rewindable([b"abc"], second))
    assert not store.exists("k")


@pytest.mark.parametrize("kind", ["upload", "open file"])
@pytest.mark.parametrize("parts", [False, True])
def test_a_file_that_changes_after_it_was_hashed_is_not_stored(tmp_path, kind, parts):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)

    class Meanwhile(Remote):
        def put(self, key, source, options):
            file.write_bytes(b"y" * 5001)
            return super().put(key, source, options)

    store = Storage(ChecksumLayer(Meanwhile(MemoryBackend(), tmp_path / "parts", part=1000 if parts else 10_000)))
    with file.open("rb") as opened, pytest.raises(IntegrityError):
        store.upload(file, "k") if kind == "upload" else store.put("k", opened)
    assert not store.exists("k")


def test_metadata_that_come_late_from_outside_keep_their_digest():
    late = Attributes(metadata={"seen": "yes"})
    for source in (BytesSource(DATA), IterableSource(iter([DATA])), FileSource(io.BytesIO(DATA))):
        inner = MemoryBackend()
        ChecksumLayer(inner).put("k", source, PutOptions(Attributes(content_type="lost"), late_attributes=lambda: late))
        assert inner.stat("k").attributes.metadata == {"seen": "yes", NAME: blake3(DATA).hexdigest()}
        assert inner.stat("k").attributes.content_type is None


def test_a_storage_that_asks_for_late_metadata_too_early_is_told():
    class Hasty(MemoryBackend):
        def put(self, key, source, options):
            options.late_attributes()
            return super().put(key, source, options)

    with pytest.raises(StorageError, match="before it had read"):
        ChecksumLayer(Hasty()).put("k", IterableSource(iter([DATA])), PutOptions())


def test_a_storage_without_metadata_takes_no_object(inner):
    class Plain(MemoryBackend):
        @property
        def capabilities(self):
            return replace(super().capabilities, attributes=frozenset({"content_type"}))

    with pytest.raises(ConfigError, match="metadata"):
        ChecksumLayer(Plain())


def test_large_uploads_go_on_where_they_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    file = tmp_path / "file"
    file.write_bytes(os.urandom(5_000))
    remote = Remote(MemoryBackend(), tmp_path / "parts")
    with Storage(ChecksumLayer(remote)) as store:

        def cut(what, _):
            if what == "part" and remote.sent >= 3_000:
                raise mgs.UnavailableError("gone")

        remote.wire = cut
        with pytest.raises(mgs.UnavailableError):
            store.upload(file, "k")
        remote.wire = lambda *_: None
        store.upload(file, "k")
        assert remote.sent == 5_000
        assert store.get("k") == file.read_bytes()
        assert store.stat("k").checksum == digest(file.read_bytes())


# ---- batches


@pytest.mark.parametrize("native", [True, False])
def test_a_batch_tells_of_each_item_by_itself(native):
    inner = Bent()
    below = WithoutCapabilities(inner, "late_metadata") if native else without_batch(inner)
    store = Storage(ChecksumLayer(below, SPOOLING))
    items = [("a", b"a"), ("b", iter([b"x" * 2000])), ("c", failing(b"c")), ("d", iter([b"d"])), ("e", b"e")]
    outcomes = [*store.put_many(items)]
    assert [each.key for each in outcomes] == [*"abcde"]
    errors = [type(each.error) for each in outcomes]
    assert errors[2] is DeliberateError
    assert [errors[0], errors[3], errors[4]] == [type(None)] * 3
    assert (errors[1] is UnsupportedError) == native
    assert outcomes[3].value.checksum == digest(b"d")
    inner.bend = lambda data: b"z" if data == b"d" else data
    found = {each.key: (each.value, type(each.error)) for each in store.get_many([*"adez"])}
    assert found == {
        "a": (b"a", type(None)),
        "d": (None, ChecksumError),
        "e": (b"e", type(None)),
        "z": (None, NotFoundError),
    }


def test_what_cannot_be_begun_does_not_wait_for_the_others():
    """Failures only, more of them than may be held: nobody is asked to wait for room that never comes."""
    _, below = late_or_not(False)
    store = Storage(ChecksumLayer(below))
    limits = BatchLimits(2, 10)
    outcomes = [*store.put_many((f"{n}", iter([b"x" * 100])) for n in range(50))]
    assert all(isinstance(each.error, UnsupportedError) for each in outcomes)
    assert len([*store.put_many(((f"{n}", b"x" * 100) for n in range(50)), limits=limits)]) == 50


def test_a_batch_that_is_left_early_keeps_no_files(monkeypatch):
    made = []
    real = mgs.layers.checksum.sources.tempfile.TemporaryFile
    monkeypatch.setattr(
        mgs.layers.checksum.sources.tempfile,
        "TemporaryFile",
        lambda *args, **options: made.append(real(*args, **options)) or made[-1],
    )

    class Slow(MemoryBackend):
        """Takes three operations before it completes one."""

        def batch(self, operations, limits):
            taken = [next(operations) for _ in range(3)]
            for each in taken:
                yield from super().batch(iter([each]), limits)

    layer = ChecksumLayer(WithoutCapabilities(Slow(), "late_metadata"), SPOOLING)
    operations = (PutOperation(f"{n}", IterableSource(iter([b"x"]))) for n in range(9))
    batch = layer.batch(operations, BatchLimits())
    next(batch)
    batch.close()
    assert len(made) == 3
    assert all(each.closed for each in made)


def test_a_batch_keeps_the_callers_operations(inner):
    layer = ChecksumLayer(inner)
    asked = [
        PutOperation("k", BytesSource(DATA)),
        None,
        StatOperation("k"),
        ReadOperation("k", ReadOptions(ByteRange(2, 3))),
        ReadOperation("k"),
    ]
    done = [*layer.batch(iter(asked), BatchLimits())]
    assert [each.operation for each in done] == [each for each in asked if each is not None]
    assert all(each.operation is given for each, given in zip(done, [asked[0], *asked[2:]], strict=True))
    assert [each.value.checksum if index < 2 else each.value.info.checksum for index, each in enumerate(done)] == [
        digest(DATA),
        digest(DATA),
        None,
        digest(DATA),
    ]


# ---- many at once


def test_readers_see_each_object_with_its_own_digest_while_it_is_overwritten(strict):
    strict.put("k", b"0" * 100_000)
    done = threading.Event()
    failed = []

    def read():
        try:
            while not done.is_set():
                assert len({*strict.get("k")}) == 1
                assert len({*streamed(strict, "k")}) == 1
        except (StorageError, AssertionError) as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for each in readers:
        each.start()
    for number in range(100):
        strict.put("k", b"%d" % (number % 10) * 100_000)
        strict.put("k", iter([b"x" * 50_000, b"x" * 50_000]))
        strict.copy("k", "k", attributes=Attributes(content_type=f"x/{number}"))
    done.set()
    for each in readers:
        each.join()
    assert failed == []


# ---- options


def test_options_are_checked_and_exported(tmp_path):
    for options in ({"missing": "maybe"}, {"spool_bytes": -1}):
        with pytest.raises(ConfigError):
            ChecksumConfig(**options)
    layer = {"layer": "checksum", "missing": "refuse", "spool_bytes": 5}
    with mgs.open_storage(tmp_path, layers=[layer]) as store:
        store.put("k", DATA)
        info = store.connection_info()
        assert info.config["layers"] == [layer]
        assert repr(store.backend).startswith("<ChecksumLayer over ")
    with mgs.open_storage(info) as store:
        assert store.get("k") == DATA
        assert store.connection_info() == info
    with pytest.raises(ConfigError):
        mgs.open_storage(tmp_path, layers=[{"layer": "checksum", "missing": 3}])


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "blake3", None)
    # Once found it is not looked for again.
    monkeypatch.setattr(hashing, "_maker", hashing._maker.__wrapped__)
    with pytest.raises(ConfigError, match=r"mediagit-storage\[checksum\]"):
        ChecksumLayer(MemoryBackend())


FIRST_USE = """
import subprocess
import sys
import threading
from mediagit_storage.hashing import new_hasher

together, failed = threading.Barrier(16), []

def use():
    together.wait()
    try:
        new_hasher("blake3").update(b"x")
    except Exception as error:
        failed.append(error)

threads = [threading.Thread(target=use) for _ in range(16)]
for each in threads:
    each.start()
for each in threads:
    each.join()
assert not failed, failed
"""


def test_many_threads_may_be_the_first_to_hash():
    subprocess.run([sys.executable, "-c", FIRST_USE], check=True, timeout=60)


def test_a_forked_child_hashes_large_objects(inner):
    """Threads of the parent are not there after a fork, and nobody may wait for them."""
    layer = ChecksumLayer(inner)
    data = bytes(9_000_000)
    layer.put("k", BytesSource(data), PutOptions())
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if layer.read("k", ReadOptions()).info.checksum == digest(data) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
