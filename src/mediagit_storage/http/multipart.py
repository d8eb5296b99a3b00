"""Part arithmetic of large transfers: how many parts of what size, which are missing, how many at once. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from mediagit_storage.errors import ConfigError, LimitExceededError

__all__ = [
    "DEFAULT_BUFFER",
    "DEFAULT_CONCURRENCY",
    "DEFAULT_PART",
    "DEFAULT_THRESHOLD",
    "GIB",
    "KIB",
    "MIB",
    "TIB",
    "GrowingParts",
    "Part",
    "PartLimits",
    "PartPlan",
    "Sizes",
    "StoredPart",
    "check_part_size",
    "missing_parts",
    "parts_in_flight",
    "plan_parts",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

#: The size of a part where nothing asks for a larger one, in bytes.
DEFAULT_PART: Final = 8 * MIB

#: Objects of a known size above this many bytes are sent in parts.
DEFAULT_THRESHOLD: Final = 100_000_000

#: How many parts travel at once.
DEFAULT_CONCURRENCY: Final = 8

#: What the parts of one transfer that are held in memory may take together, in bytes.
DEFAULT_BUFFER: Final = 64 * MIB

#: A stream of unknown length doubles the size of its parts after each so many.
_GROWTH: Final = 1000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large objects travel: sizes in bytes, ``concurrency`` parts at once, ``buffer`` bytes of them in memory."""

    part: int
    threshold: int
    concurrency: int
    buffer: int


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What a provider takes. The defaults are those of S3.

    ``min_part`` does not bind the last part. ``equal`` wants all parts but the last to be of one size, and the last
    no larger.
    """

    min_part: int = 5 * MIB
    max_part: int = 5 * GIB
    max_parts: int = 10_000
    max_object: int = 5 * TIB
    equal: bool = False


class Part(NamedTuple):
    """One part: ``number`` counts from 1, ``offset`` and ``length`` are bytes of the object."""

    number: int
    offset: int
    length: int


class StoredPart(NamedTuple):
    """One part that the server holds already."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class PartPlan:
    """How an object of ``size`` bytes is cut: equal parts of ``part_size``, the last one smaller."""

    size: int
    part_size: int

    @property
    def count(self) -> int:
        """How many parts there are; an empty object has one, empty."""
        return max(1, -(-self.size // self.part_size))

    def part(self, number: int) -> Part:
        """The part of that number. One that the plan does not have is a `ValueError`."""
        if not 1 <= number <= self.count:
            raise ValueError(f"the plan has parts 1 to {self.count}, not {number}")
        offset = (number - 1) * self.part_size
        return Part(number, offset, min(self.part_size, self.size - offset))

    def parts(self) -> Iterable[Part]:
        """All parts in order, made as they are asked for."""
        return map(self.part, range(1, self.count + 1))


def check_part_size(part_size: int, limits: PartLimits) -> None:
    """Refuse, with a `ConfigError`, a part size that the provider does not take."""
    if not limits.min_part <= part_size <= limits.max_part:
        raise ConfigError(
            f"a part has {limits.min_part:,} to {limits.max_part:,} bytes here, and part_size is {part_size:,}"
        )


def plan_parts(size: int, limits: PartLimits, *, part_size: int = DEFAULT_PART) -> PartPlan:
    """The plan for a known size: parts of ``part_size``, or larger ones where the provider's count would not do.

    Larger ones are whole MiB. The same arguments give the same plan, so an upload can be resumed by it. Raises
    `LimitExceededError` for an object that the provider cannot hold, `ConfigError` for an impossible ``part_size``.
    """
    if size < 0:
        raise ValueError(f"a size is not negative: {size}")
    check_part_size(part_size, limits)
    if size > limits.max_object:
        raise LimitExceededError(
            f"the object has {size:,} bytes; the most that can be stored here is {limits.max_object:,}"
        )
    needed = -(-size // limits.max_parts)
    if needed > part_size:
        part_size = min(-(-needed // MIB) * MIB, limits.max_part)
    if part_size * limits.max_parts < size:
        raise LimitExceededError(
            f"the object has {size:,} bytes; {limits.max_parts:,} parts of {limits.max_part:,} do not hold it"
        )
    return PartPlan(size, part_size)


class GrowingParts:
    """How large the parts of a stream of unknown length are: they double after each 1,000, up to ``most``.

    ``most`` bounds the memory, since such a part is held until it is stored. Where the provider wants equal parts, all
    have the first size.
    """

    def __init__(self, limits: PartLimits, *, first: int = DEFAULT_PART, most: int = DEFAULT_BUFFER) -> None:
        check_part_size(first, limits)
        self._limits = limits
        self._first = first
        self._most = first if limits.equal else max(first, min(most, limits.max_part))

    def length(self, number: int) -> int:
        """The size of part ``number``, counted from 1. Past the last one it is a `LimitExceededError`."""
        if number < 1:
            raise ValueError(f"parts are counted from 1, not {number}")
        if number > self._limits.max_parts:
            raise LimitExceededError(
                f"the stream is longer than {self.capacity:,} bytes, which {self._limits.max_parts:,} parts hold;"
                " declare its size, or set a larger part_size"
            )
        return self._grown((number - 1) // _GROWTH)

    @property
    def capacity(self) -> int:
        """The longest stream that fits, in bytes."""
        full, rest = divmod(self._limits.max_parts, _GROWTH)
        total = sum(self._grown(step) * _GROWTH for step in range(full)) + self._grown(full) * rest
        return min(total, self._limits.max_object)

    def _grown(self, step: int) -> int:
        return min(self._first << step, self._most)


def missing_parts(
    plan: PartPlan, stored: Iterable[StoredPart], *, known: Mapping[int, str] | None = None
) -> tuple[list[StoredPart], list[Part]]:
    """What the server holds of a plan (in order), and which parts have still to be sent.

    A stored part counts only with the plan's number and size, and with the ETag that ``known`` has for it, where
    ``known`` is given: a part it does not name is sent again, since its content is not proven. Of a number that is
    listed twice, the last one counts. Other parts are left to the server, which forgets them when the upload completes.
    """
    held: dict[int, StoredPart] = {}
    for each in stored:
        held.pop(each.number, None)
        fits = 1 <= each.number <= plan.count and plan.part(each.number).length == each.size
        if fits and (known is None or known.get(each.number) == each.etag):
            held[each.number] = each
    return [held[number] for number in sorted(held)], [part for part in plan.parts() if part.number not in held]


def parts_in_flight(part_size: int, *, concurrency: int = DEFAULT_CONCURRENCY, buffer: int = DEFAULT_BUFFER) -> int:
    """How many parts of that size may be in memory at once: as many as asked for and as fit, and always one."""
    return max(1, min(concurrency, buffer // max(1, part_size)))
