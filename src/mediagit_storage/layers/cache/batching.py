"""Batches of the cache layer: each read is answered by what is kept, asked on condition, or passed on as it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    Content,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.errors import NotFoundError, NotModifiedError
from mediagit_storage.layers.base import closing_with
from mediagit_storage.layers.cache.entries import Moment
from mediagit_storage.layers.cache.reading import Known, Reads, unproven
from mediagit_storage.layers.cache.shelf import Shelf, outcome_unknown
from mediagit_storage.types import ObjectInfo

__all__ = ["Batches"]


class _Passed(NamedTuple):
    """``asked`` is what the storage was handed for ``operation``, on condition of ``known`` where that is given."""

    asked: Operation
    operation: Operation
    known: Known | None
    began: Moment


class Batches:
    """The batches of one cache layer: one operation in is at most one operation for the storage."""

    def __init__(self, inner: StorageBackend, shelf: Shelf, reads: Reads) -> None:
        self._inner = inner
        self._shelf = shelf
        self._reads = reads

    def run(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """What `StorageBackend.batch` promises. Writes make the cache forget as soon as their completion comes."""
        feed = _Feed(self, operations, limits)
        while not feed.exhausted:
            inner = self._inner.batch(feed.operations(), limits)
            try:
                yield from closing_with(inner, self._completed(inner, feed))
            finally:
                # What was handed on and never completed may have been done all the same, until the storage was stopped.
                for passed in feed.take_running():
                    self._forget(passed.operation, doubtful=True)
            yield from feed.answers()

    def prepared(self, operation: Operation) -> Completion | _Passed:
        """The answer where it is known, else what to hand on."""
        began = self._shelf.now()
        if not isinstance(operation, ReadOperation):
            return _Passed(operation, operation, None, began)
        key, options = operation.key, operation.options
        if self._reads.passes(options) or options.attributes:
            return _Passed(operation, operation, None, began)
        known = self._reads.known(key, options)
        if known is None or self._reads.too_large(known):
            return _Passed(operation, operation, None, began)
        if self._shelf.believes(known.name, known.head):
            content = self._reads.kept(known, known.head.info)
            if content is not None:
                return Completion(operation, content, None)
        elif self._reads.conditional and options.if_match is None and self._has_all(known):
            asked = ReadOperation(key, replace(options, if_none_match=known.head.info.etag), operation.scope)
            return _Passed(asked, operation, known, began)
        return _Passed(operation, operation, None, began)

    def _has_all(self, known: Known) -> bool:
        return all(self._shelf.has_chunk(known.head, index) for index in known.indexes)

    def _completed(self, inner: Iterator[Completion], feed: _Feed) -> Iterator[Completion]:
        for asked, value, error in inner:
            yield self._completion(feed.passed(asked), value, error)
            yield from feed.answers()

    def _completion(self, passed: _Passed, value: object, error: Exception | None) -> Completion:
        operation, known = passed.operation, passed.known
        self._forget(operation, doubtful=error is not None and outcome_unknown(error))
        if isinstance(operation, StatOperation) and operation.version is None:
            self._heed(operation.key, passed.began, value, error)
        if not isinstance(operation, ReadOperation):
            return Completion(operation, value, error)  # type: ignore[arg-type]  # handed on as it came
        if known is not None:
            self._shelf.asked()
        if known is not None and isinstance(error, NotModifiedError):
            return self._unchanged(operation, known, passed.began)
        if isinstance(error, NotFoundError) and operation.options.version is None:
            self._reads.missing(operation.key, passed.began, error)
        if not isinstance(value, Content):
            return Completion(operation, None, error)
        if not self._reads.passes(operation.options):
            self._reads.learn(operation.key, operation.options, value, passed.began)
        return Completion(operation, value, error)

    def _heed(self, key: str, began: Moment, value: object, error: Exception | None) -> None:
        """What `CacheLayer.stat` does with an answer."""
        if isinstance(error, NotFoundError):
            self._reads.missing(key, began, error)
        elif isinstance(value, ObjectInfo) and self._shelf.believing:
            self._reads.heed(key, value, began)

    def _unchanged(self, operation: ReadOperation, known: Known, began: Moment) -> Completion:
        self._reads.proven(known, began)
        content = self._reads.kept(known, unproven(known.head.info))
        if content is not None:
            return Completion(operation, content, None)
        # A chunk went between the question and its answer.
        try:
            return Completion(operation, self._inner.read(operation.key, operation.options), None)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its item
            return Completion(operation, None, error)

    def _forget(self, operation: Operation, *, doubtful: bool) -> None:
        if isinstance(operation, PutOperation):
            self._shelf.wrote(operation.key, doubtful=doubtful)
        elif isinstance(operation, DeleteOperation):
            self._shelf.wrote(operation.key, operation.options.version, doubtful=doubtful)


class _Feed:
    """What one batch is fed with. Operations whose answer is known wait here for the next completion, in bounded number."""

    def __init__(self, batches: Batches, operations: Iterator[Operation | None], limits: BatchLimits) -> None:
        self._batches = batches
        self._operations = operations
        self._limits = limits
        self._running: dict[int, _Passed] = {}  # by identity of what was handed on, which its value keeps alive
        self._answers: deque[Completion] = deque()
        self._held = 0
        self.exhausted = False

    def operations(self) -> Iterator[Operation | None]:
        """What the storage is to do. Ends early when enough answers wait to be given, or nothing else can come."""
        for operation in self._operations:
            if operation is None:
                if self._answers and not self._running:
                    # Nothing is under way below that could complete, and the caller may be waiting for these.
                    return
                yield None
                continue
            prepared = self._batches.prepared(operation)
            if isinstance(prepared, _Passed):
                self._running[id(prepared.asked)] = prepared
                yield prepared.asked
                continue
            self._answers.append(prepared)
            self._held += len(prepared.value.data) if isinstance(prepared.value, Content) else 0
            if len(self._answers) >= self._limits.concurrency or self._held >= self._limits.buffer_bytes:
                return
        self.exhausted = True

    def answers(self) -> Iterator[Completion]:
        """The answers that wait."""
        while self._answers:
            answer = self._answers.popleft()
            self._held -= len(answer.value.data) if isinstance(answer.value, Content) else 0
            yield answer

    def passed(self, asked: Operation) -> _Passed:
        """What a completion of the storage belongs to."""
        return self._running.pop(id(asked))

    def take_running(self) -> list[_Passed]:
        """What was handed on and not completed."""
        running = [*self._running.values()]
        self._running.clear()
        return running
