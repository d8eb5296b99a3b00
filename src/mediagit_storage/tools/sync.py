"""Making one folder like another: what is missing or different is copied, and what is left over deleted if that is wanted.

Both listings are read side by side, so memory does not grow with them. Nothing is decided by time: equal are contents
whose digests are, or that were equal when both ETags were last seen together (`remembered`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Final, NamedTuple, Protocol

from mediagit_storage.backend import BatchLimits
from mediagit_storage.capabilities import ALL_ATTRIBUTES
from mediagit_storage.errors import (
    CancelledError,
    KeyConflictError,
    LimitExceededError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.storage import Storage
from mediagit_storage.tools.comparing import Verdict, compare, other_attributes
from mediagit_storage.tools.copying import Copied, CopyRules, CopyTask, copy_objects
from mediagit_storage.tools.extras import Deleted, Extra, Extras, delete_extras, kept_extras
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.places import location_of, refuse_inside, same_service
from mediagit_storage.tools.plan import Action, DeletionLimit, Pair, Portion, Step, SyncRules, merge, plan
from mediagit_storage.tools.remembered import Memory, Remembered, evidence, settled
from mediagit_storage.tools.selecting import in_the_way
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import ObjectInfo

__all__ = ["HERE", "SyncCounts", "SyncEngine", "Synced", "Syncing", "copy_range", "lost_attributes", "sync_objects"]

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
    its attributes, 16 bytes for each name: what comes again as it was has failed, as the target keeps them otherwise.
    """

    rules: SyncRules = field(default_factory=SyncRules)
    copying: CopyRules = field(default_factory=CopyRules)
    limit: DeletionLimit = field(default_factory=DeletionLimit)
    dry: bool = False
    proven: bool = False
    tried: dict[str, bytes] = field(default_factory=dict)


def lost_attributes(source: Storage, target: Storage) -> frozenset[str]:
    """The attributes that objects of ``source`` may have and ``target`` cannot keep: worth saying before the start.

    Not the storage class between two services, which stays behind whether the target has such names or not.
    """
    own = frozenset[str]() if same_service(source, target) else frozenset({"storage_class"})
    return ((source.capabilities.attributes - target.capabilities.attributes) & ALL_ATTRIBUTES) - own


class SyncEngine(Protocol):
    """Who does the work of a sync: this process, or others for it."""

    def copies(  # noqa: PLR0917  # `sync_objects` calls it
        self,
        source: Side,
        target: Side,
        syncing: Syncing,
        memory: Remembered,
        counts: SyncCounts,
        extra: Callable[[Extra], None],
    ) -> Generator[Synced, None, None]:
        """All that `copy_range` does, for the whole of both sides."""
        ...

    def deletions(
        self, source: Side, target: Side, extras: Iterable[Extra], syncing: Syncing
    ) -> Generator[Deleted, None, None]:
        """All that `delete_extras` does, for any number of them."""
        ...


class _Here:
    """This process does it."""

    def copies(  # noqa: PLR0917
        self,
        source: Side,
        target: Side,
        syncing: Syncing,
        memory: Remembered,
        counts: SyncCounts,
        extra: Callable[[Extra], None],
    ) -> Generator[Synced, None, None]:
        return copy_range(source, target, syncing, memory, counts, extra)

    def deletions(
        self, source: Side, target: Side, extras: Iterable[Extra], syncing: Syncing
    ) -> Generator[Deleted, None, None]:
        limits, left = BatchLimits(syncing.copying.concurrency), iter(extras)
        while chunk := [*islice(left, _DELETIONS)]:
            yield from delete_extras(source, target, chunk, limits)


#: This process does the work itself.
HERE: Final[SyncEngine] = _Here()


