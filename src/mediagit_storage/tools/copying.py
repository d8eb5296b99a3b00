"""Copying and moving many objects, between any two storages or within one.

What a storage can copy or rename itself stays there. Of the rest, small objects travel in batches, and large ones in a
few threads as `large` says, so memory stays within `_HELD_BYTES` and a few parts whatever is copied. Every object is as
atomic as a put.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeVar

from mediagit_storage.backend import BatchLimits, Content, PutOperation, ReadOperation
from mediagit_storage.batch import Planned, Result, run_batch
from mediagit_storage.closable import closable
from mediagit_storage.ending import Pool
from mediagit_storage.errors import AlreadyExistsError, StorageError, UnsupportedError
from mediagit_storage.facets import Relocation
from mediagit_storage.keys import check_key
from mediagit_storage.progress import NO_TRANSFER, Progress, current_progress, on_progress
from mediagit_storage.scope import context_inside, inner_scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.tools.ahead import LookAhead, Report
from mediagit_storage.tools.attributes import kept_attributes
from mediagit_storage.tools.cache_rules import NO_RULES, CacheRules
from mediagit_storage.tools.large import Sender
from mediagit_storage.tools.outcomes import FATAL, Copied, CopyTask, delete_moved, explained
from mediagit_storage.tools.places import same_service
from mediagit_storage.tools.shortcuts import Relocating, batch_copying, batch_moving
from mediagit_storage.types import Attributes, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Copied", "CopyRules", "CopyTask", "copy_objects", "move_objects"]

T = TypeVar("T")

_MIB: Final = 1024 * 1024
#: Objects up to this many bytes are read whole and travel in batches.
_SMALL: Final = _MIB
#: Bytes of small objects that may wait on each side.
_HELD_BYTES: Final = 16 * _MIB
#: The same for what comes over a network to this machine: one thread that fetches many needs less processor time than
#: streams in several. Larger objects come as streams, or in ranges: they need less memory, are written in one thread while
#: another receives, and not one after the other because more of them would not fit.
_SMALL_FETCHED: Final = 2 * _MIB
_HELD_FETCHED: Final = 8 * _MIB
#: Objects looked at together; also what one batch may sync together.
_WINDOW: Final = 1024
#: Large objects at once, and how many more may be waiting for their turn.
_STREAMS: Final = 4
_WAITING: Final = 64
_NO_ATTRIBUTES: Final = Attributes()
_DESCRIBED: Final = ReadOptions(attributes=True)


@dataclass(frozen=True, slots=True)
class CopyRules:
    """How to copy: ``overwrite`` False skips what is there, ``drop_attributes`` leaves out what the target cannot keep
    (it is refused otherwise), ``guess_types`` gives objects without a content type the one their key suggests, and
    ``cache`` those without a Cache-Control what its rules say. Within one storage neither is done.
    """

    overwrite: bool = True
    drop_attributes: bool = False
    guess_types: bool = True
    concurrency: int = 16
    cache: CacheRules = NO_RULES


def copy_objects(
    source: Storage,
    target: Storage,
    tasks: Iterable[CopyTask],
    rules: CopyRules | None = None,
) -> Generator[Copied, None, None]:
    """Copy each task's object and yield what became of it; large ones come when they are done, out of order.

    A failing object does not stop the others, unless nothing else could work either: a full target, a missing bucket
    and missing credentials raise. Closing the iterator stops what is in flight; nothing half-written is left. Progress
    is reported as one transfer, whose total is known when the last task was seen.
    """
    return _Copier(source, target, rules or CopyRules(), move=False).run(tasks)


def move_objects(
    source: Storage,
    target: Storage,
    tasks: Iterable[CopyTask],
    rules: CopyRules | None = None,
) -> Generator[Copied, None, None]:
    """Like `copy_objects`, and each object is deleted from the source once its copy is durable (or renamed, within one
    storage). An object that was skipped, that failed, or that changed after it was read stays.
    """
    copier = _Copier(source, target, rules or CopyRules(), move=True)
    outcomes = copier.run(tasks)
    return delete_moved(source, target, outcomes, copier.limits) if copier.leaves_sources else outcomes


class _Copier:
    def __init__(
        self,
        source: Storage,
        target: Storage,
        rules: CopyRules,
        *,
        move: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._rules = rules
        self._report = Report("move" if move else "copy", None, lambda: None)
        self._move = move
        self._inside = source is target
        fetched = source.capabilities.parallel_reads and not target.capabilities.parallel_reads
        self._small = _SMALL_FETCHED if fetched else _SMALL
        self.limits = BatchLimits(rules.concurrency, _HELD_FETCHED if fetched else _HELD_BYTES)
        self._relocating = self._quick_way()
        self._shared: PutOptions | None = None
        self._sender = Sender(source, target)
        self._classes = source is target or same_service(source, target)
        if not rules.overwrite and not target.capabilities.if_absent:
            raise UnsupportedError("this storage has no create-only writes: existing objects cannot be spared")

    @property
    def leaves_sources(self) -> bool:
        """Whether a move is a copy, after which the source is to be deleted."""
        return not self._inside or (self._relocating is not None and not self.target_renames)

    @property
    def target_renames(self) -> bool:
        """Whether objects only get another name."""
        return self._inside and self._target.capabilities.server_rename

    def _quick_way(self) -> Relocating | None:
        """What carries out all of it in batches without moving bytes through this machine."""
        if self._move and self.target_renames:
            return batch_moving(self._target)
        if not self._rules.overwrite and not self._target.capabilities.copy_if_absent:
            return None
        if self._rules.cache and not self._inside:
            # A storage that copies by itself keeps the attributes as they are.
            return None
        return batch_copying(self._source, self._target, self.limits)

    def run(self, tasks: Iterable[CopyTask]) -> Generator[Copied, None, None]:
        callback = current_progress()
        if callback is None:
            yield from self._checked(iter(tasks))
            return
        ahead = LookAhead(iter(tasks), lambda task: task.size or 0)
        self._report = Report("move" if self._move else "copy", callback, lambda: ahead.total)
        try:
            yield from self._checked(iter(ahead))
        finally:
            self._report.end()
            ahead.close()

    def _checked(self, tasks: Iterator[CopyTask]) -> Iterator[Copied]:
        # Not left to the garbage collector, in which an interrupt would be lost.
        with closing(self._run(tasks)) as results:
            for copied in results:
                if isinstance(copied.error, AlreadyExistsError) and not self._rules.overwrite:
                    yield copied._replace(error=None, skipped=True)
                    continue
                if isinstance(copied.error, FATAL):
                    raise copied.error
                yield copied

    def _run(self, tasks: Iterator[CopyTask]) -> Generator[Copied, None, None]:
        inside = inner_scope()
        threads = self._rules.concurrency if self._inside else min(_STREAMS, self._rules.concurrency)
        with Pool(threads, thread_name_prefix="mgs-copy") as pool:
            running: set[Future[Copied]] = set()
            try:
                if self._relocating is not None:
                    yield from self._relocated(tasks, self._relocating)
                while window := list(islice(tasks, _WINDOW)):
                    small: list[CopyTask] = []
                    for task in window:
                        if self._travels_with_others(task):
                            small.append(task)
                        else:
                            running.add(pool.submit(context_inside(inside).run, self._one, task))
                    yield from self._batch(small)
                    while len(running) > _WAITING:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        yield from (each.result() for each in done)
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            finally:
                inside.cancel()
                pool.shutdown(wait=True, cancel_futures=True)

    def _travels_with_others(self, task: CopyTask) -> bool:
        """Whether an object is read whole and stored in a batch."""
        if task.size is None or task.size > self._small or (self._inside and self._move):
            return False
        # Of a storage far away the bytes stay there; on this machine a batch shares what a copy alone pays for.
        return not (self._inside and self._target.capabilities.parallel_reads)

    # ---- without moving bytes, in batches

    def _relocated(self, tasks: Iterator[CopyTask], relocating: Relocating) -> Iterator[Copied]:
        running: dict[int, tuple[Relocation, CopyTask]] = {}
        refused: list[Copied] = []

        def operations() -> Iterator[Relocation]:
            for task in tasks:
                try:
                    check_key(task.target)
                except StorageError as error:
                    refused.append(Copied(task, error=explained(error, "put", task.target, self._target)))
                    continue
                operation = Relocation(task.source, task.target, not self._rules.overwrite)
                running[id(operation)] = operation, task
                yield operation

        with closing(closable(relocating(operations()))) as results:
            for operation, info, error, etag in results:
                _, task = running.pop(id(operation))
                if error is None:
                    self._report.advance(task.size or 0)
                what = "rename" if self._move else "copy"
                yield Copied(task, info, explained(error, what, task.source, self._source), etag=etag)
                yield from refused
                refused.clear()
        yield from refused

    # ---- small objects, in batches

    def _batch(self, tasks: list[CopyTask]) -> Iterator[Copied]:
        if not tasks:
            return
        waiting: deque[tuple[CopyTask, str | None]] = deque()
        plans = (Planned(task.source, ReadOperation(task.source, _DESCRIBED), NO_TRANSFER) for task in tasks)
        reads = closable(run_batch(self._source.backend, plans, self.limits))

        def puts() -> Iterator[Planned]:
            for task, read in zip(tasks, reads, strict=True):
                waiting.append((task, read.value.info.etag if isinstance(read.value, Content) else None))
                yield self._planned(task, read)

        # Closed here, the writes first: what an exception refers to would stay open as long as that is kept.
        with (
            closing(reads),
            closing(closable(run_batch(self._target.backend, puts(), self.limits))) as results,
        ):
            for result in results:
                task, etag = waiting.popleft()
                if result.error is not None:
                    yield Copied(task, error=explained(result.error, "put", task.target, self._target))
                    continue
                self._report.advance(task.size or 0)
                yield Copied(task, result.value if isinstance(result.value, ObjectInfo) else None, etag=etag)

    def _planned(self, task: CopyTask, read: Result) -> Planned:
        if not isinstance(read.value, Content):
            error = explained(read.error, "get", task.source, self._source)
            return Planned(task.target, error or StorageError("nothing was read"), NO_TRANSFER)
        try:
            check_key(task.target)
            options = self._options(task, read.value.info)
        except StorageError as error:
            return Planned(task.target, error, NO_TRANSFER)
        return Planned(task.target, PutOperation(task.target, BytesSource(read.value.data), options), NO_TRANSFER)

    # ---- one object in a thread of its own

    def _one(self, task: CopyTask) -> Copied:
        watch = _Inner(self._report)
        try:
            with on_progress(watch):
                copied = self._inner(task) if self._inside else self._large(task)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its object
            return Copied(task, error=error)
        watch.complete(task.size)
        return copied

    def _inner(self, task: CopyTask) -> Copied:
        if_absent = not self._rules.overwrite
        change = self._target.rename if self._move else self._target.copy
        return Copied(task, change(task.source, task.target, if_absent=if_absent))

    def _large(self, task: CopyTask) -> Copied:
        check_key(task.target)
        sent = self._sender.send(task.source, task.target, task.size, lambda info: self._options(task, info))
        return Copied(task, sent.info, etag=sent.etag)

    def _options(self, task: CopyTask, info: ObjectInfo) -> PutOptions:
        found = info.attributes
        if found is None:
            found = self._source.stat(task.source).attributes or _NO_ATTRIBUTES
        if found.storage_class is not None and not self._classes:
            # It says where the other service keeps it, and nothing of what it is.
            found = replace(found, storage_class=None)
        kept = kept_attributes(
            found,
            task.target,
            self._target.capabilities.attributes,
            guess_types=self._rules.guess_types and not self._inside,
            drop=self._rules.drop_attributes,
            cache=NO_RULES if self._inside else self._rules.cache,
        )
        options = self._shared
        if options is None or kept is not options.attributes:
            # What many objects share, a backend has to spell only once.
            self._shared = options = PutOptions(kept, if_absent=not self._rules.overwrite)
        return options


class _Inner:
    """The progress of one object as a part of the whole: what it counts is added, whatever it calls itself."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._counted = 0

    def __call__(self, progress: Progress) -> None:
        """One step. A transfer that starts again counts from 0 again."""
        with self._lock:
            more, self._counted = progress.completed - self._counted, progress.completed
        if more:
            self._report.advance(more)

    def complete(self, size: int | None) -> None:
        """It is done: what was not reported by then counts now."""
        self(Progress("", max(self._counted, size or 0), None))
