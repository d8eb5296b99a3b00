"""`DaskEngine`: sync, migrate, verify and gc, each done by workers that take one range of names after another."""

from __future__ import annotations

import json
import pickle
import tempfile
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from itertools import islice
from typing import IO, Final, Generic, NamedTuple, Protocol, TypeVar

from mediagit_storage.errors import ConfigError, NotFoundError, StorageError
from mediagit_storage.progress import Progress, current_progress
from mediagit_storage.tools.dask.cluster import Cluster, connected
from mediagit_storage.tools.dask.running import Job, Running, running
from mediagit_storage.tools.dask.tasks import (
    Answer,
    Copied,
    Copying,
    DeletingExtras,
    FindingOrphans,
    Orphans,
    Purging,
    Size,
    Task,
    Verifying,
    VerifyKind,
)
from mediagit_storage.tools.extras import Deleted, Extra
from mediagit_storage.tools.gc import Collected, CollectionCounts, CollectionRules, Deleting, State
from mediagit_storage.tools.key_ranges import KeyRange, Stretch, divided, sampled
from mediagit_storage.tools.manifest import ManifestEntry
from mediagit_storage.tools.marks import Mark
from mediagit_storage.tools.plan import Action, Found, sort_key
from mediagit_storage.tools.references import SortedNames
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sorted_lines import lines_between
from mediagit_storage.tools.sync import SyncCounts, Synced, Syncing
from mediagit_storage.tools.verify import Verified, VerifyRules
from mediagit_storage.types import JSON

__all__ = ["DaskEngine", "dask_engine"]

T = TypeVar("T")

#: Ranges to begin with, for each task that runs at once.
_RANGES: Final = 4
#: Questions that the division of what is left of a range may take.
_PROBES: Final = 12
#: Objects that are deleted by one task.
_DELETIONS: Final = 1000


class _RangeTask(Task[Answer[T]], Protocol[T]):
    """A task for a range of names."""

    @property
    def within(self) -> KeyRange: ...


class _Part(NamedTuple):
    """What a task is about: a stretch, and the part of it that the task is for."""

    stretch: Stretch
    within: KeyRange


@contextmanager
def dask_engine(
    scheduler: str | None = None, workers: int | None = None, size: Size | None = None
) -> Iterator[DaskEngine]:
    """An engine over the workers of a scheduler, or over ``workers`` processes of this machine that end with it.

    See `cluster.connected` for what is raised. ``size`` bounds what one task looks at.
    """
    with connected(scheduler, workers) as cluster:
        yield DaskEngine(cluster, size or Size())


