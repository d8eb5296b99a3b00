"""Both tiers as one: heads and chunks by name, and what may still be believed of them.

A head says which object was current at a moment. It is believed later only as `CacheConfig.validate` says, and only if
that moment came after the last write to its key by this process: a read that began before a write ended proves nothing.
So the writes of this process need no agreement with its reads, nor with those of others that share the folder.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from mediagit_storage.backend import Content
from mediagit_storage.clock import Clock
from mediagit_storage.layers.cache.config import CacheConfig
from mediagit_storage.layers.cache.disk import DiskTier
from mediagit_storage.layers.cache.entries import (
    Head,
    Name,
    disk_name,
    head_from_json,
    head_to_json,
)
from mediagit_storage.layers.cache.memory import MemoryTier
from mediagit_storage.layers.cache.stats import CacheStats

__all__ = ["Shelf"]

#: How many written keys are remembered one by one. Of more, the oldest are remembered together, as of their time.
_WRITTEN: Final = 65_536
#: How many keys are remembered for where the last range ended, and as not found.
_REMEMBERED: Final = 4096
#: How much of what is on disk a stream reads when it is opened, in bytes.
_HELD: Final = 8 * 1024 * 1024
_SECOND: Final = 1_000_000_000
_FOREVER: Final = 1 << 62


class Shelf:
    """What is kept, in memory and on disk. Thread-safe; nothing in here asks the storage or raises."""

    def __init__(self, config: CacheConfig, identity: str, disk: DiskTier | None, clock: Clock) -> None:
        self._config = config
        self._identity = identity
        self._clock = clock
        self._lives = None if config.ttl is None else int(config.ttl * _SECOND)
        self.memory = MemoryTier(config.memory_bytes, config.memory_entries)
        self.disk = disk
        self.chunk_size = config.chunk_size
        self.validations = 0
        self._misses = 0
        self._disk_hits = 0
        self._written: OrderedDict[str, int] = OrderedDict()
        self._floor = 0
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._ends: OrderedDict[str, int] = OrderedDict()
        self.reset()

    def reset(self) -> None:
        """Locks that nobody holds, and an empty memory: what a forked child begins with."""
        self._lock = threading.Lock()
        self.memory.reset()
        if self.disk is not None:
            self.disk.reset()

    # ---- believing

    def now(self) -> int:
        """The moment a request begins: what it proves was true then or later."""
        return self._clock.now_ns()

    @property
    def believing(self) -> bool:
        """Whether anything is believed without asking."""
        return self._config.validate != "etag"

    def believes(self, name: Name, head: Head) -> bool:
        """Whether ``head`` is taken for the current object without asking. A version never changes."""
        if not isinstance(name, str):
            return True
        if not self.believing or not head.checked:
            return False
        after, until = self._window()
        return after < head.checked <= until

    def whole(self, key: str) -> Content | None:
        """A small object that is in memory and believed: the short way."""
        after, until = self._window()
        return self.memory.whole(key, after, until)

    def _window(self) -> tuple[int, int]:
        """Heads that were checked after the one and not after the other moment are believed."""
        if self._lives is None:
            return 0, _FOREVER
        now = self._clock.now_ns()
        return now - self._lives, now

    # ---- heads

    def head(self, name: Name) -> Head | None:
        """What is known of an object, perhaps no more than a hint."""
        head = self.memory.head(name)
        if head is not None or self.disk is None:
            return head
        content = self.disk.read(self._head_name(name))
        head = None if content is None else head_from_json(name, content)
        return None if head is None else self._remember(name, head)

    def keep_head(self, name: Name, head: Head) -> None:
        """Know this. Where this process wrote to the key after it was proven, it is only a hint."""
        known = self.memory.head(name)
        head = self._remember(name, head)
        same = known is not None and known.token == head.token
        # Where nothing is believed, a newer proof of the same is not worth a file.
        if self.disk is not None and head.token is not None and not (same and not self.believing):
            self.disk.write(self._head_name(name), head_to_json(name, head))

    def drop_head(self, name: Name) -> None:
        """Know nothing of an object. Its chunks stay until others need their room: a new object has another token."""
        self.memory.drop_head(name)
        if self.disk is not None:
            self.disk.remove(self._head_name(name))

    def wrote(self, key: str, version: str | None = None) -> None:
        """A write to ``key`` has ended, well or not: nothing proven before is believed any more."""
        with self._lock:
            self._written[key] = self._clock.now_ns()
            self._written.move_to_end(key)
            if len(self._written) > _WRITTEN:
                _, self._floor = self._written.popitem(last=False)
            self._absent.pop(key, None)
            self.memory.drop_head(key)
        self.drop_head(key)
        if version is not None:
            self.drop_head((key, version))

    def keep_written(self, head: Head, chunks: Iterable[bytes]) -> None:
        """Hold in memory what was just stored, as a hint: whether it is the current object is asked once."""
        self.memory.keep_head(head.info.key, Head(head.info, head.size, head.token, 0, head.first))
        for index, data in enumerate(chunks):
            self.memory.keep_chunk((head.info.key, head.token or "", index), data)

    def _remember(self, name: Name, head: Head) -> Head:
        # One step, so that a write that ends now comes before it or takes it away.
        with self._lock:
            if isinstance(name, str) and head.checked <= self._written.get(name, self._floor):
                head = Head(head.info, head.size, head.token, 0, head.first)
            self.memory.keep_head(name, head)
        return head

    # ---- chunks

    def chunk(self, head: Head, index: int) -> bytes | None:
        """The bytes of a chunk. What comes from disk is in memory afterwards."""
        data = self.memory.chunk((head.info.key, head.token or "", index))
        return self._from_disk(head, index) if data is None else data

    def look(self, head: Head, indexes: range) -> tuple[dict[int, bytes], list[int]]:
        """The chunks that a stream holds on to until it gives them, and the numbers of those that are missing.

        Held is what is in memory anyway, and some of what is on disk. The rest of that is marked as used just now, so
        it goes only when all of the disk tier's room is used anew.
        """
        held: dict[int, bytes] = {}
        missing: list[int] = []
        read = 0
        for index in indexes:
            data = self.memory.chunk((head.info.key, head.token or "", index))
            if data is None and self.disk is not None:
                if read >= _HELD and self.disk.touch(self._chunk_name(head, index)):
                    continue
                data = self._from_disk(head, index)
                read += 0 if data is None else len(data)
            if data is None:
                missing.append(index)
            else:
                held[index] = data
        return held, missing

    def _from_disk(self, head: Head, index: int) -> bytes | None:
        data = None if self.disk is None else self.disk.read(self._chunk_name(head, index))
        if data is not None:
            self.memory.keep_chunk((head.info.key, head.token or "", index), data)
            with self._lock:
                self._disk_hits += 1
        return data

    def has_chunk(self, head: Head, index: int) -> bool:
        """Whether a chunk seems to be there."""
        if self.memory.has((head.info.key, head.token or "", index)):
            return True
        return self.disk is not None and self.disk.has(self._chunk_name(head, index))

    def keep_chunk(self, head: Head, index: int, data: bytes) -> None:
        """Hold a chunk that came from the storage."""
        with self._lock:
            self._misses += 1
        self.memory.keep_chunk((head.info.key, head.token or "", index), data)
        if self.disk is not None:
            self.disk.write(self._chunk_name(head, index), data)

    def asked(self) -> None:
        """Count one request that asks whether what is kept is current."""
        with self._lock:
            self.validations += 1

    def drop_chunks(self, head: Head, indexes: Iterable[int]) -> None:
        """Hold these no longer: they may be wrong."""
        for index in indexes:
            self.memory.drop_chunk((head.info.key, head.token or "", index))
            if self.disk is not None:
                self.disk.remove(self._chunk_name(head, index))

    # ---- what was not found, and where ranges ended

    def found_absent(self, key: str, began: int) -> None:
        """A request that began then proved that there is no such object."""
        self.drop_head(key)
        if not self._config.negative_ttl:
            return
        with self._lock:
            if began > self._written.get(key, self._floor):
                self._absent[key] = self._clock.monotonic() + self._config.negative_ttl
                if len(self._absent) > _REMEMBERED:
                    self._absent.popitem(last=False)

    def is_absent(self, key: str) -> bool:
        """Whether a key was not found a moment ago."""
        if not self._absent:
            return False
        with self._lock:
            until = self._absent.get(key)
            if until is not None and until <= self._clock.monotonic():
                del self._absent[key]
                until = None
        return until is not None

    def goes_on(self, key: str, start: int, end: int) -> bool:
        """Whether a range begins where the one before it ended; remembers where this one does."""
        with self._lock:
            before = self._ends.get(key)
            self._ends[key] = end
            self._ends.move_to_end(key)
            if len(self._ends) > _REMEMBERED:
                self._ends.popitem(last=False)
        return before == start

    # ---- the whole of it

    def stats(self) -> CacheStats:
        """What happened so far."""
        held, count = self.memory.held
        disk = self.disk
        return CacheStats(
            memory_hits=self.memory.hits,
            disk_hits=self._disk_hits,
            misses=self._misses,
            validations=self.validations,
            evictions=self.memory.evictions + (0 if disk is None else disk.evictions),
            heals=0 if disk is None else disk.heals,
            memory_bytes=held,
            memory_entries=count,
        )

    def close(self) -> None:
        """Leave the counts to whoever asks the folder."""
        if self.disk is not None:
            self.disk.record()

    def _head_name(self, name: Name) -> str:
        key, version = (name, "") if isinstance(name, str) else name
        return disk_name(self._identity, "head", key, version)

    def _chunk_name(self, head: Head, index: int) -> str:
        return disk_name(self._identity, "chunk", head.info.key, head.token or "", self.chunk_size, index)


def passing_identity() -> str:
    """The identity of a storage that only this process can see: never met again."""
    return secrets.token_hex(16)
