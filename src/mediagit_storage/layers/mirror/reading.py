"""Reads that a replica answers while the primary cannot.

A replica is never believed about absence, nor asked for what only the primary can decide: versions, and conditions on an
ETag of the primary. What it gives carries an ETag of its own kind, which names the replica: a later read on condition of
that ETag is answered by the same replica and by no other member. So the parts of an object that somebody reads one by one
are never those of two members.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Generic, TypeVar, cast

from mediagit_storage.backend import Body, ReadOperation, StatOperation, StorageBackend
from mediagit_storage.errors import IntegrityError, StorageError, UnavailableError
from mediagit_storage.events import Event, emit
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.layers.mirror.members import Member
from mediagit_storage.layers.mirror.pending import Pending
from mediagit_storage.layers.mirror.racing import quicker
from mediagit_storage.source import FileRegion
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["Read", "Reads", "ReplicaBody", "replica_named"]

T = TypeVar("T")

#: No provider gives such an ETag.
_OF_REPLICA: Final = re.compile(r"mgs-replica-(\d{1,3}):(.*)", re.DOTALL)


class ReplicaBody(Body):
    """A replica's body with an ETag that says so."""

    def __init__(self, body: Body, info: ObjectInfo) -> None:
        self.info = info
        self.start = body.start
        self.length = body.length
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def region(self) -> FileRegion | None:
        """The inner one."""
        return self._body.region()

    def close(self) -> None:
        """Close the inner one."""
        self._body.close()


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """One read: its name and key for people, what ``ask`` gets from a member, and how ``mark`` puts an ETag right in it."""

    operation: str
    key: str
    options: ReadOptions
    ask: Callable[[StorageBackend, ReadOptions], T]
    mark: Callable[[T, Callable[[ObjectInfo], ObjectInfo]], T]


class Reads:
    """Who answers the reads of one mirror."""

    def __init__(
        self,
        primary: Member,
        replicas: tuple[Member, ...],
        pending: Pending,
        *,
        failover: bool,
        hedge: float | None = None,
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._pending = pending
        self.failover = failover
        self._hedge = hedge
        self._lock = ForkSafeLock()
        self.failovers = 0

    def answer(self, read: Read[T]) -> T:
        """What the primary gives, or a replica in its place."""
        options = read.options
        named = replica_named(options.if_match)
        if named is not None:
            return self._of_replica(*named, read)
        if not self._may_fail_over(options):
            return read.ask(self._primary.backend, options)
        failure: StorageError | None = None
        if self._primary.up:
            try:
                return self._of_the_quickest(read)
            except (UnavailableError, IntegrityError) as error:
                self._primary.failed(error)
                failure = error
        for replica in self._able(read.key):
            try:
                found = read.ask(replica.backend, _for_replica(options, replica.number))
            except StorageError as error:
                # Not even an absence is proven by a replica: it may have missed the object.
                replica.failed(error)
                continue
            replica.worked()
            why = "it could not be reached a moment ago" if failure is None else failure.message
            return self._given_by(replica, read, found, why, failure)
        if failure is not None:
            raise failure
        return read.ask(self._primary.backend, options)

    def by_itself(self, operation: ReadOperation | StatOperation) -> bool:
        """Whether a read is none for the primary's batch: a replica is to answer it, or may have to."""
        named = replica_named(operation.options.if_match) if isinstance(operation, ReadOperation) else None
        return named is not None or (self.failover and not self._primary.up)

    def worked(self) -> None:
        """The primary has answered a read of its batch."""
        self._primary.worked()

    def _of_replica(self, number: int, etag: str, read: Read[T]) -> T:
        """Go on with what that replica gave before."""
        if not 1 <= number <= len(self._replicas):
            return read.ask(self._primary.backend, read.options)
        pinned = replace(_for_replica(read.options, number), if_match=etag)
        return read.mark(read.ask(self._replicas[number - 1].backend, pinned), partial(_marked, number=number))

    def _of_the_quickest(self, read: Read[T]) -> T:
        """The primary's answer, or a replica's that came while the primary took its time."""
        primary = self._primary.backend
        replica = None if self._hedge is None else next(self._able(read.key), None)
        if self._hedge is None or replica is None:
            found = read.ask(primary, read.options)
            self._primary.worked()
            return found
        other, theirs = replica.backend, _for_replica(read.options, replica.number)
        answer = quicker(
            lambda: read.ask(primary, read.options),
            lambda: read.ask(other, theirs),
            after=self._hedge,
            may_help=lambda error: isinstance(error, UnavailableError | IntegrityError),
        )
        if answer.error is not None:
            raise answer.error
        found = cast("T", answer.value)
        if not answer.by_second:
            self._primary.worked()
            return found
        replica.worked()
        return self._given_by(replica, read, found, f"it had not answered for {self._hedge:g} s", None)

    def _given_by(self, replica: Member, read: Read[T], found: T, why: str, failure: StorageError | None) -> T:
        """A replica's answer, told of and marked."""
        self._tell(read.operation, read.key, replica, why, failure)
        return read.mark(found, partial(_marked, number=replica.number))

    def _able(self, key: str) -> Iterator[Member]:
        """The replicas that may answer for the primary."""
        return (each for each in self._replicas if each.up and not self._pending.is_behind(each.number, key))

    def _may_fail_over(self, options: ReadOptions) -> bool:
        return self.failover and options.version is None and options.if_match is None

    def _tell(self, operation: str, key: str, replica: Member, why: str, failure: StorageError | None) -> None:
        with self._lock.mine():
            self.failovers += 1
        emit(
            Event(
                "mirror.failover",
                f"{operation} was answered by {replica.name} instead of the primary: {why}",
                key,
                {"replica": replica.number, "error": None if failure is None else type(failure).__name__},
            )
        )


def replica_named(token: str | None) -> tuple[int, str] | None:
    """The number of the replica that gave a token, and what it was there; None for one of the primary's."""
    found = None if token is None else _OF_REPLICA.fullmatch(token)
    return None if found is None else (int(found[1]), found[2])


def _for_replica(options: ReadOptions, number: int) -> ReadOptions:
    """The options for a replica: a condition on an ETag of another member is always met, or it would mean nothing."""
    if options.if_none_match is None:
        return options
    named = replica_named(options.if_none_match)
    own = named[1] if named is not None and named[0] == number else None
    return replace(options, if_none_match=own)


def _marked(info: ObjectInfo, *, number: int) -> ObjectInfo:
    etag = None if info.etag is None else f"mgs-replica-{number}:{info.etag}"
    return replace(info, etag=etag, version=None)
