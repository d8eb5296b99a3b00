"""Ranges of one object fetched side by side into an open file, by position, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.backend import BatchLimits, Content, ReadOperation, StorageBackend
from mediagit_storage.closable import closable
from mediagit_storage.ending import Pool
from mediagit_storage.errors import CancelledError, IntegrityError, PreconditionError, StorageError, TruncatedError
from mediagit_storage.facets import Place, Placing, placing_of
from mediagit_storage.ledger import Ranges, missing_ranges
from mediagit_storage.positions import write_at
from mediagit_storage.progress import Transfer
from mediagit_storage.scope import context_inside, current_scope, inner_scope
from mediagit_storage.types import ByteRange, ObjectInfo, ReadOptions

__all__ = ["FetchLimits", "Fetched", "fetch_ranges"]

T = TypeVar("T")

Range = tuple[int, int]

#: Ranges that have arrived and wait to be written.
_HELD: Final = 2


class FetchLimits(NamedTuple):
    """``threshold``: larger objects are fetched in ranges of ``part`` bytes, ``concurrency`` of them at once.

    Ranges that are written while they arrive take no memory, and have ``placed`` bytes.
    """

    threshold: int
    part: int
    concurrency: int
    placed: int = 6 * 1024 * 1024


class Fetched(NamedTuple):
    """The object that is wanted: how to read this very one, its size, and the open file that it goes to."""

    key: str
    pinned: ReadOptions
    size: int
    descriptor: int

    def reading(self, span: Range) -> ReadOptions:
        """The options that read one range of it."""
        return replace(self.pinned, range=ByteRange(*span))

    def check(self, info: ObjectInfo, span: Range, start: int, length: int) -> None:
        """Refuse what a storage gives in the place of the range of this object."""
        other = info.etag is not None and self.pinned.if_match is not None and info.etag != self.pinned.if_match
        if other or (info.size is not None and info.size != self.size):
            raise PreconditionError("the object changed while it was fetched")
        if (start, length) != span:
            raise IntegrityError(
                f"{length:,} bytes from {start:,} came where {span[1]:,} from {span[0]:,} were asked for"
            )


def fetch_ranges(
    backend: StorageBackend,
    wanted: Fetched,
    done: Ranges,
    limits: FetchLimits,
    report: Transfer,
) -> Generator[Range, None, None]:
    """Write what is not ``done`` in ranges to their place in the file, and yield each then, in any order.

    Closing it stops what is in flight.

    A storage that places ranges itself writes them piece by piece, in this thread. So do others, with a thread for each
    range; where there are native batches but no placing (a layer changes the bytes) ranges are held in memory until they
    are whole, and written by another thread.
    """
    place = placing_of(backend)
    if place is not None:
        return _fetch_placed(place, wanted, missing_ranges(done, wanted.size, limits.placed), limits, report)
    ranges = missing_ranges(done, wanted.size, limits.part)
    fetch = _fetch_native if backend.capabilities.batch else _fetch_threads
    return fetch(backend, wanted, ranges, limits, report)


def _fetch_placed(
    place: Place, wanted: Fetched, ranges: Iterator[Range], limits: FetchLimits, report: Transfer
) -> Generator[Range, None, None]:
    scope = current_scope()
    missing: set[Range] = set()

    def arrived(count: int) -> None:
        # Also here: a disk may be slow, and much may have come before anybody looks again.
        scope.check()
        report.advance(count)

    def placings() -> Iterator[Placing]:
        for span in ranges:
            missing.add(span)
            yield Placing(wanted.key, wanted.pinned, *span, wanted.descriptor, arrived)

    bounds = BatchLimits(limits.concurrency, limits.concurrency * limits.placed)
    with closing(closable(place(placings(), bounds))) as results:
        for operation, info, start, length, error in results:
            scope.check()
            span = (operation.start, operation.length)
            if error is not None or info is None:
                raise error or StorageError("a range ended with neither an object nor an error")
            wanted.check(info, span, start, length)
            missing.remove(span)
            yield span
    if missing:
        raise StorageError(f"the storage's batch ended without an answer for {len(missing):,} ranges")


def _fetch_native(
    backend: StorageBackend,
    wanted: Fetched,
    ranges: Iterator[Range],
    limits: FetchLimits,
    report: Transfer,
) -> Generator[Range, None, None]:
    spans: dict[int, tuple[ReadOperation, Range]] = {}

    def operations() -> Iterator[ReadOperation]:
        for span in ranges:
            operation = ReadOperation(wanted.key, wanted.reading(span))
            spans[id(operation)] = operation, span
            yield operation

    bounds = BatchLimits(limits.concurrency, limits.concurrency * limits.part)
    scope = current_scope()
    with (
        closing(_Writing(wanted.descriptor)) as writing,
        closing(closable(backend.batch(operations(), bounds))) as completions,
    ):
        for completion in completions:
            scope.check()
            _, span = spans.pop(id(completion.operation))
            if completion.error is not None:
                # What came before it counts.
                yield from _counted(writing.rest(), report)
                raise completion.error
            content = completion.value
            if not isinstance(content, Content):
                raise TypeError("a read completes with its content")
            wanted.check(content.info, span, content.start, len(content.data))
            writing.add(content.data, span)
            yield from _counted(writing.done(), report)
        yield from _counted(writing.rest(), report)
    if spans:
        raise StorageError(f"the storage's batch ended without an answer for {len(spans):,} ranges")


class _Writing:
    """Writes ranges in a thread of its own while the next ones arrive: a disk takes as long as a network.

    A few are held meanwhile. Closing waits for the write that runs, and drops the others.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = Pool(1, thread_name_prefix="mgs-write")
        self._waiting: deque[tuple[Future[None], Range]] = deque()

    def add(self, data: bytes, span: Range) -> None:
        """One more range."""
        self._waiting.append((self._thread.submit(write_at, self._descriptor, data, span[0]), span))

    def done(self) -> Iterator[Range]:
        """Those that are written by now, and as many more that few enough are held. Raises what went wrong."""
        while self._waiting and (len(self._waiting) > _HELD or self._waiting[0][0].done()):
            yield self._first()

    def rest(self) -> Iterator[Range]:
        """All others, when they are written."""
        while self._waiting:
            yield self._first()

    def close(self) -> None:
        """Nothing is written afterwards: the file may be closed."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _first(self) -> Range:
        future, span = self._waiting.popleft()
        future.result()
        return span


def _counted(written: Iterator[Range], report: Transfer) -> Iterator[Range]:
    for span in written:
        report.advance(span[1])
        yield span


def _fetch_threads(
    backend: StorageBackend,
    wanted: Fetched,
    ranges: Iterator[Range],
    limits: FetchLimits,
    report: Transfer,
) -> Generator[Range, None, None]:
    inside = inner_scope()

    def begin(span: Range) -> Future[Range]:
        return threads.submit(context_inside(inside).run, _fetch_one, backend, wanted, span, report)

    with Pool(limits.concurrency, thread_name_prefix="mgs-get") as threads:
        try:
            running = {begin(span) for span in islice(ranges, limits.concurrency)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                if any(each.exception() is not None for each in done):
                    # What is there counts, also what becomes whole while the others are stopped.
                    inside.cancel()
                    done |= wait(running).done
                for each in sorted(done, key=_failed):
                    yield each.result()
                running |= {begin(span) for span in islice(ranges, len(done))}
        finally:
            inside.cancel()
            threads.shutdown(wait=True, cancel_futures=True)


def _failed(range_: Future[Range]) -> int:
    """Those that are whole first, then what went wrong, and last those that were stopped because of it."""
    error = range_.exception()
    return 0 if error is None else 2 if isinstance(error, CancelledError) else 1


def _fetch_one(backend: StorageBackend, wanted: Fetched, span: Range, report: Transfer) -> Range:
    scope = current_scope()
    scope.check()
    position, end = span[0], span[0] + span[1]
    with backend.stream(wanted.key, wanted.reading(span)) as body:
        wanted.check(body.info, span, body.start, body.length)
        for chunk in body:
            scope.check()
            if position + len(chunk) > end:
                raise IntegrityError("the storage sent more bytes than were asked for")
            write_at(wanted.descriptor, chunk, position)
            position += len(chunk)
            report.advance(len(chunk))
    if position != end:
        raise TruncatedError(f"{end - position:,} bytes of a range are missing")
    return span
