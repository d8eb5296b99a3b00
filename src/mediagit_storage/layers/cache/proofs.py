"""Which files of the disk tier this process has proven already, so that their bytes are not summed again at every use.

A file is written under another name and renamed into its place. Whatever puts other bytes there afterwards gives it
another inode, size, or time of modification, and it is proven anew. What nobody sees so is a medium that returns other
bytes than it was given and says nothing: the next process finds that, or a layer above that authenticates.
"""

from __future__ import annotations

import os
import threading
from typing import Final, NamedTuple

__all__ = ["Identity", "Proofs", "identity_of"]

#: How many files are remembered, some 300 bytes each. The one that was proven first is forgotten first.
_REMEMBERED: Final = 16_384
#: A file that is used all the time is marked as used so often, in seconds: the order of use need not be finer.
_MARKED: Final = 1.0


class Identity(NamedTuple):
    """What changes when the bytes of a file do. ``modified`` is in nanoseconds since 1970."""

    inode: int
    size: int
    modified: int


class _Proof(NamedTuple):
    """``marked`` is when the file was last marked as used, on a clock that only grows; None of one that never was."""

    identity: Identity
    marked: float | None


def identity_of(status: os.stat_result) -> Identity:
    """The identity of a file."""
    return Identity(status.st_ino, status.st_size, status.st_mtime_ns)


class Proofs:
    """The files that were proven, by name. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nothing is proven, and nobody holds the lock: also what a forked child begins with."""
        self._lock = threading.Lock()
        self._proven: dict[str, _Proof] = {}

    def holds(self, name: str, identity: Identity) -> bool:
        """Whether this very file was proven."""
        proof = self._proven.get(name)
        return proof is not None and proof.identity == identity

    def add(self, name: str, identity: Identity) -> None:
        """This file was proven just now."""
        with self._lock:
            self._proven.pop(name, None)
            self._proven[name] = _Proof(identity, None)
            if len(self._proven) > _REMEMBERED:
                del self._proven[next(iter(self._proven))]

    def is_due(self, name: str, now: float) -> bool:
        """Whether a file is to be marked as used again. One that is due is taken to be marked now."""
        with self._lock:
            proof = self._proven.get(name)
            if proof is None:
                return True
            if proof.marked is not None and now - proof.marked < _MARKED:
                return False
            self._proven[name] = _Proof(proof.identity, now)
        return True
