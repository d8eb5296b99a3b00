"""The cache layer: what was read is kept in memory and on disk, by chunk, and asked for again only when it changed."""

from mediagit_storage.layers.cache.config import CacheConfig
from mediagit_storage.layers.cache.disk import DiskTier
from mediagit_storage.layers.cache.layer import CacheLayer
from mediagit_storage.layers.cache.stats import CacheStats
from mediagit_storage.layers.cache.usage import DiskUsage

__all__ = ["CacheConfig", "CacheLayer", "CacheStats", "DiskTier", "DiskUsage"]
