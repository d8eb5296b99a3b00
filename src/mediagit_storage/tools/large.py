"""One large object from one storage to another, the quickest way that there is between the two.

A file on this machine is sent in parts by position, and goes on where it stopped; so does an object that is fetched
into a local storage in ranges side by side. Between two services ranges are fetched side by side and sent on in order.
Everything else is one stream. Each way is as atomic as a put, checks what it moves, and holds a few parts in memory.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from mediagit_storage.backend import BatchLimits, Body, Content, ReadOperation
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.checked import CheckedSource
from mediagit_storage.downloading import LIMITS, Landing, PartsDownload, pinned_to
from mediagit_storage.errors import (
    AlreadyExistsError,
    IntegrityError,
    PreconditionError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.facets import KeptPart, PositionalWriting
from mediagit_storage.layers.base import transfer_name
from mediagit_storage.ledger import missing_ranges
from mediagit_storage.mending import mended
from mediagit_storage.progress import transfer
from mediagit_storage.scope import current_scope
from mediagit_storage.source import IterableSource, Source
from mediagit_storage.storage import Storage
from mediagit_storage.tools.ahead import LookAhead
from mediagit_storage.tools.selecting import find_object
from mediagit_storage.tools.shortcuts import positional
from mediagit_storage.transfer import RegionSource, resume_point
from mediagit_storage.types import ByteRange, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Sender", "Sent"]

#: Ranges that travel at once between two services, and how many wait to be sent on: the sender holds parts too.
_RANGES: Final = 3
_AHEAD: Final = 1
#: How often somebody who waits for his turn looks whether he is still wanted, in seconds.
_LOOK: Final = 0.2
_DESCRIBED: Final = ReadOptions(attributes=True)


class Sent(NamedTuple):
    """What was stored, and the source's etag."""

    info: ObjectInfo
    etag: str | None


@dataclass(frozen=True)
class Sender:
    """Sends large objects from one storage to another, from any number of threads.

    Those that travel in ranges held in memory go one after the other: each has several on the way already. Progress of
    an object is reported as one transfer. An interrupted one that is gone on with by the same call is told of by the
    event ``transfer.kept``.
    """

    source: Storage
    target: Storage
    turn: threading.Lock = field(default_factory=threading.Lock)

    def send(self, key: str, new_key: str, size: int | None, options: Callable[[ObjectInfo], PutOptions]) -> Sent:
        """Store the object ``key`` as ``new_key``. ``options`` says how, once its attributes are known.

        ``size`` is what a listing told, if anything.
        """
        way = _Way(self.source, key, self.target, new_key, options)
        if self.source.capabilities.parallel_reads and (size is None or size > LIMITS.threshold):
            info = self.source.stat(key)
            if pinned_to(self.source.backend, info) is not None:
                with self._alone():
                    return way.in_ranges(info)
        return way.as_stream()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        scope = current_scope()
        while not self.turn.acquire(timeout=_LOOK):
            scope.check()
        try:
            yield
        finally:
            self.turn.release()


