"""How replicas follow the primary: each is given what was written, and the primary is asked whether that still stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Final, TypeAlias

from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    ConfigError,
    IntegrityError,
    InvalidKeyError,
    KeyConflictError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.events import Event, emit
from mediagit_storage.layers.mirror.members import Member
from mediagit_storage.layers.mirror.pending import Pending, Ticket
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import Attributes, BytesLike, DeleteOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Following", "PrimaryFailedError", "Send", "copy_object", "look", "outcome_unknown"]

#: Gives one replica what the primary has taken.
Send: TypeAlias = Callable[[Member], None]

#: How often replicas are given what others wrote meanwhile, before a later repair has to.
_ATTEMPTS: Final = 5
#: Objects up to this many bytes are copied in memory, so that their put can be repeated.
_SMALL: Final = 1024 * 1024
#: What says that nothing was changed. Damage that is found afterwards, a full disk or what nobody knows by name does not.
_REFUSALS: Final = (
    AccessError,
    AlreadyExistsError,
    ConfigError,
    InvalidKeyError,
    KeyConflictError,
    NotFoundError,
    PreconditionError,
    UnsupportedError,
)
#: Why a replica that is known to be down was not asked. It stays down no longer for that.
_LEFT_ALONE: Final = UnavailableError("it could not be reached a moment ago")


def outcome_unknown(error: BaseException) -> bool:
    """Whether a change that failed so may have been made all the same: so it is with all that is no refusal."""
    return not isinstance(error, _REFUSALS)


def look(backend: StorageBackend, key: str) -> ObjectInfo | None:
    """What is there now; None for a proven absence. A missing bucket proves nothing and raises."""
    try:
        return backend.stat(key)
    except BucketNotFoundError:
        raise
    except NotFoundError:
        return None


class PrimaryFailedError(Exception):
    """While something was copied to a replica it was the primary that failed, with ``error``."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _of_primary() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise PrimaryFailedError(error) from error


def _has_gone(error: StorageError) -> bool:
    """Whether what was to be copied is not there any more: it was deleted or replaced."""
    return isinstance(error, NotFoundError | PreconditionError) and not isinstance(error, BucketNotFoundError)


class _Copied(Source):
    """An open body of the primary as the source of one put."""

    rewindable = False

    def __init__(self, body: Body) -> None:
        self._body = body
        self.size = body.length

    def chunks(self) -> Iterator[BytesLike]:
        """Its pieces."""
        with _of_primary():
            yield from self._body


