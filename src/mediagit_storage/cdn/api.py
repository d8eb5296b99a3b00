"""The management APIs of CDNs: requests on this library's transport, repeated by its rules, and their failures as errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from mediagit_storage.errors import (
    ConfigError,
    IntegrityError,
    PermissionDeniedError,
    StorageError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from mediagit_storage.http.call import Call, Condition, Fields, Subject
from mediagit_storage.http.client import HttpClient, Signing
from mediagit_storage.http.config import RequestConfig
from mediagit_storage.http.endpoint import parse_endpoint
from mediagit_storage.http.redact import one_line
from mediagit_storage.http.refusals import Row, excerpt, said
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules, asks_to_slow_down
from mediagit_storage.http.transport import Transport
from mediagit_storage.secrets import Secret
from mediagit_storage.types import JSON

__all__ = [
    "ApiClient",
    "ApiFailure",
    "FieldSigning",
    "PurgeCall",
    "Ticket",
    "chunks",
    "json_call",
    "json_object",
    "open_client",
]

_MAX_MESSAGE: Final = 500
#: More than any of these APIs answers, in bytes.
_MAX_BODY: Final = 1024 * 1024

#: What a status means where the service's own code says nothing better.
_STATUSES: Final = {
    400: Row(StorageError, "the CDN refused the request"),
    401: Row(UnauthenticatedError, "check the credentials for the CDN's API"),
    403: Row(PermissionDeniedError, "the credentials for the CDN's API lack a permission"),
    404: Row(ConfigError, "check the names in the profile: the CDN knows nothing of that name"),
    413: Row(StorageError, "the CDN takes fewer at once"),
    429: Row(ThrottledError, "the CDN asks for fewer requests; try again later"),
}


class ApiFailure(NamedTuple):
    """What a failed answer says: the service's own code and words, either may be empty."""

    code: str = ""
    message: str = ""


class PurgeCall(NamedTuple):
    """One request that drops copies, and what it asks for, as the service spells it."""

    call: Call
    items: tuple[str, ...]


class Ticket(NamedTuple):
    """How the service calls the work that it was asked for, and whether it is done."""

    id: str
    done: bool


class FieldSigning(Signing):
    """Proves who is asking by one field that holds a token: ``Authorization: Bearer TOKEN``."""

    def __init__(self, name: str, token: Secret, scheme: str = "") -> None:
        self._name = name
        self._token = token
        self._scheme = scheme

    def sign(self, call: Call) -> tuple[str, Fields]:
        """The call with its token."""
        return call.query, [*call.fields, (self._name, f"{self._scheme}{self._token.reveal()}")]

    def secrets(self) -> Iterable[Secret]:
        """The token."""
        return (self._token,)


class ApiClient(HttpClient):
    """The API of one CDN. ``read`` finds a failure in an answer; ``slow`` are codes that ask for patience. Thread-safe."""

    def __init__(
        self,
        origin: str,
        transport: Transport,
        rules: Rules,
        signing: Signing,
        *,
        read: Callable[[Response], ApiFailure | None],
        slow: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(origin, transport, rules, signing)
        self._read = read
        self._slow = slow

    def code_of(self, response: Response) -> str | None:
        """The service's code of a failure; also of one that comes with a status of success."""
        failure = self._read(response)
        if failure is None:
            return None
        return failure.code or (f"HTTP {response.status}" if response.status < 400 else None)

    def error_of(self, response: Response, *, subject: Subject, condition: Condition | None) -> StorageError:
        """What a failed answer means to a caller."""
        failure = self._read(response) or ApiFailure()
        status = response.status
        kind, advice = _STATUSES.get(status, Row(StorageError, "the CDN refused the request"))
        if status >= 500:
            kind, advice = UnavailableError, "the CDN's API has trouble; try again later"
        if failure.code in self._slow or asks_to_slow_down(status, failure.code):
            kind, advice = _STATUSES[429]
        message = one_line(failure.message or excerpt(response.body), _MAX_MESSAGE)
        return kind(f"{said(status, failure.code, message, '')}; {advice}")

    def ask(self, call: Call) -> Response:
        """The answer to a call; the error that it means, whatever its status."""
        return self.expect(call._replace(code_of=self.code_of, max_body=_MAX_BODY), subject="bucket")

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


def open_client(
    url: str,
    config: RequestConfig,
    rules: Rules | None,
    signing: Callable[[str], Signing],
    *,
    read: Callable[[Response], ApiFailure | None],
    slow: frozenset[str] = frozenset(),
) -> ApiClient:
    """The client of the API at ``url``; ``signing`` is given its host. Makes no request."""
    endpoint = parse_endpoint(url, allow_http=config.allow_http)
    transport = Transport(config.transport_options())
    return ApiClient(
        endpoint.origin,
        transport,
        rules or Rules(config.retry_policy()),
        signing(endpoint.host),
        read=read,
        slow=slow,
    )


def json_call(method: str, path: str, body: JSON, query: str = "") -> Call:
    """A call with a body of JSON (keys in order, so that the same is always spelled the same)."""
    text = json.dumps(body, separators=(",", ":")).encode()
    return Call(method, path, query, [("content-type", "application/json")], text)


def json_object(response: Response) -> dict[str, JSON]:
    """The object in an answer; an `IntegrityError` for anything else."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IntegrityError("the CDN's API answered with something that is no JSON object")
    return found


def chunks(items: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """The items in order, at most ``size`` together."""
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
