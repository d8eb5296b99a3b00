"""Making one folder like another: what is missing or different is copied, and what is left over deleted if that is wanted.

Both listings are read side by side, so memory does not grow with them. Nothing is decided by time: equal are contents
whose digests are, or that were equal when both ETags were last seen together (`remembered`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Final, NamedTuple

from mediagit_storage.backend import BatchLimits, DeleteOperation
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.capabilities import ALL_ATTRIBUTES
from mediagit_storage.errors import LimitExceededError, StorageError
from mediagit_storage.progress import NO_TRANSFER
from mediagit_storage.storage import Storage
from mediagit_storage.tools.comparing import Verdict, compare, other_attributes
from mediagit_storage.tools.copying import Copied, CopyRules, CopyTask, copy_objects
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.places import location_of, refuse_inside
from mediagit_storage.tools.plan import Action, DeletionLimit, Pair, Step, SyncRules, merge, plan
from mediagit_storage.tools.remembered import Remembered, evidence, settled
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import DeleteOptions, ObjectInfo

__all__ = ["SyncCounts", "Synced", "Syncing", "lost_attributes", "sync_objects"]

#: Steps that are looked at together.
_WINDOW: Final = 1024
#: Deletions between two looks at what the storage said.
_DELETIONS: Final = 256


class Synced(NamedTuple):
    """What became of one name. ``error`` says why it is not as it should be; ``planned`` that nothing was done."""

    action: Action
    name: str
    reason: str
    size: int | None = None
    error: Exception | None = None
    planned: bool = False


@dataclass(slots=True)
class SyncCounts:
    """How many names of each kind there were: in the target, equal, left alone, left over, and failed.

    ``withheld`` are those left over that were not deleted because a copy had failed.
    """

    target: int = 0
    equal: int = 0
    left: int = 0
    extra: int = 0
    failed: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Syncing:
    """How to sync: what is compared, how it is copied, how much of the target may be deleted. ``dry`` does nothing.

    ``proven`` remembers only what was read back and compared, attributes included, and believes nothing but that: what is
    copied now is compared by the next sync. It needs rules with ``contents``.
    """

    rules: SyncRules = field(default_factory=SyncRules)
    copying: CopyRules = field(default_factory=CopyRules)
    limit: DeletionLimit = field(default_factory=DeletionLimit)
    dry: bool = False
    proven: bool = False


def lost_attributes(source: Storage, target: Storage) -> frozenset[str]:
    """The attributes that objects of ``source`` may have and ``target`` cannot keep: worth saying before the start."""
    return (source.capabilities.attributes - target.capabilities.attributes) & ALL_ATTRIBUTES


def sync_objects(
    source: Side,
    target: Side,
    syncing: Syncing | None = None,
    memory: Remembered | None = None,
    counts: SyncCounts | None = None,
) -> Generator[Synced, None, None]:
    """Make ``target`` like ``source``, and yield every copy and deletion once it is done or has failed.

    ``memory`` spares the next sync what this one found out; ``counts`` grows meanwhile. Copies come as they are finished.
    Deletions come last: only if every listing was whole and every copy went well, and only of objects that nobody changed
    since they were listed, where the storage can tell.
    Too many of them raise before the first. Whatever raises or is interrupted leaves complete objects on both sides, and
    the same call goes on from there. Raises `NotFoundError` where the source has nothing, `ConfigError` where one folder
    is inside the other, and what nothing else would survive: a full target, a missing bucket, missing credentials.
    """
    _refuse_overlap(source, target)
    remembered = Remembered(None, ("", "")) if memory is None else memory
    return _Sync(source, target, syncing or Syncing(), remembered, counts or SyncCounts()).run()


def _refuse_overlap(source: Side, target: Side) -> None:
    here, there = location_of(source.store, source.prefix), location_of(target.store, target.prefix)
    refuse_inside(here, there)
    refuse_inside(there, here)


class _Extra(NamedTuple):
    """An object of the target that the source does not have, as it was listed."""

    name: str
    etag: str | None
    size: int | None


class _Sync:
    def __init__(self, source: Side, target: Side, syncing: Syncing, memory: Remembered, counts: SyncCounts) -> None:
        self._source = source
        self._target = target
        self._how = syncing
        self._memory = memory
        self._counts = counts
        self._exact = source.store.capabilities.exact_etags and target.store.capabilities.exact_etags
        #: The steps whose copies are on their way, by the key of the source.
        self._running: dict[str, Step] = {}

    def run(self) -> Generator[Synced, None, None]:
        with ExitStack() as stack:
            spool = stack.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))
            steps = stack.enter_context(closing(self._steps(spool)))
            if self._how.dry:
                yield from (
                    Synced(Action.COPY, each.pair.name, each.reason, _size(each.pair), planned=True) for each in steps
                )
            else:
                yield from self._copied(steps)
            yield from self._deleted(spool)

    # ---- deciding

    def _steps(self, spool: IO[str]) -> Generator[Step, None, None]:
        """The copies that are needed. What else there is is counted, and what is left over is written to ``spool``."""
        pairs = merge(self._source.required(), self._target.listed())
        steps = plan(pairs, self._how.rules)
        while window := list(islice(steps, _WINDOW)):
            for step in self._proven(window):
                self._count(step, spool)
                if step.action is Action.COPY:
                    yield step

    def _count(self, step: Step, spool: IO[str]) -> None:
        pair = step.pair
        if pair.target is not None and step.reason != "filtered":
            self._counts.target += 1
        if step.action is Action.EQUAL:
            self._counts.equal += 1
        elif step.reason == "extra" and pair.target is not None:
            self._counts.extra += 1
            spool.write(json.dumps(_Extra(pair.name, pair.target.etag, pair.target.size)) + "\n")
        elif step.action is Action.LEAVE:
            self._counts.left += 1

    def _proven(self, window: list[Step]) -> Iterator[Step]:
        """The same steps, with those that had to be compared decided."""
        unknown = [step for step in window if step.action is Action.COMPARE and not self._is_known(step.pair)]
        decided = dict(
            zip(
                (step.pair.name for step in unknown),
                in_order(unknown, self._compared, self._how.copying.concurrency),
                strict=True,
            )
        )
        for step in window:
            if step.action is not Action.COMPARE:
                yield step
            else:
                yield decided.get(step.pair.name) or step._replace(action=Action.EQUAL, reason="remembered")

    def _is_known(self, pair: Pair) -> bool:
        believed = self._exact and (self._how.proven or not self._how.rules.contents)
        if not believed or pair.source is None or pair.target is None:
            return False
        return self._memory.known(pair.name, evidence(pair.name, pair.source, pair.target))

    def _compared(self, step: Step) -> Step:
        ours, theirs = step.pair.source, step.pair.target
        if ours is None or theirs is None:
            return step
        calm = settled(ours) and settled(theirs)
        try:
            verdict = compare(self._source.store, ours, self._target.store, theirs, contents=self._how.rules.contents)
        except StorageError:
            # Gone meanwhile, or not to be read: the copy finds out, and says it.
            return step._replace(action=Action.COPY, reason="unknown")
        if verdict is not Verdict.EQUAL:
            return step._replace(action=Action.COPY, reason="content" if verdict is Verdict.DIFFERENT else "unknown")
        if self._how.proven and self._has_other_attributes(ours, theirs):
            return step._replace(action=Action.COPY, reason="attributes")
        proof = evidence(step.pair.name, ours, theirs)
        if calm and self._exact and proof is not None:
            self._memory.add(step.pair.name, proof)
        return step._replace(action=Action.EQUAL, reason="content")

    def _has_other_attributes(self, ours: ObjectInfo, theirs: ObjectInfo) -> bool:
        return bool(other_attributes(self._source.store, ours, self._target.store, theirs))

    # ---- copying

    def _copied(self, steps: Iterator[Step]) -> Iterator[Synced]:
        with closing(
            copy_objects(self._source.store, self._target.store, self._tasks(steps), self._how.copying)
        ) as all_of:
            for copied in all_of:
                step = self._running.pop(copied.task.source)
                if copied.error is not None:
                    self._counts.failed += 1
                else:
                    self._remember(step, copied)
                yield Synced(Action.COPY, step.pair.name, step.reason, copied.task.size, copied.error)

    def _tasks(self, steps: Iterator[Step]) -> Iterator[CopyTask]:
        for step in steps:
            key = self._source.prefix + step.pair.name
            self._running[key] = step
            yield CopyTask(key, self._target.prefix + step.pair.name, _size(step.pair))

    def _remember(self, step: Step, copied: Copied) -> None:
        source, info = step.pair.source, copied.info
        if (
            self._how.proven
            or source is None
            or info is None
            or copied.etag != source.etag
            or not self._exact
            or not settled(source)
        ):
            return
        proof = evidence(step.pair.name, source, info)
        if proof is not None:
            self._memory.add(step.pair.name, proof)

    # ---- deleting

    def _deleted(self, spool: IO[str]) -> Iterator[Synced]:
        if not self._counts.extra or not self._how.rules.delete:
            return
        if self._counts.failed:
            self._counts.withheld = self._counts.extra
            return
        if not self._how.limit.allows(self._counts.extra, self._counts.target):
            raise LimitExceededError(
                f"nothing was deleted: {self._counts.extra:,} of the target's {self._counts.target:,} objects are not in"
                " the source, and more than half may go only where a limit says so (--max-delete)"
            )
        spool.seek(0)
        lines = iter(spool)
        while chunk := [_Extra(*json.loads(line)) for line in islice(lines, _DELETIONS)]:
            if self._how.dry:
                yield from (Synced(Action.DELETE, each.name, "extra", each.size, planned=True) for each in chunk)
            else:
                yield from self._gone(chunk)

    def _gone(self, chunk: list[_Extra]) -> Iterator[Synced]:
        store = self._target.store
        conditional = store.capabilities.delete_if_match
        plans = (
            Planned(key, DeleteOperation(key, DeleteOptions(if_match=each.etag if conditional else None)), NO_TRANSFER)
            for key, each in ((self._target.prefix + each.name, each) for each in chunk)
        )
        limits = BatchLimits(self._how.copying.concurrency)
        for each, result in zip(chunk, run_batch(store.backend, plans, limits), strict=True):
            error = explained(result.error, "delete", self._target.prefix + each.name, store)
            if error is not None:
                self._counts.failed += 1
            yield Synced(Action.DELETE, each.name, "extra", each.size, error)


def _size(pair: Pair) -> int | None:
    return None if pair.source is None else pair.source.size
