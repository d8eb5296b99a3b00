"""The cache over S3: conditional requests as a server answers them."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.sources import content


class TestSeaweedFS(ConformanceSuite):
    """Every promise, through both tiers and chunks that are smaller than the objects."""

    server_name = "seaweedfs"
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)
    deviations = {
        "test_all_attributes_make_the_round_trip": "drops-empty-metadata",
        "test_attributes_come_with_a_read_that_asks_for_them": "drops-empty-metadata",
        "test_reading_is_liberal": "folds-slashes",
        "test_awkward_keys_can_be_copied_renamed_and_deleted": "backslash-is-a-slash",
        "test_awkward_keys_come_back_exactly": "backslash-is-a-slash",
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_awkward_keys_in_links": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }

    def cached(self, bucket):
        config = CacheConfig(chunk_size=64 * 1024, memory_bytes=2_000_000, folder=str(self.folder / "cache"))
        return CacheLayer(self.open_bucket(self.server, bucket, buffer_size=8 * 1024 * 1024), config)

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        return self.cached(self.bucket)

    def reopen(self, backend):
        return self.cached(self.bucket)

    def missing_bucket(self):
        return self.cached(f"missing-{secrets.token_hex(8)}")


@pytest.mark.parametrize("server", ["moto", "seaweedfs"], indirect=True)
def test_a_use_is_a_conditional_request(server, bucket, open_s3, tmp_path):
    """A rewrite with the same bytes, other bytes, and no object: each is seen at the next use."""
    backend = open_s3(server, bucket)
    layer = CacheLayer(backend, CacheConfig(chunk_size=64 * 1024, folder=str(tmp_path / "cache")))
    store, others = Storage(layer, owned=False), Storage(backend, owned=False)
    data = content(300_000)
    for body in (data, data, data[::-1], data[:70_000]):
        others.put("k", body)
        for _ in range(2):
            assert store.get("k") == body
            assert store.get("k", offset=60_000, length=8_000) == body[60_000:68_000]
            assert b"".join(store.stream("k")) == body
            assert [each.value for each in store.get_many(["k"])] == [body]
            with store.open("k") as file:
                file.seek(50_000)
                assert file.read(20_000) == body[50_000:70_000]
    others.delete("k")
    with pytest.raises(FileNotFoundError):
        store.get("k")
    stats = store.backend.stats()
    assert stats.validations > 10
    assert stats.misses < 15
