"""Copying and moving many objects, between any two storages or within one.

Small objects travel in batches, large ones as streams in a few threads, so memory stays within `_HELD_BYTES` and a few
pieces per stream whatever is copied. Every object is as atomic as a put.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.attributes import checked_attributes, guess_content_type
from mediagit_storage.backend import BatchLimits, Content, DeleteOperation, PutOperation, ReadOperation
from mediagit_storage.batch import Planned, Result, run_batch
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    StorageError,
    UnauthenticatedError,
    UnsupportedError,
)
from mediagit_storage.keys import check_key
from mediagit_storage.progress import NO_TRANSFER, Progress, ProgressCallback, current_progress, on_progress
from mediagit_storage.scope import context_inside, inner_scope
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.tools.ahead import LookAhead
from mediagit_storage.types import Attributes, DeleteOptions, ObjectInfo, PutOptions

__all__ = ["Copied", "CopyRules", "CopyTask", "copy_objects", "move_objects"]

T = TypeVar("T")

#: Objects up to this many bytes are read whole and travel in batches.
_SMALL: Final = 1024 * 1024
#: Bytes of small objects that may wait on each side.
_HELD_BYTES: Final = 16 * 1024 * 1024
#: Objects looked at together; also what one batch may sync together.
_WINDOW: Final = 1024
#: Streams at once, and how many more may be waiting for their turn.
_STREAMS: Final = 4
_WAITING: Final = 64
#: After one of these nothing else would work either.
_FATAL: Final = (CapacityError, BucketNotFoundError, UnauthenticatedError, CancelledError)
_NO_ATTRIBUTES: Final = Attributes()


class CopyTask(NamedTuple):
    """One object to copy: its key, the key it gets, and its size where a listing told it."""

    source: str
    target: str
    size: int | None = None


class Copied(NamedTuple):
    """What became of a task: ``info`` of the new object, or ``skipped``, or ``error``. ``etag`` is the source's."""

    task: CopyTask
    info: ObjectInfo | None = None
    error: Exception | None = None
    skipped: bool = False
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class CopyRules:
    """How to copy: ``overwrite`` False skips what is there, ``drop_attributes`` leaves out what the target cannot keep
    (it is refused otherwise), ``guess_types`` gives objects without a content type the one their key suggests.
    """

    overwrite: bool = True
    drop_attributes: bool = False
    guess_types: bool = True
    concurrency: int = 16


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
    return outcomes if source is target else _deleting(source, outcomes, copier.limits)


def _deleting(
    source: Storage, outcomes: Generator[Copied, None, None], limits: BatchLimits
) -> Generator[Copied, None, None]:
    conditional = source.capabilities.delete_if_match
    with closing(outcomes):
        while chunk := list(islice(outcomes, 256)):
            yield from (each for each in chunk if each.info is None)
            done = [each for each in chunk if each.info is not None]
            plans = (Planned(each.task.source, _deletion(each, conditional=conditional), NO_TRANSFER) for each in done)
            for copied, result in zip(done, run_batch(source.backend, plans, limits), strict=True):
                error = _explained(result.error, "delete", copied.task.source, source)
                yield copied if error is None else copied._replace(info=None, error=error)


def _deletion(copied: Copied, *, conditional: bool) -> DeleteOperation:
    return DeleteOperation(copied.task.source, DeleteOptions(if_match=copied.etag if conditional else None))