def sync_objects(
    source: Side,
    target: Side,
    syncing: Syncing | None = None,
    memory: Remembered | None = None,
    counts: SyncCounts | None = None,
    *,
    engine: SyncEngine = HERE,
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
    return _Sync(source, target, syncing or Syncing(), remembered, counts or SyncCounts(), engine).run()


def _refuse_overlap(source: Side, target: Side) -> None:
    here, there = location_of(source.store, source.prefix), location_of(target.store, target.prefix)
    refuse_inside(here, there)
    refuse_inside(there, here)


class _Sync:
    """Copies first, and then deletions, if everything went well."""

    def __init__(  # noqa: PLR0917
        self,
        source: Side,
        target: Side,
        syncing: Syncing,
        memory: Remembered,
        counts: SyncCounts,
        engine: SyncEngine,
    ) -> None:
        self._source = source
        self._target = target
        self._how = syncing
        self._memory = memory
        self._counts = counts
        self._engine = engine

    def run(self) -> Generator[Synced, None, None]:
        with ExitStack() as stack:
            extras = stack.enter_context(kept_extras()) if self._how.rules.delete else None
            add = _forgotten if extras is None else extras.add
            copies = self._engine.copies(self._source, self._target, self._how, self._memory, self._counts, add)
            yield from stack.enter_context(closing(copies))
            yield from self._deleted(extras)

    def _deleted(self, extras: Extras | None) -> Iterator[Synced]:
        if not self._counts.extra or extras is None:
            return
        if self._counts.failed:
            self._counts.withheld = self._counts.extra
            return
        if not self._how.limit.allows(self._counts.extra, self._counts.target):
            raise LimitExceededError(
                f"nothing was deleted: {self._counts.extra:,} of the target's {self._counts.target:,} objects are not in"
                " the source, and more than half may go only where a limit says so (--max-delete)"
            )
        if self._how.dry:
            yield from (Synced(Action.DELETE, each.name, "extra", each.size, planned=True) for each in extras)
            return
        with closing(self._engine.deletions(self._source, self._target, extras, self._how)) as results:
            for extra, error, come in results:
                if come:
                    # The next sync compares the two.
                    self._counts.extra -= 1
                    self._counts.left += 1
                    continue
                self._counts.failed += error is not None
                yield Synced(Action.DELETE, extra.name, "extra", extra.size, error)


def _forgotten(_extra: Extra) -> None:
    """What is left over is counted only."""


class _Kept(NamedTuple):
    """An object of the target that is not what the source has, and why; the attributes that it cannot be given, or none."""

    name: str
    reason: str
    size: int | None
    refused: str = ""


def copy_range(  # noqa: PLR0917  # what `SyncEngine.copies` is handed
    source: Side,
    target: Side,
    syncing: Syncing,
    memory: Memory,
    counts: SyncCounts,
    extra: Callable[[Extra], None],
    portion: Portion | None = None,
) -> Generator[Synced, None, None]:
    """The copies of `sync_objects` for what two sides have in one range of names, or a ``portion`` of it, and no deletions.

    What is left over in the target is handed to ``extra``.
    """
    return _Copies(source, target, syncing, memory, counts, extra, portion).run()


class _Copies:
    def __init__(  # noqa: PLR0917
        self,
        source: Side,
        target: Side,
        syncing: Syncing,
        memory: Memory,
        counts: SyncCounts,
        extra: Callable[[Extra], None],
        portion: Portion | None,
    ) -> None:
        self._source = source
        self._target = target
        self._how = syncing
        self._memory = memory
        self._counts = counts
        self._extra = extra
        self._portion = portion
        self._exact = source.store.capabilities.exact_etags and target.store.capabilities.exact_etags
        #: The steps whose copies are on their way, by the key of the source.
        self._running: dict[str, Step] = {}
        #: The attributes that the target keeps otherwise than it was told, by name, until the step is told of.
        self._refused: dict[str, str] = {}

    def run(self) -> Generator[Synced, None, None]:
        with ExitStack() as stack:
            spool: IO[str] | None = None
            if self._how.proven or not self._how.copying.overwrite:
                spool = stack.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))
            steps = stack.enter_context(closing(self._steps(spool)))
            if self._how.dry:
                yield from (
                    Synced(Action.COPY, each.pair.name, each.reason, _size(each.pair), planned=True) for each in steps
                )
            else:
                yield from self._copied(steps)
            yield from self._kept(spool)

    # ---- deciding

    def _steps(self, spool: IO[str] | None) -> Generator[Step, None, None]:
        """The copies that are needed. What else there is is counted, and what has to wait is written to ``spool``."""
        pairs = merge(self._source.required(), self._target.listed())
        if self._portion is not None:
            pairs = self._portion.of(pairs, lambda pair: _size(pair) or 0)
        steps = plan(pairs, self._how.rules)
        while window := list(islice(steps, _WINDOW)):
            for step in self._proven(window):
                self._count(step)
                if step.action is not Action.COPY:
                    continue
                refused = self._refused.pop(step.pair.name, "")
                if spool is not None and (refused or not self._overwrites(step)):
                    spool.write(json.dumps(_Kept(step.pair.name, step.reason, _size(step.pair), refused)) + "\n")
                else:
                    yield step

    def _overwrites(self, step: Step) -> bool:
        return self._how.copying.overwrite or step.pair.target is None

    def _count(self, step: Step) -> None:
        pair = step.pair
        if pair.target is not None and step.reason != "filtered":
            self._counts.target += 1
        if step.action is Action.EQUAL:
            self._counts.equal += 1
        elif step.reason == "extra" and pair.target is not None:
            self._counts.extra += 1
            self._extra(Extra(pair.name, pair.target.etag, pair.target.size))
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
        if self._how.tried.get(name) == attempt:
            self._refused[name] = ", ".join(other).replace("_", " ")
        else:
            self._how.tried[name] = attempt

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

    def _kept(self, spool: IO[str] | None) -> Iterator[Synced]:
        if spool is None:
            return
        spool.seek(0)
        for kept in (_Kept(*json.loads(line)) for line in spool):
            if not kept.refused:
                self._counts.kept += 1
                yield Synced(Action.LEAVE, kept.name, kept.reason, kept.size, planned=self._how.dry)
                continue
            self._counts.failed += 1
            error = UnsupportedError(f"the target keeps another {kept.refused} than it is told, again and again")
            explained(error, "put", self._target.prefix + kept.name, self._target.store)
            yield Synced(Action.COPY, kept.name, kept.reason, kept.size, error)


def _size(pair: Pair) -> int | None:
    return None if pair.source is None else pair.source.size
