"""Measuring a storage: how long small operations take, alone and side by side, and how quickly a large object travels.

Everything lies below one random prefix that begins with ``mgs-bench-`` and is removed whatever happens.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from mediagit_storage.backend import BatchLimits, Content, ReadOperation
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.batches import Batch
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.ending import uninterrupted
from mediagit_storage.errors import AccessError, BucketNotFoundError, ConfigError, IntegrityError, StorageError
from mediagit_storage.probe import erase_versions
from mediagit_storage.scope import aside
from mediagit_storage.storage import Storage
from mediagit_storage.types import ByteRange, ObjectInfo, ReadOptions

__all__ = ["BENCH_PREFIX", "BenchPlan", "BenchRules", "Benchmark", "Measured", "Way"]

#: How the prefix of all objects begins.
BENCH_PREFIX: Final = "mgs-bench-"
#: The large object is sent in pieces of this many bytes, and read in ranges of as many.
_PIECE: Final = 1024 * 1024
#: Seconds in which a server ends what it was doing when its requests were cut off.
_AFTERMATH: Final = 0.5
#: Seconds for removing everything at the end.
_CLEAN_UP: Final = 600.0
#: Listings that are timed.
_LISTINGS: Final = 10
_MOST_OBJECTS: Final = 100_000
#: Bytes of a small object, which is held in memory.
_LARGEST: Final = 16 * 1024 * 1024


class Way(StrEnum):
    """How operations follow each other: one at a time, many at once, or one that moves a large object."""

    ALONE = "alone"
    TOGETHER = "together"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class BenchRules:
    """``objects`` small ones of ``size`` bytes, one of ``large`` bytes, and at most so many ``seconds`` a measurement.

    ``large`` 0 leaves the large object out. Where sending it would take longer than ``seconds`` a smaller one is taken.
    """

    objects: int = 100
    size: int = 4096
    large: int = 64 * 1024 * 1024
    seconds: float = 10.0
    concurrency: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.objects <= _MOST_OBJECTS:
            raise ConfigError(f"a benchmark takes 1 to {_MOST_OBJECTS:,} small objects")
        if self.size > _LARGEST:
            raise ConfigError(f"small objects have at most {_LARGEST:,} bytes: measure larger ones as the large object")
        if self.size < 0 or self.large < 0 or not self.seconds > 0:
            raise ConfigError("sizes are not negative, and a time is more than nothing")


class BenchPlan(NamedTuple):
    """What a benchmark does at most: requests by their kind, as services charge for them, and bytes sent and fetched.

    A large object takes more requests where it travels in parts: ``parts`` is about how many.
    """

    puts: int
    reads: int
    lists: int
    deletes: int
    parts: int
    sent: int
    fetched: int

    @classmethod
    def of(cls, rules: BenchRules) -> BenchPlan:
        """What these rules come to."""
        small, pieces = rules.objects, -(-rules.large // _PIECE)
        large = bool(rules.large)
        return cls(
            puts=2 * small + 2 * large,
            reads=4 * small + large + pieces,
            # Each listing of many is one of pages; the last looks whether everything is gone.
            lists=_LISTINGS * -(-small // 1000) + 3,
            deletes=2 * small + 2 * large,
            parts=rules.large // (8 * _PIECE),
            sent=2 * small * rules.size + rules.large + (_PIECE if large else 0),
            fetched=2 * small * rules.size + 2 * rules.large,
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement: so many operations and bytes in so many seconds; ``samples`` are the seconds of each, if known."""

    operation: str
    way: Way
    count: int
    size: int
    seconds: float
    samples: tuple[float, ...] = ()

    @property
    def per_second(self) -> float:
        """Operations a second."""
        return self.count / max(self.seconds, 1e-9)

    @property
    def bytes_per_second(self) -> float:
        """Bytes a second."""
        return self.size / max(self.seconds, 1e-9)


