"""Rotating keys: every object once, whole and with all it had; interrupted anywhere, twice at once, and against writers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mediagit_storage.attributes import RESERVED_METADATA_PREFIX
from mediagit_storage.backend import StorageBackend
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    ChecksumError,
    ConfigError,
    DecryptionError,
    KeyUnavailableError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.events import on_event
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer
from mediagit_storage.layers.compress import CompressConfig, CompressLayer
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.encrypt.header import Stanza, parse_header, write_header
from mediagit_storage.layers.encrypt.keys import Identity, generate_identity, unwrap
from mediagit_storage.layers.encrypt.primitives import has_hybrid
from mediagit_storage.layers.encrypt.rewrapping import recipients_proof
from mediagit_storage.layers.encrypt.rotating import RotationState
from mediagit_storage.layers.encrypt.whole import encrypt
from mediagit_storage.layers.migrating import MigratingLayer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer
from mediagit_storage.layers.prefix import PrefixConfig
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.progress import Progress, on_progress
from mediagit_storage.scope import scope
from mediagit_storage.secrets import Secret
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.dying_os import DyingOS, PowerLoss
from mediagit_storage.testing.sources import content
from mediagit_storage.tools.rotation import Rotated, RotationRules, rotate_keys
from mediagit_storage.types import Attributes, DeleteOptions, PutOptions, ReadOptions

OLD, NEW, ANNA, BEN = (generate_identity() for _ in range(4))
REWRAPPED, DONE, PLANNED, FOREIGN, GONE = (
    RotationState.REWRAPPED,
    RotationState.DONE,
    RotationState.PLANNED,
    RotationState.FOREIGN,
    RotationState.GONE,
)
#: A few bytes, a header and more, what is read at first, what is held, and what is streamed.
SIZES = {"a/empty": 0, "a/small": 100, "a/page": 70_000, "b/photo": 900_000, "b/video": 1_500_000, "c": 5}
FULL = Attributes(
    "image/png", "no-cache", "identity", "inline", {"camera": "x", "empty": ""}, "COLD", {"project": "one"}
)


class Between(Layer):
    """Notes what is written, and lets tests do something before each write."""

    layer_name = "between"

    def __init__(self, inner: StorageBackend, **capabilities: object) -> None:
        super().__init__(inner, PrefixConfig("unused"))
        self.written: list[str] = []
        self.before_write = lambda key: None
        self._own = Capabilities(
            **{name: getattr(inner.capabilities, name) for name in Capabilities.__slots__} | capabilities
        )

    @property
    def capabilities(self):
        return self._own

    def put(self, key, source, options):
        self.before_write(key)
        info = self.inner.put(key, source, options)
        self.written.append(key)
        return info

    def replace_head(self, key, head, old_length, *, if_match):
        self.before_write(key)
        info = self.inner.replace_head(key, head, old_length, if_match=if_match)
        self.written.append(key)
        return info


def sealed(inner: StorageBackend, recipients: list[Identity], identities: list[Identity], **options) -> Storage:
    secret = Secret("\n".join(each.secret.reveal() for each in identities))
    names = tuple(str(each.recipient()) for each in recipients)
    return Storage(EncryptLayer(inner, EncryptConfig(recipients=names, identity=secret or None, **options)))


def rotate(store: Storage, key: str = "", **rules) -> dict[str, RotationState | type[Exception]]:
    outcomes = rotate_keys(store, key, RotationRules(**rules))
    return {each.key: each.state if each.error is None else type(each.error) for each in outcomes}


def raw(backend: StorageBackend, key: str) -> bytes:
    return backend.read(key, ReadOptions()).data


def payload(backend: StorageBackend, key: str) -> bytes:
    data = raw(backend, key)
    return data[parse_header(data).length :]


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    """Where journals lie."""
    folder = tmp_path / "state"
    monkeypatch.setenv("MGS_STATE_DIR", str(folder))
    return folder / "transfers"


@pytest.fixture(params=["memory", "memory, streamed", "local"])
def below(request) -> Between:
    if request.param == "local":
        return request.getfixturevalue("folder")
    request.getfixturevalue("state")
    return Between(MemoryBackend("x"), replace_head=request.param == "memory")


@pytest.fixture
def folder(tmp_path, state) -> Iterator[Between]:
    (tmp_path / "objects").mkdir()
    with closing(LocalBackend(tmp_path / "objects")) as backend:
        yield Between(backend)


@pytest.fixture
def few(state) -> Between:
    """Some small objects of the old key in memory."""
    below = Between(MemoryBackend("x"))
    fill(sealed(below, [OLD], [OLD]), {f"k{number}": 50 + number for number in range(5)})
    below.written.clear()
    return below


def fill(store: Storage, sizes: dict[str, int], attributes: Attributes | None = None) -> None:
    for key, size in sizes.items():
        store.put(key, content(size), attributes=attributes)


# ---- what comes out


@covers(193)
def test_every_object_is_for_the_new_recipients_only(below):
    fill(sealed(below, [OLD], [OLD]), SIZES, None if "LocalBackend" in repr(below) else FULL)
    new = sealed(below, [NEW, ANNA, BEN], [NEW, OLD])
    before = {key: payload(below, key) for key in SIZES}
    told = {key: new.stat(key).attributes for key in SIZES}
    assert rotate(new, dry_run=True) == dict.fromkeys(SIZES, PLANNED)
    below.written.clear()
    assert rotate(new) == dict.fromkeys(SIZES, REWRAPPED)
    assert sorted(below.written) == sorted(SIZES)
    assert {key: payload(below, key) for key in SIZES} == before
    for identity in (NEW, ANNA, BEN):
        reader = sealed(below, [NEW], [identity])
        for key, size in SIZES.items():
            assert reader.get(key) == content(size)
            info = reader.stat(key)
            assert (info.size, info.attributes) == (size, told[key])
            assert info.stored_size == len(raw(below, key))
            assert reader.get(key, suffix=7) == content(size)[-7:]
        assert {info.key: info.size for info in reader.list(exact=True)} == SIZES
    with pytest.raises(KeyUnavailableError, match="none of the 1 identities"):
        sealed(below, [OLD], [OLD]).get("c")
    # Who read the old ones before, reads the new ones now.
    assert new.get("b/video", offset=1_400_000) == content(1_500_000)[1_400_000:]
    # It is seen in each object that it is done.
    assert rotate(new) == rotate(new, dry_run=True) == dict.fromkeys(SIZES, DONE)
    assert sorted(below.written) == sorted(SIZES)


def test_a_folder_or_an_object_of_it(few):
    fill(sealed(few, [OLD], [OLD]), {"k": 1, "k/a": 2, "k/b/c": 3})
    new = sealed(few, [NEW], [NEW, OLD])
    assert rotate(new, "k/b/") == {"k/b/c": REWRAPPED}
    assert rotate(new, "k") == {"k": REWRAPPED, "k/a": REWRAPPED, "k/b/c": DONE}
    assert rotate(new, "k4") == {"k4": REWRAPPED}
    assert rotate(new, "nothing") == {}


def test_old_identities_may_be_given_that_the_storage_has_no_more(few):
    new = sealed(few, [NEW], [NEW])
    assert rotate(new) == dict.fromkeys(("k0", "k1", "k2", "k3", "k4"), KeyUnavailableError)
    assert few.written == []
    assert set(rotate(new, identities=(OLD,)).values()) == {REWRAPPED}
    assert new.get("k3") == content(53)


def test_what_one_reads_the_other_wrote_meanwhile(few):
    """While a storage is rotated, old and new objects are read by who has both keys, and written to the new recipients."""
    new = sealed(few, [NEW], [OLD, NEW])
    outcomes = rotate_keys(new, rules=RotationRules(concurrency=1))
    next(outcomes)
    new.put("k3", b"new already")
    assert new.get("k4") == content(54)
    assert {each.key: each.state for each in outcomes} == {
        "k1": REWRAPPED,
        "k2": REWRAPPED,
        "k3": DONE,
        "k4": REWRAPPED,
    }
    assert sealed(few, [NEW], [NEW]).get("k3") == b"new already"


@pytest.mark.skipif(not has_hybrid(), reason="this build of the library has no ML-KEM")
def test_to_another_kind_of_keys_and_back(few):
    quantum = generate_identity(hybrid=True)
    assert set(rotate(sealed(few, [quantum], [OLD, quantum])).values()) == {REWRAPPED}
    assert sealed(few, [quantum], [quantum]).get("k4", offset=50) == content(54)[50:]
    assert set(rotate(sealed(few, [OLD], [OLD, quantum])).values()) == {REWRAPPED}
    assert sealed(few, [OLD], [OLD]).get("k4") == content(54)


# ---- what is done


def test_a_recipient_that_goes_is_noticed_without_its_identity(few):
    """Anna does not have Ben's identity, nor the one who takes his place has told hers."""
    team = sealed(few, [ANNA, BEN], [ANNA])
    assert set(rotate(team, identities=(OLD,)).values()) == {REWRAPPED}
    assert set(rotate(team).values()) == {DONE}
    changed = sealed(few, [ANNA, NEW], [ANNA])
    assert set(rotate(changed).values()) == {REWRAPPED}
    assert set(rotate(changed).values()) == {DONE}
    assert set(rotate(sealed(few, [NEW, ANNA], [ANNA])).values()) == {DONE}
    assert sealed(few, [BEN], [NEW]).get("k1") == content(51)
    with pytest.raises(KeyUnavailableError):
        sealed(few, [BEN], [BEN]).get("k1")
    # Fewer are seen by their number.
    assert set(rotate(sealed(few, [ANNA], [ANNA])).values()) == {REWRAPPED}
    assert set(rotate(sealed(few, [ANNA], [ANNA])).values()) == {DONE}


