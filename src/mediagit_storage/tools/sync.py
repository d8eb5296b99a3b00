"""Making one folder like another: what is missing or different is copied, and what is left over deleted if that is wanted.

`sync_range` finds and makes the copies; here is the whole of a sync, who does its work, and its end, the deletions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from typing import Final, Protocol

from mediagit_storage.backend import BatchLimits
from mediagit_storage.capabilities import ALL_ATTRIBUTES
from mediagit_storage.closable import closable
from mediagit_storage.errors import LimitExceededError, NotFoundError
from mediagit_storage.storage import Storage
from mediagit_storage.tools.extras import Deleted, Extra, Extras, delete_extras, kept_extras
from mediagit_storage.tools.outcomes import FATAL
from mediagit_storage.tools.places import location_of, refuse_inside, same_service
from mediagit_storage.tools.plan import Action
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync_range import copy_range
from mediagit_storage.tools.syncing import SyncCounts, Synced, Syncing

__all__ = ["HERE", "SyncCounts", "SyncEngine", "Synced", "Syncing", "lost_attributes", "sync_objects"]

#: Deletions between two looks at what the storage said.
_DELETIONS: Final = 256


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
        #: Whether the source was seen to have something.
        self._held = False

    def run(self) -> Generator[Synced, None, None]:
        with ExitStack() as stack:
            extras = stack.enter_context(kept_extras()) if self._how.rules.delete else None
            add = _forgotten if extras is None else extras.add
            copies = self._engine.copies(self._source, self._target, self._how, self._memory, self._counts, add)
            for copy in stack.enter_context(closing(copies)):
                self._held = True
                yield copy
            self._held = self._held or self._counts.equal > 0
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
        self._require_source()
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
                if isinstance(error, FATAL):
                    raise error
                self._counts.failed += error is not None
                yield Synced(Action.DELETE, extra.name, "extra", extra.size, error)

    def _require_source(self) -> None:
        """A disk that is unmounted in the middle of a listing ends it like a folder that somebody empties meanwhile."""
        with closing(closable(self._source.required())) as listing:
            if next(listing, None) is None and self._held:
                raise NotFoundError(
                    "nothing was deleted: the source was not empty when it was listed, and is now",
                    store=self._source.store.description,
                )


def _forgotten(_extra: Extra) -> None:
    """What is left over is counted only."""
