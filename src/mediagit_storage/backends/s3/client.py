"""Signed requests about one bucket: built, sent, repeated as the rules say, and turned into this library's errors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextvars import Context
from typing import Final, NamedTuple, TypeAlias, TypeVar

from mediagit_storage.backends.s3.addressing import Address
from mediagit_storage.backends.s3.credentials import CredentialProvider
from mediagit_storage.backends.s3.services import Service
from mediagit_storage.backends.s3.shapes import Encryption, Fields, payer_fields
from mediagit_storage.backends.s3.translate import (
    Condition,
    Failure,
    Subject,
    failure_in_success,
    read_failure,
    translate,
)
from mediagit_storage.clock import Clock
from mediagit_storage.errors import IntegrityError, InvalidKeyError, NotFoundError, StorageError
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.encoding import encode_query, parse_http_date
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import BodySource, Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Job, Repair, Retried, Rules, Traits, run
from mediagit_storage.http.retry_batch import JobResult, run_all
from mediagit_storage.http.sigv4 import UNSIGNED, Credentials, Signer
from mediagit_storage.http.transport import Transport
from mediagit_storage.scope import scope

__all__ = ["DOCUMENT", "PLAIN", "STATUS", "Call", "Client", "Query", "Signing", "replayed"]

T = TypeVar("T")

Send: TypeAlias = Callable[[Request], Response]

#: Query parameters, unencoded.
Query = Sequence[tuple[str, str]]

PLAIN: Final = Traits()
#: What a 200 without a whole document counts as: the server may have done it, and is asked again.
_CUT_OFF: Final = "InternalError"
#: How long work that cleans up after a cancelled call may take, in seconds.
_CLEAN_UP: Final = 20.0


class Signing:
    """The signer of the moment: follows the credentials, and the server's clock where this machine's is wrong."""

    def __init__(self, provider: CredentialProvider, region: str, host: str, clock: Clock) -> None:
        self.provider = provider
        self._region = region
        self._host = host
        self._clock = clock
        #: Seconds that the server's clock is ahead.
        self.offset = 0
        self._looked = -1
        self._credentials: Credentials | None = None
        self._signer: Signer | None = None

    def sign(self, method: str, path: str, query: str, fields: Fields, payload: str = UNSIGNED) -> Fields:
        """The fields that sign a request."""
        now = self._clock.now_ns() // 1_000_000_000 + self.offset
        signer = self._signer
        if signer is None or now != self._looked:
            signer = self._look(now)
        return signer.sign(method, path, query, fields, payload=payload, now=now)

    def presign(self, method: str, path: str, query: Query, fields: Fields, expires: int) -> str:
        """The query of a link."""
        now = self._clock.now_ns() // 1_000_000_000 + self.offset
        return self._look(now).presign(method, path, query, fields, expires=expires, now=now)

    def refresh(self) -> None:
        """The credentials in use were refused as too old."""
        if self._credentials is not None:
            self.provider.refresh(self._credentials)
        self._looked = -1

    def set_clock(self, headers: Headers) -> None:
        """Sign with the server's time from now on."""
        date = headers.get("date")
        if date is not None:
            self.offset = round(parse_http_date(date).timestamp() - self._clock.now_ns() / 1e9)

    def _look(self, now: int) -> Signer:
        # Once a second: a chain renews what is about to end.
        credentials = self.provider.current()
        signer = self._signer
        if signer is None or credentials is not self._credentials:
            signer = Signer(credentials, region=self._region, host=self._host)
            self._signer, self._credentials = signer, credentials
        self._looked = now
        return signer


def _is_folded(key: str) -> bool:
    """Whether a server that thinks in folders takes this key for another one."""
    return "\\" in key or not {"", ".", ".."}.isdisjoint(key.split("/"))


def _no_code(response: Response) -> str | None:
    """The vendor's code of a failure; successes of most requests need not be read for one."""
    if response.status < 400:
        return None
    return read_failure(response.status, response.headers, response.body).code or None


def _code_in_document(response: Response) -> str | None:
    """The same for requests whose 200 may hide a failure."""
    if response.status >= 300:
        return _no_code(response)
    try:
        failure = failure_in_success(response.status, response.headers, response.body)
    except IntegrityError:
        return _CUT_OFF
    return None if failure is None else failure.code or _CUT_OFF


#: How the code of an answer is found: for answers whose status tells, and for those that are documents.
STATUS: Final = _no_code
DOCUMENT: Final = _code_in_document


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


class Call(NamedTuple):
    """One request as data, before it is signed. ``path`` is encoded, ``query`` encoded and sorted."""

    method: str
    path: str
    query: str = ""
    fields: Fields = []
    body: bytes | BodySource | None = None
    traits: Traits = PLAIN
    code_of: Callable[[Response], str | None] = STATUS
    idle_timeout: float | None = None
    max_body: int | None = None