def test_while_a_retired_identity_opens_an_object_it_is_not_done(few):
    """Who goes may write a header for himself that says it is for others: he knows the key of the object."""
    written = raw(few, "k0")
    header = parse_header(written)
    file_key = unwrap(header, [OLD])
    wanted = [ANNA.recipient(), BEN.recipient()]
    wraps = [each.recipient().wrap(file_key) for each in (ANNA, OLD)]
    forged = write_header([*wraps, recipients_proof(file_key, wanted)], file_key)
    few.inner.put("k0", BytesSource(forged + written[header.length :]), PutOptions())
    # Who does not have the identity of him who goes cannot tell.
    assert rotate(sealed(few, [ANNA, BEN], [ANNA]), "k0") == {"k0": DONE}
    assert rotate(sealed(few, [ANNA, BEN], [ANNA, OLD]), "k0") == {"k0": REWRAPPED}
    with pytest.raises(KeyUnavailableError):
        sealed(few, [OLD], [OLD]).get("k0")
    assert sealed(few, [BEN], [BEN]).get("k0") == content(50)


def test_recipients_of_other_kinds_go(few):
    """What other programs wrote may name recipients that nobody here knows."""
    written = encrypt(b"data", [OLD.recipient()])
    few.inner.put("k0", BytesSource(written), PutOptions())
    header = parse_header(written)
    file_key = unwrap(header, [OLD])
    greased = write_header([*header.stanzas, Stanza("grease", ("x",), b"y" * 100)], file_key)
    few.inner.put("k0", BytesSource(greased + written[header.length :]), PutOptions())
    old = sealed(few, [OLD], [OLD])
    assert rotate(old, "k0") == {"k0": REWRAPPED}
    assert [stanza.kind for stanza in parse_header(raw(few, "k0")).stanzas] == ["X25519"]
    assert rotate(old, "k0") == {"k0": DONE}
    assert old.get("k0") == b"data"


