"""The memory tier: heads and chunks in order of their last use, bounded in bytes and in number."""

from __future__ import annotations

import threading
from collections import OrderedDict

from mediagit_storage.backend import Content
from mediagit_storage.layers.cache.entries import ChunkId, Head, Name

__all__ = ["MemoryTier"]


class MemoryTier:
    """Never holds more than ``max_bytes`` of chunks, ``max_entries`` of them, and as many heads. Thread-safe.

    Its lock is held for a few dictionary operations at a time, and never while anything waits.
    """

    def __init__(self, max_bytes: int, max_entries: int) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self.reset()

    def reset(self) -> None:
        """Empty, with a lock that nobody holds: also what a forked child begins with."""
        self._lock = threading.Lock()
        self._heads: OrderedDict[Name, Head] = OrderedDict()
        self._chunks: OrderedDict[ChunkId, bytes] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.evictions = 0

    def whole(self, key: str, after: int, until: int) -> Content | None:
        """An object of one chunk that was proven current between these moments; None for what takes a longer way."""
        with self._lock:
            head = self._heads.get(key)
            if head is None or not after < head.checked <= until:
                return None
            data = self._chunks.get(head.first)
            if data is None or len(data) != head.size:
                return None
            self._chunks.move_to_end(head.first)
            self._heads.move_to_end(key)
            self.hits += 1
        return Content(head.info, data, 0)

    def head(self, name: Name) -> Head | None:
        """What is known of an object."""
        with self._lock:
            head = self._heads.get(name)
            if head is not None:
                self._heads.move_to_end(name)
            return head

    def keep_head(self, name: Name, head: Head) -> None:
        """Know this from now on."""
        with self._lock:
            self._heads[name] = head
            self._heads.move_to_end(name)
            while len(self._heads) > max(1, self._max_entries):
                self._heads.popitem(last=False)

    def drop_head(self, name: Name) -> None:
        """Know nothing."""
        with self._lock:
            self._heads.pop(name, None)

    def chunk(self, chunk: ChunkId) -> bytes | None:
        """The bytes of a chunk, if they are here."""
        with self._lock:
            data = self._chunks.get(chunk)
            if data is not None:
                self._chunks.move_to_end(chunk)
                self.hits += 1
            return data

    def has(self, chunk: ChunkId) -> bool:
        """Whether a chunk is here; it is not used by that."""
        return chunk in self._chunks

    def keep_chunk(self, chunk: ChunkId, data: bytes) -> None:
        """Hold a chunk, and let go of those that were not used for longest. One that is larger than all is not held."""
        if len(data) > self._max_bytes or not self._max_entries:
            return
        with self._lock:
            old = self._chunks.pop(chunk, None)
            self._bytes += len(data) - (0 if old is None else len(old))
            self._chunks[chunk] = data
            while self._bytes > self._max_bytes or len(self._chunks) > self._max_entries:
                _, evicted = self._chunks.popitem(last=False)
                self._bytes -= len(evicted)
                self.evictions += 1

    def drop_chunk(self, chunk: ChunkId) -> bool:
        """Let go of a chunk; whether it was here."""
        with self._lock:
            data = self._chunks.pop(chunk, None)
            self._bytes -= len(data or b"")
        return data is not None

    @property
    def held(self) -> tuple[int, int]:
        """Bytes and number of the chunks."""
        with self._lock:
            return self._bytes, len(self._chunks)
