"""The requests of one bucket: signed with SigV4, and what their failures mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mediagit_storage.backends.s3.addressing import Address
from mediagit_storage.backends.s3.credentials import CredentialProvider
from mediagit_storage.backends.s3.services import Service
from mediagit_storage.backends.s3.shapes import Encryption, payer_fields
from mediagit_storage.backends.s3.translate import Failure, failure_in_success, read_failure, translate
from mediagit_storage.clock import Clock
from mediagit_storage.errors import IntegrityError, InvalidKeyError, NotFoundError, StorageError
from mediagit_storage.http.call import Call, Condition, Fields, Query, Subject
from mediagit_storage.http.client import HttpClient, Signing
from mediagit_storage.http.encoding import encode_query, parse_http_date
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.http.sigv4 import UNSIGNED, Credentials, Signer
from mediagit_storage.http.transport import Transport
from mediagit_storage.secrets import Secret

__all__ = ["Client", "S3Signing", "code_in_document"]

#: What a 200 without a whole document counts as: the server may have done it, and is asked again.
_CUT_OFF: Final = "InternalError"


class S3Signing(Signing):
    """The signer of the moment: follows the credentials, and the server's clock where this machine's is wrong."""

    keeps_time = True

    def __init__(self, provider: CredentialProvider, region: str, host: str, clock: Clock) -> None:
        self.provider = provider
        self.refreshable = provider.refreshable
        self._region = region
        self._host = host
        self._clock = clock
        #: Seconds that the server's clock is ahead.
        self.offset = 0
        self._looked = -1
        self._credentials: Credentials | None = None
        self._signer: Signer | None = None

    def sign(self, call: Call) -> tuple[str, Fields]:
        """The fields of a request with those that sign it; the body is left unsigned."""
        now = self._clock.now_ns() // 1_000_000_000 + self.offset
        signer = self._signer
        if signer is None or now != self._looked:
            signer = self._look(now)
        method, path, query, fields = call[:4]
        return query, [*fields, *signer.sign(method, path, query, fields, payload=UNSIGNED, now=now)]

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


def code_of_failure(response: Response) -> str | None:
    """The vendor's code of a failure; successes of most requests need not be read for one."""
    if response.status < 400:
        return None
    return read_failure(response.status, response.headers, response.body).code or None


def code_in_document(response: Response) -> str | None:
    """The same for requests whose 200 may hide a failure, or be cut off."""
    if response.status >= 300:
        return code_of_failure(response)
    try:
        failure = failure_in_success(response.status, response.headers, response.body)
    except IntegrityError:
        return _CUT_OFF
    return None if failure is None else failure.code or _CUT_OFF


class Client(HttpClient):
    """One bucket of one service. Thread-safe."""

    def __init__(
        self,
        address: Address,
        service: Service,
        signing: S3Signing | None,
        transport: Transport,
        rules: Rules,
        *,
        bucket: str,
        encryption: Encryption | None = None,
        requester_pays: bool = False,
    ) -> None:
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

    # ---- judging

    def code_of(self, response: Response) -> str | None:
        """The code in an error's document."""
        return code_of_failure(response)

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
        """A call about the bucket itself; ``query`` unencoded."""
        return Call(
            method, self.address.bucket_path, encode_query(query), self.payer if fields is None else fields, body
        )

    def key_call(self, method: str, key: str, query: Query = (), fields: Fields | None = None) -> Call:
        """A call about one object; ``query`` unencoded."""
        return Call(method, self.path(key), encode_query(query), self.payer if fields is None else fields)
