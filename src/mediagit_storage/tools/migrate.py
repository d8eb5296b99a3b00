"""Moving a whole storage to another one, so that nothing is believed to be there that was not read back.

A migration is a sync that is repeated until one pass finds every object of the source in the target, read from both ends and
equal. The first pass copies; the next compares what was copied, and copies what changed meanwhile. What was proven is kept
in a journal under the ETags of both ends, so a run that was killed goes on, and neither copies nor reads it again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from mediagit_storage.errors import ConfigError, UnavailableError
from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.plan import Action, SyncRules
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync import HERE, SyncCounts, Synced, SyncEngine, Syncing, sync_objects

__all__ = ["Migrating", "MigrationCounts", "MigrationStep", "migrate"]

#: Passes after which somebody writes more quickly than this copies.
_MOST: Final = 10


@dataclass(frozen=True, slots=True)
class Migrating:
    """What is migrated and how; ``passes`` bounds how often what changed meanwhile is copied again."""

    rules: SyncRules = field(default_factory=SyncRules)
    copying: CopyRules = field(default_factory=CopyRules)
    passes: int = _MOST
    dry: bool = False


@dataclass(slots=True)
class MigrationCounts:
    """How far it has come: objects and bytes that were copied, objects that are proven to be equal, that are only in the
    target, that are different there and were kept so, and that failed in the last pass; ``passes`` that ended;
    ``complete`` once everything but what was kept is proven.
    """

    copied: int = 0
    bytes: int = 0
    proven: int = 0
    extra: int = 0
    failed: int = 0
    passes: int = 0
    complete: bool = False
    kept: int = 0


class MigrationStep(NamedTuple):
    """What became of one object in a pass, counted from 1."""

    number: int
    synced: Synced


def migrate(
    source: Side,
    target: Side,
    migrating: Migrating | None = None,
    journal: Remembered | None = None,
    counts: MigrationCounts | None = None,
    *,
    engine: SyncEngine = HERE,
) -> Generator[MigrationStep, None, None]:
    """Copy everything from ``source`` to ``target`` and prove it; yields every copy once it is done or has failed.

    The source is only read, and what is in the target alone is left there. Rules for copying that do not overwrite leave all
    that is in the target as it is; what is different there is yielded once, with `Action.LEAVE`. Ends when a pass found nothing to copy
    (``counts.complete``), or after one in which an object failed: run it again. Raises `UnavailableError` where the source
    is written to more quickly than it is copied, and what `sync_objects` raises.
    """
    return _run(source, target, migrating or Migrating(), journal, counts or MigrationCounts(), engine)


def _run(  # noqa: PLR0917  # `migrate` checks what it is handed
    source: Side,
    target: Side,
    migrating: Migrating,
    journal: Remembered | None,
    counts: MigrationCounts,
    engine: SyncEngine,
) -> Generator[MigrationStep, None, None]:
    if migrating.rules.delete or migrating.rules.size_only:
        raise ConfigError("a migration deletes nothing, and compares every byte")
    rules = replace(migrating.rules, contents=True)
    syncing = Syncing(rules, migrating.copying, dry=migrating.dry, proven=True)
    for number in range(1, migrating.passes + 1):
        found, before = SyncCounts(), counts.copied
        with closing(sync_objects(source, target, syncing, journal, found, engine=engine)) as results:
            for synced in results:
                if synced.error is None and synced.action is Action.COPY:
                    counts.copied += 1
                    counts.bytes += synced.size or 0
                if synced.action is not Action.LEAVE or number == 1:
                    yield MigrationStep(number, synced)
        counts.passes, counts.proven, counts.extra, counts.failed = number, found.equal, found.extra, found.failed
        counts.kept = found.kept
        counts.complete = not migrating.dry and not found.failed and counts.copied == before
        if counts.complete or migrating.dry or found.failed:
            return
    raise UnavailableError(
        "the source changes more quickly than it is copied: stop who writes to it, and run this again"
    )