def test_a_proof_of_other_recipients_proves_nothing(few):
    """Only who can open an object can tell for whom it is said to be."""
    changed = sealed(few, [ANNA, BEN], [ANNA])
    rotate(changed, identities=(OLD,))
    proofs = {parse_header(raw(few, key)).stanzas[-1].arguments for key in ("k0", "k1", "k2")}
    assert len(proofs) == 3
    mine, other = raw(few, "k0"), raw(few, "k1")
    taken = parse_header(other).stanzas[-1]
    header = parse_header(mine)
    file_key = unwrap(header, [ANNA])
    few.inner.put(
        "k0",
        BytesSource(write_header([*header.stanzas[:-1], taken], file_key) + mine[header.length :]),
        PutOptions(),
    )
    assert rotate(changed)["k0"] is REWRAPPED


# ---- keys that objects are tied to


def test_a_tie_to_the_key_is_kept(below):
    fill(sealed(below, [OLD], [OLD], bind_keys=True), SIZES)
    new = sealed(below, [NEW], [OLD, NEW], bind_keys=True)
    assert set(rotate(new).values()) == {REWRAPPED}
    assert new.get("b/video") == content(1_500_000)
    below.inner.put("elsewhere", BytesSource(raw(below, "c")), PutOptions())
    with pytest.raises(DecryptionError, match="another key"):
        new.get("elsewhere")
    # Through a profile that does not ask for it, it is kept as well.
    assert set(rotate(sealed(below, [OLD], [OLD, NEW])).values()) == {REWRAPPED}
    bound = sealed(below, [OLD], [OLD], bind_keys=True)
    assert bound.get("a/page") == content(70_000)
    with pytest.raises(DecryptionError, match="another key"):
        bound.get("elsewhere")


