"""Retrying in batches: the same decisions as in `retry`, over many requests that travel at once in one thread."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple

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


class _Waiting(NamedTuple):
    due: float
    number: int
    job: Job


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
        self._now = rules.clock.monotonic
        self._numbers = itertools.count()
        self._waiting: list[_Waiting] = []
        # By what travels for them: a request, or the identity of the error for which there is none.
        self._travelling: dict[Request | int, Job] = {}
        self._exhausted = False
        self._brake = Brake()

    def requests(self) -> Iterator[Request | Sent | None]:
        """The stream that the batch pulls from; it ends when nothing can need another attempt any more."""
        while True:
            if self._brake.engaged and self._brake.holds(len(self._travelling)):
                yield None
                continue
            job = self._due_job() if self._waiting else None
            if job is None and not self._exhausted:
                job = self._new_job()
            if job is not None:
                yield self._built(job)
            elif self._exhausted and not self._waiting and not self._travelling:
                return
            else:
                yield None

    def after(self, sent: Sent) -> JobResult | None:
        """What a finished transfer means: a result, or None when it is going to be repeated."""
        request, response, error = sent
        job = self._travelling.pop(id(error) if request is None else request)
        if request is None:
            return JobResult(job, None, error)
        try:
            fine = response is not None and response.status < 300 and job.code_of(response) is None
            if fine and response is not None and job.course is None and not self._brake.engaged:
                # Nearly always: nothing to weigh or to decide, so nothing is prepared for it.
                return JobResult(job, Retried(response, 1, response.attempts > 1), None)
            self._weigh(job, response)
            outcome = self._judged(job, request, response, error)
        except Exception as failure:  # noqa: BLE001  # of a hook, or of a body that did not rewind: it is this job's
            return JobResult(job, None, failure)
        if isinstance(outcome, Retry):
            due = self._now() + outcome.delay
            heapq.heappush(self._waiting, _Waiting(due, next(self._numbers), job))
            return None
        # The two know each other, and with them a body would stay in memory until a collection.
        job.course = None
        return JobResult(job, outcome, None) if isinstance(outcome, Retried) else JobResult(job, None, outcome)

    def _weigh(self, job: Job, response: Response | None) -> None:
        """Let fewer travel while the server is short of room, and more again as it takes them well."""
        brake = self._brake
        if response is None:
            brake.passed()
        elif asks_to_slow_down(response.status, job.code_of(response) if response.status >= 400 else None):
            brake.slow_down(len(self._travelling))
        elif brake.engaged:
            brake.taken()

    def _judged(
        self, job: Job, request: Request, response: Response | None, error: Exception | None
    ) -> Retry | Retried | Exception:
        """What to do after an attempt that may have failed."""
        if job.course is None:
            job.course = Course(job, self._rules, job.began)
        if response is None:
            return job.course.after_error(error or AssertionError("neither answer nor error"), request)
        return job.course.after_response(response)

    def _due_job(self) -> Job | None:
        """One whose wait is over, or was ended."""
        if self._waiting[0].due <= self._now():
            return heapq.heappop(self._waiting).job
        for number, each in enumerate(self._waiting):
            if each.job.scope is not None and each.job.scope.cancelled:
                del self._waiting[number]
                heapq.heapify(self._waiting)
                return each.job
        return None

    def _new_job(self) -> Job | None:
        job = next(self._jobs, _END)
        if isinstance(job, _End):
            self._exhausted = True
            return None
        if job is not None:
            job.began = self._now()
        return job

    def _built(self, job: Job) -> Request | Sent:
        try:
            if job.scope is not None:
                job.scope.check()
            request = job.build(FIRST if job.course is None else job.course.attempt)
        except Exception as error:  # noqa: BLE001  # it is this job's
            self._travelling[id(error)] = job
            return Sent(None, None, error)
        request.scope = job.scope
        self._travelling[request] = job
        return request
