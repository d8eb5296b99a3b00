"""A layer that holds a storage to so many bytes and requests per second."""

from __future__ import annotations

from mediagit_storage.layers.throttle.layer import Limits, ThrottleLayer

__all__ = ["Limits", "ThrottleLayer"]
