"""Many operations at once: reads travel in the primary's own batch, changes in threads, each with its replicas.

Reads that a replica may have to answer, or is named to, go the way that single reads go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from enum import Enum

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StorageBackend,
)
from mediagit_storage.errors import IntegrityError, UnavailableError
from mediagit_storage.layers.base import closing_with
from mediagit_storage.layers.mirror.reading import Reads
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.scope import current_scope

__all__ = ["run_batch"]


class _Way(Enum):
    """How an operation is carried out. Those of two ways never run at the same time: their order may matter."""

    CHANGE = "in a thread, with its replicas"
    READ = "in the primary's batch"
    READ_BY_ITSELF = "in a thread"


def run_batch(
    mirror: StorageBackend,
    primary: StorageBackend,
    operations: Iterator[Operation | None],
    limits: BatchLimits,
    reads: Reads,
) -> Iterator[Completion]:
    """What `StorageBackend.batch` promises; ``mirror`` carries out single operations."""
    ahead: list[Operation] = []
    while True:
        first = ahead.pop() if ahead else next((each for each in operations if each is not None), None)
        if first is None:
            return
        way = _way(first, reads)
        alike = _alike(first, way, operations, ahead, reads)
        if way is _Way.READ:
            inner = primary.batch(alike, limits)
            yield from closing_with(inner, (_answered(mirror, each, reads) for each in inner))
        else:
            done = ordered(lambda each: _carried_out(mirror, each), _until_none(alike), limits.concurrency)
            with closing(done):
                yield from done


def _way(operation: Operation, reads: Reads) -> _Way:
    if isinstance(operation, PutOperation | DeleteOperation):
        return _Way.CHANGE
    return _Way.READ_BY_ITSELF if reads.by_itself(operation) else _Way.READ


def _alike(
    first: Operation, way: _Way, operations: Iterator[Operation | None], ahead: list[Operation], reads: Reads
) -> Iterator[Operation | None]:
    """Those that go the same way, up to the next that does not, which goes to ``ahead``."""
    yield first
    for operation in operations:
        if operation is not None and _way(operation, reads) is not way:
            ahead.append(operation)
            return
        yield operation


def _until_none(operations: Iterator[Operation | None]) -> Iterator[Operation]:
    """Up to where nothing more comes for now."""
    for operation in operations:
        if operation is None:
            return
        yield operation


def _carried_out(mirror: StorageBackend, operation: Operation) -> Completion:
    """One operation by itself. What ends the whole batch is not the operation's error."""
    current_scope().check()
    try:
        if isinstance(operation, PutOperation):
            return Completion(operation, mirror.put(operation.key, operation.source, operation.options), None)
        if isinstance(operation, DeleteOperation):
            mirror.delete(operation.key, operation.options)
            return Completion(operation, None, None)
        if isinstance(operation, ReadOperation):
            return Completion(operation, mirror.read(operation.key, operation.options), None)
        return Completion(operation, mirror.stat(operation.key, operation.version), None)
    except Exception as error:  # noqa: BLE001  # every failure belongs to its operation
        return Completion(operation, None, error)


def _answered(mirror: StorageBackend, completion: Completion, reads: Reads) -> Completion:
    """The primary's answer, or that of a replica where reads may fail over: asked for one by one."""
    operation, _, error = completion
    if error is None:
        reads.worked()
    elif reads.failover and isinstance(error, UnavailableError | IntegrityError):
        # Asked once more by itself, it is also counted as a failure of the primary.
        return _carried_out(mirror, operation)
    return completion
