"""A layer that repeats what failed for a while, for backends that do not."""

from __future__ import annotations

from mediagit_storage.http.retry import RetryPolicy
from mediagit_storage.layers.retry.layer import RetryLayer

__all__ = ["RetryLayer", "RetryPolicy"]
