"""Collecting garbage: objects that nothing references go, after a time of grace, and never ones that are needed again.

Two runs at least lie between an object and its end: one that marks it, and one after the grace that finds it still marked,
unreferenced and unchanged. The references are read again right before the first deletion, and once more after the last: what
was referenced in between is brought back from the trash. Whatever cannot be read ends the run before anything is deleted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import IO, Final, NamedTuple

from mediagit_storage.errors import (
    CancelledError,
    ConfigError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.tools.filters import Filters
from mediagit_storage.tools.marks import Mark, Marks
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.plan import DeletionLimit, Found, Pair, merge
from mediagit_storage.tools.references import References, sorted_names
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import ObjectInfo

__all__ = ["Collected", "CollectionCounts", "CollectionRules", "State", "collect", "mark_of"]

#: How far the clocks of this machine and the storage may be apart.
SKEW: Final = timedelta(hours=1)


class State(StrEnum):
    """What became of an object that nothing references.

    ``MARKED``: seen for the first time, or written since. ``WAITING``: marked, and its grace is not over. ``DUE``: it may
    go, and deleting was not asked for. ``DELETED``, ``TRASHED``: gone, or in the trash. ``KEPT``: referenced or written
    while this run was going on. ``RESTORED``: referenced while it was deleted, and brought back.
    """

    MARKED = "marked"
    WAITING = "waiting"
    DUE = "due"
    DELETED = "deleted"
    TRASHED = "trashed"
    KEPT = "kept"
    RESTORED = "restored"


class Collected(NamedTuple):
    """One object: its name, size, and what became of it, or why that failed."""

    state: State
    name: str
    size: int | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class CollectionRules:
    """``grace``: how long an object stays after it was marked. ``delete``: do it, else only mark and tell what is due.

    ``trash``: the beginning of the keys under which deleted objects are kept, in the same storage. ``allow_empty``: go on
    although nothing at all is referenced.
    """

    grace: timedelta = timedelta(days=14)
    delete: bool = False
    trash: str | None = None
    limit: DeletionLimit = field(default_factory=DeletionLimit)
    filters: Filters = field(default_factory=Filters)
    allow_empty: bool = False
    skew: timedelta = SKEW
    concurrency: int = 16


@dataclass(slots=True)
class CollectionCounts:
    """How many objects were looked at, how many of them are referenced, and how many references lead nowhere."""

    objects: int = 0
    referenced: int = 0
    missing: int = 0


def mark_of(name: str, info: ObjectInfo, old: Mark | None, now: datetime, skew: timedelta = SKEW) -> Mark:
    """The mark of an unreferenced object: the old one's time if the object is the same and was not written since, else now.

    A write within ``skew`` before the old mark counts as later: the storage's clock may be behind. A mark of the future is
    one of a clock that was put back, and counts from now.
    """
    same = old is not None and old.etag == info.etag and old.seen <= now
    if old is None or not same or (info.modified is not None and info.modified > old.seen - skew):
        return Mark(name, info.size, info.etag, now)
    return old


def collect(
    side: Side,
    sources: Sequence[References],
    marks: Marks,
    rules: CollectionRules,
    *,
    now: datetime,
    counts: CollectionCounts | None = None,
) -> Generator[Collected, None, None]:
    """Mark what nothing references, and delete what was marked longer than the grace ago; yields what became of each.

    References are names below ``side``; every source is read up to three times. The new marks are written once the whole
    listing was compared, and nothing is deleted before. Deletions are conditional where the storage can do that, and after a
    second look at the object. Raises what a source or listing raises, with the old marks and all objects in place;
    `ConfigError` where nothing is referenced at all, `LimitExceededError` where more would go than may.
    """
    if not sources:
        raise ConfigError("say what references the objects: without that all of them look unneeded")
    if rules.trash is not None and rules.trash == side.prefix:
        raise ConfigError("the trash cannot be the folder that is collected")
    return _Collection(side, sources, marks, rules, now, counts or CollectionCounts()).run()


@dataclass(frozen=True)
class _Collection:
    side: Side
    sources: Sequence[References]
    marks: Marks
    rules: CollectionRules
    now: datetime
    counts: CollectionCounts

    def run(self) -> Generator[Collected, None, None]:
        with sorted_names(self.sources) as names:
            self.marks.replace(self._marked(names))
        due = 0
        for mark in self.marks.read():
            state = self._state(mark)
            due += state is State.DUE
            if state is not State.DUE or not self.rules.delete:
                yield Collected(state, mark.name, mark.size)
        if due and self.rules.delete:
            self._check_limit(due)
            yield from self._purged()

    # ---- marking

    def _marked(self, names: Iterator[str]) -> Iterator[Mark]:
        """The marks of all that is unreferenced, in order; old marks of anything else are forgotten."""
        needed = (Found(name, ObjectInfo(name)) for name in self._required(names))
        orphans = (pair for pair in merge(needed, self._objects()) if self._is_orphan(pair))
        old = self.marks.read()
        mark = next(old, None)
        for pair in orphans:
            while mark is not None and mark.name < pair.name:
                mark = next(old, None)
            if pair.target is not None:
                known = mark if mark is not None and mark.name == pair.name else None
                yield mark_of(pair.name, pair.target, known, self.now, self.rules.skew)
        for _ in old:
            pass  # to its end, where a file shows that it is whole

    def _required(self, names: Iterator[str]) -> Iterator[str]:
        first = next(names, None)
        if first is None:
            if not self.rules.allow_empty:
                raise ConfigError(
                    "nothing at all is referenced, which would make everything garbage: check the references"
                )
            return iter(())
        return chain([first], names)

    def _objects(self) -> Iterator[Found]:
        trash = self.rules.trash
        for found in self.side.listed():
            if trash is None or not found.info.key.startswith(trash):
                yield found

    def _is_orphan(self, pair: Pair) -> bool:
        if pair.target is None:
            self.counts.missing += 1
            return False
        self.counts.objects += 1
        if pair.source is not None:
            self.counts.referenced += 1
            return False
        return self.rules.filters.takes(pair.name)

    def _state(self, mark: Mark) -> State:
        if mark.seen == self.now:
            return State.MARKED
        return State.DUE if self.now - mark.seen >= self.rules.grace else State.WAITING

    # ---- deleting

    def _check_limit(self, due: int) -> None:
        if not self.rules.limit.allows(due, self.counts.objects):
            raise LimitExceededError(
                f"nothing was deleted: {due:,} of {self.counts.objects:,} objects are due, and more than half may go only"
                " where a limit says so (--max-delete)"
            )

    def _purged(self) -> Iterator[Collected]:
        with ExitStack() as stack:
            gone = stack.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))
            due = (mark for mark in self.marks.read() if self._state(mark) is State.DUE)
            with sorted_names(self.sources) as names:
                yield from self._deleted(_split(due, names), gone)
            yield from self._brought_back(gone)

    def _deleted(self, due: Iterator[tuple[Mark, bool]], gone: IO[str]) -> Iterator[Collected]:
        for done in in_order(due, self._delete, self.rules.concurrency):
            if done.state in {State.DELETED, State.TRASHED} and done.error is None:
                gone.write(json.dumps([done.name, done.size]) + "\n")
            yield done

    def _delete(self, due: tuple[Mark, bool]) -> Collected:
        mark, needed = due
        state = State.DELETED if self.rules.trash is None else State.TRASHED
        if needed:
            return Collected(State.KEPT, mark.name, mark.size)
        key = self.side.prefix + mark.name
        store = self.side.store
        try:
            info = store.stat(key)
            if mark_of(mark.name, info, mark, self.now, self.rules.skew) is not mark:
                return Collected(State.KEPT, mark.name, mark.size)
            if self.rules.trash is not None:
                store.copy(key, self.rules.trash + mark.name)
            store.delete(key, if_match=info.etag if store.capabilities.delete_if_match else None)
        except NotFoundError:
            pass  # another collector was here
        except PreconditionError:
            return Collected(State.KEPT, mark.name, mark.size)
        except CancelledError:
            raise
        except StorageError as error:
            return Collected(state, mark.name, mark.size, explained(error, "delete", key, store))
        return Collected(state, mark.name, mark.size)

    def _brought_back(self, gone: IO[str]) -> Iterator[Collected]:
        """Those of the deleted objects that are referenced now: a reference was added while they were deleted."""
        gone.seek(0)
        deleted = (Mark(name, size, None, self.now) for name, size in map(json.loads, gone))
        with sorted_names(self.sources) as names:
            needed = [mark for mark, needed in _split(deleted, names) if needed]
        yield from in_order(needed, partial(_restored, self.side, self.rules.trash), self.rules.concurrency)


def _restored(side: Side, trash: str | None, mark: Mark) -> Collected:
    key = side.prefix + mark.name
    store: Storage = side.store
    try:
        if trash is None:
            raise NotFoundError("it was referenced while it was deleted, and no trash was kept: restore it from a copy")
        if not store.exists(key):
            store.copy(trash + mark.name, key)
    except CancelledError:
        raise
    except StorageError as error:
        return Collected(State.RESTORED, mark.name, mark.size, explained(error, "restore", key, store))
    return Collected(State.RESTORED, mark.name, mark.size)


def _split(marks: Iterable[Mark], names: Iterator[str]) -> Iterator[tuple[Mark, bool]]:
    """Each mark, and whether its name is among the sorted ``names``. Nothing is told before the names were all read."""
    name = next(names, None)
    for mark in marks:
        while name is not None and name < mark.name:
            name = next(names, None)
        yield mark, name == mark.name
