"""What is to be copied, what became of it, and the deletion of sources that were moved."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Final, NamedTuple

from mediagit_storage.backend import BatchLimits, DeleteOperation, StatOperation
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    PreconditionError,
    StorageError,
    UnauthenticatedError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.tools.places import location_of
from mediagit_storage.types import DeleteOptions, ObjectInfo

__all__ = ["FATAL", "Copied", "CopyTask", "delete_moved", "explained"]

#: After one of these nothing else would work either.
FATAL: Final = (CapacityError, BucketNotFoundError, UnauthenticatedError, CancelledError)


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


def delete_moved(
    source: Storage, target: Storage, outcomes: Generator[Copied, None, None], limits: BatchLimits
) -> Generator[Copied, None, None]:
    """The same outcomes, each once its source is deleted. One that changed since it was read stays, and is an error."""
    itself = _same_object(source, target)
    with closing(outcomes):
        while chunk := list(islice(outcomes, 256)):
            kept = [each.info is None or itself(each.task) for each in chunk]
            yield from (each for each, keep in zip(chunk, kept, strict=True) if keep)
            yield from _deleted(source, [each for each, keep in zip(chunk, kept, strict=True) if not keep], limits)


def _same_object(source: Storage, target: Storage) -> Callable[[CopyTask], bool]:
    """Tells whether source and target of a task are the very same object: then nothing may be deleted."""
    here, there = location_of(source, ""), location_of(target, "")
    if here.storage != there.storage:
        return lambda _task: False
    return lambda task: here.path + task.source == there.path + task.target


def _deleted(source: Storage, copied: list[Copied], limits: BatchLimits) -> Iterator[Copied]:
    conditional = source.capabilities.delete_if_match
    if not conditional:
        changed: list[Copied] = []
        stats = (Planned(each.task.source, StatOperation(each.task.source)) for each in copied)
        same: list[Copied] = []
        for each, found in zip(copied, run_batch(source.backend, stats, limits), strict=True):
            now = found.value.etag if isinstance(found.value, ObjectInfo) else None
            (changed if now is not None and each.etag is not None and now != each.etag else same).append(each)
        for each in changed:
            error = PreconditionError("the object was written to while it was moved; it stays, beside its copy")
            yield each._replace(info=None, error=explained(error, "delete", each.task.source, source))
        copied = same
    plans = (Planned(each.task.source, _deletion(each, conditional=conditional)) for each in copied)
    for each, result in zip(copied, run_batch(source.backend, plans, limits), strict=True):
        failure = explained(result.error, "delete", each.task.source, source)
        yield each if failure is None else each._replace(info=None, error=failure)


def _deletion(copied: Copied, *, conditional: bool) -> DeleteOperation:
    return DeleteOperation(copied.task.source, DeleteOptions(if_match=copied.etag if conditional else None))


def explained(error: Exception | None, operation: str, key: str, store: Storage) -> Exception | None:
    """The same error, with what it is about."""
    if isinstance(error, StorageError):
        error.with_context(operation=operation, key=key, store=store.description)
    return error