@dataclass
class Benchmark:
    """One benchmark of the folder ``folder`` of a storage."""

    store: Storage
    folder: str = ""
    rules: BenchRules = field(default_factory=BenchRules)
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        self.prefix = f"{self.folder}{BENCH_PREFIX}{secrets.token_hex(8)}/"
        self._payload = os.urandom(self.rules.size)
        #: What may be there: a key stands here before it is written.
        self._there: dict[str, None] = {}
        #: What else could not be removed.
        self._others: list[str] = []
        #: Whether a put told of a version, and whether a large one was begun and has not ended.
        self._versioned = False
        self._sending = False
        self._whole = False

    @property
    def left(self) -> Sequence[str]:
        """What could not be removed when the benchmark ended: keys, and what else there may be below its prefix."""
        return [*self._there, *self._others]

    def run(self) -> Generator[Measured, None, None]:
        """Measure, and yield each measurement as it is done. What was written is removed also when this is closed early.

        The first error ends it and is raised; other bytes than were stored are an `IntegrityError`. An interrupt while the
        objects are removed is raised once they are gone; a second one at once.
        """
        try:
            yield from self._alone()
            yield from self._together()
            if self.rules.large:
                yield from self._large()
            self._whole = True
        finally:
            uninterrupted(lambda: aside(self._remove, _CLEAN_UP), patience=_CLEAN_UP)

    # ---- small objects

    def _alone(self) -> Iterator[Measured]:
        keys = [f"{self.prefix}alone/{number:06}" for number in range(self.rules.objects)]
        size = self.rules.size
        put = self._timed("put", keys, self._put, size)
        yield put
        keys = keys[: put.count]
        yield self._timed("stat", keys, self.store.stat, 0)
        yield self._timed("get", keys, self._get, size)
        folder = f"{self.prefix}alone/"
        yield self._timed("list", [folder] * _LISTINGS, lambda prefix: self._list(prefix, len(keys)), 0)
        yield self._timed("delete", keys, self._delete, 0)

    def _together(self) -> Iterator[Measured]:
        keys = [f"{self.prefix}together/{number:06}" for number in range(self.rules.objects)]
        limits, size = BatchLimits(self.rules.concurrency), self.rules.size
        put = self._counted(
            "put", lambda: self.store.put_many(((key, self._payload) for key in self._begun(keys)), limits=limits), size
        )
        yield put
        keys = keys[: put.count]
        yield self._counted("stat", lambda: self.store.stat_many(self._in_time(keys), limits=limits), 0)
        yield self._counted("get", lambda: self.store.get_many(self._in_time(keys), limits=limits), size)
        yield self._counted("delete", lambda: self.store.delete_many(self._in_time(keys), limits=limits), 0)

    def _timed(self, operation: str, keys: list[str], action: Callable[[str], object], size: int) -> Measured:
        samples: list[float] = []
        begun = before = self.clock.monotonic()
        for key in keys:
            action(key)
            now = self.clock.monotonic()
            samples.append(now - before)
            before = now
            if now - begun > self.rules.seconds:
                break
        return Measured(operation, Way.ALONE, len(samples), len(samples) * size, before - begun, tuple(samples))

    def _counted(
        self, operation: str, batch: Callable[[], Batch[ObjectInfo] | Batch[bytes] | Batch[None]], size: int
    ) -> Measured:
        begun, count = self.clock.monotonic(), 0
        for key, value, error in batch():
            if error is not None:
                raise error
            if operation == "get" and value != self._payload:
                raise _other_bytes(key)
            if operation == "delete":
                self._there.pop(key, None)
            count += 1
        seconds = self.clock.monotonic() - begun
        return Measured(operation, Way.TOGETHER, count, count * size, seconds)

    def _in_time(self, keys: list[str]) -> Iterator[str]:
        end = self.clock.monotonic() + self.rules.seconds
        for key in keys:
            yield key
            if self.clock.monotonic() > end:
                return

    def _begun(self, keys: list[str]) -> Iterator[str]:
        for key in self._in_time(keys):
            self._there[key] = None
            yield key

    def _put(self, key: str) -> None:
        self._there[key] = None
        self._versioned |= self.store.put(key, self._payload).version is not None

    def _get(self, key: str) -> None:
        if self.store.get(key) != self._payload:
            raise _other_bytes(key)

    def _list(self, prefix: str, expected: int) -> None:
        found = sum(1 for _ in self.store.list(prefix))
        if found != expected:
            raise IntegrityError(f"{expected:,} objects were stored, and {found:,} are listed", key=prefix)

    def _delete(self, key: str) -> None:
        self.store.delete(key)
        self._there.pop(key, None)

    # ---- a large object

    def _large(self) -> Iterator[Measured]:
        key, random = f"{self.prefix}large", _Random()
        size = self._fitting(random)
        yield Measured("upload", Way.LARGE, 1, size, self._seconds(lambda: self._send(key, random, size)))
        yield Measured("download", Way.LARGE, 1, size, self._seconds(lambda: self._fetch(key, random, size)))
        seconds = self._seconds(lambda: self._fetch_ranges(key, random, size))
        yield Measured("ranges", Way.LARGE, -(-size // _PIECE), size, seconds)

    def _fitting(self, random: _Random) -> int:
        """The size of the large object, or a smaller one that can be sent in time: as a piece of it tells."""
        key = f"{self.prefix}trial"
        seconds = self._seconds(lambda: self._send(key, random, _PIECE))
        self._delete(key)
        possible = int(self.rules.seconds / max(seconds, 1e-9)) * _PIECE
        return min(self.rules.large, max(possible, _PIECE))

    def _send(self, key: str, random: _Random, size: int) -> None:
        self._there[key] = None
        pieces = (random.piece(offset, min(_PIECE, size - offset)) for offset in range(0, size, _PIECE))
        self._sending = True
        self.store.put(key, pieces, size=size)
        self._sending = False

    def _fetch(self, key: str, random: _Random, size: int) -> None:
        arrived = 0
        with self.store.stream(key) as stream:
            for chunk in stream:
                if not random.holds(arrived, chunk):
                    raise _other_bytes(key)
                arrived += len(chunk)
        if arrived != size:
            raise _other_bytes(key)

    def _fetch_ranges(self, key: str, random: _Random, size: int) -> None:
        """All of it in ranges, as many at once as there may be."""
        spans = [(offset, min(_PIECE, size - offset)) for offset in range(0, size, _PIECE)]
        plans = (Planned(key, ReadOperation(key, ReadOptions(ByteRange(*span)))) for span in spans)
        limits = BatchLimits(self.rules.concurrency)
        for span, result in zip(spans, run_batch(self.store.backend, plans, limits), strict=True):
            if result.error is not None:
                raise result.error
            if not isinstance(result.value, Content) or result.value.data != bytes(random.piece(*span)):
                raise _other_bytes(key)

    def _seconds(self, action: Callable[[], None]) -> float:
        begun = self.clock.monotonic()
        action()
        return self.clock.monotonic() - begun

    # ---- the end

    def _remove(self) -> None:
        """Delete all that may be there, old versions and unfinished uploads too; what stays is in `left`."""
        can = self.store.capabilities
        if self._there:
            self._each("", self._delete_all, likely=True)
        if can.versions:
            erase = lambda: erase_versions(self.store.backend, self.prefix)  # noqa: E731
            self._each("old versions of ", erase, likely=self._versioned)
        if can.pending_uploads:
            self._each("unfinished uploads of ", self._abort_uploads, likely=self._sending)
        if not self._whole and not self._there:
            self._each("", self._delete_late, likely=True)

    def _each(self, what: str, action: Callable[[], None], *, likely: bool) -> None:
        """Remove one kind of things. Who may not look for what is most ``likely`` not there is not told of it."""
        try:
            action()
        except BucketNotFoundError:
            return  # and nothing in it
        except StorageError as error:
            if what and (likely or not isinstance(error, AccessError)):
                self._others.append(f"{what}{self.prefix}")

    def _delete_all(self) -> None:
        for key, _, error in self.store.delete_many([*self._there]):
            if error is None or isinstance(error, BucketNotFoundError):
                del self._there[key]

    def _delete_late(self) -> None:
        """What a server stored only after its key was deleted here: a put that is cut off may still be carried out."""
        self.clock.sleep(_AFTERMATH)
        self._there.update((info.key, None) for info in self.store.list(self.prefix))
        self._delete_all()

    def _abort_uploads(self) -> None:
        for upload in [*self.store.pending_uploads(self.prefix)]:
            self.store.abort_upload(upload)


class _Random:
    """Bytes that nothing compresses, the same at the same place, without the time that new ones would take."""

    def __init__(self) -> None:
        self._pool = memoryview(os.urandom(5 * _PIECE))

    def piece(self, offset: int, length: int) -> memoryview:
        """Those of one piece, which no other piece nearby has in the same order."""
        start = offset // _PIECE * 524_309 % (4 * _PIECE)
        return self._pool[start : start + length]

    def holds(self, offset: int, data: bytes) -> bool:
        """Whether these are the bytes from there on."""
        done = 0
        while done < len(data):
            skipped = (offset + done) % _PIECE
            count = min(_PIECE - skipped, len(data) - done)
            expected = bytes(self.piece(offset + done - skipped, _PIECE)[skipped : skipped + count])
            if data[done : done + count] != expected:
                return False
            done += count
        return True


def _other_bytes(key: str) -> IntegrityError:
    return IntegrityError("other bytes came back than were stored", operation="get", key=key)
