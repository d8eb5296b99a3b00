"""The attempts at one call: what an error of this library's tree means to the decision that requests are repeated by.

==============================  ===================================  ================================
error                           read as                              repeated
==============================  ===================================  ================================
`ThrottledError`                "too many requests": nothing done    always
`StorageTimeoutError`           no progress; it may have been done   when that does no harm
`ConnectionLostError`           a broken connection; the same        when that does no harm
another one that is retryable   "internal error"; the same           when that does no harm
`TruncatedError`, of a read     a body cut off                       a read always does no harm
anything else                                                        never
==============================  ===================================  ================================

The decision itself, its bounds and its pauses are those of `mediagit_storage.http.retry`.
"""

from __future__ import annotations

from typing import Final

from mediagit_storage.errors import (
    ConnectionLostError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    TruncatedError,
    UnavailableError,
)
from mediagit_storage.events import Event, emit
from mediagit_storage.http.faults import FaultKind
from mediagit_storage.http.retry import Retry, Rules, Situation, Traits, decide, noted
from mediagit_storage.scope import current_scope
from mediagit_storage.types import DeleteOptions

__all__ = ["HARMLESS", "MARKED", "ONCE", "Trials", "deleting"]

#: What may be done twice.
HARMLESS: Final = Traits()
#: A write on a condition that is known again by a mark of its own.
MARKED: Final = Traits(conditional=True)
#: What must not be done again unless it is sure that it was not done.
ONCE: Final = Traits(idempotent=False, conditional=True)

_TOO_MANY: Final = 429
_INTERNAL: Final = 500


class Trials:
    """How far the attempts at one call have come. For one thread.

    ``what`` is the call for people, ``reads`` says that it fetches bytes, ``began`` is when the first attempt did.
    """

    __slots__ = ("_attempt", "_began", "_reads", "_rules", "_traits", "maybe_done", "what")

    def __init__(
        self,
        what: str,
        rules: Rules,
        traits: Traits = HARMLESS,
        *,
        reads: bool = False,
        began: float | None = None,
    ) -> None:
        self.what = what
        #: Whether the storage may have acted on an earlier attempt.
        self.maybe_done = False
        self._attempt = 1
        self._began = rules.clock.monotonic() if began is None else began
        self._reads = reads
        self._rules = rules
        self._traits = traits

    def after(self, error: Exception, *, rewindable: bool = True) -> float | None:
        """Seconds to wait before the next attempt; None where ``error``, in which the attempts are noted, is the end."""
        situation = self._situation(error, rewindable=rewindable)
        decision = (
            None if situation is None else decide(situation, self._traits, self._rules.policy, self._rules.random)
        )
        if situation is not None and situation.status != _TOO_MANY:
            self.maybe_done = True
        if not isinstance(decision, Retry):
            noted(error, self._attempt, self._rules.clock.monotonic() - self._began)
            return None
        self._attempt += 1
        message = f"{self.what} again in {decision.delay:.2f} s: {type(error).__name__}"
        emit(Event("retry", message, None, {"attempt": self._attempt}))
        return decision.delay

    def _situation(self, error: Exception, *, rewindable: bool) -> Situation | None:
        status, fault = _read_as(error, reads=self._reads)
        if status is None and fault is None:
            return None
        return Situation(
            attempt=self._attempt,
            elapsed=self._rules.clock.monotonic() - self._began,
            status=status,
            fault=fault,
            retry_after=error.retry_after if isinstance(error, UnavailableError) else None,
            rewindable=rewindable,
            time_left=current_scope().remaining(),
        )


def deleting(options: DeleteOptions) -> Traits:
    """A delete does no harm a second time, unless it asks for proof that there was something to delete."""
    return HARMLESS if options.missing_ok and options.if_match is None else ONCE


def _read_as(error: Exception, *, reads: bool) -> tuple[int | None, FaultKind | None]:
    """The status or fault that an error stands for; two times None for what is never repeated."""
    if isinstance(error, ThrottledError):
        return _TOO_MANY, None
    if isinstance(error, StorageTimeoutError):
        return None, FaultKind.IDLE
    if isinstance(error, ConnectionLostError):
        return None, FaultKind.LOST
    if isinstance(error, TruncatedError) and reads:
        return None, FaultKind.TRUNCATED
    if isinstance(error, StorageError) and error.retryable:
        return _INTERNAL, None
    return None, None
