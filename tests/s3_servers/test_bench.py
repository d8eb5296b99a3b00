"""A benchmark of S3 on every server: what it measures, and that nothing of it is left, old versions included."""

from __future__ import annotations

import pytest

from mediagit_storage.storage import Storage
from mediagit_storage.tools.bench import Benchmark, BenchRules

MIB = 1024 * 1024


@pytest.mark.parametrize("versioned", [False, True])
def test_nothing_is_left(server, bucket, open_s3, versioned):
    """With a large object in parts."""
    with Storage(open_s3(server, bucket, part_size=5 * MIB, multipart_threshold=6 * MIB)) as store:
        if versioned and not store.capabilities.versions:
            assert server.name == "rclone"
            return
        if versioned:
            store.create(versioning=True)
        store.put("mine", b"x")
        bench = Benchmark(store, rules=BenchRules(objects=5, size=100, large=11 * MIB))
        found = [*bench.run()]
        assert [each.count for each in found[:4]] == [5, 5, 5, 10]
        assert found[-1].size == 11 * MIB
        assert not bench.left
        assert [each.key for each in store.list()] == ["mine"]
        if store.capabilities.versions:
            assert [each.key for each in store.list(versions=True)] == ["mine"]
        assert [*store.pending_uploads()] == []
