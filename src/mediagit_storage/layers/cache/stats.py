"""What a cache did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheStats"]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since this layer was opened, in this process.

    A chunk is found in memory (``memory_hits``) or on disk (``disk_hits``), or it comes from the storage and is kept
    (``misses``, those that were read ahead among them). Reads that pass through count nowhere. ``validations`` are the requests that asked whether a kept object is still current, ``evictions`` the chunks and
    files that made room for others, ``heals`` the damaged files that were thrown away. ``memory_bytes`` and
    ``memory_entries`` are what memory holds now.
    """

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    validations: int = 0
    evictions: int = 0
    heals: int = 0
    memory_bytes: int = 0
    memory_entries: int = 0

    @property
    def hits(self) -> int:
        """Chunks that were found, wherever."""
        return self.memory_hits + self.disk_hits
