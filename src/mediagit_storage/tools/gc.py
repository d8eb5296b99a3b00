"""Collecting garbage: objects that nothing references go, after a time of grace, and never ones that are needed again.

Two runs at least lie between an object and its end: one that marks it, and one after the grace that finds it still marked,
unreferenced and unchanged. The references are read again right before the first deletion, and once more after the last: what
was referenced in between is brought back from the trash. What is deleted is recorded on disk before it goes, so that a run
that was killed is made good by the next. Whatever cannot be read ends the run before anything is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple, Protocol, TypeVar

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    ConfigError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.tools.filters import Filters
from mediagit_storage.tools.marks import Deletion, Mark, Marks
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.plan import DeletionLimit, Found, Portion, merge, sort_key
from mediagit_storage.tools.references import References, SortedNames, sorted_names
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import ObjectInfo

__all__ = [
    "HERE",
    "Collected",
    "CollectionCounts",
    "CollectionEngine",
    "CollectionRules",
    "Deleting",
    "State",
    "collect",
    "find_orphans",
    "mark_of",
]

N = TypeVar("N", Mark, Deletion)

#: How far the clocks of this machine and the storage may be apart.
SKEW: Final = timedelta(hours=1)
#: How many deletions are recorded at once, each time with a wait for the disk.
_GROUP: Final = 256


class State(StrEnum):
    """What became of an object that nothing references.

    ``MARKED``: seen for the first time, or written since. ``WAITING``: marked, and its grace is not over. ``DUE``: it may
    go, and deleting was not asked for. ``DELETED``, ``TRASHED``: gone, or in the trash. ``GONE``: somebody else deleted it.
    ``KEPT``: referenced or written while this run was going on. ``RESTORED``: referenced while it was deleted, by this run
    or by one before that did not come to its end, and brought back.
    """

    MARKED = "marked"
    WAITING = "waiting"
    DUE = "due"
    DELETED = "deleted"
    TRASHED = "trashed"
    GONE = "gone"
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

    ``trash``: the folder (with ``/`` at its end) of the same storage in which deleted objects are kept, each run's in a
    folder of its own named by its time; nothing in it is collected, also by later runs with these marks. ``allow_empty``: go
    on although no object at all is referenced.
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


def find_orphans(
    side: Side,
    names: Iterable[str],
    trashes: tuple[str, ...],
    filters: Filters,
    counts: CollectionCounts,
    *,
    portion: Portion | None = None,
) -> Iterator[Found]:
    """What is in ``side`` and not among the sorted ``names`` of the same range, in order; ``counts`` grows meanwhile.

    Nothing whose key begins with one of ``trashes`` is looked at. With a ``portion`` only its part of both is.
    """
    needed = (Found(name, ObjectInfo(name)) for name in names)
    pairs = merge(needed, (found for found in side.listed() if not found.info.key.startswith(trashes)))
    for pair in pairs if portion is None else portion.of(pairs, lambda _: 0):
        if pair.target is None:
            counts.missing += 1
            continue
        counts.objects += 1
        if pair.source is not None:
            counts.referenced += 1
        elif filters.takes(pair.name):
            yield Found(pair.name, pair.target)


class CollectionEngine(Protocol):
    """Who looks at objects and deletes them: this process, or others for it."""

    def orphans(
        self, side: Side, names: SortedNames, trashes: tuple[str, ...], rules: CollectionRules, counts: CollectionCounts
    ) -> Generator[Found, None, None]:
        """All that `find_orphans` does, for a whole folder."""
        ...

    def purged(self, due: Iterator[tuple[Mark, bool]], deleting: Deleting, concurrency: int) -> Iterator[Collected]:
        """What ``deleting`` makes of each, which is called with each once at least."""
        ...


class _Here:
    """This process does it."""

    def orphans(
        self, side: Side, names: SortedNames, trashes: tuple[str, ...], rules: CollectionRules, counts: CollectionCounts
    ) -> Generator[Found, None, None]:
        yield from find_orphans(side, names, trashes, rules.filters, counts)

    def purged(self, due: Iterator[tuple[Mark, bool]], deleting: Deleting, concurrency: int) -> Iterator[Collected]:
        return in_order(due, deleting, concurrency)


#: This process does the work itself.
HERE: Final[CollectionEngine] = _Here()


def collect(
    side: Side,
    sources: Sequence[References],
    marks: Marks,
    rules: CollectionRules,
    *,
    now: datetime,
    counts: CollectionCounts | None = None,
    engine: CollectionEngine = HERE,
) -> Generator[Collected, None, None]:
    """Mark what nothing references, and delete what was marked longer than the grace ago; yields what became of each.

    References are names below ``side``; every source is read up to three times. What an earlier run deleted before it was
    killed, and is referenced, is brought back first; where that fails, nothing is deleted. The new marks are written once the
    whole listing was compared, and nothing is deleted before. Deletions are conditional where the storage can do that, and
    after a second look at the object. Raises what a source or listing raises, with the old marks and all objects in place;
    `ConfigError` where no object at all is referenced, `StorageError` where a later look finds less than half of the names of
    the first, `LimitExceededError` where more would go than may.
    """
    if not sources:
        raise ConfigError("say what references the objects: without that all of them look unneeded")
    if rules.trash is not None and not rules.trash.endswith("/"):
        raise ConfigError(f"the trash is a folder: its name ends with /, and {rules.trash!r} does not")
    if rules.trash is not None and side.prefix.startswith(rules.trash):
        raise ConfigError("the trash cannot be the folder that is collected, or one that it lies in")
    return _Collection(side, sources, marks, rules, now, counts or CollectionCounts(), engine).run()


@dataclass(frozen=True)
class _Collection:
    side: Side
    sources: Sequence[References]
    marks: Marks
    rules: CollectionRules
    now: datetime
    counts: CollectionCounts
    engine: CollectionEngine

    def run(self) -> Generator[Collected, None, None]:
        trashes = tuple(sorted({*self.marks.trashes(), *([self.rules.trash] if self.rules.trash is not None else [])}))
        with sorted_names(self.sources) as names:
            seen = names.count
            self._check_any(seen, "nothing at all is referenced")
            whole = yield from self._brought_back(names)
            self.marks.replace(self._marked(names, trashes), trashes)
        deleting = self.rules.delete and whole
        due = 0
        for mark in self.marks.read():
            state = self._state(mark)
            due += state is State.DUE
            if state is not State.DUE or not deleting:
                yield Collected(state, mark.name, mark.size)
        if due and deleting:
            self._check_limit(due)
            yield from self._purged(seen)

    # ---- marking

    def _marked(self, names: SortedNames, trashes: tuple[str, ...]) -> Iterator[Mark]:
        """The marks of all that is unreferenced, in order; old marks of anything else are forgotten."""
        old = self.marks.read()
        mark = next(old, None)
        with closing(self.engine.orphans(self.side, names, trashes, self.rules, self.counts)) as orphans:
            for orphan in _in_order(orphans):
                while mark is not None and sort_key(mark.name) < sort_key(orphan.name):
                    mark = next(old, None)
                known = mark if mark is not None and mark.name == orphan.name else None
                yield mark_of(orphan.name, orphan.info, known, self.now, self.rules.skew)
        for _ in old:
            pass  # to its end, where a file shows that it is whole
        if self.counts.objects:
            self._check_any(self.counts.referenced, "none of the references leads to an object here")

    def _check_any(self, referenced: int, finding: str) -> None:
        if not referenced and not self.rules.allow_empty:
            raise ConfigError(f"{finding}, which would make everything garbage: check the references")

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

    @contextmanager
    def _looked_again(self, seen: int) -> Iterator[SortedNames]:
        """The references as they are now. Much fewer than at the first look are a list that is being written right now."""
        with sorted_names(self.sources) as names:
            if names.count * 2 < seen:
                raise StorageError(
                    f"there were {seen:,} references at first, and {names.count:,} now: they are being changed. Nothing more"
                    " was deleted, and a later run brings back what is needed"
                )
            yield names

    def _purged(self, seen: int) -> Iterator[Collected]:
        trash = None if self.rules.trash is None else f"{self.rules.trash}{_folder_name(self.now)}/"
        due = (mark for mark in self.marks.read() if self._state(mark) is State.DUE)
        with self._looked_again(seen) as names, self.marks.deletions.begun(trash) as record:
            deleting = Deleting(self.side, trash, self.rules.skew, self.now)
            recorded = _recorded(_split(due, names), record)
            yield from self.engine.purged(recorded, deleting, self.rules.concurrency)
        with self._looked_again(seen) as names:
            yield from self._brought_back(names)

    def _brought_back(self, names: SortedNames) -> Generator[Collected, None, bool]:
        """Bring back recorded deletions that are referenced; whether all are back that can be. Then the record goes."""
        deletions = self.marks.deletions
        needed = [deletion for deletion, needed in _split(deletions.read(), names) if needed]
        whole = True
        for each in in_order(needed, self._restored, self.rules.concurrency):
            if each is not None:
                whole = whole and (each.error is None or isinstance(each.error, NotFoundError))
                yield each
        if whole:
            deletions.drop()
        return whole

    def _restored(self, deletion: Deletion) -> Collected | None:
        """What became of it; None where it is there: it was not deleted in the end, or was put again."""
        key, store = self.side.prefix + deletion.name, self.side.store
        try:
            if store.exists(key):
                return None
            if deletion.kept is None:
                raise NotFoundError(
                    "it was referenced while it was deleted, and no trash was kept: restore it from a copy"
                )
            _copy_new(store, deletion.kept, key)
        except AlreadyExistsError:
            return None
        except (BucketNotFoundError, CancelledError):
            raise
        except StorageError as error:
            return Collected(State.RESTORED, deletion.name, deletion.size, explained(error, "restore", key, store))
        return Collected(State.RESTORED, deletion.name, deletion.size)


@dataclass(frozen=True)
class Deleting:
    """Deletes one object, unless it is needed, after another look at it, to ``trash``, the folder of this run, if there is one.

    ``repeatable``: who calls this may do so again for a mark of which it is not known what became, so a copy in the trash
    may be there already.
    """

    side: Side
    trash: str | None
    skew: timedelta
    now: datetime
    repeatable: bool = False

    def __call__(self, due: tuple[Mark, bool]) -> Collected:
        """What became of a mark, of which it is known whether its object is needed."""
        mark, needed = due
        if needed:
            return Collected(State.KEPT, mark.name, mark.size)
        key, store = self.side.prefix + mark.name, self.side.store
        state = State.DELETED if self.trash is None else State.TRASHED
        try:
            info = store.stat(key)
            if mark_of(mark.name, info, mark, self.now, self.skew) is not mark:
                return Collected(State.KEPT, mark.name, mark.size)
            if self.trash is not None:
                # Nobody else writes to this run's own folder, and the object is the one that was marked.
                with suppress(*[AlreadyExistsError] if self.repeatable else []):
                    _copy_new(store, key, self.trash + mark.name)
            store.delete(key, if_match=info.etag if store.capabilities.delete_if_match else None)
        except (BucketNotFoundError, CancelledError):
            raise
        except NotFoundError:
            return Collected(State.TRASHED if self._is_trashed(mark) else State.GONE, mark.name, mark.size)
        except PreconditionError:
            return Collected(State.KEPT, mark.name, mark.size)
        except StorageError as error:
            return Collected(state, mark.name, mark.size, explained(error, "delete", key, store))
        return Collected(state, mark.name, mark.size)

    def _is_trashed(self, mark: Mark) -> bool:
        """Whether a call before this one has moved it to the trash, as far as can be told."""
        try:
            return self.repeatable and self.trash is not None and self.side.store.exists(self.trash + mark.name)
        except (BucketNotFoundError, CancelledError):
            raise
        except StorageError:
            return False


def _copy_new(store: Storage, source: str, target: str) -> None:
    """Copy to where nothing is: `AlreadyExistsError`. Atomic where the storage can do that, else after a look."""
    can = store.capabilities
    create_only = can.copy_if_absent if can.server_copy else can.if_absent
    if not create_only and store.exists(target):
        raise AlreadyExistsError("there is an object already, which is not written over")
    store.copy(source, target, if_absent=create_only)


def _folder_name(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")


def _recorded(
    due: Iterator[tuple[Mark, bool]], record: Callable[[Sequence[Mark]], None]
) -> Iterator[tuple[Mark, bool]]:
    """The same, each once it is on disk that it is about to be deleted."""
    while group := [*islice(due, _GROUP)]:
        record([mark for mark, needed in group if not needed])
        yield from group


def _in_order(orphans: Iterable[Found]) -> Iterator[Found]:
    """The same. What is needed is later found by a merge, which would pass by a name that comes too late."""
    last: bytes | None = None
    for orphan in orphans:
        key = sort_key(orphan.name)
        if last is not None and key <= last:
            raise StorageError(f"the listing is out of order: {orphan.name!r} came too late")
        last = key
        yield orphan


def _split(marks: Iterable[N], names: Iterable[str]) -> Iterator[tuple[N, bool]]:
    """Each mark, and whether its name is among the sorted ``names``."""
    left = iter(names)
    name = next(left, None)
    for mark in marks:
        while name is not None and sort_key(name) < sort_key(mark.name):
            name = next(left, None)
        yield mark, name == mark.name