def test_what_was_moved_or_is_tied_to_nothing_is_not_blessed(few):
    fill(sealed(few, [OLD], [OLD], bind_keys=True), {"k0": 3})
    few.inner.put("k1", BytesSource(raw(few, "k0")), PutOptions())
    few.written.clear()
    outcomes = rotate(sealed(few, [NEW], [OLD, NEW], bind_keys=True))
    assert outcomes.pop("k0") is REWRAPPED
    assert set(outcomes.values()) == {DecryptionError}
    assert few.written == ["k0"]


def test_a_part_of_a_storage_that_ties_keys(state):
    below = Between(MemoryBackend("x"))
    fill(sealed(below, [OLD], [OLD], bind_keys=True), SIZES)
    part = sealed(below, [NEW], [OLD, NEW], bind_keys=True).with_prefix("b/")
    assert rotate(part) == {"photo": REWRAPPED, "video": REWRAPPED}
    assert rotate(part, "vid") == {}
    assert rotate(part, "video") == {"video": DONE}
    assert sealed(below, [NEW], [NEW], bind_keys=True).get("b/video") == content(1_500_000)


# ---- other layers


def test_digests_below_are_of_what_is_stored_now(below):
    backend = below.inner
    below = ChecksumLayer(backend, ChecksumConfig(missing="refuse"))
    fill(sealed(below, [OLD], [OLD]), SIZES, Attributes(metadata={"a": "b"}))
    damaged = bytearray(raw(backend, "b/video"))
    damaged[-40] ^= 1
    kept = backend.stat("b/video").attributes
    backend.put("b/video", BytesSource(bytes(damaged)), PutOptions(kept))
    new = sealed(below, [NEW], [OLD, NEW])
    outcomes = rotate(new)
    assert outcomes.pop("b/video") is ChecksumError  # not given a digest that would bless it
    assert set(outcomes.values()) == {REWRAPPED}
    for key in outcomes:
        assert new.get(key) == content(SIZES[key])
        assert new.stat(key).attributes == Attributes(metadata={"a": "b"})
    assert raw(backend, "b/video") == damaged
    assert [*backend.pending_uploads("")] == []


def test_digests_of_the_plain_text_and_compressed_objects(state):
    below = Between(MemoryBackend("x"))

    def open_store(recipients, identities):
        layer = CompressLayer(sealed(below, recipients, identities).backend, CompressConfig())
        return Storage(ChecksumLayer(layer, ChecksumConfig(missing="refuse", digest_in_clear=True)))

    sizes = SIZES | {"b/video": 3_000_000}
    fill(open_store([OLD], [OLD]), sizes)
    new = open_store([NEW], [OLD, NEW])
    kept = {key: below.inner.stat(key).attributes for key in sizes}
    assert all(any(name.startswith(RESERVED_METADATA_PREFIX) for name in each.metadata) for each in kept.values())
    assert rotate(new) == dict.fromkeys(sizes, REWRAPPED)
    assert {key: below.inner.stat(key).attributes for key in sizes} == kept
    assert all(new.get(key) == content(size) for key, size in sizes.items())


def test_what_cannot_be_rotated_is_refused_before_anything_is_done(few):
    memory = few.inner
    for store, error, message in (
        (Storage(memory), ConfigError, "is not encrypted"),
        (sealed(memory, [NEW], [OLD]), ConfigError, "none of the identities opens what would be written"),
        (Storage(ReadOnlyLayer(sealed(memory, [NEW], [OLD, NEW]).backend)), PermissionDeniedError, "read-only"),
        (Storage(Between(sealed(memory, [NEW], [OLD, NEW]).backend)), ConfigError, "the layer 'between' does to keys"),
        (
            Storage(MirrorLayer(sealed(memory, [NEW], [OLD, NEW]).backend, [MemoryBackend("replica")])),
            ConfigError,
            "open them by themselves",
        ),
        (sealed(Between(memory, if_match=False), [NEW], [OLD, NEW]), UnsupportedError, "cannot write on condition"),
        (
            sealed(MigratingLayer(MemoryBackend("new"), memory), [NEW], [OLD, NEW]),
            ConfigError,
            "'migrating' lies inside of 'encrypt'.* open each of them by itself",
        ),
        (
            sealed(
                MirrorLayer(memory, [MigratingLayer(MemoryBackend("new"), MemoryBackend("old"))]), [NEW], [OLD, NEW]
            ),
            ConfigError,
            "'migrating' lies inside of 'encrypt'",
        ),
    ):
        with pytest.raises(error, match=message):
            rotate_keys(store)
    below = sealed(ReadOnlyLayer(memory), [NEW], [OLD, NEW])
    assert set(rotate(below).values()) == {PermissionDeniedError}
    assert sealed(memory, [OLD], [OLD]).get("k1") == content(51)


