"""What a sync's target has and its source has not: kept until all copies are done, and then deleted with another look."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple

from mediagit_storage.backend import BatchLimits, DeleteOperation, StatOperation
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.errors import BucketNotFoundError, InvalidKeyError, NotFoundError, PreconditionError
from mediagit_storage.progress import NO_TRANSFER
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.selecting import find_object
from mediagit_storage.tools.sides import Side
from mediagit_storage.types import DeleteOptions

__all__ = ["Deleted", "Extra", "Extras", "delete_extras", "kept_extras"]


class Extra(NamedTuple):
    """An object of the target that the source does not have, as it was listed."""

    name: str
    etag: str | None
    size: int | None


class Deleted(NamedTuple):
    """What became of one: deleted, or not because of an ``error``, or left because the source has ``come`` to have it."""

    extra: Extra
    error: Exception | None = None
    come: bool = False


class Extras:
    """Any number of them in a file without a name: written first, then read."""

    def __init__(self, spool: IO[str]) -> None:
        self._spool = spool

    def add(self, extra: Extra) -> None:
        """One more."""
        self._spool.write(json.dumps(extra) + "\n")

    def __iter__(self) -> Iterator[Extra]:
        self._spool.seek(0)
        return (Extra(*json.loads(line)) for line in self._spool)


@contextmanager
def kept_extras() -> Iterator[Extras]:
    """A place for extras, gone in the end."""
    with tempfile.TemporaryFile("w+", encoding="ascii") as spool:
        yield Extras(spool)


def delete_extras(
    source: Side, target: Side, extras: Sequence[Extra], limits: BatchLimits, sure: Callable[[], None] = lambda: None
) -> Iterator[Deleted]:
    """Delete a few hundred together, and tell of each once it is gone: what the source does not have now, either.

    Conditional where the storage can do that, so that nothing goes that was written since it was listed. One request
    for each to the source and, where there are no batch deletes, one to the target. ``sure`` is called between the two,
    and raises where what the source said is not to be believed.
    """
    gone: list[Extra] = []
    for looked in _looked_again(source, extras, limits):
        if looked.come or looked.error is not None:
            yield looked
        else:
            gone.append(looked.extra)
    sure()
    yield from _gone(target, gone, limits)


def _looked_again(source: Side, extras: Sequence[Extra], limits: BatchLimits) -> Iterator[Deleted]:
    """What the source does not have now, either, and what it cannot tell of, with the error."""
    store = source.store
    keys = [source.prefix + each.name for each in extras]
    plans = (Planned(key, StatOperation(key), NO_TRANSFER) for key in keys)
    for each, key, found in zip(extras, keys, run_batch(store.backend, plans, limits), strict=True):
        if found.error is None:
            yield Deleted(each, come=True)
        elif isinstance(found.error, InvalidKeyError) or _is_absence(found.error):
            yield Deleted(each)
        else:
            yield Deleted(each, explained(found.error, "stat", key, store))


def _gone(target: Side, extras: Sequence[Extra], limits: BatchLimits) -> Iterator[Deleted]:
    store = target.store
    conditional = store.capabilities.delete_if_match
    keys = [target.prefix + each.name for each in extras]
    plans = (
        Planned(key, DeleteOperation(key, DeleteOptions(if_match=each.etag if conditional else None)), NO_TRANSFER)
        for key, each in zip(keys, extras, strict=True)
    )
    for each, key, result in zip(extras, keys, run_batch(store.backend, plans, limits), strict=True):
        error = result.error
        if isinstance(error, PreconditionError):
            there = find_object(store, key) is not None
            error = PreconditionError("it was written to after it was listed, so it was left there") if there else None
        yield Deleted(each, explained(error, "delete", key, store))


def _is_absence(error: Exception) -> bool:
    """Whether it proves that there is no such object, in a bucket that is there."""
    return isinstance(error, NotFoundError) and not isinstance(error, BucketNotFoundError)
