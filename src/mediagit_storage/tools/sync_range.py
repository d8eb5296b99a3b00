"""The copies of a sync, for all names or a range of them: what is missing or different is found, and copied.

Both listings are read side by side, so memory does not grow with them. Nothing is decided by time: equal are contents
whose digests are, or that were equal when both ETags were last seen together (`remembered`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import islice
from typing import IO, Final, NamedTuple

from mediagit_storage.errors import CancelledError, KeyConflictError, StorageError, UnsupportedError
from mediagit_storage.tools.comparing import Verdict, compare, other_attributes
from mediagit_storage.tools.copying import Copied, CopyTask, copy_objects
from mediagit_storage.tools.extras import Extra
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.plan import Action, Pair, Portion, Step, merge, plan
from mediagit_storage.tools.remembered import Memory, evidence, settled
from mediagit_storage.tools.selecting import in_the_way
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.syncing import SyncCounts, Synced, Syncing
from mediagit_storage.tools.threads import in_order
from mediagit_storage.tools.unlisted import Unlisted
from mediagit_storage.types import ObjectInfo

__all__ = ["copy_range"]

#: Steps that are looked at together.
_WINDOW: Final = 1024


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
        self._unlisted = Unlisted(source)
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
        while window := self._window(steps):
            for step in self._proven(window):
                self._count(step)
                if step.action is not Action.COPY:
                    continue
                refused = self._refused.pop(step.pair.name, "")
                if spool is not None and (refused or not self._overwrites(step)):
                    spool.write(json.dumps(_Kept(step.pair.name, step.reason, _size(step.pair), refused)) + "\n")
                else:
                    yield step

    def _window(self, steps: Iterator[Step]) -> list[Step]:
        with self._unlisted.heard():
            window = list(islice(steps, _WINDOW))
        if not self._how.proven:
            return window
        # What is empty on both sides has no other bytes, and may have other attributes.
        return [each._replace(action=Action.COMPARE) if each.action is Action.EQUAL else each for each in window]

    def _overwrites(self, step: Step) -> bool:
        return self._how.copying.overwrite or step.pair.target is None

    def _count(self, step: Step) -> None:
        pair = step.pair
        if pair.target is not None and step.reason != "filtered":
            self._counts.target += 1
        if step.action is Action.EQUAL:
            self._counts.equal += 1
        elif step.reason == "extra" and pair.target is not None and not self._unlisted.holds(pair.name):
            self._counts.extra += 1
            self._extra(Extra(pair.name, pair.target.etag, pair.target.size))
        elif step.action is not Action.COPY:
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
