"""Many operations at once: reads travel in the primary's own batch, changes in threads, each with its replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TypeAlias

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.errors import IntegrityError, UnavailableError
from mediagit_storage.layers.base import closing_with
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.scope import current_scope

__all__ = ["run_batch"]

_Change: TypeAlias = PutOperation | DeleteOperation


def run_batch(
    mirror: StorageBackend,
    primary: StorageBackend,
    operations: Iterator[Operation | None],
    limits: BatchLimits,
    *,
    failover: bool,
) -> Iterator[Completion]:
    """What `StorageBackend.batch` promises; ``mirror`` carries out single operations."""
    ahead: list[Operation] = []
    while True:
        first = ahead.pop() if ahead else next((each for each in operations if each is not None), None)
        if first is None:
            return
        if isinstance(first, _Change):
            changes = _changes(first, operations, ahead)
            done = ordered(lambda each: _carried_out(mirror, each), changes, limits.concurrency)
            with closing(done):
                yield from done
        else:
            inner = primary.batch(_reads(first, operations, ahead), limits)
            answered = (_answered(mirror, each, failover=failover) for each in inner)
            yield from closing_with(inner, answered)


def _changes(first: _Change, operations: Iterator[Operation | None], ahead: list[Operation]) -> Iterator[_Change]:
    """The changes up to the next read, which goes to ``ahead``, or to where nothing more comes for now."""
    yield first
    for operation in operations:
        if operation is None:
            return
        if not isinstance(operation, _Change):
            ahead.append(operation)
            return
        yield operation


def _reads(
    first: Operation, operations: Iterator[Operation | None], ahead: list[Operation]
) -> Iterator[Operation | None]:
    """The reads up to the next change, which goes to ``ahead``."""
    yield first
    for operation in operations:
        if isinstance(operation, _Change):
            ahead.append(operation)
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


def _answered(mirror: StorageBackend, completion: Completion, *, failover: bool) -> Completion:
    """The primary's answer, or that of a replica where reads may fail over: asked for one by one."""
    operation, _, error = completion
    failed = isinstance(error, UnavailableError | IntegrityError)
    if failover and failed and isinstance(operation, ReadOperation | StatOperation):
        return _carried_out(mirror, operation)
    return completion
