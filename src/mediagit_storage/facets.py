"""What some backends offer beyond the contract, to tools that know how to use it: quicker ways to the same results.

A tool looks for a facet by type, on the backend itself or through layers that it knows to change nothing but keys, and
goes the plain way wherever it finds none. So no layer has to know of facets, and none is passed by unnoticed. One facet,
`RangePlacing`, is offered by layers too: those that see bytes pass without changing or keeping them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self, TypeAlias

from mediagit_storage.backend import BatchLimits, StorageBackend
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.types import Attributes, ByteRange, ObjectInfo, ReadOptions

__all__ = [
    "BatchCopying",
    "BatchMoving",
    "KeptPart",
    "Place",
    "Placed",
    "Placing",
    "PositionalWriting",
    "RangePlacing",
    "RangesIgnoredError",
    "Relocated",
    "Relocation",
    "placing_of",
]

#: What reads an object, or some of it. A class that has its own of them has its own `RangePlacing`, or none.
_READS: Final = frozenset({"read", "stream", "batch"})


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


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """``length`` bytes from ``start`` of the object ``key``, to be written into an open file at the same position.

    ``options`` name the version. ``arrived`` is told how many bytes more have come, each of them once, however often the
    range is asked for; what it raises ends this operation.
    """

    key: str
    options: ReadOptions
    start: int
    length: int
    descriptor: int
    arrived: Callable[[int], None]

    @property
    def reading(self) -> ReadOptions:
        """The options that read this range."""
        return replace(self.options, range=ByteRange(self.start, self.length))


class RangesIgnoredError(UnsupportedError):
    """The whole object was sent where a range of it was asked for; nothing of it was read. It has to come as one stream."""


class Placed(NamedTuple):
    """How one placing ended: ``length`` bytes from ``start`` of the object that ``info`` tells of are written, or with
    ``error``, a `RangesIgnoredError` where the server knows no ranges. After an error anything may lie in the place of the range; nothing outside of it was touched.
    """

    operation: Placing
    info: ObjectInfo | None
    start: int
    length: int
    error: Exception | None


#: Carries out placings side by side in the calling thread, in any order. Closing the result ends the work at once.
Place: TypeAlias = Callable[[Iterator[Placing], BatchLimits], Iterator[Placed]]


class RangePlacing(ABC):
    """A backend that writes ranges of objects into a file piece by piece as they arrive, so that none is held whole.

    A layer that counts or paces bytes offers it by handing the inner one on; one that changes or keeps bytes does not.
    """

    @abstractmethod
    def placing(self) -> Place | None:
        """What does it; None where the storage below cannot. Its checks are those of a `batch` of reads."""


def placing_of(backend: StorageBackend) -> Place | None:
    """How ranges of this storage are placed; None where they have to be read and written instead.

    A class that is made out of one which can, and reads in its own way, has to say so itself.
    """
    for kind in type(backend).__mro__:
        if "placing" in vars(kind):
            return backend.placing() if isinstance(backend, RangePlacing) else None
        if not _READS.isdisjoint(vars(kind)):
            return None
    return None
