"""Finding and mending what the replicas of a mirror lack or have otherwise. Everything is copied from the primary."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from mediagit_storage.attributes import without_reserved
from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import IntegrityError, NotFoundError, StorageError
from mediagit_storage.hashing import new_hasher, verify_kept
from mediagit_storage.layers.base import closing_with
from mediagit_storage.layers.mirror.following import Following, PrimaryFailedError, look
from mediagit_storage.layers.mirror.members import Member
from mediagit_storage.layers.mirror.pending import MOST_ROWS, Behind
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.scope import current_scope
from mediagit_storage.types import Attributes, Checksum, ListOptions, ObjectInfo, ReadOptions

__all__ = ["Difference", "DifferenceKind", "RepairRules", "repaired"]

#: ``missing``: the replica has nothing. ``changed``: it has another size, another checksum, or an object that is older.
#: ``extra``: it has what the primary has not. ``content``: only reading both showed that they differ. ``unreadable``: the
#: primary's object cannot be read. ``noted``: a change was written down as missed or unfinished.
DifferenceKind = Literal["missing", "changed", "extra", "content", "unreadable", "noted"]

#: How far the clocks of two members may be apart, with the time that a large put takes.
_SKEW: Final = timedelta(minutes=15)
#: More than this part of a replica is not removed at once, unless told so.
_MOST: Final = 0.5


_UNDECIDED: Final = (
    "the two hold other bytes, and the primary keeps no digest that shows which are right: compare them, then say"
    " trust_primary or copy the right one to the primary"
)


@dataclass(frozen=True, slots=True)
class RepairRules:
    """What to look at, and what to do about it.

    ===================== ==========================================================================================
    ``dry_run``           look, and change nothing
    ``prefix``            only keys that start so
    ``noted``             only what was written down as missed: a few requests for each such key, and no listing
    ``thorough``          read every object of all members as well, and compare bytes and attributes
    ``trust_primary``     copy also where reading alone showed a difference, and the primary keeps no digest to prove that
                          it is not the one that is damaged
    ``remove_extra``      delete what the primary has not. Refused where that is more than half of a replica
    ``remove_most``       not even then
    ``drop_attributes``   copy without the attributes that a replica cannot keep, instead of failing
    ``concurrency``       how many objects at once
    ===================== ==========================================================================================
    """

    dry_run: bool = False
    prefix: str = ""
    noted: bool = False
    thorough: bool = False
    trust_primary: bool = False
    remove_extra: bool = False
    remove_most: bool = False
    drop_attributes: bool = False
    concurrency: int = 8


class Difference(NamedTuple):
    """What one replica has otherwise than the primary: ``repaired`` now, or not, with the ``error`` that prevented it."""

    key: str
    replica: int
    kind: DifferenceKind
    repaired: bool
    error: Exception | None = None


class _Pair(NamedTuple):
    """One key as the listings of the primary and of a replica show it."""

    key: str
    ours: ObjectInfo | None
    theirs: ObjectInfo | None


def repaired(following: Following, rules: RepairRules) -> Generator[Difference, None, None]:
    """See `MirrorLayer.repair`."""
    for member in following.replicas:
        yield from _Repair(following, member, rules).run()


class _Repair:
    """The repair of one replica."""

    def __init__(self, following: Following, member: Member, rules: RepairRules) -> None:
        self._following = following
        self._member = member
        self._rules = rules

    def run(self) -> Generator[Difference, None, None]:
        """What was written down first, then what the listings show, unless only the former is asked for."""
        rules, number, pending = self._rules, self._member.number, self._following.pending
        if rules.remove_extra and not rules.remove_most:
            self._refuse_most()
        noted: dict[str, list[Behind]] = {}
        uncounted: list[Behind] = []
        for row in pending.left(number):
            if row.key is None:
                uncounted.append(row)
            elif row.key.startswith(rules.prefix):
                noted.setdefault(row.key, []).append(row)
        with closing(ordered(self._mend_noted, noted.items(), rules.concurrency)) as mended:
            for difference in mended:
                yield difference
                if difference.repaired:
                    pending.forget(noted[difference.key])
        if uncounted:
            # It missed so much that nobody counted it: what looks alike may be old, and the primary is right. Where only the
            # notes could not be read (number 0) that is no reason to believe damaged bytes.
            trust = rules.trust_primary or any(row.id for row in uncounted)
            self._rules = replace(rules, thorough=True, trust_primary=trust)
        if uncounted or not rules.noted:
            yield from self._compare_all(noted.keys(), uncounted)

    def _compare_all(self, apart: Collection[str], uncounted: Sequence[Behind]) -> Generator[Difference, None, None]:
        """All keys of both, but for those that were looked at already.

        Then it is known what was ``uncounted``: extra objects that are left, deleted ones among them, are noted one by one.
        """
        left: list[str] = []
        whole = not self._rules.prefix and not self._rules.dry_run
        pairs = (pair for pair in self._pairs() if pair.key not in apart)
        with closing(ordered(self._look_closer, pairs, self._rules.concurrency)) as differences:
            for difference in differences:
                if difference is not None:
                    if uncounted and not difference.repaired:
                        left.append(difference.key)
                    whole = whole and (difference.repaired or difference.kind == "extra") and len(left) <= MOST_ROWS
                    yield difference
        if whole and uncounted:
            self._following.pending.narrow(self._member.number, uncounted, left)

    def _mend_noted(self, noted: tuple[str, Sequence[Behind]]) -> Difference:
        """An absence in the primary is only passed on where a delete was noted: else it may be the primary's own loss."""
        key, rows = noted
        deleted = self._rules.remove_extra or any(row.deleting for row in rows)
        try:
            lost = not self._rules.dry_run and not deleted and look(self._following.primary.backend, key) is None
            if lost and look(self._member.backend, key) is not None:
                return Difference(key, self._member.number, "extra", repaired=False)
        except StorageError as error:
            current_scope().check()
            return Difference(key, self._member.number, "noted", repaired=False, error=error)
        return self._mended(key, "noted")

    def _look_closer(self, pair: _Pair) -> Difference | None:
        """What is different about a pair, after it was mended as far as it may be."""
        current_scope().check()
        key, ours, theirs = pair
        if ours is None:
            return self._extra(key)
        if theirs is None:
            return self._mended(key, "missing")
        if _differs(ours, theirs):
            return self._mended(key, "changed")
        return self._compared(key) if self._rules.thorough else None

    def _mended(self, key: str, kind: DifferenceKind) -> Difference:
        number = self._member.number
        if self._rules.dry_run:
            return Difference(key, number, kind, repaired=False)
        try:
            self._following.bring(key, self._member, drop=self._rules.drop_attributes)
        except PrimaryFailedError as failed:
            current_scope().check()
            damaged = isinstance(failed.error, IntegrityError)
            return Difference(key, number, "unreadable" if damaged else kind, repaired=False, error=failed.error)
        except StorageError as error:
            current_scope().check()
            return Difference(key, number, kind, repaired=False, error=error)
        return Difference(key, number, kind, repaired=True)

    def _extra(self, key: str) -> Difference | None:
        # It may have been written, to both, after the primary's listing had passed its place.
        if look(self._following.primary.backend, key) is not None:
            return None
        if self._rules.remove_extra:
            return self._mended(key, "extra")
        return Difference(key, self._member.number, "extra", repaired=False)

    def _pairs(self) -> Iterator[_Pair]:
        options = ListOptions(exact=True)
        ours = self._following.primary.backend.list(self._rules.prefix, options)
        theirs = self._member.backend.list(self._rules.prefix, options)
        return closing_with(ours, closing_with(theirs, _joined(ours, theirs)))

    def _refuse_most(self) -> None:
        extra = count = 0
        for pair in self._pairs():
            count += pair.theirs is not None
            extra += pair.ours is None
        if extra > count * _MOST:
            raise StorageError(
                f"{extra:,} of {count:,} objects of {self._member.name} are not in the primary: more than half of it would be"
                " removed, so nothing was; look whether the primary is the right one, then say remove_most"
            )

    # ---- reading both

    def _compared(self, key: str) -> Difference | None:
        """Compare bytes and attributes."""
        primary, replica, number = self._following.primary.backend, self._member.backend, self._member.number
        try:
            ours = _read(primary, key, primary.content_checksum(key, ReadOptions()))
        except NotFoundError:
            return None
        except StorageError as error:
            current_scope().check()
            return Difference(key, number, "unreadable", repaired=False, error=error)
        try:
            theirs = _read(replica, key, None)
        except (IntegrityError, NotFoundError):
            return self._mended(key, "content")
        except StorageError as error:
            current_scope().check()
            return Difference(key, number, "content", repaired=False, error=error)
        return self._judged(key, ours, theirs)

    def _judged(self, key: str, ours: _Reading, theirs: _Reading) -> Difference | None:
        """Which of two is right can only be told where the primary keeps a digest, or was written meanwhile."""
        primary, replica, number = self._following.primary.backend, self._member.backend, self._member.number
        if ours.digest == theirs.digest:
            alike = self._described(ours.attributes, replica) == self._described(theirs.attributes, replica)
            return None if alike else self._mended(key, "changed")
        now = look(primary, key)
        if now is None or now.etag != ours.etag or ours.proven or self._rules.trust_primary:
            return self._mended(key, "content")
        return Difference(key, number, "content", repaired=False, error=IntegrityError(_UNDECIDED))

    def _described(self, attributes: Attributes | None, replica: StorageBackend) -> dict[str, object]:
        """The attributes that both should have, without what backends keep in them for themselves."""
        found = without_reserved(attributes or Attributes())
        names = replica.capabilities.attributes - self._following.foreign
        return {name: getattr(found, name) for name in names}