@pytest.mark.parametrize("options", [{"validate": "ttl", "ttl": 300.0}, {"validate": "immutable"}])
def test_what_a_cache_below_has_kept_is_not_believed(few, options):
    """Others write for the old key, past the cache: what it kept of the rotated object, or of theirs, is no proof."""
    late, cache = sealed(few, [OLD], [OLD]), CacheLayer(few, CacheConfig(**options))
    new = sealed(cache, [NEW], [OLD, NEW])
    for size in (60, 70_000, 1_100_000):
        assert set(rotate(new).values()) == ({REWRAPPED} if size == 60 else {DONE})
        assert new.get("k1") is not None
        late.put("k1", content(size))
        assert rotate(new, dry_run=True)["k1"] is PLANNED
        assert rotate(new)["k1"] is REWRAPPED
        assert sealed(few, [NEW], [NEW]).get("k1") == new.get("k1") == content(size)


def test_a_journal_is_not_believed_because_of_a_cache(folder, state):
    """Whether the last object is done still is asked of the storage."""
    late = sealed(folder, [OLD], [OLD])
    fill(late, {f"k{number}": 50 for number in range(4)})
    new = sealed(CacheLayer(folder, CacheConfig(validate="immutable")), [NEW], [OLD, NEW])
    begun(new, 2)
    assert new.get("k1") == content(50)
    late.put("k1", b"late")
    again = rotate(new)
    assert [*again] == ["k0", "k1", "k2", "k3"]
    assert (again["k0"], again["k1"]) == (DONE, REWRAPPED)


class Dropping(MemoryBackend):
    """Cannot be reached while ``down``."""

    down = False

    def put(self, key, source, options):
        if self.down:
            raise UnavailableError("it is down")
        return super().put(key, source, options)

    def read(self, key, options):
        if self.down:
            raise UnavailableError("it is down")
        return super().read(key, options)


def test_with_a_replica_behind_a_rotation_is_not_done(state):
    """The replica has what the old key opens. That is told at the end of each run until the mirror is repaired."""
    replica = Dropping("replica")
    mirror = MirrorLayer(MemoryBackend("x"), [replica], MirrorConfig(require=0, pause=0))
    sealed(mirror, [OLD], [OLD]).put("k", b"data")
    new = sealed(mirror, [NEW], [OLD, NEW])
    replica.down = True
    for state_then, rules in ((PLANNED, {"dry_run": True}), (REWRAPPED, {}), (DONE, {}), (DONE, {"dry_run": True})):
        found = [*rotate_keys(new, "k", RotationRules(**rules))]
        assert found[0].state is state_then
        if state_then is PLANNED:
            assert len(found) == 1
        else:
            [_, (key, state_at_end, _, error)] = found
            assert (key, state_at_end) == ("k", None)
            assert type(error) is StorageError
            assert "replica 1 (memory://replica) missed changes" in error.message
            assert "run `mgs mirror repair`, then rotate again" in error.message
    replica.down = False
    assert sealed(replica, [OLD], [OLD]).get("k") == b"data"
    assert [each.repaired for each in mirror.repair()] == [True]
    assert [each.state for each in rotate_keys(new)] == [DONE]
    assert sealed(replica, [NEW], [NEW]).get("k") == b"data"


def test_what_a_replica_says_in_place_of_the_primary_is_no_proof(state):
    primary = Dropping("x")
    mirror = MirrorLayer(primary, [MemoryBackend("replica")], MirrorConfig(failover=True, pause=0))
    new = sealed(mirror, [NEW], [OLD, NEW])
    new.put("k", b"data")
    sealed(primary, [OLD], [OLD]).put("k", b"past the mirror")
    primary.down = True
    looked = [*rotate_keys(new, rules=RotationRules(dry_run=True))]
    assert [(each.key, each.state) for each in looked] == [("k", DONE), ("", None)]
    assert "a replica was read in place of the primary" in str(looked[1].error)
    primary.down = False
    assert rotate(new) == {"k": REWRAPPED}


