"""The layers that pace and repeat, over S3 spoken to a real server."""

from __future__ import annotations

import pytest

from mediagit_storage.layers.retry import RetryLayer, RetryPolicy
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.testing.conformance import BackendCase, ConformanceSuite


class LayerCase(BackendCase):
    """A bucket of its own for every test, behind both layers."""

    server_name = "moto"
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)
    deviations = {
        "test_a_create_only_copy": "ignores-copy-conditions",
        "test_of_many_create_only_renames_one_wins": "ignores-copy-conditions",
        "test_reading_is_liberal": "loses-line-feeds",
        "test_raw_keys": "loses-line-feeds",
        "test_switching_versions_off_loses_nothing": "suspending-loses-versions",
    }

    def over(self, backend):
        limits = Limits(bytes_up=10**9, bytes_down=10**9, requests=10**6, burst=0.001)
        return ThrottleLayer(RetryLayer(backend, RetryPolicy(base=0.01, cap=0.05)), limits)

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        # The suite allows less memory than the default buffers of a transfer take.
        return self.over(self.open_bucket(self.server, self.bucket, buffer_size=8 * 1024 * 1024))

    def missing_bucket(self):
        return self.over(self.open_bucket(self.server, "missing-bucket"))


class TestMotoThrottledAndRetried(LayerCase, ConformanceSuite):
    pass


pytestmark = pytest.mark.server
