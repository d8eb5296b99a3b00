"""Which storages can be a mirror together, and what they can do as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final

from mediagit_storage.backend import StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.mirror.pending import pending_place
from mediagit_storage.layers.overlap import opened_by, overlap

__all__ = ["check_members", "common_capabilities", "lasting", "names_of", "one_provider", "place_of_notes"]

_READS: Final = frozenset({"GET"})


def check_members(primary: StorageBackend, replicas: Sequence[StorageBackend], require: int, *, failover: bool) -> None:
    """Raise `ConfigError` for storages that cannot be members of one mirror."""
    if not replicas:
        raise ConfigError('a mirror needs at least one more storage: replicas = ["backup:"]')
    if require > len(replicas):
        raise ConfigError(f"{require} replicas are required to follow, and there are {len(replicas)}")
    members = [primary, *replicas]
    for one, other in combinations(members, 2):
        if overlap(one, other):
            raise ConfigError(
                f"{one.description} and {other.description} are one place, or one is in the other: a member of a mirror holds"
                " nothing of another"
            )
    unable = [each.description for each in members if not each.capabilities.read_conditions]
    if failover and unable:
        raise ConfigError(
            f"{unable[0]} has no conditional reads, without which parts of two members could be mixed: do without failover"
        )


def place_of_notes(primary: StorageBackend, replicas: Sequence[StorageBackend], folder: str | None) -> Path | None:
    """Where to remember what is missed: nowhere for what ends with the process, or where there is no folder."""
    return pending_place(primary.description, folder) if lasting((primary, *replicas)) else None


def lasting(members: Sequence[StorageBackend]) -> bool:
    """Whether all of them outlive this process, as far as they say how to open them again."""
    infos = [opened_by(each) for each in members]
    return all(info is not None and info.type != "memory" for info in infos)


def names_of(replicas: Sequence[StorageBackend]) -> list[str]:
    """A name for each that stays the same when others come and go, as far as its description tells it from them."""
    shown = [each.description for each in replicas]
    return [text if shown.count(text) == 1 else f"{text}#{number}" for number, text in enumerate(shown, 1)]


def one_provider(primary: StorageBackend, replicas: Sequence[StorageBackend]) -> bool:
    """Whether all of them speak of storage classes by the same names."""
    return len({each.description.partition("://")[0] for each in (primary, *replicas)}) == 1


def common_capabilities(
    primary: Capabilities, replicas: Sequence[StorageBackend], foreign: frozenset[str]
) -> Capabilities:
    """The primary's, narrowed to what every write needs of all members."""
    every = [primary, *(each.capabilities for each in replicas)]
    largest = [each.max_object_size for each in every if each.max_object_size is not None]
    return replace(
        primary,
        attributes=frozenset.intersection(*(each.attributes for each in every)) - foreign,
        retention=all(each.retention for each in every),
        late_metadata=all(each.late_metadata for each in every),
        exact_etags=all(each.exact_etags for each in every),
        raw_keys=all(each.raw_keys for each in every),
        nested_keys=all(each.nested_keys for each in every),
        max_key_bytes=min(each.max_key_bytes for each in every),
        max_object_size=min(largest, default=None),
        presign=primary.presign & _READS,
        replace_head=False,
    )
