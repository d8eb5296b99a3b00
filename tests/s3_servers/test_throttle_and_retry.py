"""The layers that pace and repeat, over S3 spoken to a real server."""

from __future__ import annotations

from mediagit_storage.layers.retry import RetryLayer, RetryPolicy
from mediagit_storage.layers.throttle import Limits, ThrottleLayer
from mediagit_storage.testing.layered_s3 import OverMoto


class TestMotoThrottledAndRetried(OverMoto):
    def layered(self, inner):
        limits = Limits(bytes_up=10**9, bytes_down=10**9, requests=10**6, burst=0.001)
        return ThrottleLayer(RetryLayer(inner, RetryPolicy(base=0.01, cap=0.05)), limits)
