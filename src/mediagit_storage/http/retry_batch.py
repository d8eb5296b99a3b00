"""Retrying in batches: the same decisions as in `retry`, over many requests that travel at once in one thread."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple

from mediagit_storage.http.batch import Sent
from mediagit_storage.http.request import Request
from mediagit_storage.http.retry import DEFAULT_RULES, Course, Job, Retried, Retry, Rules

__all__ = ["JobResult", "run_all"]

#: `Transport.send_all` with its limits given.
SendAll = Callable[[Iterator[Request | Sent | None]], Iterator[Sent]]


class JobResult(NamedTuple):
    """How one job of many ended: with an answer that no repeating can help, good or bad, or with an error."""

    job: Job
    retried: Retried | None
    error: Exception | None


class _Waiting(NamedTuple):
    due: float
    number: int
    course: Course


def run_all(
    jobs: Iterator[Job | None], send_all: SendAll, rules: Rules = DEFAULT_RULES
) -> Generator[JobResult, None, None]:
    """Send many requests, each until there is an answer to take, and yield each job's result when it is there.

    ``jobs`` is asked for more while there is room, a None from it means "nothing now"; what it raises surfaces
    unchanged. While one request waits for its next attempt the others go on. Closing the result aborts what travels.
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
        self._travelling: dict[int, tuple[Request | Exception, Course]] = {}
        self._exhausted = False

    def requests(self) -> Iterator[Request | Sent | None]:
        """The stream that the batch pulls from; it ends when nothing can need another attempt any more."""
        while True:
            course = self._next_course() if self._waiting or self._exhausted else self._new_course()
            if course is not None:
                yield self._build(course)
            elif self._exhausted and not self._waiting and not self._travelling:
                return
            else:
                yield None

    def after(self, sent: Sent) -> JobResult | None:
        """What a finished transfer means: a result, or None when it is going to be repeated."""
        request, response, error = sent
        _, course = self._travelling.pop(id(error if request is None else request))
        if request is None:
            return JobResult(course.job, None, error)
        try:
            if response is not None:
                outcome: Retry | Retried | Exception = course.after_response(response)
            else:
                outcome = course.after_error(error or AssertionError("neither answer nor error"), request)
        except Exception as error:  # noqa: BLE001  # of a hook, or of a body that did not rewind: it is this job's
            outcome = error
        if isinstance(outcome, Retried):
            return JobResult(course.job, outcome, None)
        if isinstance(outcome, Exception):
            return JobResult(course.job, None, outcome)
        due = self._rules.clock.monotonic() + outcome.delay
        heapq.heappush(self._waiting, _Waiting(due, next(self._numbers), course))
        return None

    def _next_course(self) -> Course | None:
        if self._waiting and self._waiting[0].due <= self._rules.clock.monotonic():
            return heapq.heappop(self._waiting).course
        return None if self._exhausted else self._new_course()

    def _new_course(self) -> Course | None:
        job = next(self._jobs, _END)
        if isinstance(job, _End):
            self._exhausted = True
            return None
        return None if job is None else Course(job, self._rules)

    def _build(self, course: Course) -> Request | Sent:
        try:
            request = course.job.build(course.attempt)
        except Exception as error:  # noqa: BLE001  # it is this job's
            self._travelling[id(error)] = (error, course)
            return Sent(None, None, error)
        self._travelling[id(request)] = (request, course)
        return request
