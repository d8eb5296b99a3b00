"""What one known fault of a server is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mediagit_storage.testing.emulators.kinds import Running

__all__ = ["KnownFault", "fault"]


@dataclass(frozen=True, slots=True)
class KnownFault:
    """One fault: ``shown`` makes the requests in a bucket of its own and says whether the server is still like that."""

    name: str
    servers: tuple[str, ...]
    says: str
    shown: Callable[[Running, str], bool]


def fault(name: str, servers: str, says: str, shown: Callable[[Running, str], bool]) -> KnownFault:
    """A line of a table: the servers are separated by spaces."""
    return KnownFault(name, tuple(servers.split()), says, shown)
