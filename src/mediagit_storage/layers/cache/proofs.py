"""Which files of the disk tier this process has proven already, so that their bytes are not summed again at every use.

A file is written under another name and renamed into its place. Whatever puts other bytes there afterwards gives it
another inode, size, or time of modification or change, and it is proven anew. Nobody can choose the time of change: it
moves also where the time of modification is put back. What nobody sees so is a medium that returns other bytes than it was
given and says nothing: the next process finds that, or a layer above that authenticates.
"""

from __future__ import annotations

import os
import threading
from typing import Final, NamedTuple

__all__ = ["Identity", "Proofs", "identity_of"]

#: How many files are remembered, some 300 bytes each. The one that was proven first is forgotten first.
_REMEMBERED: Final = 16_384


class Identity(NamedTuple):
    """What changes when the bytes of a file do. ``modified`` and ``changed`` are in nanoseconds since 1970."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def identity_of(status: os.stat_result) -> Identity:
    """The identity of a file."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Proofs:
    """The files that were proven, by name. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing is proven, and nobody holds the lock: also what a forked child begins with."""
        self._lock = threading.Lock()
        self._proven: dict[str, Identity] = {}

    def holds(self, name: str, identity: Identity) -> bool:
        """Whether this very file was proven."""
        return self._proven.get(name) == identity

    def add(self, name: str, identity: Identity) -> None:
        """This file was proven just now."""
        with self._lock:
            self._proven.pop(name, None)
            self._proven[name] = identity
            if len(self._proven) > _REMEMBERED:
                del self._proven[next(iter(self._proven))]

    def drop(self, name: str) -> None:
        """The file has to be proven anew."""
        with self._lock:
            self._proven.pop(name, None)