class Following:
    """The members of a mirror and what they miss. ``foreign`` are attributes that mean nothing but to the primary."""

    def __init__(
        self, primary: Member, replicas: Sequence[Member], pending: Pending, require: int, foreign: frozenset[str]
    ) -> None:
        self.primary = primary
        self.replicas = tuple(replicas)
        self.pending = pending
        self.require = require
        self.foreign = foreign

    def begin(self, *keys: str, deleting: Collection[str] = ()) -> Ticket:
        """Before the primary is changed. `UnavailableError`, and nothing is done, if too many replicas are known to be down."""
        up = [each for each in self.replicas if each.up]
        if len(up) < self.require:
            down = " and ".join(each.name for each in self.replicas if not each.up)
            raise UnavailableError(
                f"{self.require} replicas have to follow every change, and {down} cannot be reached now; nothing was changed"
            )
        return self.pending.begin([each.number for each in self.replicas], keys, deleting)

    def failed(self, ticket: Ticket, error: BaseException) -> None:
        """The primary did not take the change, or nobody knows."""
        if isinstance(error, StorageError):
            # Also raises what ended the scope; then the rows stay as those of a change that nobody finished.
            try:
                self.primary.failed(error)
            except StorageError:
                self.pending.missed(ticket, self._numbers())
                raise
        if outcome_unknown(error):
            self.pending.missed(ticket, self._numbers())
        else:
            self.pending.undone(ticket)

    def follow(self, ticket: Ticket, what: dict[str, ObjectInfo | None], send: Send, *, at_once: bool) -> None:
        """The primary has taken a change: let every replica take it with ``send``, and see that it still stands.

        ``what`` is what the primary then had under each key. ``at_once`` sends to several replicas in threads. Raises
        `UnavailableError` unless enough of them have it; what they miss is remembered.
        """
        self.primary.worked()
        behind: dict[int, BaseException | None] = {each.number: None for each in self.replicas}
        try:
            reached = self._sent(send, behind, at_once=at_once)
            taken = len(reached)
            steady = self._settled(what, reached)
            for each in steady:
                del behind[each.number]
            self.pending.done(ticket, [each.number for each in steady])
        finally:
            self._tell(ticket, what, behind)
        if taken < self.require:
            errors = [error for error in behind.values() if error is not None]
            raise self._not_enough(taken) from next(iter(errors), None)

    def settle(self, key: str, expected: ObjectInfo | None, members: Sequence[Member]) -> list[Member]:
        """Those of ``members`` that have what the primary has, given that they have ``expected``.

        A writer may have come between the primary and a replica, and left there what is old by now: whoever writes to a
        replica looks at the primary afterwards, and gives it what is there. So the last one who writes leaves what is right.
        """
        left, given = [*members], True
        for _ in range(_ATTEMPTS):
            now = look(self.primary.backend, key) if left else expected
            if given and _same(expected, now):
                return left
            outcomes = [(each, self._given(key, now, each)) for each in left]
            left = [each for each, outcome in outcomes if outcome is not False]
            expected, given = now, all(outcome is not None for _, outcome in outcomes)
        return []

    def bring(self, key: str, member: Member, *, drop: bool = False) -> None:
        """Give a replica what the primary has now, or its absence. Raises what prevents that.

        What the primary's side of it raises comes as a `PrimaryFailedError`. Others may write meanwhile, so until the
        primary was asked again the replica is noted as behind, and stays so unless it was left untouched.
        """
        now = self.now(key)
        ticket = self.pending.begin([member.number], [key])
        untouched, settled = True, False
        try:
            for _ in range(_ATTEMPTS):
                try:
                    self.give(key, now, member, drop=drop)
                except PrimaryFailedError as failed:
                    if not _has_gone(failed.error):
                        raise
                    now = self.now(key)
                    continue
                untouched = False
                before, now = now, self.now(key)
                if _same(before, now):
                    settled = True
                    break
        except BaseException as error:
            if untouched and (isinstance(error, PrimaryFailedError) or not outcome_unknown(error)):
                self.pending.undone(ticket)
            else:
                self.pending.missed(ticket, [member.number])
            raise
        if not settled:
            self.pending.missed(ticket, [member.number])
            raise UnavailableError("the object changed each time that it was copied")
        self.pending.done(ticket)

    def now(self, key: str) -> ObjectInfo | None:
        """What the primary has now."""
        with _of_primary():
            return look(self.primary.backend, key)

    def give(self, key: str, now: ObjectInfo | None, member: Member, *, drop: bool = False) -> None:
        """Make a replica hold what the primary held a moment ago: a copy of ``now``, or nothing."""
        if now is None:
            member.backend.delete(key, DeleteOptions())
        else:
            copy_object(self.primary.backend, member.backend, now, self.foreign, drop=drop)

    def _given(self, key: str, now: ObjectInfo | None, member: Member) -> bool | None:
        """Whether the replica has taken it; None where the primary's object has gone meanwhile, as the next look tells."""
        try:
            self.give(key, now, member)
        except PrimaryFailedError as failed:
            if _has_gone(failed.error):
                return None
            raise failed.error from None
        except StorageError as error:
            member.failed(error)
            return False
        return True

    def _sent(self, send: Send, behind: dict[int, BaseException | None], *, at_once: bool) -> list[Member]:
        def attempt(member: Member) -> tuple[Member, BaseException | None]:
            if not member.up:
                return member, _LEFT_ALONE
            try:
                send(member)
            except Exception as error:  # noqa: BLE001  # a replica's trouble is its own
                return member, error
            member.worked()
            return member, None

        workers = len(self.replicas) if at_once else 1
        reached: list[Member] = []
        with closing(ordered(attempt, self.replicas, workers)) as attempts:
            for member, error in attempts:
                behind[member.number] = error
                if error is None:
                    reached.append(member)
                elif isinstance(error, PrimaryFailedError):
                    self.primary.failed(error.error)
                elif error is not _LEFT_ALONE:
                    member.failed(error)
        return reached

    def _settled(self, what: dict[str, ObjectInfo | None], reached: list[Member]) -> list[Member]:
        try:
            for key, expected in what.items():
                reached = self.settle(key, expected, reached)
        except StorageError as error:
            # The replicas have what was written. That nobody came between is not known, so it is remembered.
            self.primary.failed(error)
            return []
        return reached

    def _tell(
        self, ticket: Ticket, what: dict[str, ObjectInfo | None], behind: dict[int, BaseException | None]
    ) -> None:
        if not behind:
            return
        self.pending.missed(ticket, [*behind])
        for number, error in behind.items():
            if error is None:
                continue
            name = self.replicas[number - 1].name
            for key in what:
                message = f"{name} missed a change, and is put right by a repair: {error}"
                emit(Event("mirror.missed", message, key, {"replica": number, "error": type(error).__name__}))

    def _not_enough(self, taken: int) -> UnavailableError:
        return UnavailableError(
            f"the primary has taken the change, and {taken} of the {self.require} replicas that have to;"
            " what they miss is remembered: repair the mirror, or do it again"
        )

    def _numbers(self) -> list[int]:
        return [each.number for each in self.replicas]


