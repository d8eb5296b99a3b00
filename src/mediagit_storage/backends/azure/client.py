"""Requests about one container: sent as `HttpClient` does, their failures told in this library's words."""

from __future__ import annotations

from datetime import UTC, datetime

from mediagit_storage.backends.azure.credentials import AzureSigning, SasSigning
from mediagit_storage.backends.azure.services import Address
from mediagit_storage.backends.azure.shapes import EncryptionFields
from mediagit_storage.backends.azure.translate import read_failure, translate
from mediagit_storage.errors import StorageError
from mediagit_storage.http.call import Call, Condition, Fields, Query, Subject
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.encoding import encode_query, parse_http_date
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.http.transport import Transport

__all__ = ["AzureClient"]

#: How the rules of retrying call an answer that finds this machine's clock wrong.
_SKEWED = "RequestTimeTooSkewed"
_REFUSED = frozenset({"AuthenticationFailed", "AuthorizationFailure"})


class AzureClient(HttpClient):
    """One container. Thread-safe."""

    def __init__(
        self, address: Address, signing: AzureSigning, transport: Transport, rules: Rules, encryption: EncryptionFields
    ) -> None:
        super().__init__(address.origin, transport, rules, signing)
        self.address = address
        self.signing = signing
        #: What requests about content carry: the key or scope that it is encrypted with.
        self.reading: Fields = encryption.reading
        self.writing: Fields = encryption.writing

    # ---- calls that many need

    def key_call(self, method: str, key: str, query: Query = (), fields: Fields | None = None) -> Call:
        """A call about one object; ``query`` unencoded."""
        return Call(method, self.address.path(key), encode_query(query), [] if fields is None else fields)

    def container_call(
        self, method: str, query: Query = (), fields: Fields | None = None, body: bytes | None = None
    ) -> Call:
        """A call about the container itself; ``query`` unencoded."""
        pairs = [("restype", "container"), *query]
        return Call(
            method, self.address.container_path, encode_query(pairs), [] if fields is None else fields, body
        )  # fmt: skip

    def url(self, key: str, version: str = "") -> str:
        """The whole URL of an object, or of the version that an encoded query names."""
        url = self.origin + self.address.path(key)
        return f"{url}?{version}" if version else url

    # ---- judging

    def code_of(self, response: Response) -> str | None:
        """The code of a failure."""
        if response.status < 400:
            return None
        failure = read_failure(response.status, response.headers, response.body)
        if failure.code in _REFUSED and self.signing.keeps_time and self.signing.skewed(response.headers):
            return _SKEWED
        return failure.code or None

    def error_of(
        self, response: Response, *, subject: Subject = "object", condition: Condition | None = None
    ) -> StorageError:
        """What a failed answer means. Where a SAS token is over, that is what is told."""
        failure = read_failure(response.status, response.headers, response.body)
        advice = self._complaint(response) if response.status in {401, 403} else None
        return translate(failure, subject=subject, condition=condition, advice=advice)

    def _complaint(self, response: Response) -> str | None:
        if not isinstance(self.signing, SasSigning):
            return None
        # By the service's clock, which is the one that counts.
        date = response.headers.get("date")
        now = parse_http_date(date) if date is not None else datetime.fromtimestamp(self.signing.now(), UTC)
        return self.signing.token.complaint(now)
