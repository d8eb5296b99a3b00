"""Retrying: one pure function decides, one loop carries it out.

=====================================================  ========================================================
what came back                                         what is done
=====================================================  ========================================================
an answer below 400 without a vendor's error code      taken
not connected (name, refused, TLS broke, time-out)     again: nothing can have been sent
connection broken, body cut, idle or total time over   again when idempotent and the body can be rewound
408, 429, 503, a vendor's "slow down"                  again: the server says that it did nothing
500 and other 5xx, a vendor's "internal error"         again when idempotent (also inside of a 200)
409 of a vendor's "conflict of conditions"             again, when the write was conditional
400 and above, cut off before a code, not conditional  again when idempotent: its reason got lost
clock skew                                             once more, signed with the server's time
expired token (or 401 where tokens are refreshed)      once more, with fresh credentials
kept in another region of the same provider            once more, there
anything else (404, 403, 412, certificates, ...)       never
=====================================================  ========================================================

Waits grow exponentially with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog), and are never
shorter than a Retry-After.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.events import Event, emit
from mediagit_storage.http.faults import FaultKind, fault_of
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.scope import Scope, current_scope

__all__ = [
    "DEFAULT_RULES",
    "ELSEWHERE",
    "FIRST",
    "Attempt",
    "Course",
    "GiveUp",
    "Job",
    "Repair",
    "Retried",
    "Retry",
    "RetryPolicy",
    "Rules",
    "Situation",
    "Traits",
    "asks_to_slow_down",
    "decide",
    "noted",
    "parse_retry_after",
    "run",
]


class Repair(StrEnum):
    """Something that helps before the next attempt, done at most once each."""

    CLOCK = "clock"  # sign with the server's time
    CREDENTIALS = "credentials"  # fetch new ones
    PLACE = "place"  # ask the server that the answer names


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``attempts`` counts the first one too; ``base`` and ``cap`` are seconds of the backoff; ``total`` bounds the
    seconds from the first attempt to the start of the last one, None for no bound.
    """

    attempts: int = 3
    base: float = 0.2
    cap: float = 20.0
    total: float | None = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError("attempts counts the first one too: at least 1")
        if not 0 <= self.base <= self.cap:
            raise ConfigError("the backoff's base is not negative and not above its cap")
        if self.total is not None and self.total < 0:
            raise ConfigError("the total time of retries is not negative")


class Traits(NamedTuple):
    """What a request allows: ``idempotent``, sending it twice does what sending it once does; ``conditional``, it is a
    write on a condition; ``refreshable``, a plain 401 may mean that its token is too old.
    """

    idempotent: bool = True
    conditional: bool = False
    refreshable: bool = False


class Situation(NamedTuple):
    """What an attempt came to. Exactly one of ``status`` and ``fault`` is set."""

    attempt: int
    elapsed: float
    status: int | None = None
    fault: FaultKind | None = None
    #: Whether the request, or a part of it, may have reached the server.
    sent: bool = True
    #: The vendor's code in the answer's body, None where there is none.
    code: str | None = None
    #: Whether the answer's body broke off, so that a code may be missing.
    cut: bool = False
    retry_after: float | None = None
    rewindable: bool = True
    repaired: frozenset[Repair] = frozenset()
    #: Seconds that the surrounding scope leaves, None for no end.
    time_left: float | None = None


class Retry(NamedTuple):
    """Do it again after ``delay`` seconds, and after ``repair`` if there is one."""

    delay: float
    reason: str
    repair: Repair | None = None


class GiveUp(NamedTuple):
    """Leave it at that."""

    reason: str


_UNSENT: Final = frozenset(
    {FaultKind.NAME, FaultKind.CONNECT, FaultKind.CONNECT_TIMEOUT, FaultKind.PROXY, FaultKind.TLS}
)
_BROKEN: Final = frozenset(
    {FaultKind.LOST, FaultKind.TRUNCATED, FaultKind.PROTOCOL, FaultKind.IDLE, FaultKind.TOTAL, FaultKind.TLS}
)
#: Answers that say that nothing was done.
_REFUSED: Final = frozenset({408, 429, 503})
#: Those of them that mean that fewer requests would be better.
_BUSY: Final = frozenset({429, 503})
#: What the server cannot do at all.
_PERMANENT: Final = frozenset({501, 505, 507, 511})
_SLOW_DOWN: Final = frozenset(
    {"SlowDown", "RequestTimeout", "ServiceUnavailable", "ServerBusy", "Throttling", "ThrottlingException",
     "RequestLimitExceeded", "TooManyRequests", "RequestThrottled", "rateLimitExceeded", "userRateLimitExceeded",
     "BandwidthLimitExceeded", "EC2ThrottledException"}
)  # fmt: skip
_INTERNAL: Final = frozenset(
    {"InternalError", "InternalServerError", "OperationTimedOut", "backendError", "internalError"}
)
_CONFLICT: Final = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "ExpiredAuthenticationToken"}
)
#: A backend's own word for "not here", which it gives for answers that name a place it may go to.
ELSEWHERE: Final = "Elsewhere"


