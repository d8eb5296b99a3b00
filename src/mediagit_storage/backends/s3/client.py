"""The requests of one bucket: signed with SigV4, and what their failures mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from mediagit_storage.backends.s3.addressing import Address
from mediagit_storage.backends.s3.credentials import CredentialProvider
from mediagit_storage.backends.s3.services import Service
from mediagit_storage.backends.s3.shapes import Encryption, payer_fields
from mediagit_storage.backends.s3.translate import Failure, failure_in_success, read_failure, translate
from mediagit_storage.clock import Clock
from mediagit_storage.errors import IntegrityError, InvalidKeyError, NotFoundError, StorageError
from mediagit_storage.events import Event, emit
from mediagit_storage.http.call import Call, Condition, Fields, Query, Subject
from mediagit_storage.http.client import HttpClient, Signing
from mediagit_storage.http.encoding import encode_query, parse_http_date
from mediagit_storage.http.request import Lines
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import ELSEWHERE, Repair, Rules
from mediagit_storage.http.sigv4 import UNSIGNED, Credentials, Signer
from mediagit_storage.http.transport import Transport
from mediagit_storage.http.xml import looks_whole
from mediagit_storage.keys import may_be_folded
from mediagit_storage.secrets import Secret

__all__ = ["Client", "S3Signing"]

#: Statuses of answers that send somewhere else.
_MOVED: Final = frozenset({301, 307})
#: What a 200 without a whole document counts as: the server may have done it, and is asked again.
_CUT_OFF: Final = "InternalError"


class S3Signing(Signing):
    """The signer of the moment: follows the credentials, and the server's clock where this machine's is wrong."""

    keeps_time = True

    def __init__(self, provider: CredentialProvider, region: str, host: str, clock: Clock) -> None:
        self.provider = provider
        self.refreshable = provider.refreshable
        self.region = region
        self._host = host
        self._clock = clock
        #: Seconds that the server's clock is ahead.
        self.offset = 0
        self._looked = -1
        self._credentials: Credentials | None = None
        self._signer: Signer | None = None

    def sign(self, call: Call) -> tuple[str, Lines]:
        """The fields of a request with those that sign it; the body is left unsigned."""
        now = self._clock.now_ns() // 1_000_000_000 + self.offset
        signer = self._signer
        if signer is None or now != self._looked:
            signer = self._look(now)
        method, path, query, fields = call[:4]
        return query, signer.lines(method, path, query, fields, payload=UNSIGNED, now=now)

    def secrets(self) -> Iterable[Secret]:
        """Those of the credentials in use."""
        found = self._credentials
        return () if found is None else [each for each in (found.secret_access_key, found.session_token) if each]

    def presign(self, method: str, path: str, query: Query, fields: Fields, expires: int) -> str:
        """The query of a link."""
        now = self._clock.now_ns() // 1_000_000_000 + self.offset
        return self._look(now).presign(method, path, query, fields, expires=expires, now=now)

    def refresh(self, response: Response) -> None:
        """The credentials in use were refused as too old."""
        if self._credentials is not None:
            self.provider.refresh(self._credentials)
        self._looked = -1

    def set_clock(self, response: Response) -> None:
        """Sign with the server's time from now on."""
        date = response.headers.get("date")
        if date is not None:
            self.offset = round(parse_http_date(date).timestamp() - self._clock.now_ns() / 1e9)

    def moved(self, region: str, host: str) -> S3Signing:
        """The same for another region."""
        signing = S3Signing(self.provider, region, host, self._clock)
        signing.offset = self.offset
        return signing

    def _look(self, now: int) -> Signer:
        # Once a second: a chain renews what is about to end.
        credentials = self.provider.current()
        signer = self._signer
        if signer is None or credentials is not self._credentials:
            signer = Signer(credentials, region=self.region, host=self._host)
            self._signer, self._credentials = signer, credentials
        self._looked = now
        return signer


