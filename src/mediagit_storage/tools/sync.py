"""Making one folder like another: what is missing or different is copied, and what is left over deleted if that is wanted.

Both listings are read side by side, so memory does not grow with them. Nothing is decided by time: equal are contents
whose digests are, or that were equal when both ETags were last seen together (`remembered`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Final, NamedTuple

from mediagit_storage.backend import BatchLimits, DeleteOperation, StatOperation
from mediagit_storage.batch import Planned, run_batch
from mediagit_storage.capabilities import ALL_ATTRIBUTES
from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    InvalidKeyError,
    KeyConflictError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.progress import NO_TRANSFER
from mediagit_storage.storage import Storage
from mediagit_storage.tools.comparing import Verdict, compare, other_attributes
from mediagit_storage.tools.copying import Copied, CopyRules, CopyTask, copy_objects
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.places import location_of, refuse_inside
from mediagit_storage.tools.plan import Action, DeletionLimit, Pair, Step, SyncRules, merge, plan
from mediagit_storage.tools.remembered import Remembered, evidence, settled
from mediagit_storage.tools.selecting import find_object, in_the_way
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import DeleteOptions, ObjectInfo

__all__ = ["SyncCounts", "Synced", "Syncing", "lost_attributes", "sync_objects"]

#: Steps that are looked at together.
_WINDOW: Final = 1024
#: Deletions between two looks at what the storage said.
_DELETIONS: Final = 256


class Synced(NamedTuple):
    """What became of one name. ``error`` says why it is not as it should be; ``planned`` that nothing was done.

    `Action.LEAVE`: the target has something else under this name, which was not overwritten.
    """

    action: Action
    name: str
    reason: str
    size: int | None = None
    error: Exception | None = None
    planned: bool = False


@dataclass(slots=True)
class SyncCounts:
    """How many names of each kind there were: in the target, equal, left alone, left over, and failed.

    ``withheld`` are those left over that were not deleted because a copy had failed; ``kept`` those that are different,
    and were not overwritten.
    """

    target: int = 0
    equal: int = 0
    left: int = 0
    extra: int = 0
    failed: int = 0
    withheld: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Syncing:
    """How to sync: what is compared, how it is copied, how much of the target may be deleted. ``dry`` does nothing.

    ``proven`` remembers only what was read back and compared, attributes included, and believes nothing but that: what is
    copied now is compared by the next sync. It needs rules with ``contents``. ``tried`` grows by what is copied because of
    its attributes, 16 bytes for each: what comes again as it was has failed, as the target keeps them otherwise.
    """

    rules: SyncRules = field(default_factory=SyncRules)
    copying: CopyRules = field(default_factory=CopyRules)
    limit: DeletionLimit = field(default_factory=DeletionLimit)
    dry: bool = False
    proven: bool = False
    tried: set[bytes] = field(default_factory=set)


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

    Where the rules for copying do not overwrite, nothing that the target has is changed: it yields what is different there,
    as left, when the copies are done.

    ``memory`` spares the next sync what this one found out; ``counts`` grows meanwhile. Copies come as they are finished.
    Deletions come last: only if every listing was whole and every copy went well, only of objects that the source still
    does not have when it is asked again, and that nobody changed since they were listed, where the storage can tell.
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


class _Kept(NamedTuple):
    """An object of the target that is not what the source has, and why; the attributes that it cannot be given, or none."""

    name: str
    reason: str
    size: int | None
    refused: str = ""


class _Spools:
    """Files without a name for what has to wait until the copies are done, where it is wanted at all."""

    def __init__(self, stack: ExitStack, *, extras: bool, kept: bool) -> None:
        self.extras = stack.enter_context(_spool()) if extras else None
        self.kept = stack.enter_context(_spool()) if kept else None


def _spool() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="ascii")


def _write(spool: IO[str], entry: _Extra | _Kept) -> None:
    spool.write(json.dumps(entry) + "\n")


class _Sync:
    def __init__(self, source: Side, target: Side, syncing: Syncing, memory: Remembered, counts: SyncCounts) -> None:
        self._source = source
        self._target = target
        self._how = syncing
        self._memory = memory
        self._counts = counts
        self._exact = source.store.capabilities.exact_etags and target.store.capabilities.exact_etags
        self._limits = BatchLimits(self._how.copying.concurrency)
        #: The steps whose copies are on their way, by the key of the source.
        self._running: dict[str, Step] = {}
        #: The attributes that the target keeps otherwise than it was told, by name, until the step is told of.
        self._refused: dict[str, str] = {}

    def run(self) -> Generator[Synced, None, None]:
        with ExitStack() as stack:
            kept = self._how.proven or not self._how.copying.overwrite
            spools = _Spools(stack, extras=self._how.rules.delete, kept=kept)
            steps = stack.enter_context(closing(self._steps(spools)))
            if self._how.dry:
                yield from (
                    Synced(Action.COPY, each.pair.name, each.reason, _size(each.pair), planned=True) for each in steps
                )
            else:
                yield from self._copied(steps)
            yield from self._kept(spools)
            yield from self._deleted(spools)

    # ---- deciding

    def _steps(self, spools: _Spools) -> Generator[Step, None, None]:
        """The copies that are needed. What else there is is counted, and what has to wait is written to ``spools``."""
        pairs = merge(self._source.required(), self._target.listed())
        steps = plan(pairs, self._how.rules)
        while window := list(islice(steps, _WINDOW)):
            for step in self._proven(window):
                self._count(step, spools)
                if step.action is not Action.COPY:
                    continue
                refused = self._refused.pop(step.pair.name, "")
                if spools.kept is not None and (refused or not self._overwrites(step)):
                    _write(spools.kept, _Kept(step.pair.name, step.reason, _size(step.pair), refused))
                else:
                    yield step

    def _overwrites(self, step: Step) -> bool:
        return self._how.copying.overwrite or step.pair.target is None

    def _count(self, step: Step, spools: _Spools) -> None:
        pair = step.pair
        if pair.target is not None and step.reason != "filtered":
            self._counts.target += 1
        if step.action is Action.EQUAL:
            self._counts.equal += 1
        elif step.reason == "extra" and pair.target is not None:
            self._counts.extra += 1
            if spools.extras is not None:
                _write(spools.extras, _Extra(pair.name, pair.target.etag, pair.target.size))
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
            found = compare(self._source.store, ours, self._target.store, theirs, contents=self._how.rules.contents)
        except CancelledError:
            raise
        except StorageError:
            # Gone meanwhile, or not to be read: the copy finds out, and says it.
            return step._replace(action=Action.COPY, reason="unknown")
        if found.verdict is not Verdict.EQUAL:
            reason = "content" if found.verdict is Verdict.DIFFERENT else "unknown"
            return step._replace(action=Action.COPY, reason=reason)
        if self._how.proven and (other := other_attributes(self._source.store, ours, self._target.store, theirs)):
            self._try(step.pair.name, ours, other)
            return step._replace(action=Action.COPY, reason="attributes")
        proof = evidence(step.pair.name, ours, theirs)
        # What was compared may be newer than the listing: then nothing is known of what was listed.
        listed = found.ours.etag == ours.etag and found.theirs.etag == theirs.etag
        if calm and listed and self._exact and proof is not None:
            self._memory.add(step.pair.name, proof, _size(step.pair) or 0)
        return step._replace(action=Action.EQUAL, reason="content")

    def _try(self, name: str, ours: ObjectInfo, other: Sequence[str]) -> None:
        """Let an object be copied because of its attributes, unless that was done before, and changed nothing."""
        if ours.etag is None or self._how.dry or not self._how.copying.overwrite:
            return
        attempt = hashlib.blake2b(json.dumps([name, ours.etag, *other]).encode("ascii"), digest_size=16).digest()
        if attempt in self._how.tried:
            self._refused[name] = ", ".join(other).replace("_", " ")
        else:
            self._how.tried.add(attempt)

    # ---- copying

    def _copied(self, steps: Iterator[Step]) -> Iterator[Synced]:
        with closing(
            copy_objects(self._source.store, self._target.store, self._tasks(steps), self._how.copying)
        ) as all_of:
            for copied in all_of:
                step = self._running.pop(copied.task.source)
                if copied.skipped:
                    # Somebody put it there since it was listed.
                    self._counts.kept += 1
                    yield Synced(Action.LEAVE, step.pair.name, "written meanwhile", copied.task.size)
                    continue
                if copied.error is not None:
                    self._counts.failed += 1
                    self._name_what_blocks(copied.error, copied.task.target)
                else:
                    self._remember(step, copied)
                yield Synced(Action.COPY, step.pair.name, step.reason, copied.task.size, copied.error)

    def _name_what_blocks(self, error: Exception, key: str) -> None:
        with suppress(StorageError):
            if isinstance(error, KeyConflictError) and (found := in_the_way(self._target.store, key)) is not None:
                error.message += f" ({found!r} is in the way)"

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
            self._memory.add(step.pair.name, proof, _size(step.pair) or 0)

    def _kept(self, spools: _Spools) -> Iterator[Synced]:
        if spools.kept is None:
            return
        spools.kept.seek(0)
        for kept in (_Kept(*json.loads(line)) for line in spools.kept):
            if not kept.refused:
                self._counts.kept += 1
                yield Synced(Action.LEAVE, kept.name, kept.reason, kept.size, planned=self._how.dry)
                continue
            self._counts.failed += 1
            error = UnsupportedError(f"the target keeps another {kept.refused} than it is told, again and again")
            explained(error, "put", self._target.prefix + kept.name, self._target.store)
            yield Synced(Action.COPY, kept.name, kept.reason, kept.size, error)

    # ---- deleting

    def _deleted(self, spools: _Spools) -> Iterator[Synced]:
        if not self._counts.extra or spools.extras is None:
            return
        if self._counts.failed:
            self._counts.withheld = self._counts.extra
            return
        if not self._how.limit.allows(self._counts.extra, self._counts.target):
            raise LimitExceededError(
                f"nothing was deleted: {self._counts.extra:,} of the target's {self._counts.target:,} objects are not in"
                " the source, and more than half may go only where a limit says so (--max-delete)"
            )
        spools.extras.seek(0)
        lines = iter(spools.extras)
        while chunk := [_Extra(*json.loads(line)) for line in islice(lines, _DELETIONS)]:
            if self._how.dry:
                yield from (Synced(Action.DELETE, each.name, "extra", each.size, planned=True) for each in chunk)
                continue
            gone: list[_Extra] = []
            for each, error in self._looked_again(chunk):
                if error is None:
                    gone.append(each)
                else:
                    yield self._not_deleted(each, error)
            yield from self._gone(gone)

    def _looked_again(self, chunk: list[_Extra]) -> Iterator[tuple[_Extra, Exception | None]]:
        """What the source does not have now, either, and what it cannot tell of, with the error."""
        store = self._source.store
        keys = [self._source.prefix + each.name for each in chunk]
        plans = (Planned(key, StatOperation(key), NO_TRANSFER) for key in keys)
        for each, key, found in zip(chunk, keys, run_batch(store.backend, plans, self._limits), strict=True):
            if found.error is None:
                # It came since the source was listed: the next sync compares the two.
                self._counts.extra -= 1
                self._counts.left += 1
            elif isinstance(found.error, InvalidKeyError) or _is_absence(found.error):
                yield each, None
            else:
                yield each, explained(found.error, "stat", key, store)

    def _gone(self, chunk: list[_Extra]) -> Iterator[Synced]:
        store = self._target.store
        conditional = store.capabilities.delete_if_match
        keys = [self._target.prefix + each.name for each in chunk]
        plans = (
            Planned(key, DeleteOperation(key, DeleteOptions(if_match=each.etag if conditional else None)), NO_TRANSFER)
            for key, each in zip(keys, chunk, strict=True)
        )
        for each, key, result in zip(chunk, keys, run_batch(store.backend, plans, self._limits), strict=True):
            error = explained(result.error, "delete", key, store)
            if error is None or (isinstance(error, PreconditionError) and find_object(store, key) is None):
                yield Synced(Action.DELETE, each.name, "extra", each.size)
            else:
                yield self._not_deleted(each, error)

    def _not_deleted(self, extra: _Extra, error: Exception) -> Synced:
        self._counts.failed += 1
        return Synced(Action.DELETE, extra.name, "extra", extra.size, error)


def _is_absence(error: Exception) -> bool:
    """Whether it proves that there is no such object, in a bucket that is there."""
    return isinstance(error, NotFoundError) and not isinstance(error, BucketNotFoundError)


def _size(pair: Pair) -> int | None:
    return None if pair.source is None else pair.source.size
