"""What some backends offer beyond the contract, to tools that know how to use it: quicker ways to the same results.

A tool looks for a facet by type, on the backend itself or through layers that it knows to change nothing but keys, and
goes the plain way wherever it finds none. So no layer has to know of facets, and none is passed by unnoticed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from mediagit_storage.backend import BatchLimits, StorageBackend
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = [
    "BatchCopying",
    "BatchMoving",
    "KeptPart",
    "PositionalWriting",
    "Relocated",
    "Relocation",
]


@dataclass(frozen=True, slots=True)
class Relocation:
    """One object to be copied or moved from the key ``source`` to the key ``target``, all attributes included."""

    source: str
    target: str
    if_absent: bool = False


class Relocated(NamedTuple):
    """How one relocation ended: with ``info`` of the new object, or with ``error``. ``etag`` is the source's, if known."""

    operation: Relocation
    info: ObjectInfo | None
    error: Exception | None
    etag: str | None = None


class BatchMoving(ABC):
    """A backend that moves many objects at a lower price than one after the other."""

    @abstractmethod
    def move_batch(self, operations: Iterator[Relocation]) -> Iterator[Relocated]:
        """Move each object as `StorageBackend.rename` does, and tell of it once that is as durable, in any order.

        A crash leaves each object under its old name, its new one, or both. Closing the result ends the work.
        """


class BatchCopying(ABC):
    """A backend that copies many objects itself, also out of some other backends, without moving their bytes here."""

    @abstractmethod
    def copies_from(self, source: StorageBackend) -> bool:
        """Whether objects of ``source`` can be copied so: the same service, reached with the same credentials."""

    @abstractmethod
    def copy_batch(
        self, source: StorageBackend, operations: Iterator[Relocation], limits: BatchLimits
    ) -> Iterator[Relocated]:
        """Copy each object as `StorageBackend.copy` does, and tell of it in any order. Closing the result ends the work."""


class KeptPart(ABC):
    """An object that is being written by position and has no name yet. ``descriptor`` is its open file."""

    descriptor: int

    @abstractmethod
    def commit(self, attributes: Attributes | None, *, if_absent: bool) -> ObjectInfo:
        """Make the bytes an object, as atomically and durably as a put, and close the file."""

    @abstractmethod
    def remove(self) -> None:
        """Give its space back and close the file. Never raises."""

    @abstractmethod
    def close(self) -> None:
        """Leave it to be found again by its name. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class PositionalWriting(ABC):
    """A backend whose large objects can be written by position, and gone on with by another process."""

    @abstractmethod
    def keep_part(self, key: str, name: str) -> KeptPart | None:
        """What is there of the unfinished object ``name`` (lower-case hexadecimal digits), else a new, empty one.

        ``key`` is what it will be: refused here if it cannot be written. None while somebody else writes to it. Of
        what nobody came back to for a week it may find nothing.
        """
