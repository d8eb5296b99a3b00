"""What a sync has to do, from two listings: a merge of sorted names and a decision for each. Pure, constant memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.errors import StorageError
from mediagit_storage.keys import sort_key
from mediagit_storage.tools.filters import Filters
from mediagit_storage.types import Checksum, ObjectInfo

__all__ = [
    "Action",
    "DeletionLimit",
    "Found",
    "Pair",
    "Portion",
    "Step",
    "SyncRules",
    "listed_checksum",
    "merge",
    "plan",
    "sort_key",
]

_MD5: Final = re.compile(r"\"?([0-9a-f]{32})\"?")


class Found(NamedTuple):
    """An object that a listing told of, and its ``name`` below the folder that is compared."""

    name: str
    info: ObjectInfo


class Pair(NamedTuple):
    """What the two sides have under one name; at least one of them has something."""

    name: str
    source: ObjectInfo | None
    target: ObjectInfo | None


N = TypeVar("N", Found, Pair)


class Portion:
    """The beginning of what two listings tell of: it ends behind the name that makes it ``names`` long or ``size`` bytes.

    ``reached`` is that name afterwards, behind which another portion begins, and None where the listings came to their end.
    """

    def __init__(self, names: int, size: int) -> None:
        self._names = names
        self._size = size
        self.reached: str | None = None

    def of(self, items: Iterable[N], size_of: Callable[[N], int]) -> Iterator[N]:
        """The items that are in it. A name of both listings is one item: what is behind the last of them is in neither."""
        names = size = 0
        for each in items:
            yield each
            names, size = names + 1, size + size_of(each)
            if names >= self._names or size >= self._size:
                self.reached = each.name
                return


class Action(StrEnum):
    """What one name asks for. ``COMPARE``: the listings do not tell whether the contents are equal."""

    COPY = "copy"
    COMPARE = "compare"
    EQUAL = "equal"
    DELETE = "delete"
    LEAVE = "leave"


class Step(NamedTuple):
    """The decision about one name, and what led to it."""

    action: Action
    pair: Pair
    reason: str


@dataclass(frozen=True, slots=True)
class SyncRules:
    """What is looked at and how. ``oldest`` and ``newest`` bound the time at which an object was last changed.

    ``size_only`` takes objects of one size for equal; ``contents`` believes no digest that a service tells.
    """

    filters: Filters = field(default_factory=Filters)
    oldest: datetime | None = None
    newest: datetime | None = None
    delete: bool = False
    size_only: bool = False
    contents: bool = False

    def takes(self, info: ObjectInfo) -> bool:
        """Whether an object is of the age that is asked for; one whose age nobody knows is not."""
        if self.oldest is None and self.newest is None:
            return True
        changed = info.modified
        if changed is None:
            return False
        return (self.oldest is None or changed >= self.oldest) and (self.newest is None or changed <= self.newest)


def merge(source: Iterable[Found], target: Iterable[Found]) -> Iterator[Pair]:
    """Every name of the two sides once, in order: that of `keys.sort_key`, as all listings here have it.

    A side whose names do not grow is a `StorageError` that tells both names: to go on could delete what is there.
    """
    left, right = _growing(source, "source"), _growing(target, "target")
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        if ours is not None and (theirs is None or sort_key(ours.name) < sort_key(theirs.name)):
            yield Pair(ours.name, ours.info, None)
            ours = next(left, None)
        elif theirs is not None and (ours is None or sort_key(theirs.name) < sort_key(ours.name)):
            yield Pair(theirs.name, None, theirs.info)
            theirs = next(right, None)
        elif ours is not None and theirs is not None:
            yield Pair(ours.name, ours.info, theirs.info)
            ours, theirs = next(left, None), next(right, None)


def _growing(found: Iterable[Found], side: str) -> Iterator[Found]:
    last: str | None = None
    for each in found:
        if last is not None and sort_key(each.name) <= sort_key(last):
            raise StorageError(f"the {side}'s listing is out of order: {each.name!r} came after {last!r}")
        last = each.name
        yield each


def plan(pairs: Iterable[Pair], rules: SyncRules) -> Iterator[Step]:
    """What is to be done about each pair, in their order. A name that the filters leave out is left on both sides."""
    for pair in pairs:
        action, reason = _decided(pair, rules)
        yield Step(action, pair, reason)


def _decided(pair: Pair, rules: SyncRules) -> tuple[Action, str]:
    known = pair.source if pair.source is not None else pair.target
    if not rules.filters.takes(pair.name):
        return Action.LEAVE, "filtered"
    if known is None or not rules.takes(known):
        return Action.LEAVE, "age"
    if pair.source is None:
        return (Action.DELETE if rules.delete else Action.LEAVE), "extra"
    if pair.target is None:
        return Action.COPY, "missing"
    return _compared(pair.source, pair.target, rules)


def _compared(source: ObjectInfo, target: ObjectInfo, rules: SyncRules) -> tuple[Action, str]:
    if source.size is not None and target.size is not None:
        if source.size != target.size:
            return Action.COPY, "size"
        if rules.size_only or source.size == 0:
            return Action.EQUAL, "size"
    elif rules.size_only:
        return Action.COPY, "size"
    ours, theirs = listed_checksum(source), listed_checksum(target)
    if not rules.contents and ours is not None and ours == theirs:
        return Action.EQUAL, "checksum"
    return Action.COMPARE, "unknown"


def listed_checksum(info: ObjectInfo) -> Checksum | None:
    """The digest of the content that a listing tells, as far as one can be seen in it.

    An ETag of 32 hexadecimal digits is taken for the MD5 that S3 makes of an object in one part. Where it is not (under
    KMS) it equals no content's MD5: being equal proves something, being different proves nothing. Where a layer changes
    the bytes, the ETag is of what is stored, and tells nothing.
    """
    if info.checksum is not None:
        return info.checksum
    if info.size is None or info.stored_size not in {None, info.size}:
        return None
    found = _MD5.fullmatch(info.etag or "")
    return None if found is None else Checksum("md5", bytes.fromhex(found[1]))


class DeletionLimit(NamedTuple):
    """How much of the target a sync may delete: at most ``objects``, and without that no more than half of them all."""

    objects: int | None = None

    def allows(self, extra: int, total: int) -> bool:
        """Whether ``extra`` of the ``total`` objects of the target may go."""
        return extra <= self.objects if self.objects is not None else extra * 2 <= total