class _Report:
    """The progress of a whole copy as one transfer, from any number of threads."""

    def __init__(self, verb: str, callback: ProgressCallback | None, total: Callable[[], int | None]) -> None:
        self._verb = verb
        self._callback = callback
        self._total = total
        self._completed = 0
        self._lock = threading.Lock()
        self.advance(0)

    def advance(self, count: int) -> None:
        """``count`` more bytes are copied."""
        if self._callback is not None:
            with self._lock:
                self._completed += count
                self._callback(Progress(self._verb, self._completed, self._total()))

    def end(self) -> None:
        """Report once more what was reached, now that the total is known."""
        self.advance(0)


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
        self._report = _Report("move" if move else "copy", None, lambda: None)
        self._move = move
        self._kept = target.capabilities.attributes
        self._inside = source is target
        self.limits = BatchLimits(rules.concurrency, _HELD_BYTES)
        if not rules.overwrite and not target.capabilities.if_absent:
            raise UnsupportedError("this storage has no create-only writes: existing objects cannot be spared")

    def run(self, tasks: Iterable[CopyTask]) -> Generator[Copied, None, None]:
        callback = current_progress()
        if callback is None:
            yield from self._checked(iter(tasks))
            return
        ahead = LookAhead(iter(tasks), lambda task: task.size or 0)
        self._report = _Report("move" if self._move else "copy", callback, lambda: ahead.total)
        try:
            yield from self._checked(iter(ahead))
        finally:
            self._report.end()
            ahead.close()

    def _checked(self, tasks: Iterator[CopyTask]) -> Iterator[Copied]:
        for copied in self._run(tasks):
            if isinstance(copied.error, AlreadyExistsError) and not self._rules.overwrite:
                yield copied._replace(error=None, skipped=True)
                continue
            if isinstance(copied.error, _FATAL):
                raise copied.error
            yield copied

    def _run(self, tasks: Iterator[CopyTask]) -> Iterator[Copied]:
        inside = inner_scope()
        threads = self._rules.concurrency if self._inside else min(_STREAMS, self._rules.concurrency)
        with ThreadPoolExecutor(threads, thread_name_prefix="mgs-copy") as pool:
            running: set[Future[Copied]] = set()
            try:
                while window := list(islice(tasks, _WINDOW)):
                    small: list[CopyTask] = []
                    for task in window:
                        if not self._inside and task.size is not None and task.size <= _SMALL:
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

    # ---- small objects, in batches

    def _batch(self, tasks: list[CopyTask]) -> Iterator[Copied]:
        if not tasks:
            return
        waiting: deque[tuple[CopyTask, str | None]] = deque()
        reads = run_batch(
            self._source.backend,
            (Planned(task.source, ReadOperation(task.source), NO_TRANSFER) for task in tasks),
            self.limits,
        )

        def puts() -> Iterator[Planned]:
            for task, read in zip(tasks, reads, strict=True):
                waiting.append((task, read.value.info.etag if isinstance(read.value, Content) else None))
                yield self._planned(task, read)

        for result in run_batch(self._target.backend, puts(), self.limits):
            task, etag = waiting.popleft()
            if result.error is not None:
                yield Copied(task, error=_explained(result.error, "put", task.target, self._target))
                continue
            self._report.advance(task.size or 0)
            yield Copied(task, result.value if isinstance(result.value, ObjectInfo) else None, etag=etag)

    def _planned(self, task: CopyTask, read: Result) -> Planned:
        if not isinstance(read.value, Content):
            error = _explained(read.error, "get", task.source, self._source)
            return Planned(task.target, error or StorageError("nothing was read"), NO_TRANSFER)
        try:
            check_key(task.target)
            options = self._options(task, read.value.info)
        except StorageError as error:
            return Planned(task.target, error, NO_TRANSFER)
        return Planned(task.target, PutOperation(task.target, BytesSource(read.value.data), options), NO_TRANSFER)

    # ---- one object in a thread of its own

    def _one(self, task: CopyTask) -> Copied:
        try:
            with on_progress(_unwatched):
                return self._inner(task) if self._inside else self._stream(task)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its object
            return Copied(task, error=error)

    def _inner(self, task: CopyTask) -> Copied:
        if_absent = not self._rules.overwrite
        if self._move:
            info = self._target.rename(task.source, task.target, if_absent=if_absent)
        else:
            info = self._target.copy(task.source, task.target, if_absent=if_absent)
        self._report.advance(task.size or 0)
        return Copied(task, info)

    def _stream(self, task: CopyTask) -> Copied:
        check_key(task.target)
        with self._source.stream(task.source) as body:
            options = self._options(task, body.info)
            info = self._target.put(
                task.target,
                self._counted(body),
                attributes=options.attributes,
                if_absent=options.if_absent,
                size=body.info.size,
            )
        return Copied(task, info, etag=body.info.etag)

    def _counted(self, body: Iterable[bytes]) -> Iterator[bytes]:
        for piece in body:
            yield piece
            self._report.advance(len(piece))

    def _options(self, task: CopyTask, info: ObjectInfo) -> PutOptions:
        found = info.attributes
        if found is None:
            found = self._source.stat(task.source).attributes or _NO_ATTRIBUTES
        if self._rules.guess_types and found.content_type is None and "content_type" in self._kept:
            guessed = guess_content_type(task.target)
            found = found if guessed is None else replace(found, content_type=guessed)
        missing = found.named() - self._kept
        if missing and not self._rules.drop_attributes:
            raise UnsupportedError(
                f"the target does not keep {', '.join(sorted(missing))}", operation="put", key=task.target
            )
        kept = _without(found, missing)
        return PutOptions(checked_attributes(kept) if kept.named() else None, if_absent=not self._rules.overwrite)


def _without(attributes: Attributes, names: frozenset[str]) -> Attributes:
    """The attributes with these fields empty."""

    def kept(name: str, value: T, empty: T) -> T:
        return empty if name in names else value

    return Attributes(
        kept("content_type", attributes.content_type, None),
        kept("cache_control", attributes.cache_control, None),
        kept("content_encoding", attributes.content_encoding, None),
        kept("content_disposition", attributes.content_disposition, None),
        kept("metadata", attributes.metadata, {}),
        kept("storage_class", attributes.storage_class, None),
        kept("tags", attributes.tags, {}),
    )


def _explained(error: Exception | None, operation: str, key: str, store: Storage) -> Exception | None:
    if isinstance(error, StorageError):
        error.with_context(operation=operation, key=key, store=store.description)
    return error


def _unwatched(progress: Progress) -> None:
    """What is inside of a copy is reported by the copy."""