def asks_to_slow_down(status: int, code: str | None) -> bool:
    """Whether an answer says that the server has too much to do, and not that this request is wrong or unlucky."""
    return status in _BUSY or code in _SLOW_DOWN


def decide(
    situation: Situation, traits: Traits, policy: RetryPolicy, random: Callable[[], float]
) -> Retry | GiveUp | None:
    """What to do after an attempt; None means that the answer is to be taken. ``random`` gives numbers in [0, 1)."""
    reason = _why_again(situation, traits)
    if reason is None:
        fine = situation.status is not None and situation.status < 400 and situation.code is None
        return None if fine else GiveUp("trying again would not help")
    if isinstance(reason, Repair):
        if reason in situation.repaired:
            return GiveUp(f"the {reason} cannot be repaired (again)")
        again: Retry | GiveUp = Retry(0.0, f"after repairing {reason}", reason)
    else:
        again = _backoff(situation, policy, reason, random)
    if isinstance(again, Retry) and not situation.rewindable:
        return GiveUp("the body can be read only once")
    return again


def _why_again(situation: Situation, traits: Traits) -> str | Repair | None:
    if situation.fault is not None:
        return _why_after_fault(situation.fault, traits, sent=situation.sent)
    return _why_after_status(situation.status or 0, situation.code, traits, cut=situation.cut)


def _why_after_fault(fault: FaultKind, traits: Traits, *, sent: bool) -> str | None:
    if fault in _UNSENT and not sent:
        return f"{fault}, nothing was sent"
    return str(fault) if fault in _BROKEN and traits.idempotent else None


def _why_after_status(status: int, code: str | None, traits: Traits, *, cut: bool) -> str | Repair | None:
    if code in _SKEWED:
        return Repair.CLOCK
    if code == ELSEWHERE:
        return Repair.PLACE
    if code in _EXPIRED or (status == 401 and traits.refreshable):
        return Repair.CREDENTIALS
    refused = status in _REFUSED or code in _SLOW_DOWN or (code in _CONFLICT and traits.conditional)
    failed = (status >= 500 and status not in _PERMANENT) or code in _INTERNAL
    if refused or (failed and traits.idempotent):
        return f"{status} {code or ''}".rstrip()
    if cut and code is None and status >= 400 and traits.idempotent and not traits.conditional:
        # A refusal whose reason got lost is no proof of anything.
        return f"{status}, cut off"
    return None


def _backoff(situation: Situation, policy: RetryPolicy, reason: str, random: Callable[[], float]) -> Retry | GiveUp:
    if situation.attempt >= policy.attempts:
        return GiveUp(f"{policy.attempts} attempts were made")
    # The exponent is bounded: a policy of thousands of attempts must not overflow.
    delay = random() * min(policy.cap, policy.base * 2.0 ** min(situation.attempt - 1, 62))
    delay = max(delay, situation.retry_after or 0.0)
    if policy.total is not None and situation.elapsed + delay > policy.total:
        return GiveUp("the time for retries is over")
    if situation.time_left is not None and delay >= situation.time_left:
        return GiveUp("the surrounding scope ends before the next attempt")
    return Retry(delay, reason)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a header that holds seconds or an HTTP date; None for anything else. Not negative."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # rare, and it loads the socket module

    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


_PLAIN: Final = Traits()
_NO_REPAIRS: Final[Mapping[Repair, Callable[[Response], None]]] = MappingProxyType({})


def _no_code(_response: Response) -> str | None:
    return None


class Attempt(NamedTuple):
    """What the builder of a request may want to know: which attempt this is, and what was repaired before it."""

    number: int = 1
    repaired: frozenset[Repair] = frozenset()


FIRST: Final = Attempt()


class Job:
    """One request with all that repeating it takes. Used once, by one thread.

    ``build`` makes (and signs) the request anew for each attempt; ``code_of`` finds a vendor's error code in an answer
    (also in one of status 200); ``repairs`` are the hooks, given the answer that asked for them: a repair without one
    is not tried.
    """

    __slots__ = ("began", "build", "code_of", "course", "repairs", "scope", "traits")

    def __init__(
        self,
        build: Callable[[Attempt], Request],
        traits: Traits = _PLAIN,
        code_of: Callable[[Response], str | None] = _no_code,
        repairs: Mapping[Repair, Callable[[Response], None]] = _NO_REPAIRS,
    ) -> None:
        self.build = build
        self.traits = traits
        self.code_of = code_of
        self.repairs = repairs
        #: When its first attempt began, and while it is repeated how far it has come.
        self.began = 0.0
        self.course: Course | None = None
        #: What bounds this one request, inside of what bounds all.
        self.scope: Scope | None = None