class DaskEngine:
    """Does on workers what `sync_objects`, `migrate`, `verify_store` and the others, and `collect`, do in this process.

    The names are parted by a few listings that begin in between; what turns out to be long is parted again. Each worker lists
    its ranges itself. What is remembered is read and written here only: it travels with the ranges, and comes back.
    """

    def __init__(self, cluster: Cluster, size: Size) -> None:
        self._cluster = cluster
        self._size = size

    # ---- syncing

    def copies(  # noqa: PLR0917  # see `SyncEngine`
        self,
        source: Side,
        target: Side,
        syncing: Syncing,
        memory: Remembered,
        counts: SyncCounts,
        extra: Callable[[Extra], None],
    ) -> Generator[Synced, None, None]:
        """See `SyncEngine`. What comes of a range comes when the whole range is done."""
        tried = _Tried(syncing.tried)

        def task(within: KeyRange) -> Copying:
            proofs, part = memory.proofs(within, self._size.names)
            return Copying(part, replace(syncing, tried=tried.inside(part)), proofs, self._size)

        with (
            running(self._cluster, [source, target]) as run,
            closing(self._ranges(run, source, source.required, task, _RangeProgress("copy", _copied_bytes))) as answers,
        ):
            looks = 0 if run.knows(1) or syncing.dry else 2 * run.at_once()
            for answer in answers:
                copied = answer.items[0]
                if looks and any(each.action is Action.COPY and each.error is None for each in copied.synced):
                    looks -= 1
                    _refuse_elsewhere(target, copied)
                _add(counts, copied.counts)
                syncing.tried.update(copied.tried)
                for fact in copied.facts:
                    memory.add(*fact)
                for each in copied.extras:
                    extra(each)
                yield from copied.synced

    def deletions(
        self, source: Side, target: Side, extras: Iterable[Extra], syncing: Syncing
    ) -> Generator[Deleted, None, None]:
        """See `SyncEngine`."""
        concurrency = syncing.copying.concurrency
        chunks = _chunks(iter(extras), _DELETIONS)
        with running(self._cluster, [source, target]) as run:
            for items in _each(run, (DeletingExtras(chunk, concurrency) for chunk in chunks)):
                yield from items

    # ---- verifying

    def verify_store(self, side: Side, rules: VerifyRules) -> Generator[Verified, None, None]:
        """Like `verify.verify_store`, in the order in which ranges are done."""
        return self._verified([side], VerifyKind.STORE, rules)

    def verify_copy(self, source: Side, target: Side, rules: VerifyRules) -> Generator[Verified, None, None]:
        """Like `verify.verify_copy`, in the order in which ranges are done."""
        return self._verified([source, target], VerifyKind.COPY, rules)

    def verify_against(
        self, side: Side, manifest: Iterator[ManifestEntry], rules: VerifyRules
    ) -> Generator[Verified, None, None]:
        """Like `verify.verify_against`, in the order in which ranges are done. The manifest stays here."""
        with tempfile.TemporaryFile("w+", encoding="ascii") as entries:
            entries.writelines(json.dumps(each) + "\n" for each in _growing(manifest))
            yield from self._verified([side], VerifyKind.MANIFEST, rules, entries)

    def _verified(
        self, sides: Sequence[Side], kind: VerifyKind, rules: VerifyRules, manifest: IO[str] | None = None
    ) -> Generator[Verified, None, None]:
        def task(within: KeyRange) -> Verifying:
            if manifest is None:
                return Verifying(within, kind, rules, self._size)
            lines, part = lines_between(manifest, within, self._size.names)
            return Verifying(part, kind, rules, self._size, [_entry(line) for line in lines])

        side, progress = sides[0], _RangeProgress("verify", _verified_bytes)
        look = side.required if manifest is None else side.listed
        with running(self._cluster, sides) as run, closing(self._ranges(run, side, look, task, progress)) as answers:
            for answer in answers:
                yield from answer.items

    # ---- collecting garbage

    def orphans(
        self, side: Side, names: SortedNames, trashes: tuple[str, ...], rules: CollectionRules, counts: CollectionCounts
    ) -> Generator[Found, None, None]:
        """See `CollectionEngine`. They come when all ranges were looked at, in order."""

        def task(within: KeyRange) -> FindingOrphans:
            wanted, part = names.between(within, self._size.names)
            return FindingOrphans(part, wanted, trashes, rules.filters, self._size)

        with (
            tempfile.TemporaryFile() as shelf,
            running(self._cluster, [side]) as run,
            closing(self._ranges(run, side, side.listed, task, _RangeProgress("list", _no_bytes))) as answers,
        ):
            places: list[tuple[bytes, int]] = []
            for answer in answers:
                orphans = answer.items[0]
                _add(counts, orphans.counts)
                if orphans.found:
                    places.append((sort_key(orphans.found[0].name), shelf.tell()))
                    pickle.dump(orphans.found, shelf)
            for _, place in sorted(places):
                shelf.seek(place)
                found: list[Found] = pickle.load(shelf)  # noqa: S301  # written above
                yield from found

    def purged(
        self, due: Iterator[tuple[Mark, bool]], deleting: Deleting, concurrency: int
    ) -> Generator[Collected, None, None]:
        """See `CollectionEngine`. What is gone counts as deleted where a worker died, who had it to do."""
        chunks = _chunks(due, _DELETIONS)
        with running(self._cluster, [deleting.side]) as run:
            tasks = (Purging(chunk, deleting.trash, deleting.skew, deleting.now, concurrency) for chunk in chunks)
            for items in _each(run, tasks):
                gone = deleting.trash is None and any(each.state is State.GONE for each in items)
                ours = gone and run.has_lost_workers()
                yield from (
                    each._replace(state=State.DELETED) if ours and each.state is State.GONE else each for each in items
                )

    # ---- ranges

    def _ranges(
        self,
        run: Running,
        side: Side,
        look: Callable[[], Iterator[Found]],
        task_of: Callable[[KeyRange], _RangeTask[T]],
        progress: _RangeProgress[T],
    ) -> Generator[Answer[T], None, None]:
        """The answers for ranges that cover all names of ``side`` exactly once, as they come; a ``look`` tells if there are any."""
        first = next(look(), None)
        known: Iterable[Stretch] = [Stretch(side.within, "", None)]
        if first is not None:
            known = sampled(side.within, _RANGES * run.at_once(), _next_in(side), first=first.name)
        stretches = deque(known)
        progress.found(len(stretches))

        def job(stretch: Stretch) -> Job[_Part, Answer[T]]:
            task = task_of(stretch.within)
            return Job(_Part(stretch, task.within), task)

        def rest(part: _Part, answer: Answer[T], idle: bool) -> Iterable[Job[_Part, Answer[T]]]:  # noqa: FBT001
            left = _left(part, answer.reached)
            if left is None:
                return []
            halves = divided(left, _next_in(side), _PROBES) if idle else None
            progress.found(2 if halves else 1)
            return [job(each) for each in halves or [left]]

        with closing(run.done((job(each) for each in stretches), rest)) as answers:
            for _, answer in answers:
                yield answer
                progress.advance(answer)


