"""Retrying in batches: the same decisions as in `retry`, over many requests that travel at once in one thread."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.http.batch import Sent
from mediagit_storage.http.brake import Brake
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import DEFAULT_RULES, FIRST, Course, Job, Retried, Retry, Rules, asks_to_slow_down

__all__ = ["JobResult", "run_all"]

#: `Transport.send_all` with its limits given.
SendAll = Callable[[Iterator[Request | Sent | None]], Iterator[Sent]]


class JobResult(NamedTuple):
    """How one job of many ended: with an answer that no repeating can help, good or bad, or with an error."""

    job: Job
    retried: Retried | None
    error: Exception | None


#: What travels, for which job, how far that has come unless this is its first attempt, and when the attempt began.
_Travelling: TypeAlias = tuple[Request | Exception, Job, Course | None, float]


class _Waiting(NamedTuple):
    due: float
    number: int
    course: Course


def run_all(
    jobs: Iterator[Job | None], send_all: SendAll, rules: Rules = DEFAULT_RULES
) -> Generator[JobResult, None, None]:
    """Send many requests, each until there is an answer to take, and yield each job's result when it is there.

    ``jobs`` is asked for more while there is room, a None from it means "nothing now"; what it raises surfaces
    unchanged. While one request waits for its next attempt the others go on; a server that asks to slow down has fewer
    on their way (`brake`). Closing the result aborts what travels.
    """
    feed = _Feed(jobs, rules)
    sending = send_all(feed.requests())
    try:
        for sent in sending:
            result = feed.after(sent)
            if result is not None:
                yield result
    finally:
        close = getattr(sending, "close", None)
        if close is not None:
            close()


class _End:
    """What `next` returns for jobs that are over."""


_END: Final = _End()


class _Feed:
    """Gives a batch its requests: those whose wait is over first, then new ones."""

    def __init__(self, jobs: Iterator[Job | None], rules: Rules) -> None:
        self._jobs = jobs
        self._rules = rules
        self._numbers = itertools.count()
        self._waiting: list[_Waiting] = []
        # By identity of what travels, which is kept alive by its place here.
        self._travelling: dict[int, _Travelling] = {}
        self._exhausted = False
        self._brake = Brake()

    def requests(self) -> Iterator[Request | Sent | None]:
        """The stream that the batch pulls from; it ends when nothing can need another attempt any more."""
        while True:
            if self._brake.engaged and self._brake.holds(len(self._travelling)):
                yield None
                continue
            course = self._due_course() if self._waiting else None
            job = course.job if course is not None else self._new_job()
            if job is not None:
                yield self._build(job, course)
            elif self._exhausted and not self._waiting and not self._travelling:
                return
            else:
                yield None

    def after(self, sent: Sent) -> JobResult | None:
        """What a finished transfer means: a result, or None when it is going to be repeated."""
        request, response, error = sent
        _, job, course, began = self._travelling.pop(id(error if request is None else request))
        if request is None:
            return JobResult(job, None, error)
        try:
            if response is not None and course is None and response.status < 300 and job.code_of(response) is None:
                # Nearly always: nothing to decide, so nothing is prepared for deciding.
                if self._brake.engaged:
                    self._brake.taken()
                elapsed = self._rules.clock.monotonic() - began
                return JobResult(job, Retried(response, 1, elapsed, response.attempts > 1), None)
            course = course or Course(job, self._rules, began)
            outcome = self._judged(course, request, response, error)
        except Exception as error:  # noqa: BLE001  # of a hook, or of a body that did not rewind: it is this job's
            return JobResult(job, None, error)
        if isinstance(outcome, Retried):
            return JobResult(job, outcome, None)
        if isinstance(outcome, Exception):
            return JobResult(job, None, outcome)
        due = self._rules.clock.monotonic() + outcome.delay
        heapq.heappush(self._waiting, _Waiting(due, next(self._numbers), course))
        return None

    def _judged(
        self, course: Course, request: Request, response: Response | None, error: Exception | None
    ) -> Retry | Retried | Exception:
        """What to do after an attempt that may have failed; fewer travel while the server is short of room."""
        if response is None:
            self._brake.passed()
            return course.after_error(error or AssertionError("neither answer nor error"), request)
        if asks_to_slow_down(response.status, course.job.code_of(response) if response.status >= 400 else None):
            self._brake.slow_down(len(self._travelling))
        elif self._brake.engaged:
            self._brake.taken()
        return course.after_response(response)

    def _due_course(self) -> Course | None:
        """One whose wait is over."""
        if self._waiting[0].due <= self._rules.clock.monotonic():
            return heapq.heappop(self._waiting).course
        return None

    def _new_job(self) -> Job | None:
        job = None if self._exhausted else next(self._jobs, _END)
        if isinstance(job, _End):
            self._exhausted = True
            return None
        return job

    def _build(self, job: Job, course: Course | None) -> Request | Sent:
        began = self._rules.clock.monotonic()
        try:
            request = job.build(FIRST if course is None else course.attempt)
        except Exception as error:  # noqa: BLE001  # it is this job's
            self._travelling[id(error)] = error, job, course, began
            return Sent(None, None, error)
        self._travelling[id(request)] = request, job, course, began
        return request