class _Reading(NamedTuple):
    """What reading an object showed; ``proven`` says that it is what its storage keeps a digest of."""

    digest: bytes
    etag: str | None
    attributes: Attributes | None
    proven: bool


def _read(backend: StorageBackend, key: str, proof: Checksum | None) -> _Reading:
    """Read all of an object. `ChecksumError` where it is not what ``proof`` says."""
    hasher, proving = new_hasher("sha256"), None if proof is None else new_hasher(proof.algorithm)
    scope = current_scope()
    with backend.stream(key, ReadOptions(attributes=True)) as body:
        for piece in body:
            scope.check()
            hasher.update(piece)
            if proving is not None:
                proving.update(piece)
    if proof is not None and proving is not None:
        verify_kept(proof, proving)
    return _Reading(hasher.digest(), body.info.etag, body.info.attributes, proof is not None)


def _differs(ours: ObjectInfo, theirs: ObjectInfo) -> bool:
    """Whether a listing shows that a replica has not what the primary has. What it does not show, it does not prove."""
    if ours.size is not None and theirs.size is not None and ours.size != theirs.size:
        return True
    if ours.checksum is not None and theirs.checksum is not None:
        same_kind = ours.checksum.algorithm == theirs.checksum.algorithm
        if same_kind and ours.checksum.digest != theirs.checksum.digest:
            return True
    # A copy is made after what it is a copy of.
    return ours.modified is not None and theirs.modified is not None and theirs.modified < ours.modified - _SKEW


def _joined(ours: Iterator[ObjectInfo], theirs: Iterator[ObjectInfo]) -> Iterator[_Pair]:
    """Two listings as one. Either has to be sorted: what comes out of order would be taken for missing."""
    left, right = _sorted(ours), _sorted(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if one is not None and (other is None or one[0] < other[0]):
            yield _Pair(one[1].key, one[1], None)
            one = next(left, None)
        elif other is not None and (one is None or other[0] < one[0]):
            yield _Pair(other[1].key, None, other[1])
            other = next(right, None)
        elif one is not None and other is not None:
            yield _Pair(one[1].key, one[1], other[1])
            one, other = next(left, None), next(right, None)


def _sorted(infos: Iterator[ObjectInfo]) -> Iterator[tuple[bytes, ObjectInfo]]:
    before = b""
    for info in infos:
        name = info.key.encode("utf-8", "surrogateescape")
        if name <= before:
            raise StorageError(f"a member does not list its keys in order ({info.key!r}): it cannot be compared")
        yield name, info
        before = name