# ---- what fails


@covers(193)
def test_what_cannot_be_done_is_named_and_left(few):
    memory = few.inner
    strange = {
        "f/empty": (b"", FOREIGN),
        "f/plain": (b"some text" * 1000, FOREIGN),
        "f/cut": (raw(memory, "k0")[:100], DecryptionError),
        "f/cut-payload": (raw(memory, "k0")[:170], DecryptionError),
        "f/flipped": (raw(memory, "k0").replace(b"\n--- ", b"\n--- A", 1), DecryptionError),
        "f/mac": (raw(memory, "k0")[:-200] + bytes(200), DecryptionError),
        "f/others": (encrypt(b"x", [BEN.recipient()]), KeyUnavailableError),
        "f/long": (b"age-encryption.org/v1\n-> a\n" + (b"a" * 64 + b"\n") * 5000, DecryptionError),
        "f/version": (b"age-encryption.org/v2\n" + b"x" * 400, DecryptionError),
    }
    for key, (data, _) in strange.items():
        memory.put(key, BytesSource(data), PutOptions())
    outcomes = [*rotate_keys(sealed(few, [NEW], [OLD, NEW]))]
    assert [each.key for each in outcomes] == sorted([*strange, "k0", "k1", "k2", "k3", "k4"])
    for each in outcomes:
        if each.key in strange:
            data, expected = strange[each.key]
            assert each.state is expected if expected is FOREIGN else isinstance(each.error, expected), each
            assert raw(memory, each.key) == data
        else:
            assert each.state is REWRAPPED
        if each.error is not None:
            assert (each.error.key, each.error.operation) == (each.key, "rotate")


@covers(197)
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_write_that_fails_leaves_the_object_readable(below, after):
    fill(sealed(below, [OLD], [OLD]), SIZES)
    failing = True

    class Failing(Between):
        def put(self, key, source, options):
            if after:
                self.inner.put(key, source, options)
            return self.fail(key) if failing else super().put(key, source, options)

        def replace_head(self, key, head, old_length, *, if_match):
            if after:
                self.inner.replace_head(key, head, old_length, if_match=if_match)
            return self.fail(key) if failing else super().replace_head(key, head, old_length, if_match=if_match)

        def fail(self, key):
            raise UnavailableError("the network is down")

    new = sealed(Failing(below, replace_head=below.capabilities.replace_head), [NEW], [OLD, NEW])
    assert set(rotate(new).values()) == {UnavailableError}
    assert all(new.get(key) == content(size) for key, size in SIZES.items())
    failing = False
    assert set(rotate(new).values()) == {DONE if after else REWRAPPED}
    assert all(sealed(below, [NEW], [NEW]).get(key) == content(size) for key, size in SIZES.items())


def test_where_nothing_else_would_work_it_ends(few):
    def full(key):
        raise CapacityError("the disk is full")

    few.before_write = full
    with pytest.raises(CapacityError):
        rotate(sealed(few, [NEW], [OLD, NEW]))
    with pytest.raises(BucketNotFoundError):
        rotate(sealed(Between(MemoryBackend("y", created=False)), [NEW], [OLD, NEW]))


def test_it_can_be_cancelled(few):
    new = sealed(few, [NEW], [OLD, NEW])
    with scope() as inside:
        outcomes = rotate_keys(new, rules=RotationRules(concurrency=1))
        next(outcomes)
        inside.cancel()
        with pytest.raises(CancelledError):
            list(outcomes)
    assert new.get("k4") == content(54)


# ---- somebody writes meanwhile


def test_who_writes_meanwhile_wins_and_is_looked_at_again(below):
    fill(sealed(below, [OLD], [OLD]), SIZES)
    writer, once = sealed(below.inner, [OLD], [OLD]), set()

    def write(key):
        if key not in once:
            once.add(key)
            writer.put(key, content(SIZES[key] + 1))

    below.written.clear()
    below.before_write = write
    new = sealed(below, [NEW], [OLD, NEW])
    assert rotate(new) == dict.fromkeys(SIZES, REWRAPPED)
    assert all(sealed(below, [NEW], [NEW]).get(key) == content(size + 1) for key, size in SIZES.items())
    assert sorted(below.written) == sorted(SIZES)