def _left(part: _Part, reached: str | None) -> Stretch | None:
    """What of a stretch is behind what was looked at; None if nothing is."""
    end = part.within.until if reached is None else reached
    if end is None or (reached is None and end == part.stretch.within.until):
        return None
    return Stretch(KeyRange(end, part.stretch.within.until), end, part.stretch.high)


def _next_in(side: Side) -> Callable[[str], str | None]:
    def next_after(name: str) -> str | None:
        listed = side._replace(within=KeyRange(name, side.within.until)).listed()
        return next((found.name for found in listed), None)

    return next_after


def _refuse_elsewhere(target: Side, copied: Copied) -> None:
    """Look at one object that a worker says it has copied: where nothing was before, nothing else shows whether it did."""
    done = next(
        each for each in copied.synced if each.action is Action.COPY and each.error is None and not each.planned
    )
    try:
        target.store.stat(target.prefix + done.name)
    except NotFoundError:
        raise ConfigError(
            f"a worker copied {done.name!r} to {target.store.description}, and it is not there: workers see another storage"
            " under that name. A folder has to be one that all machines share"
        ) from None


class _Tried:
    """What `Syncing.tried` held when a pass began, by ranges of names."""

    def __init__(self, tried: Mapping[str, bytes]) -> None:
        self._names = sorted(tried, key=sort_key)
        self._keys = [sort_key(name) for name in self._names]
        self._tried = {**tried}

    def inside(self, within: KeyRange) -> dict[str, bytes]:
        """Those of a range."""
        start = 0 if within.after is None else bisect_right(self._keys, sort_key(within.after))
        end = len(self._keys) if within.until is None else bisect_right(self._keys, sort_key(within.until))
        return {name: self._tried[name] for name in self._names[start:end]}


class _RangeProgress(Generic[T]):
    """Reports how many ranges are done, and how many bytes, to whoever asked for progress."""

    def __init__(self, verb: str, size_of: Callable[[Answer[T]], int]) -> None:
        self._verb = verb
        self._size_of = size_of
        self._callback = current_progress()
        self._done = self._known = self._bytes = 0

    def found(self, ranges: int) -> None:
        """There are so many more."""
        self._known += ranges
        self._report()

    def advance(self, answer: Answer[T]) -> None:
        """One is done."""
        self._done += 1
        self._bytes += self._size_of(answer)
        self._report()

    def _report(self) -> None:
        if self._callback is not None:
            total = self._bytes if self._done == self._known else None
            self._callback(Progress(f"{self._verb}, {self._done} of {self._known} ranges", self._bytes, total))


def _copied_bytes(answer: Answer[Copied]) -> int:
    return sum(each.size or 0 for each in answer.items[0].synced if each.action is Action.COPY and each.error is None)


def _verified_bytes(answer: Answer[Verified]) -> int:
    return sum(each.size or 0 for each in answer.items)


def _no_bytes(_answer: Answer[Orphans]) -> int:
    return 0


def _add(counts: SyncCounts | CollectionCounts, more: SyncCounts | CollectionCounts) -> None:
    for field in fields(more):
        setattr(counts, field.name, getattr(counts, field.name) + getattr(more, field.name))


def _chunks(items: Iterator[T], most: int) -> Iterator[list[T]]:
    while chunk := [*islice(items, most)]:
        yield chunk


def _each(run: Running, tasks: Iterator[Task[Answer[T]]]) -> Generator[list[T], None, None]:
    """What comes of each of the tasks, which need no ranges."""
    jobs = (Job(None, task) for task in tasks)
    with closing(run.done(jobs, lambda _about, _answer, _idle: ())) as answers:
        for _, answer in answers:
            yield answer.items


def _growing(manifest: Iterator[ManifestEntry]) -> Iterator[ManifestEntry]:
    """The same entries; those that are out of order are refused, as in a merge."""
    last: bytes | None = None
    for entry in manifest:
        key = sort_key(entry.name)
        if last is not None and key <= last:
            raise StorageError(f"the manifest is out of order: {entry.name!r} comes too late")
        last = key
        yield entry


def _entry(line: JSON) -> ManifestEntry:
    if not isinstance(line, list):
        raise TypeError("a line of a manifest is a list")
    name, size, digest = line
    return ManifestEntry(str(name), int(str(size)), str(digest))