def _same(one: ObjectInfo | None, other: ObjectInfo | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.etag is not None and one.etag == other.etag


def copy_object(
    source: StorageBackend, target: StorageBackend, info: ObjectInfo, foreign: frozenset[str], *, drop: bool = False
) -> None:
    """Copy the very object that ``info`` tells of, attributes included, through this machine; as atomic as a put.

    ``foreign`` are attributes that mean nothing to the target. `UnsupportedError` for others that it does not keep, unless
    ``drop`` leaves them out; `IntegrityError` where the target says that it stored another number of bytes. What the source
    raises comes as a `PrimaryFailedError`: a `PreconditionError` or `NotFoundError` where it has another object by now.
    """
    pinned = info.etag if source.capabilities.read_conditions else None
    options = ReadOptions(if_match=pinned, attributes=True)

    def put(data: Source, found: Attributes | None) -> None:
        attributes = _fitting(found or Attributes(), target, foreign, drop=drop)
        stored = target.put(info.key, data, PutOptions(attributes))
        if stored.size is not None and stored.size != data.size:
            raise IntegrityError(f"{stored.size:,} bytes were stored of {data.size:,}")

    if info.size is not None and info.size <= _SMALL:
        with _of_primary():
            content = source.read(info.key, options)
        put(BytesSource(content.data), content.info.attributes)
        return
    with _of_primary():
        opened = source.stream(info.key, options)
    with opened as body:
        put(_Copied(body), body.info.attributes)


def _fitting(attributes: Attributes, target: StorageBackend, foreign: frozenset[str], *, drop: bool) -> Attributes:
    left_out = {*foreign, *(attributes.named() - target.capabilities.attributes)}
    lost = attributes.named() & left_out - foreign
    if lost and not drop:
        raise UnsupportedError(f"{target.description} does not keep {', '.join(sorted(lost))}")
    empty = Attributes()
    return replace(attributes, **{name: getattr(empty, name) for name in left_out})
