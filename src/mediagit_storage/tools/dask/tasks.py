"""What a worker does for one range of names: the tools themselves, with what their memory would say handed to them.

Tasks and their answers travel as pickles. A task can be done twice, also at the same time: each is idempotent.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, NamedTuple, Protocol, TypeVar

from mediagit_storage.backend import BatchLimits
from mediagit_storage.errors import StorageError
from mediagit_storage.tools.extras import Deleted, Extra, delete_extras
from mediagit_storage.tools.filters import Filters
from mediagit_storage.tools.gc import Collected, CollectionCounts, Deleting, find_orphans
from mediagit_storage.tools.key_ranges import KeyRange
from mediagit_storage.tools.manifest import ManifestEntry
from mediagit_storage.tools.marks import Mark
from mediagit_storage.tools.plan import Found, Portion
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync_range import copy_range
from mediagit_storage.tools.syncing import SyncCounts, Synced, Syncing
from mediagit_storage.tools.threads import in_order
from mediagit_storage.tools.verify import Verified, VerifyRules, verify_against, verify_copy, verify_store

__all__ = [
    "Answer",
    "Copying",
    "DeletingExtras",
    "Fact",
    "FindingOrphans",
    "Purging",
    "Size",
    "Task",
    "VerifyKind",
    "Verifying",
]

A_co = TypeVar("A_co", covariant=True)
T = TypeVar("T")


class Task(Protocol[A_co]):
    """Something to do with the sides of a run, which the worker has opened."""

    def __call__(self, sides: Sequence[Side], sure: Callable[[], None], /) -> A_co:
        """Do it; what is to be done to each object is done as often as this is called, with the same end.

        ``sure`` raises where the first side is not what it was when the run began: that of a folder whose disk has gone.
        """
        ...


class Size(NamedTuple):
    """How much a task looks at, at most: so many names, or so many bytes of the source."""

    names: int = 10_000
    bytes: int = 16 * 1024**3


class Fact(NamedTuple):
    """What `Remembered.add` is told."""

    name: str
    proof: bytes
    size: int


class Answer(NamedTuple, Generic[T]):
    """What came of a range: up to the name ``reached``, or to its end where that is None."""

    items: list[T]
    reached: str | None = None


class _Carried:
    """The memory of a range, brought along, and what was added to it."""

    def __init__(self, proofs: Iterable[bytes]) -> None:
        self._proofs = frozenset(proofs)
        self.found: list[Fact] = []

    def known(self, name: str, proof: bytes | None) -> bool:
        return proof in self._proofs

    def add(self, name: str, proof: bytes, size: int = 0) -> None:
        # Appending is one step, whichever thread does it.
        self.found.append(Fact(name, proof, size))


class Copied(NamedTuple):
    """What `copy_range` did and found out."""

    synced: list[Synced]
    counts: SyncCounts
    extras: list[Extra]
    facts: list[Fact]
    tried: dict[str, bytes]


@dataclass(frozen=True)
class Copying:
    """Copies one range; ``proofs`` are what is remembered of it. The answer has one item."""

    within: KeyRange
    syncing: Syncing
    proofs: Sequence[bytes]
    size: Size

    def __call__(self, sides: Sequence[Side], _sure: Callable[[], None]) -> Answer[Copied]:
        """Copy what is missing or different, and collect what else there is to know."""
        source, target = _inside(sides, self.within)
        memory, counts, portion = _Carried(self.proofs), SyncCounts(), Portion(*self.size)
        extras: list[Extra] = []
        syncing = replace(self.syncing, tried=dict(self.syncing.tried))
        with closing(copy_range(source, target, syncing, memory, counts, extras.append, portion)) as results:
            synced = [each._replace(error=_portable(each.error)) for each in results]
        new = {name: tried for name, tried in syncing.tried.items() if self.syncing.tried.get(name) != tried}
        return Answer([Copied(synced, counts, extras, memory.found, new)], portion.reached)


@dataclass(frozen=True)
class DeletingExtras:
    """Deletes from the target what the source does not have."""

    extras: Sequence[Extra]
    concurrency: int

    def __call__(self, sides: Sequence[Side], sure: Callable[[], None]) -> Answer[Deleted]:
        """Delete them, if the source is still there when it was asked for all of them."""
        deleted = delete_extras(sides[0], sides[1], self.extras, BatchLimits(self.concurrency), sure)
        return Answer([each._replace(error=_portable(each.error)) for each in deleted])


class VerifyKind(StrEnum):
    """What a store is compared with: what it keeps itself, another one, or a manifest."""

    STORE = "store"
    COPY = "copy"
    MANIFEST = "manifest"


@dataclass(frozen=True)
class Verifying:
    """Verifies one range; ``entries`` are those of a manifest in it."""

    within: KeyRange
    kind: VerifyKind
    rules: VerifyRules
    size: Size
    entries: Sequence[ManifestEntry] = ()

    def __call__(self, sides: Sequence[Side], _sure: Callable[[], None]) -> Answer[Verified]:
        """Verify the range."""
        portion = Portion(*self.size)
        with closing(self._results(_inside(sides, self.within), portion)) as results:
            return Answer([each._replace(error=_portable(each.error)) for each in results], portion.reached)

    def _results(self, sides: Sequence[Side], portion: Portion) -> Generator[Verified, None, None]:
        if self.kind is VerifyKind.COPY:
            return verify_copy(sides[0], sides[1], self.rules, portion=portion)
        if self.kind is VerifyKind.MANIFEST:
            return verify_against(sides[0], iter(self.entries), self.rules, portion=portion)
        return verify_store(sides[0], self.rules, portion=portion)


class Orphans(NamedTuple):
    """What `find_orphans` found."""

    found: list[Found]
    counts: CollectionCounts


@dataclass(frozen=True)
class FindingOrphans:
    """Looks for what is in a range and not among the ``names`` of the same range. The answer has one item."""

    within: KeyRange
    names: Sequence[str]
    trashes: tuple[str, ...]
    filters: Filters
    size: Size

    def __call__(self, sides: Sequence[Side], _sure: Callable[[], None]) -> Answer[Orphans]:
        """Compare the listing with the names."""
        counts, portion = CollectionCounts(), Portion(*self.size)
        (side,) = _inside(sides, self.within)
        found = [*find_orphans(side, self.names, self.trashes, self.filters, counts, portion=portion)]
        return Answer([Orphans(found, counts)], portion.reached)


@dataclass(frozen=True)
class Purging:
    """Does to some marks what `Deleting` does to one."""

    due: Sequence[tuple[Mark, bool]]
    trash: str | None
    skew: timedelta
    now: datetime
    concurrency: int

    def __call__(self, sides: Sequence[Side], _sure: Callable[[], None]) -> Answer[Collected]:
        """Delete what is due."""
        deleting = Deleting(sides[0], self.trash, self.skew, self.now, repeatable=True)
        done = in_order(self.due, deleting, self.concurrency)
        return Answer([each._replace(error=_portable(each.error)) for each in done])


def _inside(sides: Sequence[Side], within: KeyRange) -> Sequence[Side]:
    return [side._replace(within=within) for side in sides]


def _portable(error: Exception | None) -> Exception | None:
    """The same error as it can travel: one of another library may not survive its pickle."""
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # what was pickled right here
    except Exception:  # noqa: BLE001  # whatever its author did not think of
        return StorageError(f"{type(error).__name__}: {error}")
    return error
