"""Both tiers as one: heads and chunks by name, and what may still be believed of them.

A head says which object was current at a moment. It is believed later only as `CacheConfig.validate` says, and only if
that moment came after the last write to its key by this process: a read that began before a write ended proves nothing.
So the writes of this process need no agreement with its reads, nor with those of others that share the folder. A write
whose outcome is unknown may still be done later by the storage: for some time after it nothing is believed of its key.

On disk a head is never replaced by an older one. Where one was, a mark takes its place when it is believed no more, so that
a slow read of another process cannot put the old object back.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from mediagit_storage.backend import Content
from mediagit_storage.clock import Clock
from mediagit_storage.errors import CancelledError, StorageError, UnavailableError
from mediagit_storage.layers.cache.config import CacheConfig
from mediagit_storage.layers.cache.disk import DiskTier
from mediagit_storage.layers.cache.entries import (
    Head,
    Moment,
    Name,
    disk_name,
    gone,
    head_from_json,
    head_to_json,
)
from mediagit_storage.layers.cache.memory import MemoryTier
from mediagit_storage.layers.cache.spans import chunk_count, chunk_span
from mediagit_storage.layers.cache.stats import CacheStats

__all__ = ["Shelf", "outcome_unknown"]

#: How many written keys are remembered one by one. Of more, the oldest are remembered together, as of their time.
_WRITTEN: Final = 65_536
#: How many keys are remembered for where the last range ended, and as not found.
_REMEMBERED: Final = 4096
#: How much of what is on disk a stream reads when it is opened, in bytes.
_HELD: Final = 8 * 1024 * 1024
_SECOND: Final = 1_000_000_000
_FOREVER: Final = 1 << 62
#: How long after its end a write of unknown outcome may still be done by the storage, in seconds.
_DOUBT: Final = 900


class _Write(NamedTuple):
    """The last write to a key: its place among what this process did, and what it says of heads that others proved.

    Those are believed when they were proven after ``time`` (nanoseconds since 1970), and nothing is before ``until`` of the
    clock that only grows.
    """

    order: int
    time: int
    until: float


_NEVER: Final = _Write(0, 0, 0.0)


def outcome_unknown(error: BaseException) -> bool:
    """Whether a write that failed so may have been done, or may even be done later."""
    return not isinstance(error, StorageError) or isinstance(error, UnavailableError | CancelledError)


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
        self._moments = itertools.count(1)
        self._written: OrderedDict[str, _Write] = OrderedDict()
        self._floor = _NEVER
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

    def now(self) -> Moment:
        """The moment a request begins: what it proves was true then or later."""
        return Moment(next(self._moments), self._clock.now_ns())

    @property
    def believing(self) -> bool:
        """Whether anything is believed without asking."""
        return self._config.validate != "etag"

    def believes(self, name: Name, head: Head) -> bool:
        """Whether ``head`` is taken for the current object without asking. A version that `head` gave never changes."""
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
        """What is known of an object, perhaps no more than a hint; of a version nothing from before a write to its key."""
        head = self.memory.head(name)
        if head is None and self.disk is not None:
            content = self.disk.read(self._head_name(name))
            head = None if content is None else head_from_json(name, content)
            head = None if head is None or head.is_gone else self._remember(name, head)
        if head is None or head.is_gone or (not isinstance(name, str) and not self._is_proven(name, head)):
            return None
        return head

    def keep_head(self, name: Name, head: Head) -> None:
        """Know this, unless something newer is known. Where the key was written after it was proven, it is a hint."""
        known = self.memory.head(name)
        kept = self._remember(name, head)
        if self.disk is None or kept.order != head.order or not kept.checked:
            return
        if head.token is None:
            self._mark_gone(name, Moment(head.order, head.checked))
            return
        # Where nothing is believed, a newer proof of the same is not worth a file.
        if self.believing or known is None or known.token != head.token:
            self._write_head(name, head)
            if not self._is_proven(name, head):
                # A write has ended meanwhile, perhaps before the file was there.
                write = self._last_write(name)
                self._mark_gone(name, Moment(write.order, write.time), always=True)

    def drop_head(self, key: str, moment: Moment) -> None:
        """A request that began then showed another object, or none. Chunks stay until others need their room."""
        with self._lock:
            known = self.memory.head(key)
            if known is not None and known.order < moment.order:
                self.memory.keep_head(key, gone(key, moment))
        self._mark_gone(key, moment)

    def wrote(self, key: str, version: str | None = None, *, doubtful: bool = False) -> None:
        """A write to ``key`` has ended, well or not: nothing proven before is believed any more.

        With ``doubtful`` it may be done later: then nothing that is proven in the next 15 minutes is, either.
        """
        with self._lock:
            write = self._ended(doubtful=doubtful)
            self._written[key] = write = _later(self._written.get(key, _NEVER), write)
            self._written.move_to_end(key)
            if len(self._written) > _WRITTEN:
                self._floor = _later(self._floor, self._written.popitem(last=False)[1])
            self._absent.pop(key, None)
            self.memory.drop_head(key)
        self._mark_gone(key, Moment(write.order, write.time), always=True)
        if version is not None:
            self.memory.drop_head((key, version))
            if self.disk is not None:
                self.disk.remove(self._head_name((key, version)))

    def keep_written(self, head: Head, chunks: Iterable[bytes]) -> None:
        """Hold in memory what was just stored, as a hint: whether it is the current object is asked once."""
        self._remember(head.info.key, head.hint())
        for index, data in enumerate(chunks):
            self.memory.keep_chunk((head.info.key, head.token or "", index), data)

    def _remember(self, name: Name, head: Head) -> Head:
        # One step, so that a write that ends now comes before it or takes it away.
        with self._lock:
            known = self.memory.head(name)
            if known is not None and known.order > head.order:
                return known
            if not self._is_proven(name, head):
                head = head.hint()
            self.memory.keep_head(name, head)
        return head

    def _is_proven(self, name: Name, head: Head) -> bool:
        """Whether a head was proven after the last write to its key, and that one's outcome is not in doubt."""
        write = self._last_write(name)
        if not head.order:
            return head.checked > write.time
        return head.order > write.order and self._clock.monotonic() >= write.until

    def _last_write(self, name: Name) -> _Write:
        return self._written.get(name if isinstance(name, str) else name[0], self._floor)

    def _ended(self, *, doubtful: bool) -> _Write:
        order, time = self.now()
        if not doubtful:
            return _Write(order, time, 0.0)
        return _Write(order, time + _DOUBT * _SECOND, self._clock.monotonic() + _DOUBT)

    def _write_head(self, name: Name, head: Head, *, always: bool = False) -> bool:
        def is_older(content: bytes) -> bool:
            known = head_from_json(name, content)
            return always or known is None or known.checked < head.checked

        return self.disk is not None and self.disk.write(self._head_name(name), head_to_json(name, head), over=is_older)

    def _mark_gone(self, name: Name, moment: Moment, *, always: bool = False) -> None:
        """Where a head is on disk, put a mark in its place, or have none where that cannot be."""
        if self.disk is None or not self.disk.has(self._head_name(name)):
            return
        key = name if isinstance(name, str) else name[0]
        if not self._write_head(name, gone(key, moment), always=always):
            self.disk.remove(self._head_name(name))

    # ---- chunks

    def chunk(self, head: Head, index: int) -> bytes | None:
        """The bytes of a chunk. What comes from disk is in memory afterwards."""
        data = self._from_memory(head, index)
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
            data = self._from_memory(head, index)
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

    def _from_memory(self, head: Head, index: int) -> bytes | None:
        data = self.memory.chunk((head.info.key, head.token or "", index))
        return data if data is not None and self._fits(head, index, data) else None

    def _fits(self, head: Head, index: int, data: bytes) -> bool:
        """Whether a chunk is as long as this object's is: an ETag that was given twice is found out at least here."""
        return len(data) == chunk_span(index, head.size, self.chunk_size).length

    def _from_disk(self, head: Head, index: int) -> bytes | None:
        data = None if self.disk is None else self.disk.read(self._chunk_name(head, index))
        if data is not None and not self._fits(head, index, data):
            return None
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

    def drop_chunks(self, head: Head, indexes: Iterable[int]) -> bool:
        """Hold these no longer: they may be wrong. Whether any of them was there."""
        there = False
        for index in indexes:
            there = self.memory.drop_chunk((head.info.key, head.token or "", index)) or there
            there = (self.disk is not None and self.disk.remove(self._chunk_name(head, index))) or there
        return there

    def forget(self, name: Name) -> bool:
        """Hold no chunk of an object, whoever put it into the folder; whether there was one.

        What is known of the object stays. A later read finds nothing kept of it, and asks the storage.
        """
        head = self.head(name)
        if head is None or head.token is None:
            return False
        return self.drop_chunks(head, range(chunk_count(head.size, self.chunk_size)))

    # ---- what was not found, and where ranges ended

    def found_absent(self, key: str, began: Moment) -> None:
        """A request that began then proved that there is no such object."""
        self.drop_head(key, began)
        if not self._config.negative_ttl:
            return
        with self._lock:
            write = self._last_write(key)
            if began.order > write.order and self._clock.monotonic() >= write.until:
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


def _later(one: _Write, other: _Write) -> _Write:
    """What two writes together say."""
    return _Write(max(one.order, other.order), max(one.time, other.time), max(one.until, other.until))


def passing_identity() -> str:
    """The identity of a storage that only this process can see: never met again."""
    return secrets.token_hex(16)