@dataclass(frozen=True)
class _Way:
    source: Storage
    key: str
    target: Storage
    new_key: str
    options: Callable[[ObjectInfo], PutOptions]

    def as_stream(self) -> Sent:
        """One stream; or the open file that it comes from."""
        with self._explained(), mended(self.source.backend).stream(self.key, _DESCRIBED) as body:
            options = self.options(body.info)
            region = body.region()
            if region is None:
                return Sent(self._put(_BodySource(body), options), body.info.etag)
            source = RegionSource(region)
            if not self.target.capabilities.resumable_uploads:
                return Sent(self._put(source, options), body.info.etag)
            place = f"{self.source.description}/{self.key}"
            with resume_point(source, place, transfer_name(self.target.backend), self.new_key, options) as point:
                return Sent(self._put(source, replace(options, resume=point)), body.info.etag)

    def in_ranges(self, info: ObjectInfo) -> Sent:
        """Ranges side by side: by position where the target can, else in order."""
        found = positional(self.target)
        if found is not None:
            sent = self._by_position(info, *found)
            return self.as_stream() if sent is None else sent
        pinned = pinned_to(self.source.backend, info)
        if pinned is None:
            return self.as_stream()
        options = self.options(info)
        with closing(LookAhead(self._ranges(info, pinned), len, ahead=_AHEAD)) as pieces:
            return Sent(self._put(_Ordered(iter(pieces), info.size or 0), options), info.etag)

    def _by_position(self, info: ObjectInfo, writing: PositionalWriting, prefix: str) -> Sent | None:
        """None where the object cannot be read in ranges after all."""
        # What is refused is refused before anything travels.
        if self.options(info).if_absent and find_object(self.target, self.new_key) is not None:
            raise AlreadyExistsError("an object is there already", operation="put", key=self.new_key)
        landing = _StorageLanding(writing, prefix + self.new_key, self.target, self.options, self._explained_target())
        download = PartsDownload(mended(self.source.backend), self.key, landing)
        with self._explained(), download.journal() as journal:
            done = download.run(info, journal)
            if done is None or landing.stored is None:
                download.forget(journal)
                return None
        landing.stored.key = self.new_key
        return Sent(landing.stored, done.etag)

    def _ranges(self, info: ObjectInfo, pinned: ReadOptions) -> Iterator[bytes]:
        """The bytes in order, fetched side by side; of one version of the object, or an error."""
        spans = missing_ranges((), info.size or 0, LIMITS.part)
        plans = (
            Planned(self.key, ReadOperation(self.key, replace(pinned, range=ByteRange(offset, length))))
            for offset, length in spans
        )
        limits = BatchLimits(_RANGES, _RANGES * LIMITS.part)
        position = 0
        for result in run_batch(self.source.backend, plans, limits):
            if isinstance(result.error, PreconditionError):
                raise UnavailableError("the object was overwritten while it was copied; copy it again")
            if result.error is not None:
                raise result.error
            content = result.value
            if not isinstance(content, Content) or content.start != position or content.info.size != info.size:
                raise IntegrityError("the storage gave another part of the object than was asked for")
            position += len(content.data)
            yield content.data

    def _put(self, source: Source, options: PutOptions) -> ObjectInfo:
        with self._explained_target(), transfer(f"put {self.new_key}", source.size) as report:
            checked = CheckedSource(source, size=source.size, checksum=None, progress=report)
            info = self.target.backend.put(self.new_key, checked, options)
            checked.require_proof()
            return info

    def _explained(self) -> _Explained:
        return _Explained("get", self.key, self.source)

    def _explained_target(self) -> _Explained:
        return _Explained("put", self.new_key, self.target)


class _Explained:
    """Fills operation, key and storage into an error that names none."""

    def __init__(self, operation: str, key: str, store: Storage) -> None:
        self._operation = operation
        self._key = key
        self._store = store

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageError) and error.store is None:
            error.with_context(operation=self._operation, key=self._key, store=self._store.description)


class _Ordered(IterableSource):
    """Pieces of a known total."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        super().__init__(pieces)
        self.size = size


class _BodySource(_Ordered):
    """What a body gives."""

    def __init__(self, body: Body) -> None:
        super().__init__(iter(body), body.length)


class _Unfinished:
    """An unfinished object of a storage, as a download wants it."""

    def __init__(self, part: KeptPart) -> None:
        self.part = part
        self.descriptor = part.descriptor

    def leftover(self) -> None:
        """The storage sweeps it."""

    def remove(self) -> None:
        """See `KeptPart.remove`."""
        self.part.remove()

    def close(self) -> None:
        """See `KeptPart.close`."""
        self.part.close()


class _StorageLanding(Landing[_Unfinished]):
    """An object of a storage that is written by position; ``stored`` once it is there."""

    durable = True

    def __init__(
        self,
        writing: PositionalWriting,
        key: str,
        target: Storage,
        options: Callable[[ObjectInfo], PutOptions],
        explained: _Explained,
    ) -> None:
        self._explained = explained
        self._writing = writing
        self._key = key
        self._target = target
        self._options = options
        self.stored: ObjectInfo | None = None

    @property
    def place(self) -> str:
        """The storage and the key."""
        return f"{self._target.description}/{self._key}"

    def refuse(self) -> None:
        """Nothing: the storage refuses when it places the object."""

    def part(self, token: str) -> _Unfinished | None:
        """What an earlier run left, or a new one."""
        with self._explained:
            kept = self._writing.keep_part(self._key, token)
        return None if kept is None else _Unfinished(kept)

    def new_part(self) -> _Unfinished:
        """One that only this run knows of."""
        part = self.part(secrets.token_hex(8))
        if part is None:
            raise UnavailableError("the storage's private folder cannot be used")
        return part

    def publish(self, part: _Unfinished, info: ObjectInfo) -> None:
        """Place it, with the attributes of the object that was fetched."""
        options = self._options(info)
        with self._explained:
            self.stored = part.part.commit(options.attributes, if_absent=options.if_absent)
