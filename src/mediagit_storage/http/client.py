"""Signed requests of one backend: built, sent, repeated as the rules say, and turned into this library's errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Final, TypeAlias, TypeVar

from mediagit_storage.errors import IntegrityError, StorageError
from mediagit_storage.http.call import Call, Condition, Fields, Subject
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.redact import redact_answer
from mediagit_storage.http.request import Lines, Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Job, Repair, Retried, Rules, Traits, run
from mediagit_storage.http.retry_batch import JobResult, run_all
from mediagit_storage.http.transport import Transport
from mediagit_storage.scope import aside
from mediagit_storage.secrets import Secret

__all__ = ["HttpClient", "Send", "Signing", "replayed"]

T = TypeVar("T")

Send: TypeAlias = Callable[[Request], Response]

#: How long work that cleans up after a cancelled call may take, in seconds.
_CLEAN_UP: Final = 20.0


class Signing(ABC):
    """What proves who is asking. Thread-safe.

    It sees each request anew, so that a repeated one is signed with what was repaired in between.
    """

    #: Whether `refresh` may help after a 401 or an expired token; it is then called once per request.
    refreshable: bool = False
    #: Whether `set_clock` helps after an answer that finds this machine's time wrong.
    keeps_time: bool = False

    @abstractmethod
    def sign(self, call: Call) -> tuple[str, Fields | Lines]:
        """The query and all the fields that the request goes out with."""

    def secrets(self) -> Iterable[Secret]:
        """What no error may show, should a server repeat it."""
        return ()

    def refresh(self, response: Response) -> None:  # noqa: B027  # not everything can be fetched anew
        """Fetch what ``response`` asks for: a new token, or the answer to a challenge."""

    def set_clock(self, response: Response) -> None:  # noqa: B027  # not every scheme knows the time
        """Sign with the server's time from now on."""


