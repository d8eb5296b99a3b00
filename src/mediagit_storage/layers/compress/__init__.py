"""The layer that compresses objects in frames of zstd; needs the extra ``compress``."""

from __future__ import annotations

from mediagit_storage.layers.compress.config import CompressConfig
from mediagit_storage.layers.compress.layer import CompressLayer

__all__ = ["CompressConfig", "CompressLayer"]
