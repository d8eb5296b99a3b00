"""What hooks are told of an operation: a `Record` when it begins, events while it runs, the record when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
)
from mediagit_storage.events import Event, acting_as, current_actor

__all__ = ["CHANGING", "Hook", "Outcome", "Record", "Watch", "acting_as", "current_actor", "outcome_of"]

#: How an operation ended. Only ``failed`` is a failure: ``absent``, ``conflict`` and ``unchanged`` are answers that
#: were asked for (is it there? write it if it is not; read it if it is another).
Outcome = Literal["ok", "absent", "conflict", "unchanged", "cancelled", "failed"]

#: The operations that change what is stored, or lend the right to (``presign``).
CHANGING: Final = frozenset(
    {"put", "delete", "copy", "rename", "presign", "create", "abort_upload", "replace_head"}
)  # fmt: skip

#: Operations that ask whether something is there.
_ASKING: Final = frozenset({"stat", "stat_upload"})


@dataclass(slots=True, eq=False)
class Record:
    """One operation. Treat it as immutable: it is not frozen because that would triple the cost of making one.

    Known when it begins: ``operation`` is the method of `StorageBackend`; ``key`` the key, or the prefix of a listing;
    ``target`` the other key of a copy or rename; ``detail`` the version that was named, the method of a presigned
    link, or the CDN that one is for; ``actor`` who acts (see `acting_as`); ``started`` seconds since 1970.

    Known when it has ended: ``seconds`` is the time that the storage took: what a reader does between two pieces, or
    two items of a listing, is not in it. ``bytes_read`` were handed to the caller, ``bytes_written`` are stored (none of
    a write that failed), each counted once whatever was repeated below. ``items`` are the objects, folders or uploads
    that a listing gave. ``attempts`` is 1 and one more for each request that was repeated, None in a batch, where nobody
    can tell whose they were. ``error`` is the class of what was raised, ``message`` its text in one line, without
    credentials.
    """

    store: str
    operation: str
    key: str | None
    target: str | None
    detail: str | None
    actor: str | None
    started: float
    seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    items: int = 0
    attempts: int | None = 1
    outcome: Outcome = "ok"
    error: str | None = None
    message: str | None = None


class Watch:
    """What follows one operation. Every method does nothing unless overridden, and may be called in any thread."""

    #: Whether `resumed` and `paused` are called: most do not care.
    paced: bool = False
    #: Whether `event` is told of details, too: of each request over HTTP, kind ``http.attempt``. Constant.
    details: bool = False

    def resumed(self) -> None:
        """The storage works for the operation from here on, in this context; `paused` follows in the same one.

        Once in most operations, for each piece of a stream and each item of a listing; never in a batch.
        """

    def paused(self) -> None:
        """The storage waits for its caller, or is done."""

    def event(self, event: Event) -> None:
        """Something happened below the operation: a request is sent again (kind ``retry``), for example."""

    def ended(self, record: Record) -> None:
        """The operation has ended, well or not. Called once."""


class Hook(Watch):
    """Told of every operation. One that keeps nothing for each of them overrides `ended` alone.

    What a method raises goes no further: the operation goes on, and the hook's first failure is logged.
    """

    def begun(self, record: Record) -> Watch:
        """An operation begins; what is returned is told of its events and its end. By default this hook itself."""
        return self

    def batch_event(self, store: str, event: Event) -> None:
        """Something happened below a batch, and it is not known to which of its operations it belongs.

        Of details (see `Watch.details`) as well, where this hook asks for them.
        """


def outcome_of(operation: str, error: BaseException | None) -> Outcome:
    """What an operation that ended so is counted as."""
    match error:
        case None:
            return "ok"
        case NotModifiedError():
            return "unchanged"
        case AlreadyExistsError() | PreconditionError():
            return "conflict"
        case NotFoundError() if operation in _ASKING and not isinstance(error, BucketNotFoundError):
            return "absent"
        case CancelledError() | GeneratorExit() | KeyboardInterrupt():
            return "cancelled"
    return "failed"
