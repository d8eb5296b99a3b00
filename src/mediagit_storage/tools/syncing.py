"""What a sync is told and what it tells: how to do it, what became of each name, and how many of each kind there were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mediagit_storage.tools.copying import CopyRules
from mediagit_storage.tools.plan import Action, DeletionLimit, SyncRules

__all__ = ["SyncCounts", "Synced", "Syncing"]


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