class Client:
    """One bucket of one service. Thread-safe."""

    def __init__(
        self,
        address: Address,
        service: Service,
        signing: Signing | None,
        transport: Transport,
        rules: Rules,
        *,
        bucket: str,
        encryption: Encryption | None = None,
        requester_pays: bool = False,
    ) -> None:
        self.address = address
        self.service = service
        self.bucket = bucket
        self.signing = signing
        self.transport = transport
        self.rules = rules
        self.encryption = encryption
        #: What every request carries besides its own fields.
        self.payer: Fields = payer_fields(requester_pays=requester_pays)
        #: What requests about an object's content carry: the key it is encrypted with, if that is the customer's.
        self.reading: Fields = [*self.payer, *(encryption.key_fields() if encryption else [])]
        self.writing: Fields = [*self.payer, *(encryption.write_fields() if encryption else [])]
        #: Whether any answer has shown that the bucket is there.
        self.bucket_seen = False
        self._origin = address.origin
        self._folds = not service.raw_keys
        self._repairs = self._make_repairs(signing)

    # ---- paths

    def path(self, key: str) -> str:
        """The encoded path of a key. Raises `NotFoundError` for one that the server would take for another key."""
        if not self.holds(key):
            raise NotFoundError(f"{self.service.title} cannot hold such a key, so there is no such object")
        return self.address.path(key)

    def holds(self, key: str) -> bool:
        """Whether the server can hold an object of this key."""
        return not (self._folds and _is_folded(key))

    def holds_under(self, prefix: str) -> bool:
        """Whether the server can hold any object whose key starts so."""
        # What comes after the last "/" may go on to be something else.
        folder, slash, rest = prefix.rpartition("/")
        return not self._folds or ("\\" not in rest and (not slash or self.holds(f"{folder}/x")))

    def check_written(self, key: str) -> None:
        """Raise `InvalidKeyError` for a key that would be stored as another one."""
        if not self.holds(key):
            raise InvalidKeyError(f"{self.service.title} would take this key for another one")

    # ---- sending

    def job(self, call: Call) -> Job:
        """A call with all that repeating it takes."""
        return Job(lambda _attempt: self.request(call), self._traits(call.traits), call.code_of, self._repairs)

    def request(self, call: Call) -> Request:
        """The signed request of a call."""
        method, path, query, fields, body = call[:5]
        signing = self.signing
        signed = signing.sign(method, path, query, fields) if signing is not None else []
        return Request(
            method,
            f"{self._origin}{path}?{query}" if query else self._origin + path,
            (*fields, *signed),
            body,
            idle_timeout=call.idle_timeout,
            max_body=call.max_body,
        )

    def send(self, call: Call) -> Retried:
        """Send until there is an answer that no repeating can help, good or bad."""
        transport_send = self.transport.send
        try:
            response = transport_send(self.request(call))
        except StorageError as error:
            return run(self.job(call), replayed(error, transport_send), self.rules)
        if response.status < 300 and call.code_of is STATUS:
            # Nearly always: nothing to decide, so nothing is prepared for deciding.
            return Retried(response, 1, 0.0, response.attempts > 1)
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
        yield from run_all(
            jobs,
            lambda requests: self.transport.send_all(
                requests,
                concurrency=concurrency,
                buffer_bytes=buffer_bytes,
                waker=waker,
            ),
            self.rules,
        )

    def _traits(self, traits: Traits) -> Traits:
        refreshable = self.signing is not None and self.signing.provider.refreshable
        return traits._replace(refreshable=True) if refreshable else traits

    def _make_repairs(self, signing: Signing | None) -> Mapping[Repair, Callable[[Response], None]]:
        if signing is None:
            return {}
        repairs: dict[Repair, Callable[[Response], None]] = {
            Repair.CLOCK: lambda response: signing.set_clock(response.headers)
        }
        if signing.provider.refreshable:
            repairs[Repair.CREDENTIALS] = lambda _response: signing.refresh()
        return repairs

    # ---- judging

    def check(
        self, response: Response, call: Call, *, subject: Subject = "object", condition: Condition | None = None
    ) -> None:
        """Raise what a failed answer means. ``condition`` is the one of a write, or of a read that has the object."""
        status = response.status
        if 200 <= status < 300:
            failure = None
            if call.code_of is DOCUMENT:
                failure = failure_in_success(status, response.headers, response.body)
            if failure is None:
                self.bucket_seen = True
                return
        else:
            failure = read_failure(status, response.headers, response.body)
        raise self.error(failure, subject=subject, condition=condition)

    def error(
        self, failure: Failure, *, subject: Subject = "object", condition: Condition | None = None
    ) -> StorageError:
        """What a failure means to a caller."""
        if failure.code == "NoSuchKey":
            self.bucket_seen = True
        return translate(failure, subject=subject, condition=condition)

    # ---- calls that many need

    def bucket_call(
        self, method: str, query: Query = (), fields: Fields | None = None, body: bytes | None = None
    ) -> Call:
        """A call about the bucket itself; ``query`` unencoded."""
        return Call(
            method, self.address.bucket_path, encode_query(query), self.payer if fields is None else fields, body
        )

    def key_call(self, method: str, key: str, query: Query = (), fields: Fields | None = None) -> Call:
        """A call about one object; ``query`` unencoded."""
        return Call(method, self.path(key), encode_query(query), self.payer if fields is None else fields)

    def aside(self, work: Callable[[], T]) -> T:
        """Do something that a cancelled or ended scope around must not keep from being done, such as cleaning up."""

        def inside() -> T:
            with scope(timeout=_CLEAN_UP):
                return work()

        return Context().run(inside)