def test_what_is_deleted_or_replaced_by_plain_bytes_meanwhile(below):
    fill(sealed(below, [OLD], [OLD]), SIZES)

    def meddle(key):
        below.before_write = lambda _: None
        below.inner.delete(key, DeleteOptions())
        if key == "a/small":
            below.inner.put(key, BytesSource(b"plain"), PutOptions())

    new = sealed(below, [NEW], [OLD, NEW])
    for key, expected in (("b/video", GONE), ("b/photo", GONE), ("a/page", GONE), ("a/small", FOREIGN)):
        below.before_write = meddle
        assert rotate(new, key) == {key: expected}
    below.inner.delete("c", DeleteOptions())
    listed = rotate_keys(new)
    assert {each.key for each in listed} == {"a/empty", "a/small"}


def test_who_writes_again_and_again_is_left_to_it(few):
    writer = sealed(few.inner, [OLD], [OLD])
    few.before_write = lambda key: writer.put(key, b"again")
    new = sealed(few, [NEW], [OLD, NEW])
    assert set(rotate(new).values()) == {PreconditionError}
    few.before_write = lambda key: None
    assert set(rotate(new).values()) == {REWRAPPED}


@pytest.mark.parametrize("conditions", [True, False])
def test_a_large_object_that_is_replaced_while_it_travels(folder, conditions):
    """The source is another version than the header was made for: nothing is put together out of two."""
    old = sealed(folder.inner, [OLD], [OLD])
    old.put("k", content(2_000_000))
    replaced = []

    class Swapping(Between):
        def stream(self, key, options):
            if not replaced:
                replaced.append(old.put(key, b"other" * 500_000))
            return super().stream(key, options)

    new = sealed(Swapping(folder.inner, read_conditions=conditions), [NEW], [OLD, NEW])
    assert rotate(new) == {"k": REWRAPPED}
    assert new.get("k") == b"other" * 500_000


def test_two_at_once_do_no_harm(below):
    sizes = {f"k{number:02}": number * 30_000 for number in range(20)} | {"video": 1_100_000}
    fill(sealed(below, [OLD], [OLD]), sizes)
    below.written.clear()
    start = threading.Barrier(2)

    def work(_):
        new = sealed(below, [NEW], [OLD, NEW])
        start.wait()
        return rotate(new, concurrency=3)

    with ThreadPoolExecutor(2) as pool:
        outcomes = [*pool.map(work, range(2))]
    for each in outcomes:
        assert set(each.values()) <= {REWRAPPED, DONE}
    assert Counter(below.written) == dict.fromkeys(sizes, 1)
    assert all(sealed(below, [NEW], [NEW]).get(key) == content(size) for key, size in sizes.items())


# ---- going on


def begun(store: Storage, count: int, **rules) -> list[Rotated]:
    """The first outcomes of a rotation that is then interrupted."""
    outcomes = rotate_keys(store, rules=RotationRules(concurrency=1, **rules))
    try:
        return [next(outcomes) for _ in range(count)]
    finally:
        outcomes.close()


def test_an_interrupted_rotation_goes_on_where_it_stopped(folder, state):
    fill(sealed(folder, [OLD], [OLD]), {f"k{number}": 50 for number in range(8)})
    new = sealed(folder, [NEW], [OLD, NEW])
    assert [each.key for each in begun(new, 3)] == ["k0", "k1", "k2"]
    assert len([*state.glob("*.json")]) == 1
    events = []
    with on_event(events.append):
        again = begun(new, 3)
    assert [each.key for each in again] == ["k3", "k4", "k5"]
    assert [event.kind for event in events] == ["rotation.resumed"]
    # Without the journal, and for a look, all are looked at.
    assert len(rotate(new, resume=False, dry_run=True)) == 8
    assert [*rotate(new)] == ["k6", "k7"]
    assert [*state.glob("*")] == []
    assert set(rotate(new).values()) == {DONE}


