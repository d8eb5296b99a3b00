"""Objects as age files: damage of every kind is an error, ranges cost what they must, and keys do what they should."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import sys
import threading
from dataclasses import replace
from functools import partial

import pytest

from mediagit_storage.backend import BatchLimits, PutOperation, ReadOperation, StatOperation, StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import (
    ConfigError,
    DecryptionError,
    IntegrityError,
    InvalidRangeError,
    KeyUnavailableError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer, bech32, primitives
from mediagit_storage.layers.encrypt.header import parse_header
from mediagit_storage.layers.encrypt.key_writing import identity_text, write_new_file
from mediagit_storage.layers.encrypt.keyfiles import recipients_in
from mediagit_storage.layers.encrypt.keys import FILE_KEY, PassphraseRecipient, X25519Identity, generate_identity
from mediagit_storage.layers.encrypt.primitives import has_hybrid
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED
from mediagit_storage.layers.encrypt.writing import EncryptedSource
from mediagit_storage.layers.prefix import PrefixConfig
from mediagit_storage.opening import open_storage
from mediagit_storage.secrets import Secret, SecretRef
from mediagit_storage.source import BytesSource, FileSource, IterableSource, Source
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.stacking import TEST_IDENTITY
from mediagit_storage.types import (
    ByteRange,
    Checksum,
    CopyOptions,
    DeleteOptions,
    Finding,
    FindingLevel,
    ListOptions,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

IDENTITY = generate_identity()
OTHER = generate_identity()


class Counting(Layer):
    """Notes what is asked of the storage below, and how many bytes it gives."""

    layer_name = "counting"

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner, PrefixConfig("unused"))
        self.asked: list[str] = []
        self.bytes = 0
        self.before_read = lambda: None

    def read(self, key, options):
        self.before_read()
        content = self.inner.read(key, options)
        self.asked.append("read")
        self.bytes += len(content.data)
        return content

    def stream(self, key, options):
        self.before_read()
        body = self.inner.stream(key, options)
        self.asked.append("stream")
        self.bytes += body.length
        return body

    def stat(self, key, version=None):
        self.asked.append("stat")
        return self.inner.stat(key, version)

    def forget(self):
        self.asked.clear()
        self.bytes = 0


class Stack:
    def __init__(self, inner: StorageBackend | None = None, **options) -> None:
        self.memory = inner or MemoryBackend("x")
        self.below = Counting(self.memory)
        self.layer = EncryptLayer(self.below, EncryptConfig(**{"identity": IDENTITY.secret, **options}))
        self.store = Storage(self.layer)

    def fresh(self, **options) -> Storage:
        """The same objects through a layer that knows nothing of them yet."""
        self.below.forget()
        self.layer = EncryptLayer(self.below, EncryptConfig(**{"identity": IDENTITY.secret, **options}))
        return Storage(self.layer)

    def stored(self, key: str = "k") -> bytes:
        return self.memory.read(key, ReadOptions()).data

    def store_raw(self, data: bytes, key: str = "k") -> None:
        self.memory.put(key, BytesSource(data), PutOptions())


@pytest.fixture
def stack():
    return Stack()


def reads(store: Storage, key: str = "k") -> dict[str, object]:
    """What each way of reading the object gives: the plain bytes, or the error."""

    def in_pieces() -> bytes:
        with store.stream(key) as body:
            return b"".join(body)

    def by_file() -> bytes:
        with store.open(key) as file:
            return file.read()

    ways = {
        "get": lambda: store.get(key),
        "stream": in_pieces,
        "file": by_file,
        "suffix": lambda: store.get(key, suffix=10**9),
        "from 0": lambda: store.get(key, offset=0, length=10**9),
        "stat": lambda: store.stat(key).size,
    }
    found: dict[str, object] = {}
    for name, way in ways.items():
        try:
            found[name] = way()
        except (StorageError, AssertionError) as error:
            found[name] = error
    return found


# ---- damage


@covers(181, 182)
def test_truncation_at_every_offset_is_an_error(stack):
    stack.store.put("k", b"a small object")
    whole = stack.stored()
    for end in range(len(whole)):
        stack.store_raw(whole[:end])
        for way, found in reads(stack.fresh()).items():
            assert isinstance(found, DecryptionError), f"{end} of {len(whole)} bytes: {way} gave {found!r}"


@covers(181)
def test_a_flipped_bit_anywhere_is_an_error(stack):
    stack.store.put("k", b"a small object")
    whole = stack.stored()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        stack.store_raw(bytes(damaged))
        store = stack.fresh()
        for way in (store.get, store.stat, partial(store.get, offset=0)):
            with pytest.raises(DecryptionError):
                way("k")


@covers(182)
def test_added_bytes_are_an_error(stack):
    stack.store.put("k", b"a small object")
    whole = stack.stored()
    for more in (b"\0", b"\n", os.urandom(15), os.urandom(16), os.urandom(17), whole[-30:], whole, os.urandom(SEALED)):
        stack.store_raw(whole + more)
        for way, found in reads(stack.fresh()).items():
            assert isinstance(found, DecryptionError), f"{len(more)} bytes more: {way} gave {found!r}"


def chunks_of(whole: bytes) -> tuple[bytes, list[bytes]]:
    start = parse_header(whole).length + NONCE
    return whole[:start], [whole[place : place + SEALED] for place in range(start, len(whole), SEALED)]


@covers(182)
@pytest.mark.parametrize(
    "change",
    [
        lambda c: [c[1], c[0], *c[2:]],
        lambda c: [c[0], c[0], *c[2:]],
        lambda c: [c[0], *c[2:]],
        lambda c: c[:-1],
        lambda c: [*c, c[-1]],
        lambda c: [*c[:-1], c[0]],
        lambda c: [*c[:2], c[2], c[2], c[3]],
    ],
    ids=["swapped", "repeated", "left out", "without the last", "two last", "full last", "one more"],
)
def test_chunks_in_another_order_are_an_error_at_every_read_that_touches_them(stack, change):
    plain = os.urandom(3 * CHUNK + 100)
    stack.store.put("k", plain)
    lead, chunks = chunks_of(stack.stored())
    changed = change(chunks)
    stack.store_raw(lead + b"".join(changed))
    for way in ("get", "stream", "file", "suffix", "from 0"):
        found = reads(stack.fresh())[way]
        assert isinstance(found, DecryptionError), f"{way} gave other bytes"
    if len(changed) != len(chunks) or changed[-1] != chunks[-1]:
        # Not as large as it was: no size is told, and no range is given out, until the last chunk proves it.
        assert isinstance(reads(stack.fresh())["stat"], DecryptionError)
        with pytest.raises(DecryptionError):
            stack.fresh().get("k", offset=5, length=5)


@covers(182)
def test_headers_and_payloads_of_different_objects_do_not_fit(stack):
    stack.store.put("a", b"first object")
    stack.store.put("b", b"other object")
    one, other = stack.stored("a"), stack.stored("b")
    end = parse_header(one).length
    for spliced in (
        one[:end] + other[end:],
        one[: end + NONCE] + other[end + NONCE :],
        one[: end - 44] + other[end - 44 :],
    ):
        stack.store_raw(spliced)
        assert all(isinstance(found, DecryptionError) for found in reads(stack.fresh()).values())


@covers(188)
def test_a_stream_gives_out_what_is_proven_and_then_fails(stack):
    plain = os.urandom(3 * CHUNK)
    stack.store.put("k", plain)
    damaged = bytearray(stack.stored())
    damaged[-1] ^= 1
    stack.store_raw(bytes(damaged))
    pieces: list[bytes] = []
    with stack.fresh().stream("k") as body, pytest.raises(DecryptionError, match="last chunk"):
        pieces.extend(body)
    got = b"".join(pieces)
    assert plain.startswith(got)
    assert len(got) <= 2 * CHUNK


def test_what_this_layer_did_not_write_is_told(stack):
    stack.store_raw(b"plain text that lay here before")
    with pytest.raises(DecryptionError, match="this is no age file"):
        stack.store.get("k")
    stack.store_raw(b"")
    for found in reads(stack.fresh()).values():
        assert isinstance(found, DecryptionError)


# ---- requests


LARGE = os.urandom(CHUNK) * 20 + b"the end"


@covers(187)
def test_a_whole_object_costs_one_request(stack):
    stack.store.put("k", LARGE)
    store = stack.fresh()
    assert store.get("k") == LARGE
    assert stack.below.asked == ["read"]
    with stack.fresh().stream("k") as body:
        assert b"".join(body) == LARGE
    assert stack.below.asked == ["stream"]


@covers(186, 187)
def test_a_range_costs_the_header_and_the_end_once_and_then_its_chunks(stack):
    stack.store.put("k", LARGE)
    store = stack.fresh()
    assert store.get("k", offset=5 * CHUNK, length=10) == LARGE[5 * CHUNK : 5 * CHUNK + 10]
    assert stack.below.asked == ["read"] * 3
    assert stack.below.bytes < 3 * SEALED + 5000
    stack.below.forget()
    assert store.get("k", offset=7 * CHUNK - 5, length=10) == LARGE[7 * CHUNK - 5 : 7 * CHUNK + 5]
    assert (stack.below.asked, stack.below.bytes) == (["read"], 2 * SEALED)


@covers(186)
def test_the_end_proves_itself(stack):
    stack.store.put("k", LARGE)
    assert stack.fresh().get("k", suffix=4) == b" end"
    assert stack.below.asked == ["read"] * 2


@covers(187)
def test_files_and_sets_of_ranges_ask_for_the_header_once(stack):
    stack.store.put("k", LARGE)
    with stack.fresh().open("k") as file:
        stack.below.forget()
        for start in (9 * CHUNK, 3, 15 * CHUNK + 1):
            assert file.read_at(start, 10) == LARGE[start : start + 10]
    assert stack.below.asked == ["read"] * 3
    stack.below.forget()
    store = Storage(stack.layer)
    assert store.get_ranges("k", [(0, 5), (19 * CHUNK, 5)]) == [LARGE[:5], LARGE[19 * CHUNK : 19 * CHUNK + 5]]
    assert stack.below.asked.count("read") == 2
    assert store.get("k", offset=4, length=3, if_match=store.stat("k").etag) == LARGE[4:7]
    with pytest.raises(PreconditionError):
        store.get("k", offset=4, length=3, if_match="another")
    with pytest.raises(NotModifiedError):
        store.get("k", offset=4, length=3, if_none_match=store.stat("k").etag)


def test_small_objects_and_sizes(stack):
    stack.store.put("k", b"small")
    assert stack.fresh().get("k", offset=1, length=2) == b"ma"
    assert stack.below.asked == ["read"]
    store = stack.fresh()
    assert store.stat("k").size == 5
    assert stack.below.asked == ["read"]
    assert store.stat("k").stored_size == len(stack.stored())
    assert stack.below.asked == ["read", "stat"]


def test_a_size_is_not_believed_before_the_last_chunk_is_proven(stack):
    stack.store.put("k", LARGE)
    whole = stack.stored()
    stack.store_raw(whole[: -(len(whole) - parse_header(whole).length - NONCE) % SEALED - SEALED])
    store = stack.fresh()
    for call in (
        lambda: store.stat("k"),
        lambda: store.get("k", offset=0, length=1),
        lambda: store.get("k", offset=len(LARGE) - 1),
        lambda: store.get("k", length=0),
        lambda: store.open("k"),
    ):
        with pytest.raises(DecryptionError):
            call()


@covers(185)
def test_a_grid_of_ranges(stack):
    plain = os.urandom(5 * CHUNK + 17)
    stack.store.put("k", plain)
    store = stack.fresh()
    edges = [*range(0, len(plain), 6553), CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 5 * CHUNK, len(plain) - 1]
    for offset in edges:
        for length in (0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK):
            assert store.get("k", offset=offset, length=length) == plain[offset : offset + length]
    for offset in (len(plain), len(plain) + 1, 10**12):
        with pytest.raises(InvalidRangeError):
            store.get("k", offset=offset)


def test_a_long_range_comes_as_a_stream(stack):
    plain = os.urandom(CHUNK) * 40
    stack.store.put("k", plain)
    stack.below.forget()
    stack.fresh()
    with stack.layer.stream("k", ReadOptions(ByteRange(100, 30 * CHUNK))) as body:
        assert (body.info.size, body.start, body.length) == (len(plain), 100, 30 * CHUNK)
        assert b"".join(body) == plain[100 : 100 + 30 * CHUNK]
    assert stack.below.asked == ["read", "read", "stream"]


@covers(189)
def test_threads_share_what_is_known(stack):
    plain = os.urandom(8 * CHUNK)
    stack.store.put("k", plain)
    store = stack.fresh()
    wrong: list[int] = []

    def look(number: int) -> None:
        for turn in range(20):
            start = (number * 7919 + turn * 104729) % len(plain)
            if store.get("k", offset=start, length=70_000) != plain[start : start + 70_000]:
                wrong.append(start)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- objects that are replaced


class Unconditional(Layer):
    """Neither conditions on reads nor versions: what is read is told from another object only by its ETag."""

    layer_name = "unconditional"

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.inner.capabilities, read_conditions=False)


def take_turn(turns) -> None:
    next(turns, lambda: None)()


@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: Unconditional(inner, PrefixConfig("unused"))])
@pytest.mark.parametrize("size", [10, 3 * CHUNK, 6 * CHUNK])
def test_an_object_that_is_replaced_between_requests_is_read_anew(wrap, size):
    stack = Stack(wrap(MemoryBackend("x")))
    old, new = os.urandom(5 * CHUNK), os.urandom(size)
    for known in (False, True):
        stack.store.put("k", old)
        store = stack.fresh()
        if known:
            store.get("k", offset=0, length=1)
            stack.store.put("k", new)
        else:
            replacing = EncryptLayer(stack.memory, EncryptConfig(identity=IDENTITY.secret))
            # Between the first request and the second.
            turns = iter([lambda: None, partial(replacing.put, "k", BytesSource(new), PutOptions())])
            stack.below.before_read = partial(take_turn, turns)
        assert store.get("k", offset=2, length=5) == new[2:7]
        assert store.stat("k").size == size
        stack.below.before_read = lambda: None


@pytest.mark.parametrize("length", [3, 20 * CHUNK])
def test_a_mark_of_deletion_hides_what_is_known(length):
    stack = Stack(MemoryBackend("x", versioning=True))
    old = stack.store.put("k", LARGE).version
    with stack.store.stream("k", offset=3, length=length) as body:
        assert b"".join(body) == LARGE[3 : 3 + length]
    stack.store.delete("k")
    with pytest.raises(NotFoundError), stack.store.stream("k", offset=3, length=length):
        pass
    stack.store.put("k", b"n" * len(LARGE))
    with stack.store.stream("k", offset=3, length=length) as body:
        assert b"".join(body) == b"n" * length
    assert stack.store.get("k", offset=3, length=3, version=old) == LARGE[3:6]


def test_a_deleted_object_is_missing_however_well_known(stack):
    stack.store.put("k", LARGE)
    assert stack.store.get("k", offset=3, length=3) == LARGE[3:6]
    stack.memory.delete("k", DeleteOptions())
    for call in (
        lambda: stack.store.get("k", offset=3, length=3),
        lambda: stack.store.get("k", length=0),
        lambda: stack.store.get("k", offset=10**9),
        lambda: stack.store.stat("k"),
    ):
        with pytest.raises(NotFoundError):
            call()


# ---- writing


class Passes(Source):
    """A source that can be read again, and is not always the same."""

    rewindable = True

    def __init__(self, *passes: bytes) -> None:
        self.size = None
        self._passes = iter(passes)

    def chunks(self):
        data = next(self._passes)
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]


def sealed(source: EncryptedSource) -> bytes:
    return b"".join([bytes(piece) for piece in source.chunks()])


def test_a_source_that_is_read_again_gives_the_same_bytes():
    data = os.urandom(40 * CHUNK + 5)
    source = EncryptedSource(Passes(data, data), [IDENTITY.recipient()])
    assert sealed(source) == sealed(source)
    whole = EncryptedSource(BytesSource(b"small"), [IDENTITY.recipient()])
    assert sealed(whole) == whole.buffer() == sealed(whole)


@covers(191)
@pytest.mark.parametrize("place", [0, 17 * CHUNK, 40 * CHUNK + 4, None])
def test_no_second_plain_text_is_encrypted_under_the_same_nonces(place):
    data = bytearray(os.urandom(40 * CHUNK + 5))
    first = bytes(data)
    if place is None:
        data += b"longer"
    else:
        data[place] ^= 1
    source = EncryptedSource(Passes(first, bytes(data)), [IDENTITY.recipient()])
    before = sealed(source)
    after: list[bytes] = []
    with pytest.raises(IntegrityError, match="changed while it was read again"):
        after.extend(bytes(piece) for piece in source.chunks())
    assert before.startswith(b"".join(after))


def test_every_kind_of_source_and_length(stack, tmp_path):
    for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 16 * CHUNK, 16 * CHUNK + 1, 33 * CHUNK + 7, 70 * CHUNK):
        data = os.urandom(1024) * (size // 1024) + bytes(size % 1024)
        path = tmp_path / "file"
        path.write_bytes(data)
        with path.open("rb") as file:
            for source in (
                BytesSource(data),
                FileSource(file),
                IterableSource(
                    [data[start : start + 777] for start in range(0, min(size, 50_000), 777)]
                    + [data[50_000 // 777 * 777 + 777 :]]
                    if size > 60_000
                    else [data]
                ),
            ):
                info = stack.layer.put("k", source, PutOptions())
                assert (info.size, info.stored_size) == (size, len(stack.stored()))
                assert stack.fresh().get("k") == data
                assert stack.store.stat("k").size == size


def test_a_source_of_another_length_than_it_says_stores_nothing(stack):
    class Liar(IterableSource):
        pass

    for said in (5, 7):
        source = Liar([b"sixsix"])
        source.size = said
        with pytest.raises(IntegrityError):
            stack.layer.put("k", source, PutOptions())
    with pytest.raises(NotFoundError):
        stack.store.get("k")


@covers(190)
def test_files_that_read_oddly(stack):
    class Short:
        """Gives few bytes at a time."""

        def __init__(self, data: bytes) -> None:
            self.pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]

        def read(self, size: int) -> bytes:
            return self.pieces.pop(0) if self.pieces else b""

    class Nothing(Short):
        """A non-blocking file without data."""

        def read(self, size: int):
            return None

    class Blocking(Short):
        def read(self, size: int) -> bytes:
            raise BlockingIOError("not now")

    stack.store.put("k", Short(LARGE))
    assert stack.store.get("k") == LARGE
    for odd in (Nothing(b""), Blocking(b"")):
        with pytest.raises(BlockingIOError):
            stack.store.put("odd", odd)
    assert not stack.store.exists("odd")


#: An object that the first release of this layer wrote for the key of the tests, at the key "golden", bound to it.
GOLDEN = (
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBIRlkxOXNTTTUxejc1NTdCUlFvOE1iNGFXVzlXTTZIUWp5ZWJCMFJsWWw4"
    "CmJHSTU3ZzIzQ1dBZitXamxKK2JvNk9uVHI4OUVIMENSdk9HRGZhbGllaWMKLT4gbWVkaWFnaXQtc3RvcmFnZS9rZXktc2hhMjU2"
    "IEEwMktSQi9DTEZqMkJSeUlYYkVhQzl2TEFLczdvS3pxL3NJeUVIVHJDL0UKCi0tLSBoMngyNjQrOTNOMTV2b0RhS21NdFBnVVpp"
    "cytRSk1vS1dDY25ic25peGxrCorFU9Jf/d2N8WHXEhdI6sknNXqSRsmMLXQZEDpQbZEAuDSc8Q/lgOWVEYWefkHrq1nGMEvA6avZ"
    "0Kfr4A=="
)


@covers(196)
def test_what_was_written_once_is_read_for_ever():
    known = Secret(TEST_IDENTITY)
    stack = Stack(identity=known, bind_keys=True)
    stack.store_raw(base64.b64decode(GOLDEN), "golden")
    assert stack.store.get("golden") == b"written by the first release"
    assert stack.fresh(identity=known).get("golden", offset=11, length=9) == b"the first"


def test_a_checksum_of_the_plain_bytes_stays_here(stack):
    import hashlib

    data = b"checked"
    stack.store.put("k", data, checksum=Checksum("sha256", hashlib.sha256(data).digest()))
    assert stack.store.get("k") == data
    with pytest.raises(IntegrityError):
        stack.store.put("l", b"other", checksum=Checksum("sha256", hashlib.sha256(data).digest()))
    assert stack.layer.content_checksum("k", ReadOptions()) is None


# ---- listing and batches


class Single(Layer):
    """No native batches."""

    layer_name = "single"

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.inner.capabilities, batch=False)


@covers(195)
@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: Single(inner, PrefixConfig("unused"))])
def test_sizes_in_listings(wrap):
    stack = Stack(wrap(MemoryBackend("x")))
    sizes = {f"d{number % 3}/{number:03}": number * 3001 for number in range(150)}
    for key, size in sizes.items():
        stack.store.put(key, bytes(size))
    stack.store_raw(b"not ours", "plain")
    store = stack.fresh()
    assert {info.size for info in store.list()} == {None}
    assert all(
        info.stored_size and info.stored_size > sizes.get(info.key, 0) for info in store.list() if info.key != "plain"
    )
    assert {info.key: info.size for info in store.list(exact=True)} == {**sizes, "plain": None}
    assert [entry.prefix for entry in store.list_dir(exact=True) if hasattr(entry, "prefix")] == ["d0/", "d1/", "d2/"]
    assert {info.key: info.size for info in store.list_dir("d1/", exact=True)} == {
        key: size for key, size in sizes.items() if key.startswith("d1/")
    }


def test_an_exact_listing_fails_where_the_storage_does():
    stack = Stack(Single(MemoryBackend("x"), PrefixConfig("unused")))
    stack.store.put("k", b"1")

    def fail() -> None:
        raise UnavailableError("down")

    store = stack.fresh()
    stack.below.before_read = fail
    with pytest.raises(UnavailableError):
        list(store.list(exact=True))


def test_a_batch_of_everything(stack):
    plain = os.urandom(6 * CHUNK)
    stack.store.put("k", plain)
    stack.store_raw(b"not ours", "plain")
    operations = [
        ReadOperation("k"),
        ReadOperation("k", ReadOptions(ByteRange(3 * CHUNK, 10))),
        None,
        ReadOperation("k", ReadOptions(ByteRange(suffix=3))),
        StatOperation("k"),
        ReadOperation("plain"),
        ReadOperation("missing", ReadOptions(ByteRange(1, 1))),
        PutOperation("new", BytesSource(b"new bytes")),
        ReadOperation("k", ReadOptions(ByteRange(10**9))),
    ]
    layer = EncryptLayer(stack.memory, EncryptConfig(identity=IDENTITY.secret))
    done = {id(each.operation): each for each in layer.batch(iter(operations), BatchLimits(concurrency=3))}
    whole, middle, _, end, stat, foreign, missing, put, outside = (done.get(id(each)) for each in operations)
    assert whole.value.data == plain
    assert (middle.value.data, middle.value.start) == (plain[3 * CHUNK : 3 * CHUNK + 10], 3 * CHUNK)
    assert end.value.data == plain[-3:]
    assert stat.value.size == len(plain)
    assert isinstance(foreign.error, DecryptionError)
    assert isinstance(missing.error, NotFoundError)
    assert put.value.size == 9
    assert isinstance(outside.error, InvalidRangeError)
    assert stack.store.get("new") == b"new bytes"
    assert len(done) == 8


# ---- keys


@covers(183)
def test_the_wrong_key_is_no_damage(stack):
    stack.store.put("k", b"secret")
    for found in reads(stack.fresh(identity=OTHER.secret)).values():
        assert isinstance(found, KeyUnavailableError)
        assert "identity_file" in str(found)
    both = Secret(f"{OTHER.secret.reveal()}\n{IDENTITY.secret.reveal()}")
    assert stack.fresh(identity=both).get("k") == b"secret"


def test_new_recipients_open_new_objects_and_old_identities_old_ones(stack):
    stack.store.put("old", b"1")
    both = Secret(f"{OTHER.secret.reveal()}\n{IDENTITY.secret.reveal()}")
    rotated = stack.fresh(identity=both, recipients=(str(OTHER.recipient()),))
    rotated.put("new", b"2")
    assert (rotated.get("old"), rotated.get("new")) == (b"1", b"2")
    assert stack.fresh(identity=OTHER.secret).get("new") == b"2"
    with pytest.raises(KeyUnavailableError):
        stack.fresh().get("new")


def test_who_only_writes(stack):
    store = stack.fresh(identity=None, recipients=(str(IDENTITY.recipient()), str(OTHER.recipient())))
    assert store.put("k", b"for others").size == 10
    assert [info.size for info in store.list(exact=True)] == [None]
    assert not store.exists("missing")
    for call in (
        lambda: store.stat("k"),
        lambda: store.exists("k"),
        lambda: store.get("k"),
        lambda: store.get("k", offset=1),
        lambda: store.stream("k"),
        lambda: store.open("k"),
        lambda: store.get_ranges("k", [(0, 1)]),
    ):
        with pytest.raises(KeyUnavailableError, match="set identity_file or identity"):
            call()
    assert stack.fresh().get("k") == stack.fresh(identity=OTHER.secret).get("k") == b"for others"


def test_quantum_safe_objects(stack):
    identity = generate_identity(hybrid=True)
    store = stack.fresh(identity=identity.secret, bind_keys=True)
    store.put("k", LARGE)
    assert (
        stack.fresh(identity=identity.secret, bind_keys=True).get("k", offset=CHUNK, length=3)
        == LARGE[CHUNK : CHUNK + 3]
    )
    with pytest.raises(ConfigError, match="use one kind"):
        stack.fresh(recipients=(str(identity.recipient()), str(IDENTITY.recipient())))


def test_many_recipients_have_a_header_longer_than_the_first_request(stack):
    recipients = tuple(str(generate_identity().recipient()) for _ in range(120))
    writer = stack.fresh(recipients=(*recipients, str(IDENTITY.recipient())))
    writer.put("k", LARGE)
    assert parse_header(stack.stored()).length > 10_000
    store = stack.fresh()
    assert store.get("k", offset=9 * CHUNK, length=5) == LARGE[9 * CHUNK : 9 * CHUNK + 5]
    assert store.get("k") == LARGE
    with store.stream("k") as body:
        assert b"".join(body) == LARGE
    with pytest.raises(ConfigError, match="at most 126 recipients"):
        stack.fresh(recipients=recipients + tuple(str(generate_identity().recipient()) for _ in range(8)))


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_long_header_of_a_quantum_safe_object(stack, hybrid):
    identities = [generate_identity(hybrid=hybrid) for _ in range(50)]
    writer = stack.fresh(recipients=tuple(str(each.recipient()) for each in identities))
    writer.put("k", b"x" * 100_000)
    store = stack.fresh(identity=identities[-1].secret)
    assert store.get("k", offset=99_000) == b"x" * 1000


# ---- binding to keys


def test_an_object_that_was_moved_to_another_key_does_not_open():
    stack = Stack(bind_keys=True)
    stack.store.put("k", b"mine")
    stack.store_raw(stack.stored(), "other")
    for found in reads(stack.fresh(bind_keys=True), "other").values():
        assert isinstance(found, DecryptionError)
        assert "under another key" in str(found)
    assert stack.fresh(bind_keys=True).get("k") == b"mine"
    assert stack.fresh().get("other") == b"mine"


def test_an_object_that_is_bound_to_nothing_does_not_open_where_binding_is_asked_for(stack):
    stack.store.put("k", b"mine")
    with pytest.raises(DecryptionError, match="bind_keys = false"):
        stack.fresh(bind_keys=True).get("k")


def test_copies_and_renames_of_bound_objects_are_bound_to_their_own_keys():
    stack = Stack(bind_keys=True)
    stack.store.put("k", LARGE)
    assert stack.store.copy("k", "copy").size == len(LARGE)
    stack.store.rename("k", "moved")
    store = stack.fresh(bind_keys=True)
    assert store.get("copy") == store.get("moved") == LARGE
    assert not store.exists("k")
    capabilities = store.capabilities
    assert (capabilities.server_copy, capabilities.server_rename) == (False, False)
    assert capabilities.copy_if_absent == stack.memory.capabilities.if_absent


def test_copies_of_others_stay_on_the_server(stack):
    stack.store.put("k", LARGE)
    before = stack.stored()
    stack.store.copy("k", "copy")
    assert stack.stored("copy") == before
    assert stack.layer.copy("copy", "twice", CopyOptions()).size == len(LARGE)


# ---- configuration


def test_links_and_heads_are_refused(stack):
    stack.store.put("k", b"1")
    assert stack.store.capabilities.presign == {"DELETE"}
    with pytest.raises(UnsupportedError):
        stack.layer.presign("k", PresignOptions("GET"))
    assert stack.layer.presign("k", PresignOptions("DELETE"))
    with pytest.raises(UnsupportedError):
        stack.layer.replace_head("k", b"", 1, if_match="e")
    assert not stack.store.capabilities.resumable_uploads
    assert not stack.store.capabilities.replace_head


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs recipients"),
        ({"recipients": ("nonsense",)}, "a recipient cannot be read"),
        (
            {
                "recipients": ("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",),
                "passphrase": Secret("x"),
            },
            "no identity_file",
        ),
        ({"identity": Secret("nonsense")}, "the identity given, line 1: an identity cannot be read"),
        ({"identity": Secret("# only a comment")}, "there is no identity in the identity given"),
        ({"identity_file": "/nowhere/at/all"}, "cannot be read"),
        ({"recipients_file": "/nowhere/at/all"}, "cannot be read"),
    ],
)
def test_a_wrong_configuration_is_told(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        EncryptLayer(MemoryBackend("x"), EncryptConfig(**options))
    assert "nonsense" not in str(caught.value)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError, match=r"needs the extra 'encrypt': pip install 'mediagit-storage\[encrypt\]'"):
        EncryptLayer(MemoryBackend("x"), EncryptConfig(identity=IDENTITY.secret))


def test_a_library_without_post_quantum_keys_is_told(monkeypatch):
    identity = generate_identity(hybrid=True)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mlkem", None)
    for call in (
        lambda: EncryptLayer(MemoryBackend("x"), EncryptConfig(identity=identity.secret)),
        lambda: generate_identity(hybrid=True),
    ):
        with pytest.raises(ConfigError, match="need a newer library"):
            call()


def found(store: Storage) -> Finding:
    """What a check says about the keys."""
    return next(finding for finding in store.check() if finding.name == "encryption keys")


def test_key_files(tmp_path):
    key = tmp_path / "my.key"
    write_new_file(key, identity_text(IDENTITY, None))
    team = tmp_path / "team.txt"
    team.write_text(f"# the team\n\n{OTHER.recipient()}\n")
    own = open_storage("memory://files", layers=[{"layer": "encrypt", "identity_file": str(key)}])
    own.put("mine", b"1")
    shared = open_storage(
        "memory://files", layers=[{"layer": "encrypt", "identity_file": str(key), "recipients_file": str(team)}]
    )
    shared.put("theirs", b"2")
    assert own.get("mine") == b"1"
    with pytest.raises(KeyUnavailableError):
        own.get("theirs")
    assert found(shared).level == FindingLevel.WARNING
    assert found(own).level == FindingLevel.OK
    key.chmod(0o644)
    assert "chmod 600" in found(own).advice


@covers(194)
def test_identity_files_under_a_passphrase(tmp_path, monkeypatch):
    monkeypatch.setattr("mediagit_storage.layers.encrypt.keys.PassphraseRecipient.__init__.__defaults__", (4,))
    key = tmp_path / "my.key"
    write_new_file(key, identity_text(IDENTITY, Secret("open sesame")))
    assert b"AGE-SECRET" not in key.read_bytes()
    config = EncryptConfig(identity_file=str(key))
    with pytest.raises(ConfigError, match="protected by a passphrase"):
        EncryptLayer(MemoryBackend("x"), config)
    monkeypatch.setenv("PASSPHRASE", "open sesame")
    given = EncryptLayer(MemoryBackend("x"), replace(config, passphrase=SecretRef(env="PASSPHRASE")))
    asked: list[object] = []
    layer = EncryptLayer(MemoryBackend("x"), config, lambda place: asked.append(place) or Secret("open sesame"))
    assert asked == [key]
    given.put("k", BytesSource(b"1"), PutOptions())
    layer.inner = given.inner
    assert given.read("k", ReadOptions()).data == b"1"
    monkeypatch.setenv("PASSPHRASE", "wrong")
    with pytest.raises(ConfigError, match="does not open the identity file") as caught:
        EncryptLayer(MemoryBackend("x"), replace(config, passphrase=SecretRef(env="PASSPHRASE")))
    assert "wrong" not in str(caught.value)


@covers(198)
def test_no_secret_leaves(monkeypatch, tmp_path):
    secret = IDENTITY.secret.reveal()
    monkeypatch.setenv("TEST_IDENTITY", secret)
    layers = [{"layer": "encrypt", "identity": {"env": "TEST_IDENTITY"}}]
    with open_storage(tmp_path, layers=layers, environ={}) as store:
        store.put("k", b"1")
        shown = repr(store) + repr(store.backend) + repr(vars(store.backend))
        assert secret not in shown + json.dumps(store.connection_info().to_json())
        pickled = pickle.dumps(store)
        assert secret.encode() not in pickled
        with pickle.loads(pickled) as again:
            assert again.get("k") == b"1"
            assert again.connection_info() == store.connection_info()
    literal = Storage(EncryptLayer(MemoryBackend("x"), EncryptConfig(identity=IDENTITY.secret)))
    assert secret not in repr(literal.connection_info())
    with pytest.raises(TypeError, match="refuses to be pickled"):
        pickle.dumps(EncryptConfig(identity=IDENTITY.secret))


def test_an_identity_is_copied_and_pickled_by_its_text():
    identity = generate_identity()
    assert copy.deepcopy(identity) == identity
    with pytest.raises(TypeError, match="refuses to be pickled"):
        pickle.dumps(identity)
    free = X25519Identity(Secret(identity.secret.reveal(), picklable=True))
    again = pickle.loads(pickle.dumps(free))
    stanza = identity.recipient().wrap(b"k" * FILE_KEY)
    assert again.unwrap([stanza]) == b"k" * FILE_KEY
    assert identity.secret.reveal() not in repr(again)


def test_a_secret_key_is_made_once(monkeypatch):
    identity, made = generate_identity(), []
    make = primitives.x25519_key
    monkeypatch.setattr(primitives, "x25519_key", lambda secret: made.append(secret) or make(secret))
    stanzas = [identity.recipient().wrap(b"k" * FILE_KEY)]
    assert identity.unwrap(stanzas) == identity.unwrap(stanzas) == b"k" * FILE_KEY
    assert len(made) == 1, "the ephemeral one of the recipient, whose share and secret come from one key"


# ---- where ETags repeat, and what comes after what is done


class SameTag(MemoryBackend):
    """All contents of one size have one ETag, as where it is made of the time in whole seconds and the size."""

    def _blunt(self, info):
        info = replace(info)
        info.etag = f"{info.size}"
        return info

    def put(self, key, source, options):
        return self._blunt(super().put(key, source, options))

    def stat(self, key, version=None):
        return self._blunt(super().stat(key, version))

    def read(self, key, options):
        content = super().read(key, replace(options, if_match=None))
        return content._replace(info=self._blunt(content.info))

    def stream(self, key, options):
        body = super().stream(key, replace(options, if_match=None))
        body.info = self._blunt(body.info)
        return body


def test_another_object_with_the_same_etag_is_read_all_the_same():
    store = Stack(SameTag("x")).store
    first, second = os.urandom(200_000), os.urandom(200_000)
    store.put("k", first)
    assert store.get("k", offset=100_000, length=10) == first[100_000:100_010]
    store.put("k", second)
    assert store.get("k", offset=100_000, length=10) == second[100_000:100_010]


def test_a_stream_of_another_object_with_the_same_etag_fails_once_and_is_right_then():
    store = Stack(SameTag("x")).store
    first, second = os.urandom(3_000_000), os.urandom(3_000_000)
    wanted = ReadOptions(ByteRange(10, 2_500_000))

    def streamed() -> bytes:
        with store.backend.stream("k", wanted) as body:
            return b"".join(body)

    store.put("k", first)
    assert streamed() == first[10:2_500_010]
    store.put("k", second)
    with pytest.raises(DecryptionError):
        streamed()
    assert streamed() == second[10:2_500_010]


def test_a_copy_that_is_done_does_not_fail_because_its_size_cannot_be_told(stack):
    stack.store.put("a", b"plain")

    def down():
        raise UnavailableError("down")

    stack.below.before_read = down
    copied = stack.layer.copy("a", "b", CopyOptions())
    assert copied.size is None
    assert stack.layer.rename("b", "c").size is None
    stack.below.before_read = lambda: None
    assert stack.store.get("c") == b"plain"


def test_objects_that_are_bound_are_not_copied_below():
    stack = Stack(bind_keys=True)
    stack.store.put("a", b"plain")
    for attempt in (lambda: stack.layer.copy("a", "b", CopyOptions()), lambda: stack.layer.rename("a", "b")):
        with pytest.raises(UnsupportedError, match="bound to their keys"):
            attempt()
    assert stack.store.get("a") == b"plain"


def test_an_exact_listing_tells_no_size_of_what_was_written_since(stack):
    stack.store.put("k", bytes(100_000))
    listing = stack.memory.list("", ListOptions())

    class Late(MemoryBackend):
        def list(self, prefix, options):
            return listing

    late = Late("late")
    other = Stack()
    other.store.put("k", bytes(5))
    for _ in range(2):  # the ETag of a first put is that of the listed object
        late.put("k", BytesSource(other.stored()), PutOptions())
    [info] = EncryptLayer(late, EncryptConfig(identity=IDENTITY.secret)).list("", ListOptions(exact=True))
    assert info.size is None


def test_a_body_that_was_closed_ends(stack):
    stack.store.put("k", os.urandom(3_000_000))
    for wanted in (ReadOptions(), ReadOptions(ByteRange(0, 2_500_000))):
        body = stack.layer.stream("k", wanted)
        pieces = iter(body)
        assert next(pieces)
        body.close()
        assert len([*pieces]) <= 1
        assert [*body] == []


def test_a_recipient_that_is_no_key_is_refused_when_the_storage_is_opened():
    low_order = bech32.encode("age", bytes(32))
    with pytest.raises(ConfigError, match="public key"):
        EncryptLayer(MemoryBackend("x"), EncryptConfig(recipients=(low_order,)))
    if has_hybrid():
        bad = bech32.encode("age1pq", b"\xff" * 1216)
        with pytest.raises(ConfigError, match="public key"):
            EncryptLayer(MemoryBackend("x"), EncryptConfig(recipients=(bad,)))


def test_a_passphrase_that_is_no_text_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        PassphraseRecipient(Secret("my-pass\udcff")).wrap(bytes(16))
    error: BaseException | None = caught.value
    while error is not None:
        assert "my-pass" not in f"{error!r} {error.args}"
        error = error.__context__


def test_only_line_feeds_end_a_line_of_a_key_file():
    recipient = str(IDENTITY.recipient())
    text = f"# a note\u2028{recipient}\n".encode()
    assert recipients_in(text, "f") == []
    assert [str(each) for each in recipients_in(f"{recipient}\r\n".encode(), "f")] == [recipient]
    with pytest.raises(ConfigError, match="is not a text"):
        recipients_in(b"\xff", "f")
