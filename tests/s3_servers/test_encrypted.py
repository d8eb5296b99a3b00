"""Encrypted objects on a server of S3: the whole suite, and connections that break below the layer."""

from __future__ import annotations

from functools import partial

import pytest

from mediagit_storage.errors import DecryptionError
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.encrypt.keys import generate_identity
from mediagit_storage.layers.encrypt.rotating import RotationState
from mediagit_storage.layers.encrypt.sizes import stored_size
from mediagit_storage.secrets import Secret
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.fault_proxy import Fault, is_method
from mediagit_storage.testing.layered_s3 import OverSeaweedFSWithoutLinks
from mediagit_storage.testing.sources import content
from mediagit_storage.testing.stacking import TEST_IDENTITY
from mediagit_storage.testing.toxics import CutAnswer, Fail, FailAfterwards, ResetWhileSending
from mediagit_storage.tools.rotation import rotate_keys
from mediagit_storage.types import Attributes, PutOptions

MIB = 1024 * 1024
#: A key for tests, known to everybody.
CONFIG = EncryptConfig(identity=Secret(TEST_IDENTITY))


class TestSeaweedFS(OverSeaweedFSWithoutLinks):
    def layered(self, inner):
        return EncryptLayer(inner, CONFIG)


@pytest.fixture
def through(through_proxy):
    """Opens a new bucket through a proxy with these faults, encrypted; the proxy, and the same without a proxy."""
    return partial(through_proxy, layered=lambda inner: EncryptLayer(inner, CONFIG))


@pytest.mark.uses_server("seaweedfs")
@pytest.mark.parametrize("reset", [False, True])
def test_reads_that_break_off_are_resumed_below(through, reset):
    """Bodies are cut off in the middle, one after the other: what is read is the same."""
    data = content(3 * MIB)
    cut = CutAnswer(700_000, reset=reset)
    proxy, spoilt, plain = through(Fault(cut, matches=is_method("GET", having="/k"), times=2))
    plain.put("k", data)
    with proxy:
        assert spoilt.get("k") == data
    proxy, spoilt, plain = through(Fault(cut, matches=is_method("GET", having="/k"), nth=3, times=2))
    plain.put("k", data)
    with proxy:
        assert spoilt.stat("k").size == len(data)
        assert b"".join(spoilt.stream("k", offset=1_000_000)) == data[1_000_000:]


@pytest.mark.uses_server("seaweedfs")
@pytest.mark.parametrize("rewindable", [True, False])
@pytest.mark.parametrize("toxic", [Fail(), FailAfterwards(), ResetWhileSending(100_000)], ids=repr)
def test_writes_that_fail_are_tried_again(through, tmp_path, toxic, rewindable):
    """A part of a large object is sent again, also where only its answer was lost."""
    data = content(17 * MIB)
    proxy, spoilt, plain = through(Fault(toxic, matches=is_method("PUT", having="partNumber")))
    path = tmp_path / "file"
    path.write_bytes(data)
    with proxy, path.open("rb") as file:
        # Of unknown size, both go in parts.
        info = spoilt.backend.put("k", IterableSource([data] if rewindable else iter([data])), PutOptions())
        assert (info.size, info.stored_size) == (len(data), stored_size(len(data), 200 - 32))
        file.seek(5)
        assert spoilt.put("small", file).size == len(data) - 5
    assert plain.get("k") == data
    assert plain.get("small") == data[5:]
    assert [*plain.pending_uploads()] == []


@pytest.mark.uses_server("seaweedfs")
def test_what_somebody_changed_on_the_server_does_not_open(servers, new_bucket, open_s3):
    server = servers("seaweedfs")
    bucket = new_bucket(server)
    inner = open_s3(server, bucket)
    store = Storage(EncryptLayer(inner, CONFIG))
    store.put("k", content(300_000))
    assert store.get("k", offset=200_000, length=5) == content(300_000)[200_000:200_005]
    raw = Storage(inner)
    damaged = bytearray(raw.get("k"))
    damaged[-150_000] ^= 1
    inner.put("k", BytesSource(damaged), PutOptions())
    assert store.get("k", suffix=5) == content(300_000)[-5:]
    for call in (lambda: store.get("k"), lambda: store.get("k", offset=100_000, length=100_000)):
        with pytest.raises(DecryptionError):
            call()
    assert [(info.key, info.size) for info in store.list(exact=True)] == [("k", 300_000)]


@pytest.mark.uses_server("moto")
def test_keys_are_rotated_and_large_bodies_stay_on_the_server(servers, new_bucket, open_s3, monkeypatch):
    server = servers("moto")
    inner = open_s3(server, new_bucket(server))
    old, new = Secret(TEST_IDENTITY), generate_identity()
    both = Secret(f"{TEST_IDENTITY}\n{new.secret.reveal()}")
    store = Storage(EncryptLayer(inner, EncryptConfig(identity=old)))
    kept = Attributes("video/mp4", "no-cache", metadata={"a": "b"}, tags={"c": "d"})
    sizes = {"large": 17 * MIB, "middle": 3 * MIB, "photo": 300_000, "tiny": 5}
    for key, size in sizes.items():
        store.put(key, content(size), attributes=kept)
    travelled = []
    monkeypatch.setattr(inner, "stream", lambda key, _: travelled.append(key))
    config = EncryptConfig(identity=both, recipients=(str(new.recipient()),))
    outcomes = [*rotate_keys(Storage(EncryptLayer(inner, config)))]
    assert [each.error for each in outcomes] == [None] * 4
    assert [(each.key, each.state) for each in outcomes] == [(key, RotationState.REWRAPPED) for key in sizes]
    assert travelled == []
    after = Storage(EncryptLayer(inner, EncryptConfig(identity=new.secret)))
    for key, size in sizes.items():
        assert after.get(key) == content(size)
        info = after.stat(key)
        assert (info.size, info.attributes) == (size, kept)
    assert [*after.pending_uploads()] == []
    assert {each.state for each in rotate_keys(Storage(EncryptLayer(inner, config)))} == {RotationState.DONE}
