"""Plans: what to ask of a storage, step by step, apart from how it is asked. One at a time, or many in a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeAlias, TypeVar

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    Content,
    Operation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.layers.base import closing_with
from mediagit_storage.types import ObjectInfo

__all__ = ["Plan", "carry_out", "carry_out_batch"]

T = TypeVar("T")
#: Yields operations for a storage, is sent their values or errors, and returns what they come to. It asks at least once.
Plan: TypeAlias = Generator[Operation, Content | ObjectInfo | None, T]


class _Running(NamedTuple):
    """An operation of a batch under way: what was asked of the storage, and what goes on when it answers."""

    below: Operation
    plan: Plan[Content | ObjectInfo | None]
    operation: Operation


def carry_out(storage: StorageBackend, plan: Plan[T]) -> T:
    """Carry out a plan that reads, by single calls."""
    try:
        operation = next(plan)
        while True:
            try:
                value = _answer(storage, operation)
            except Exception as error:  # noqa: BLE001  # the plan knows what to make of it
                operation = plan.throw(error)
            else:
                operation = plan.send(value)
    except StopIteration as ended:
        result: T = ended.value
        return result


def carry_out_batch(
    storage: StorageBackend,
    plan_of: Callable[[Operation], Plan[Content | ObjectInfo | None]],
    operations: Iterator[Operation | None],
    limits: BatchLimits,
) -> Iterator[Completion]:
    """Carry out the plan of each operation by the storage's own batch; it completes when the last of its steps does."""
    # By identity: two operations may be equal, and a source need not be hashable.
    running: dict[int, _Running] = {}
    further: deque[Operation] = deque()

    def begun(each: _Running) -> Operation:
        running[id(each.below)] = each
        each.below.scope = each.operation.scope
        return each.below

    def below() -> Iterator[Operation | None]:
        for operation in operations:
            while further:
                yield further.popleft()
            if operation is None:
                yield None
                continue
            plan = plan_of(operation)
            yield begun(_Running(next(plan), plan, operation))
        while running:
            yield further.popleft() if further else None

    def above() -> Iterator[Completion]:
        for answered, value, error in inner:
            _, plan, operation = running.pop(id(answered))
            try:
                asked = plan.send(value) if error is None else plan.throw(error)
            except StopIteration as ended:
                yield Completion(operation, ended.value, None)
            except Exception as failed:  # noqa: BLE001  # every failure belongs to its operation
                yield Completion(operation, None, failed)
            else:
                further.append(begun(_Running(asked, plan, operation)))

    inner = storage.batch(below(), limits)
    return closing_with(inner, above())


def _answer(storage: StorageBackend, operation: Operation) -> Content | ObjectInfo:
    if isinstance(operation, ReadOperation):
        return storage.read(operation.key, operation.options)
    if isinstance(operation, StatOperation):
        return storage.stat(operation.key, operation.version)
    raise TypeError("plans of single calls read and look")