def _sleep_in_scope(seconds: float) -> None:
    if seconds > 0:
        current_scope().sleep(seconds)


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy, and what it is carried out with."""

    policy: RetryPolicy = RetryPolicy()
    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = _sleep_in_scope
    random: Callable[[], float] = _random.random


#: How requests are repeated where nobody said otherwise.
DEFAULT_RULES: Final = Rules()


@dataclass(slots=True)
class Retried:
    """The last answer; treat it as immutable. ``maybe_done`` tells that the server may have acted on an earlier sending
    of this request, so that a failed condition may be our own doing.
    """

    response: Response
    attempts: int
    maybe_done: bool


class Course:
    """How far the attempts at one request have come; the decision after each is taken here. For one thread.

    ``began`` is when the first one began, by the clock of the rules; None for now.
    """

    __slots__ = ("_began", "_rules", "attempt", "job", "maybe_done")

    def __init__(self, job: Job, rules: Rules, began: float | None = None) -> None:
        self.job = job
        self.attempt = FIRST
        #: Whether the server may have acted on an earlier sending.
        self.maybe_done = False
        self._rules = rules
        self._began = rules.clock.monotonic() if began is None else began

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt began."""
        return self._rules.clock.monotonic() - self._began

    def after_response(self, response: Response) -> Retry | Retried:
        """What to do after an answer: again (``repair`` is done already), or take it."""
        code = self.job.code_of(response)
        if code is None and response.status < 400:
            # Nearly always: what `decide` would say, without asking it.
            return Retried(response, self.attempt.number, self.maybe_done or response.attempts > 1)
        now = datetime.fromtimestamp(self._rules.clock.now_ns() / 1e9, UTC)
        situation = self._situation(response.request)._replace(
            status=response.status,
            code=code,
            cut=response.cut,
            retry_after=parse_retry_after(response.headers.get("retry-after"), now),
        )
        decision = decide(situation, self.job.traits, self._rules.policy, self._rules.random)
        if not isinstance(decision, Retry):
            done = self.maybe_done or response.attempts > 1
            return Retried(response, self.attempt.number, done)
        if response.status >= 500 or response.attempts > 1:
            self.maybe_done = True
        if decision.repair is not None:
            self.job.repairs[decision.repair](response)
        self._next(decision, response.request)
        return decision

    def after_error(self, error: Exception, request: Request) -> Retry | Exception:
        """What to do after an error of the transport: again, or raise it (with the attempts noted). One of somebody
        else, such as a body's source, is raised as it is.
        """
        fault = fault_of(error)
        if fault is None:
            return error
        situation = self._situation(request)._replace(fault=fault.kind, sent=fault.sent > 0)
        decision = decide(situation, self.job.traits, self._rules.policy, self._rules.random)
        if isinstance(decision, Retry):
            self.maybe_done = self.maybe_done or fault.sent > 0
            self._next(decision, request)
            return decision
        return noted(error, self.attempt.number, self.elapsed)

    def _situation(self, request: Request) -> Situation:
        missing = frozenset(Repair).difference(self.job.repairs)
        return Situation(
            attempt=self.attempt.number,
            elapsed=self.elapsed,
            rewindable=request.rewindable,
            repaired=self.attempt.repaired | missing,
            time_left=(self.job.scope or current_scope()).remaining(),
        )

    def _next(self, decision: Retry, request: Request) -> None:
        # A repair is no attempt of its own: it makes up for one that could not have worked.
        number = self.attempt.number + (decision.repair is None)
        repaired = self.attempt.repaired | ({decision.repair} if decision.repair else frozenset())
        self.attempt = Attempt(number, repaired)
        request.rewind()
        where = f"{request.method} {request.shown_url}"
        emit(Event("retry", f"{where} again in {decision.delay:.2f} s: {decision.reason}", None, {"attempt": number}))


def run(job: Job, send: Callable[[Request], Response], rules: Rules = DEFAULT_RULES) -> Retried:
    """Send a request until there is an answer to take, waiting between the attempts.

    An answer that no repeating can help is returned like a good one. Raises the last error of the transport, with
    attempts and time noted; errors of ``build``, the hooks, the body's source or sink and progress callbacks unchanged;
    and what ends the scope.
    """
    course = Course(job, rules)
    while True:
        request = job.build(course.attempt)
        outcome: Retry | Retried | Exception
        try:
            response = send(request)
        except StorageError as error:
            outcome = course.after_error(error, request)
            if not isinstance(outcome, Retry):
                raise
        else:
            outcome = course.after_response(response)
        if isinstance(outcome, Retried):
            return outcome
        rules.sleep(outcome.delay)


def noted(error: Exception, attempts: int, elapsed: float) -> Exception:
    """The same error, whose message says how often and how long it was tried, if more than once."""
    if attempts > 1 and isinstance(error, StorageError):
        error.message = f"{error.message} ({attempts} attempts in {elapsed:.1f} s)"
        error.args = (error.message,)
    return error
