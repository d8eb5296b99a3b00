"""The options of the mirror layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mediagit_storage.errors import ConfigError

__all__ = ["MirrorConfig"]


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """How many replicas have to follow, and what is done while a member is down.

    ``require``: how many replicas must have taken a change before it is acknowledged; None is all of them, 0 is none
    (each still gets it, before the call returns). ``failover``: whether reads may be answered by a replica while the
    primary cannot. ``hedge``: after how many seconds without an answer of the primary a replica is asked as well, and
    whoever answers first is believed; None is never. ``pause``: for how many seconds a member that could not be reached, three times in a row, is left alone;
    0 asks it always.
    ``state``: the folder in which is remembered what replicas have missed; None is the user's own for such things.

    In profiles the option ``replicas`` names the other storages, in a list; what is wrapped is the primary.
    """

    require: int | None = None
    failover: bool = False
    hedge: float | None = None
    pause: float = 10.0
    state: str | None = None

    STORAGES: ClassVar[Sequence[str]] = ("replicas",)

    def __post_init__(self) -> None:
        if self.require is not None and self.require < 0:
            raise ConfigError("require is a number of replicas, 0 or more; left out it means all of them")
        if self.hedge is not None and not 0 <= self.hedge < float("inf"):
            raise ConfigError("hedge is a number of seconds, 0 or more; left out no replica is asked in advance")
        if self.hedge is not None and not self.failover:
            raise ConfigError("hedge lets replicas answer for a primary that is slow: it needs failover = true")
        if not 0 <= self.pause < float("inf"):
            raise ConfigError("pause is a number of seconds, 0 or more")