class Client(HttpClient):
    """One bucket of one service. Thread-safe.

    ``elsewhere`` tells where the bucket would be in another region; None where the service has no such places, or the
    user has named the server: then an answer that names another region is an error.
    """

    def __init__(
        self,
        address: Address,
        service: Service,
        signing: S3Signing | None,
        transport: Transport,
        rules: Rules,
        *,
        bucket: str,
        elsewhere: Callable[[str], Address] | None = None,
        encryption: Encryption | None = None,
        requester_pays: bool = False,
    ) -> None:
        self._elsewhere = elsewhere
        super().__init__(address.origin, transport, rules, signing)
        self.address = address
        self.service = service
        self.bucket = bucket
        self.signing = signing
        self.encryption = encryption
        #: What every request carries besides its own fields.
        self.payer: Fields = payer_fields(requester_pays=requester_pays)
        #: What requests about an object's content carry: the key it is encrypted with, if that is the customer's.
        self.reading: Fields = [*self.payer, *(encryption.key_fields() if encryption else [])]
        self.writing: Fields = [*self.payer, *(encryption.write_fields() if encryption else [])]
        #: Whether any answer has shown that the bucket is there.
        self.bucket_seen = False
        self._folds = not service.raw_keys
        self._slashes = not service.backslashes

    # ---- paths

    def path(self, key: str) -> str:
        """The encoded path of a key. Raises `NotFoundError` for one that the server would take for another key."""
        if not self.holds(key):
            raise NotFoundError(f"{self.service.title} cannot hold such a key, so there is no such object")
        return self.address.path(key)

    def holds(self, key: str) -> bool:
        """Whether the server can hold an object of this key."""
        if self._slashes and "\\" in key:
            return False
        return not (self._folds and may_be_folded(key)) or {"", ".", ".."}.isdisjoint(key.split("/"))

    def holds_under(self, prefix: str) -> bool:
        """Whether the server can hold any object whose key starts so."""
        # What comes after the last "/" may go on to be something else.
        folder, slash, rest = prefix.rpartition("/")
        return not (self._slashes and "\\" in rest) and (not slash or self.holds(f"{folder}/x"))

    def written_path(self, key: str) -> str:
        """The encoded path of a key that is to be written. Raises `InvalidKeyError` like `check_written`."""
        self.check_written(key)
        return self.address.path(key)

    def check_written(self, key: str) -> None:
        """Raise `InvalidKeyError` for a key that would be stored as another one."""
        if not self.holds(key):
            raise InvalidKeyError(f"{self.service.title} would take this key for another one")

    # ---- judging

    def move(self, origin: str, signing: Signing | None) -> None:
        """Also makes it possible to be sent on, to another region."""
        super().move(origin, signing)
        if self._elsewhere is not None:
            self._repairs[Repair.PLACE] = self._follow

    def code_of(self, response: Response) -> str | None:
        """The code in an error's document; successes need not be read for one."""
        status = response.status
        if status < 400 and status not in _MOVED:
            return None
        failure = read_failure(status, response.headers, response.body)
        if failure.region is not None and status in _MOVED | {400} and self._is_elsewhere(failure.region, response):
            return ELSEWHERE
        return None if status < 400 else failure.code or None

    def code_in_document(self, response: Response) -> str | None:
        """The same for requests that are answered with a document: their 200 may hide a failure, or be cut off."""
        if response.status >= 300:
            return self.code_of(response)
        if looks_whole(response.body):
            # What is in it is read by whoever asked for it.
            return None
        try:
            failure = failure_in_success(response.status, response.headers, response.body)
        except IntegrityError:
            return _CUT_OFF
        return None if failure is None else failure.code or _CUT_OFF

    def _is_elsewhere(self, region: str, response: Response) -> bool:
        if self.signing is not None and self.signing.region != region:
            return True
        # Another thread may have found the way while this request was on the old one.
        there = self.origin if self._elsewhere is None else self._elsewhere(region).origin
        return not response.request.url.startswith(f"{there}/")

    def _follow(self, response: Response) -> None:
        """Go to the region that the bucket is said to be in: to the provider's own host there, and to no other."""
        region = read_failure(response.status, response.headers, response.body).region
        if region is None or self._elsewhere is None or not self._is_elsewhere(region, response):
            return
        address = self._elsewhere(region)
        if address.origin == self.origin and (self.signing is None or self.signing.region == region):
            return
        emit(Event("s3.region", f"the bucket {self.bucket} is in {region}: name it to save a request", None))
        if self.signing is not None:
            self.signing = self.signing.moved(region, address.host)
        self.address = address
        self.move(address.origin, self.signing)

    def check(
        self, response: Response, call: Call, *, subject: Subject = "object", condition: Condition | None = None
    ) -> None:
        """Also notes that the bucket is there, where the answer shows it."""
        super().check(response, call, subject=subject, condition=condition)
        self.bucket_seen = True

    def error_of(self, response: Response, *, subject: Subject, condition: Condition | None) -> StorageError:
        """By the document of an error, which may have come with a 200."""
        status, headers, body = response.status, response.headers, response.body
        failure = failure_in_success(status, headers, body) if 200 <= status < 300 else None
        return self.translated(failure or read_failure(status, headers, body), subject=subject, condition=condition)

    def translated(
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
        """A call about the bucket itself; ``query`` unencoded. A GET is answered with a document."""
        return Call(
            method,
            self.address.bucket_path,
            encode_query(query),
            self.payer if fields is None else fields,
            body,
            code_of=self.code_in_document if method == "GET" else None,
        )

    def key_call(self, method: str, key: str, query: Query = (), fields: Fields | None = None) -> Call:
        """A call about one object, not for its content; ``query`` unencoded. GET and POST are answered with a document."""
        return Call(
            method,
            self.path(key),
            encode_query(query),
            self.payer if fields is None else fields,
            code_of=self.code_in_document if method in {"GET", "POST"} else None,
        )
