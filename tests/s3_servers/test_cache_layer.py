"""The cache over S3: conditional requests as a server answers them."""

from __future__ import annotations

import pytest

from mediagit_storage.layers.cache import CacheConfig, CacheLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.layered_s3 import OverSeaweedFS
from mediagit_storage.testing.sources import content


class TestSeaweedFS(OverSeaweedFS):
    """Every promise, through both tiers and chunks that are smaller than the objects."""

    def layered(self, inner):
        config = CacheConfig(chunk_size=64 * 1024, memory_bytes=2_000_000, folder=str(self.folder / "cache"))
        return CacheLayer(inner, config)


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
