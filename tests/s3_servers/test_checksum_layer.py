"""The checksum layer over S3: metadata that come with the first byte, so that streams go through a file."""

from __future__ import annotations

import secrets

import pytest
from blake3 import blake3

from mediagit_storage.errors import ChecksumError, LimitExceededError
from mediagit_storage.layers.checksum import ChecksumConfig, ChecksumLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.emulators.raw_s3 import call
from mediagit_storage.testing.layered_s3 import OverMoto
from mediagit_storage.types import Attributes, CopyOptions

CONFIG = ChecksumConfig(missing="refuse", spool_bytes=256 * 1024 * 1024)


class TestMoto(OverMoto):
    def layered(self, inner):
        return ChecksumLayer(inner, CONFIG)

    def test_much_metadata_is_kept_whole_or_refused(self):
        """A source is hashed before S3 is asked for anything, so it was read when the metadata are refused."""
        huge = Attributes(metadata={f"name-{number}": "v" * 1000 for number in range(100)})
        with pytest.raises(LimitExceededError):
            self.store.put("k", b"x", attributes=huge)
        self.assert_absent("k")


@pytest.fixture
def layered(store):
    return Storage(ChecksumLayer(store.backend, CONFIG), owned=False)


@pytest.mark.server
def test_a_digest_survives_what_s3_does_with_metadata(layered, store):
    data = secrets.token_bytes(9_000_000)
    layered.put("k", iter([data]), attributes=Attributes(metadata={"a": "b"}))
    layered.copy("k", "copied")
    layered.rename("copied", "moved")
    layered.copy("k", "k", attributes=Attributes(content_type="x/y"))
    for key in ("k", "moved"):
        assert layered.get(key) == data
        assert layered.stat(key).checksum.digest == blake3(data).digest()
        assert store.backend.stat(key).attributes.metadata["mgs-blake3"] == blake3(data).hexdigest()
    assert layered.stat("k").attributes == Attributes(content_type="x/y")
    # One of the servers adds an entry of its own.
    seen = store.stat("moved").attributes.metadata
    assert seen["a"] == "b"
    assert not any(name.startswith("mgs-") for name in seen)
    assert [info.size for info in layered.list()] == [len(data)] * 2


@pytest.mark.server
def test_large_objects_come_in_ranges_and_are_verified(layered, store, tmp_path):
    data = secrets.token_bytes(20_000_000)
    layered.put("k", data)
    layered.download("k", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    wrong = Attributes(metadata={"mgs-blake3": "0" * 64})
    store.backend.copy("k", "k", CopyOptions(wrong))
    with pytest.raises(ChecksumError, match="blake3"):
        layered.download("k", tmp_path / "file")
    with pytest.raises(ChecksumError, match="blake3"):
        layered.get("k")
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.server
def test_what_was_changed_behind_the_layer_is_found(layered, server, bucket):
    layered.put("k", b"right")
    digest = blake3(b"right").hexdigest()
    answer = call(server, "PUT", f"{bucket}/k", body=b"wrong", headers=[("x-amz-meta-mgs-blake3", digest)])
    assert answer.status == 200
    with pytest.raises(ChecksumError):
        layered.get("k")
    [outcome] = layered.get_many(["k"])
    assert isinstance(outcome.error, ChecksumError)