def test_what_failed_is_tried_again_first(folder, state):
    fill(sealed(folder, [OLD], [OLD]), {f"k{number}": 50 for number in range(8)})
    folder.inner.put("k1", BytesSource(encrypt(b"x", [BEN.recipient()])), PutOptions())
    folder.inner.put("k2", BytesSource(b"plain"), PutOptions())
    new = sealed(folder, [NEW], [OLD, NEW])
    assert [each.key for each in begun(new, 4)] == ["k0", "k1", "k2", "k3"]
    assert [each.key for each in begun(new, 2)] == ["k1", "k4"]
    sealed(folder, [OLD], [OLD]).put("k1", b"readable now")
    assert [each.key for each in begun(new, 1)] == ["k1"]
    assert [*rotate(new)] == ["k5", "k6", "k7"]
    assert rotate(new)["k1"] is DONE


@pytest.mark.parametrize("change", ["other recipients", "another storage under its name", "only looked at", "afresh"])
def test_a_journal_is_believed_only_where_it_is_true(folder, state, tmp_path, change):
    sizes = {f"k{number}": 50 for number in range(6)}
    fill(sealed(folder, [OLD], [OLD]), sizes)
    new = sealed(folder, [NEW], [OLD, NEW])
    rules = {}
    begun(new, 3)
    if change == "other recipients":
        new = sealed(folder, [ANNA], [OLD, NEW, ANNA])
    elif change == "another storage under its name":
        fill(sealed(folder, [OLD], [OLD]), sizes)
    elif change == "only looked at":
        rules = {"dry_run": True}
    else:
        rules = {"resume": False}
    assert [*rotate(new, **rules)] == [*sizes]


def test_a_journal_that_is_damaged_is_none(folder, state):
    fill(sealed(folder, [OLD], [OLD]), {f"k{number}": 50 for number in range(4)})
    new = sealed(folder, [NEW], [OLD, NEW])
    begun(new, 2)
    [document] = state.glob("*.json")
    document.write_bytes(document.read_bytes().replace(b"k1", b"k3"))
    assert [*rotate(new)] == ["k0", "k1", "k2", "k3"]


def test_progress_is_in_bytes_and_ends_with_the_total(below):
    fill(sealed(below, [OLD], [OLD]), SIZES)
    total = sum(len(raw(below, key)) for key in SIZES)
    seen: list[Progress] = []
    with on_progress(seen.append):
        rotate(sealed(below, [NEW], [OLD, NEW]))
    mine = [each for each in seen if each.description == "rotate"]
    assert mine[0].completed == 0
    assert [each.completed for each in mine] == sorted(each.completed for each in mine)
    assert mine[-1] == Progress("rotate", total, total)


def test_attributes_are_kept_where_reads_do_not_tell_them(state):
    class Terse(Between):
        def read(self, key, options):
            found = super().read(key, options)
            return found._replace(info=replace(found.info, attributes=None))

    below = Terse(MemoryBackend("x"), replace_head=False)
    fill(sealed(below, [OLD], [OLD]), SIZES, FULL)
    assert set(rotate(sealed(below, [NEW], [OLD, NEW])).values()) == {REWRAPPED}
    assert [key for key in SIZES if below.stat(key).attributes != FULL] == []


def test_a_storage_that_does_not_say_what_it_holds(few):
    class Silent(Between):
        def read(self, key, options):
            found = super().read(key, options)
            found.info.etag = None
            return found

    assert set(rotate(sealed(Silent(few.inner), [NEW], [OLD, NEW])).values()) == {StorageError}


@covers(197)
def test_a_process_that_dies_at_any_call_leaves_the_object_readable_and_the_next_one_ends_the_work(folder, tmp_path):
    size, died = 1_100_000, 0
    data, named = content(size), Attributes(content_type="image/png", metadata={"a": "b"})
    with closing(LocalBackend(tmp_path / "objects", durability="none")) as quick:
        old, both, new = (
            sealed(quick, keys, ids) for keys, ids in (([OLD], [OLD]), ([NEW], [OLD, NEW]), ([NEW], [NEW]))
        )
        while True:
            old.put("k", data, attributes=named)
            dying = DyingOS(died)
            try:
                rotate(sealed(LocalBackend(tmp_path / "objects", os=dying), [NEW], [OLD, NEW]), concurrency=1)
            except PowerLoss:
                died += 1
            else:
                break
            finally:
                dying.bury()
            assert both.get("k") == data
            assert rotate(both, resume=False) in ({"k": REWRAPPED}, {"k": DONE})
            assert new.get("k") == data
            assert new.stat("k").attributes == named
            for upload in [*quick.pending_uploads("")]:
                quick.abort_upload(upload)
    assert died > 20