class HttpClient(ABC):
    """The requests of one backend to one ``origin``. Thread-safe."""

    def __init__(self, origin: str, transport: Transport, rules: Rules, signing: Signing | None = None) -> None:
        self.transport = transport
        self.rules = rules
        self.move(origin, signing)

    def move(self, origin: str, signing: Signing | None) -> None:
        """Send everything to ``origin`` from now on, signed for it."""
        self._repairs = _repairs(signing)
        self._signing = signing
        self._refreshable = signing is not None and signing.refreshable
        # Together, since a signature is good for one server only.
        self._place = origin, (None if signing is None else signing.sign)

    @property
    def origin(self) -> str:
        """Where requests go to."""
        return self._place[0]

    # ---- what a backend writes

    @abstractmethod
    def code_of(self, response: Response) -> str | None:
        """The vendor's code of a failure, for the rules of retrying; None for every answer below 400."""

    @abstractmethod
    def error_of(self, response: Response, *, subject: Subject, condition: Condition | None) -> StorageError:
        """What a failed answer (or a success whose ``code_of`` found a code) means to a caller."""

    # ---- sending

    def request(self, call: Call) -> Request:
        """The signed request of a call."""
        path = call.path
        origin, sign = self._place
        query, fields = (call.query, call.fields) if sign is None else sign(call)
        return Request(
            call.method,
            f"{origin}{path}?{query}" if query else origin + path,
            fields if isinstance(fields, Lines) else tuple(fields),
            call.body,
            idle_timeout=call.idle_timeout,
            max_body=call.max_body,
            fresh_connection=call.fresh_connection,
            expect_continue=call.expect_continue,
            sink=call.sink,
        )

    def job(self, call: Call) -> Job:
        """A call with all that repeating it takes."""
        traits: Traits = call.traits._replace(refreshable=True) if self._refreshable else call.traits
        return Job(lambda _attempt: self.request(call), traits, call.code_of or self.code_of, self._repairs)

    def send(self, call: Call) -> Retried:
        """Send until there is an answer that no repeating can help, good or bad."""
        transport_send = self.transport.send
        # Outside, as for later attempts: what signing raises is no fault of a transfer that has not begun.
        request = self.request(call)
        try:
            response = transport_send(request)
        except StorageError as error:
            return run(self.job(call), replayed(error, transport_send), self.rules)
        if response.status < 300 and call.code_of is None:
            # Nearly always: nothing to decide, so nothing is prepared for deciding.
            return Retried(response, 1, response.attempts > 1)
        return run(self.job(call), replayed(response, transport_send), self.rules)

    def expect(self, call: Call, *, subject: Subject = "object", condition: Condition | None = None) -> Response:
        """The answer to a call, if it is a success; else the error that it means."""
        response = self.send(call).response
        self.check(response, call, subject=subject, condition=condition)
        return response

    def send_all(
        self, jobs: Iterator[Job | None], *, concurrency: int, buffer_bytes: int, waker: Waker | None = None
    ) -> Generator[JobResult, None, None]:
        """Many at once, in this thread; results as they come. Closing it aborts what travels."""
        return run_all(
            jobs,
            lambda requests: self.transport.send_all(
                requests,
                concurrency=concurrency,
                buffer_bytes=buffer_bytes,
                waker=waker,
            ),
            self.rules,
        )

    def send_calls(
        self,
        calls: Iterator[tuple[T, Call] | None],
        *,
        concurrency: int,
        buffer_bytes: int,
        waker: Waker | None = None,
    ) -> Generator[tuple[T, Call, Retried], None, None]:
        """Many calls at once, each with what it is for; answers as they come, good or bad.

        The first call without an answer raises its error. A None means "nothing now". Closing it aborts what travels.
        """
        flying: dict[Job, tuple[T, Call]] = {}

        def jobs() -> Iterator[Job | None]:
            for each in calls:
                if each is None:
                    yield None
                    continue
                job = self.job(each[1])
                flying[job] = each
                # Whoever holds the call holds its body.
                del each
                yield job

        sending = self.send_all(jobs(), concurrency=concurrency, buffer_bytes=buffer_bytes, waker=waker)
        with closing(sending):
            for job, retried, error in sending:
                aim, call = flying.pop(job)
                if error is not None or retried is None:
                    raise error or IntegrityError("a request has neither an answer nor an error")
                yield aim, call, retried

    def aside(self, work: Callable[[], T]) -> T:
        """Do something that a cancelled or ended scope around must not keep from being done, such as cleaning up."""
        return aside(work, _CLEAN_UP)

    # ---- judging

    def check(
        self, response: Response, call: Call, *, subject: Subject = "object", condition: Condition | None = None
    ) -> None:
        """Raise what a failed answer means. ``condition`` is the one of a write, or of a read that has the object."""
        fine = 200 <= response.status < 300 and (call.code_of is None or call.code_of(response) is None)
        if not fine:
            raise self.cleaned(self.error_of(response, subject=subject, condition=condition))

    def cleaned(self, error: StorageError) -> StorageError:
        """The same error without credentials, should the server have repeated them in its words."""
        secrets = () if self._signing is None else self._signing.secrets()
        error.message = redact_answer(error.message, secrets)
        error.args = (error.message,)
        return error


def replayed(first: Response | StorageError, send: Send) -> Send:
    """A ``send`` whose first result is one that is here already."""
    results = [first]

    def sending(request: Request) -> Response:
        if not results:
            return send(request)
        result = results.pop()
        if isinstance(result, StorageError):
            raise result
        return result

    return sending


def _repairs(signing: Signing | None) -> dict[Repair, Callable[[Response], None]]:
    repairs: dict[Repair, Callable[[Response], None]] = {}
    if signing is not None and signing.keeps_time:
        repairs[Repair.CLOCK] = signing.set_clock
    if signing is not None and signing.refreshable:
        repairs[Repair.CREDENTIALS] = signing.refresh
    return repairs
