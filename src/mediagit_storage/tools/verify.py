"""Proving what is stored: every object read whole, and compared with what is known of it or with another copy.

A storage that keeps digests (S3, Google Cloud Storage, Azure), and the layers `checksum`, `encrypt` and `compress`, find
damage themselves while they are read. A plain folder keeps nothing to compare with: there a manifest or another copy tells.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    DecryptionError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.layers.base import layers_of
from mediagit_storage.storage import Storage
from mediagit_storage.tools.ahead import reported
from mediagit_storage.tools.comparing import Blame, End, Verdict, compare, other_attributes
from mediagit_storage.tools.contents import digest_of, opened
from mediagit_storage.tools.manifest import ManifestEntry
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.plan import Action, Found, Pair, Portion, SyncRules, merge, plan
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import Checksum, ObjectInfo

__all__ = [
    "End",
    "Problem",
    "Verified",
    "VerifyRules",
    "keeps_digests",
    "verify_against",
    "verify_copy",
    "verify_store",
]

T = TypeVar("T")

_BLAKE3: Final = "blake3"
#: The layers that find damage in what they read.
_PROVING: Final = frozenset({"checksum", "encrypt", "compress"})


class Problem(StrEnum):
    """What is wrong with an object.

    ``MISSING``: it should be there. ``EXTRA``: nothing knows of it. ``SIZE``: it has another size than it should.
    ``CONTENT``: the same size and other bytes. ``ATTRIBUTES``: the bytes are right and what describes them is not.
    ``DAMAGED``: what is read is not what was written. ``UNDECRYPTABLE``: no key opens it, or it was tampered with.
    ``UNREADABLE``: it could not be looked at, so nothing is known.
    """

    MISSING = "missing"
    EXTRA = "extra"
    SIZE = "size"
    CONTENT = "content"
    ATTRIBUTES = "attributes"
    DAMAGED = "damaged"
    UNDECRYPTABLE = "undecryptable"
    UNREADABLE = "unreadable"


#: What an error while looking says of the object; the first row that fits counts.
_PROBLEMS: Final[tuple[tuple[type[StorageError], Problem], ...]] = (
    (NotFoundError, Problem.MISSING),
    (DecryptionError, Problem.UNDECRYPTABLE),
    (IntegrityError, Problem.DAMAGED),
    (StorageError, Problem.UNREADABLE),
)


class Verified(NamedTuple):
    """What was found out about one name: nothing wrong where ``problem`` is None. ``detail`` says more, for people.

    ``side`` tells which of two stores an ``error`` came from.
    """

    name: str
    size: int | None
    problem: Problem | None = None
    detail: str = ""
    error: Exception | None = None
    side: End | None = None


@dataclass(frozen=True, slots=True)
class VerifyRules:
    """``filters`` and the like come from ``rules``. ``attributes`` compares what describes objects, ``quick`` believes
    the digests that both sides keep and reads what keeps none.
    """

    rules: SyncRules
    attributes: bool = True
    quick: bool = False
    concurrency: int = 16


def keeps_digests(store: Storage) -> bool:
    """Whether reading from a storage finds damage: by a layer, or by the digests that a service keeps."""
    layers = [*layers_of(store.backend)]
    bottom = layers[-1].inner if layers else store.backend
    return bottom.capabilities.parallel_reads or any(layer.layer_name in _PROVING for layer in layers)


def verify_store(side: Side, rules: VerifyRules, *, portion: Portion | None = None) -> Generator[Verified, None, None]:
    """Read every object whole and yield what each is like, in order. An object that is in order counts by its size.
    Of the listing only a ``portion`` is looked at, if one is given.

    Raises `NotFoundError` where there is nothing, unless it is a whole storage, and what ends a listing, like a bucket that
    goes away meanwhile. An object that is deleted meanwhile is missing.
    """
    found = side.required() if portion is None else portion.of(side.required(), _size_of_found)
    taken = (each for each in found if rules.rules.filters.takes(each.name) and rules.rules.takes(each.info))
    return _run(taken, partial(_scrubbed, side.store), _size_of_found, rules)


def verify_against(
    side: Side, manifest: Iterator[ManifestEntry], rules: VerifyRules, *, portion: Portion | None = None
) -> Generator[Verified, None, None]:
    """Compare a store with a manifest: both ways, by size and by the BLAKE3 of what is read.

    A manifest tells no ages: a rule about them leaves out what the store has, with its line, and never what it lacks.
    """
    expected = (
        Found(each.name, ObjectInfo(each.name, each.size, checksum=Checksum(_BLAKE3, bytes.fromhex(each.blake3))))
        for each in manifest
    )
    pairs = merge(expected, side.listed())
    taken = (
        pair
        for pair in (pairs if portion is None else portion.of(pairs, _size_of_pair))
        if rules.rules.filters.takes(pair.name) and (pair.target is None or rules.rules.takes(pair.target))
    )
    return _run(taken, partial(_against, side.store), _size_of_pair, rules)


def verify_copy(
    source: Side, target: Side, rules: VerifyRules, *, portion: Portion | None = None
) -> Generator[Verified, None, None]:
    """Compare two stores: what ``target`` lacks, has too much, or has otherwise than ``source``.

    Every byte of both is read, unless ``quick``. What cannot be read is told with its side: an object that is gone from
    the source since it was listed is `EXTRA`, one that is gone from the copy `MISSING`. Of attributes those are compared that the source has set and both can keep.
    """
    pairs = merge(source.required(), target.listed())
    if portion is not None:
        pairs = portion.of(pairs, _size_of_pair)
    taken = (
        step.pair for step in plan(pairs, rules.rules) if step.action is not Action.LEAVE or step.reason == "extra"
    )
    return _run(taken, partial(_compared, source.store, target.store, rules), _size_of_pair, rules)


def _run(
    items: Iterator[T], action: Callable[[T], Verified], size_of: Callable[[T], int], rules: VerifyRules
) -> Generator[Verified, None, None]:
    return reported("verify", items, size_of, lambda each: in_order(each, action, rules.concurrency))


def _size_of_found(found: Found) -> int:
    return found.info.size or 0


def _size_of_pair(pair: Pair) -> int:
    known = pair.target or pair.source
    return (known.size if known else 0) or 0


def _explaining(name: str, info: ObjectInfo, store: Storage, check: Callable[[], Verified]) -> Verified:
    """The verdict, also where looking fails. Without its bucket or root nothing can be said of an object: that is raised."""
    try:
        return check()
    except (CancelledError, BucketNotFoundError) as error:
        error.with_context(operation="get", store=store.description)
        raise
    except StorageError as error:
        explained(error, "get", info.key, store)
        return Verified(name, info.size, _problem_of(error), error.message, error)


def _problem_of(error: StorageError) -> Problem:
    return next(problem for kind, problem in _PROBLEMS if isinstance(error, kind))


def _scrubbed(store: Storage, found: Found) -> Verified:
    def check() -> Verified:
        info = found.info
        with opened(store, info.key) as body:
            size = sum(map(len, body))
        if info.size is not None and size != info.size and body.info.etag == info.etag:
            return Verified(found.name, info.size, Problem.SIZE, f"{size:,} bytes, listed with {info.size:,}")
        return Verified(found.name, size)

    return _explaining(found.name, found.info, store, check)


def _against(store: Storage, pair: Pair) -> Verified:
    expected, info = pair.source, pair.target
    if expected is None or info is None:
        return _one_sided(pair)

    def check() -> Verified:
        if info.size is not None and info.size != expected.size:
            return Verified(pair.name, info.size, Problem.SIZE, f"{info.size:,} bytes instead of {expected.size:,}")
        read = digest_of(store, info.key, _BLAKE3, size=info.size or 0)
        if read.size != expected.size:
            return Verified(pair.name, read.size, Problem.SIZE, f"{read.size:,} bytes instead of {expected.size:,}")
        if read.checksum != expected.checksum:
            return Verified(pair.name, read.size, Problem.CONTENT, f"{read.checksum} instead of {expected.checksum}")
        return Verified(pair.name, read.size)

    return _explaining(pair.name, info, store, check)


def _compared(source: Storage, target: Storage, rules: VerifyRules, pair: Pair) -> Verified:
    ours, theirs = pair.source, pair.target
    if ours is None or theirs is None:
        return _one_sided(pair)
    if ours.size is not None and theirs.size is not None and ours.size != theirs.size:
        return Verified(pair.name, theirs.size, Problem.SIZE, f"{theirs.size:,} bytes instead of {ours.size:,}")
    both, blame = (source, ours, target, theirs), Blame()
    try:
        if not _is_equal(both, blame, quick=rules.quick):
            return Verified(pair.name, theirs.size, Problem.CONTENT, "the bytes are different")
        other = other_attributes(*both, blame=blame) if rules.attributes else ()
    except (CancelledError, BucketNotFoundError):
        raise
    except StorageError as error:
        return _failed(pair.name, theirs.size, error, blame.end)
    detail = f"another {', '.join(other).replace('_', ' ')}" if other else ""
    return Verified(pair.name, theirs.size, Problem.ATTRIBUTES if other else None, detail)


def _is_equal(both: tuple[Storage, ObjectInfo, Storage, ObjectInfo], blame: Blame, *, quick: bool) -> bool:
    if quick:
        # One that was written anew since it was listed has no digest to believe: it is read.
        with suppress(PreconditionError):
            verdict = compare(*both, blame=blame).verdict
            if verdict is not Verdict.UNKNOWN:
                return verdict is Verdict.EQUAL
    return compare(*both, contents=True, blame=blame).verdict is Verdict.EQUAL


def _failed(name: str, size: int | None, error: StorageError, end: End | None) -> Verified:
    problem = _problem_of(error)
    if problem is Problem.MISSING and end is End.SOURCE:
        problem = Problem.EXTRA
    return Verified(name, size, problem, error.message if end is None else f"the {end}: {error.message}", error, end)


def _one_sided(pair: Pair) -> Verified:
    if pair.target is not None:
        return Verified(pair.name, pair.target.size, Problem.EXTRA)
    return Verified(pair.name, None if pair.source is None else pair.source.size, Problem.MISSING)
