"""Which storages can be a mirror together, and what they can do as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final

from mediagit_storage.backend import StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.layers.mirror.pending import pending_place
from mediagit_storage.types import JSON, ConnectionInfo

__all__ = ["check_members", "common_capabilities", "names_of", "one_provider", "place_of_notes"]

_READS: Final = frozenset({"GET"})


def check_members(primary: StorageBackend, replicas: Sequence[StorageBackend], require: int, *, failover: bool) -> None:
    """Raise `ConfigError` for storages that cannot be members of one mirror."""
    if not replicas:
        raise ConfigError('a mirror needs at least one more storage: replicas = ["backup:"]')
    if require > len(replicas):
        raise ConfigError(f"{require} replicas are required to follow, and there are {len(replicas)}")
    members = [primary, *replicas]
    for one, other in combinations(members, 2):
        if one is other or _overlap(one, other):
            raise ConfigError(
                f"{one.description} and {other.description} are one place, or one is in the other: a member of a mirror holds"
                " nothing of another"
            )
    unable = [each.description for each in members if not each.capabilities.read_conditions]
    if failover and unable:
        raise ConfigError(
            f"{unable[0]} has no conditional reads, without which parts of two members could be mixed: do without failover"
        )


def _overlap(one: StorageBackend, other: StorageBackend) -> bool:
    """Whether a key of one may be an object of the other: what a repair copies would then be found again as missing."""
    first, second = _opened_by(one), _opened_by(other)
    if first is None or second is None or first.type != second.type:
        return False
    shorter, longer = sorted((f"{each.description.rstrip('/')}/" for each in (one, other)), key=len)
    same_server = first.type == "file" or _without_layers(first) == _without_layers(second)
    return same_server and longer.startswith(shorter)


def _without_layers(info: ConnectionInfo) -> dict[str, JSON]:
    return {name: value for name, value in info.config.items() if name != "layers"}


def _opened_by(backend: StorageBackend) -> ConnectionInfo | None:
    try:
        return backend.connection_info()
    except UnsupportedError:
        return None


def place_of_notes(primary: StorageBackend, replicas: Sequence[StorageBackend], folder: str | None) -> Path | None:
    """Where to remember what is missed: nowhere for what ends with the process."""
    infos = [_opened_by(each) for each in (primary, *replicas)]
    if any(info is None or info.type == "memory" for info in infos):
        return None
    return pending_place(primary.description, folder)


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
