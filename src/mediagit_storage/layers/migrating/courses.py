"""What is asked of which storage, and in which order: the decisions of the layer, without any I/O.

A course is a generator: it yields what is to be asked, is sent the answer, and returns what the caller is told. The
same courses serve single calls, streams and batches. What an order guards against is said where it is chosen; the
crash points of each are in docs/adr/0018.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.backend import (
    Body,
    Content,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    InvalidKeyError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
)
from mediagit_storage.layers.migrating.tokens import of_new, of_old
from mediagit_storage.types import DeleteOptions, ObjectInfo

__all__ = ["Answer", "Course", "Side", "Step", "Value", "course_of", "proves_absence"]

Value: TypeAlias = Content | ObjectInfo | Body | None

_OTHER: Final = "the object is not the one that if_match names"
_KEPT_IN_OLD: Final = (
    "the object lies in the old storage as well, which may not be changed, and from there it would come back: allow"
    " deletes there, or delete it when the migration is over and this layer is gone"
)


class Side(Enum):
    """One of the two storages."""

    NEW = "new"
    OLD = "old"


class Step(NamedTuple):
    """Something to ask of one storage."""

    side: Side
    operation: Operation


class Answer(NamedTuple):
    """What was said: a value, or an error."""

    value: Value = None
    error: Exception | None = None

    @property
    def absent(self) -> bool:
        """Whether it proves that the object is not there."""
        return self.error is not None and proves_absence(self.error)


#: Returns the last answer, and the storage that it tells of.
Course: TypeAlias = Generator[Step, Answer, tuple[Side, Answer]]


def proves_absence(error: Exception | None) -> bool:
    """Whether an error says that there is no such object, or that the storage cannot hold one of such a key.

    Without its bucket a storage says nothing about objects.
    """
    return isinstance(error, NotFoundError | InvalidKeyError) and not isinstance(error, BucketNotFoundError)


def course_of(operation: Operation) -> Course:
    """How an operation is carried out on the two storages."""
    if isinstance(operation, ReadOperation):
        return _reading(operation)
    if isinstance(operation, StatOperation):
        return _looking(operation)
    if isinstance(operation, PutOperation):
        return _writing(operation)
    return _deleting(operation)


def _looking(operation: StatOperation) -> Course:
    """The old storage is asked only when the new one has proven that it has no such object."""
    answer = yield Step(Side.NEW, operation)
    if not answer.absent:
        return Side.NEW, answer
    return _last(answer, (yield Step(Side.OLD, operation)))


def _reading(operation: ReadOperation) -> Course:
    """Like looking; an ETag is only ever compared by the storage that it is of."""
    key, match, no_match = operation.key, operation.options.if_match, operation.options.if_none_match
    if of_old(match) is None:
        answer = yield Step(Side.NEW, _under(operation, of_new(match), of_new(no_match)))
        if not answer.absent:
            return Side.NEW, answer
        if match is not None:
            return _last(answer, _unless_there((yield Step(Side.OLD, StatOperation(key)))))
    else:
        answer = yield Step(Side.NEW, StatOperation(key))
        if not answer.absent:
            return Side.NEW, _unless_there(answer)
    return _last(answer, (yield Step(Side.OLD, _under(operation, of_old(match), of_old(no_match)))))


def _under(operation: ReadOperation, match: str | None, no_match: str | None) -> ReadOperation:
    """The same read on these conditions."""
    options = operation.options
    if match == options.if_match and no_match == options.if_none_match:
        return operation
    return ReadOperation(operation.key, replace(options, if_match=match, if_none_match=no_match))


def _writing(operation: PutOperation) -> Course:
    """Writes go to the new storage; a condition looks at the old one first, where objects only ever become fewer.

    A write on condition of an object of the old storage is a create-only one in the new.
    """
    key, source, options = operation.key, operation.source, operation.options
    expected = of_old(options.if_match)
    if expected is None and not options.if_absent:
        own = of_new(options.if_match)
        if own != options.if_match:
            operation = PutOperation(key, source, replace(options, if_match=own))
        return Side.NEW, (yield Step(Side.NEW, operation))
    there = yield Step(Side.OLD, StatOperation(key))
    if there.error is not None and not there.absent:
        return Side.OLD, there
    if expected is None:
        if not there.absent:
            return Side.OLD, Answer(error=AlreadyExistsError("an object of this key exists, in the old storage"))
        return Side.NEW, (yield Step(Side.NEW, operation))
    if _etag_of(there) != expected:
        return Side.OLD, Answer(error=PreconditionError(_OTHER))
    answer = yield Step(Side.NEW, PutOperation(key, source, replace(options, if_absent=True, if_match=None)))
    if isinstance(answer.error, AlreadyExistsError):
        answer = Answer(error=PreconditionError(_OTHER))
    return Side.NEW, answer


def _deleting(operation: DeleteOperation) -> Course:
    """In the old storage first: the other way round, a crash in between would bring back what was overwritten there."""
    key, options = operation.key, operation.options
    if options.if_match is not None:
        there = yield Step(Side.NEW, StatOperation(key))
        if there.error is not None and not there.absent:
            return Side.NEW, there
        expected = of_old(options.if_match)
        if expected is not None and there.absent:
            deleted = yield from _deleted_in_old(key, replace(options, if_match=expected))
            return Side.OLD, deleted
        # What the old storage has must stay where the delete is going to be refused.
        if expected is not None or _etag_of(there) != of_new(options.if_match):
            return Side.NEW, Answer(error=PreconditionError(_OTHER))
    of_the_old = yield from _deleted_in_old(key, DeleteOptions(missing_ok=options.missing_ok))
    if of_the_old.error is not None and not of_the_old.absent:
        return Side.OLD, of_the_old
    if options.if_match is not None:
        operation = DeleteOperation(key, replace(options, if_match=of_new(options.if_match)))
    answer = yield Step(Side.NEW, operation)
    if answer.absent and of_the_old.error is None:
        answer = Answer()
    return Side.NEW, answer


def _deleted_in_old(key: str, options: DeleteOptions) -> Generator[Step, Answer, Answer]:
    """Where nothing may be deleted, what is not there is as good as deleted, and all else is refused with advice."""
    answer = yield Step(Side.OLD, DeleteOperation(key, options))
    if not isinstance(answer.error, AccessError):
        return answer
    there = yield Step(Side.OLD, StatOperation(key))
    if there.error is None:
        return Answer(error=PermissionDeniedError(_KEPT_IN_OLD))
    if there.absent and options.if_match is not None:
        return Answer(error=PreconditionError(_OTHER))
    return Answer() if there.absent and options.missing_ok else there


def _last(of_the_new: Answer, of_the_old: Answer) -> tuple[Side, Answer]:
    """What is told of an object that the new storage does not have: an old one that cannot hold its key adds nothing."""
    if isinstance(of_the_old.error, InvalidKeyError):
        return Side.NEW, of_the_new
    return Side.OLD, of_the_old


def _unless_there(there: Answer) -> Answer:
    """The answer where an object that is there cannot be the one that a condition names."""
    return there if there.error is not None else Answer(error=PreconditionError(_OTHER))


def _etag_of(there: Answer) -> str | None:
    return there.value.etag if isinstance(there.value, ObjectInfo) else None
