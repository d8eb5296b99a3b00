"""Who asks: Shared Key, SAS token, Entra ID (azure-identity, the extra ``azure``), or nobody. All are thread-safe."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, Protocol

from mediagit_storage.backends.azure.config import AzureConfig, Identity, Opened
from mediagit_storage.backends.azure.connection import SasToken
from mediagit_storage.backends.azure.services import Address
from mediagit_storage.backends.azure.signing import VERSION, KeySigner
from mediagit_storage.clock import Clock
from mediagit_storage.errors import ConfigError, UnauthenticatedError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.client import Signing
from mediagit_storage.http.encoding import format_http_date, parse_http_date, percent_decode
from mediagit_storage.http.endpoint import is_loopback
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.http.redact import redact_text
from mediagit_storage.http.response import Response
from mediagit_storage.secrets import Secret

__all__ = [
    "Anonymous",
    "AzureSigning",
    "KeySigning",
    "SasSigning",
    "TokenCredential",
    "TokenSigning",
    "identity_credential",
    "signing_for",
]

_SCOPE: Final = "https://storage.azure.com/.default"
#: A token is fetched anew so many seconds before it ends.
_EARLY: Final = 300
_NANO: Final = 1_000_000_000


class AccessToken(Protocol):
    """What azure-identity hands out: ``expires_on`` is seconds since 1970."""

    @property
    def token(self) -> str:
        """The token itself."""
        ...

    @property
    def expires_on(self) -> int:
        """When it ends."""
        ...


class TokenCredential(Protocol):
    """A credential of azure-identity, or anything that hands out tokens like it. Has to be thread-safe."""

    def get_token(self, *scopes: str) -> AccessToken:
        """A token for these scopes."""
        ...


class AzureSigning(Signing):
    """What all ways have in common: the time, and the version that requests are made for."""

    #: For people.
    source: str = "none: anonymous access"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        #: Seconds that the service's clock is ahead.
        self.offset = 0
        self._second = -1
        self._stamp: Fields = []

    def now(self) -> int:
        """The service's time, in seconds since 1970, as far as it is known."""
        return self.clock.now_ns() // _NANO + self.offset

    def stamped(self) -> Fields:
        """The fields with version and time, made once a second."""
        now = self.now()
        if now != self._second:
            # One after the other: another thread may see a stamp that is a second old.
            self._stamp = [("x-ms-date", _date(now)), ("x-ms-version", VERSION)]
            self._second = now
        return self._stamp

    def sign(self, call: Call) -> tuple[str, Fields]:
        """Version and time only."""
        return call.query, [*call.fields, *self.stamped()]

    def sign_inside(self, call: Call) -> tuple[str, Fields]:
        """The same for a request inside of a batch, which must not name the version."""
        return call.query, call.fields

    def copy_source(self, url: str) -> tuple[str, Fields]:
        """How a blob of the same account is named to the service as a source: its URL, and fields that let it in."""
        return url, []

    def skewed(self, headers: Headers) -> bool:
        """Whether an answer's time is so far from what was signed that this alone explains a refusal."""
        date = headers.get("date")
        return date is not None and abs(parse_http_date(date).timestamp() - self.now()) > 840


class Anonymous(AzureSigning):
    """Nobody in particular: containers that are open to the public."""


class KeySigning(AzureSigning):
    """Signs each request with the account's key."""

    keeps_time = True
    source = "the account's key"

    def __init__(self, signer: KeySigner, clock: Clock, link: Callable[[KeySigner, int], str]) -> None:
        super().__init__(clock)
        self.signer = signer
        self._link = link

    def sign(self, call: Call) -> tuple[str, Fields]:
        """With the signature of the whole request."""
        return self._signed(call, [*call.fields, *self.stamped()])

    def sign_inside(self, call: Call) -> tuple[str, Fields]:
        """With a signature of its own."""
        return self._signed(call, [*call.fields, self.stamped()[0]])

    def _signed(self, call: Call, fields: Fields) -> tuple[str, Fields]:
        body = call.body
        length = None if body is None else len(body) if isinstance(body, bytes) else body.size
        value = self.signer.authorization(call.method, call.path, call.query, fields, length=length)
        fields.append(("authorization", value))
        return call.query, fields

    def secrets(self) -> Iterable[Secret]:
        """The key."""
        return (self.signer.key,)

    def set_clock(self, response: Response) -> None:
        """Sign with the service's time from now on."""
        date = response.headers.get("date")
        if date is not None:
            self.offset = round(parse_http_date(date).timestamp() - self.clock.now_ns() / _NANO)

    def copy_source(self, url: str) -> tuple[str, Fields]:
        """With a link that lets the service read it: a signature of the request around it does not count there."""
        return f"{url}{'&' if '?' in url else '?'}{self._link(self.signer, self.now())}", []


class SasSigning(AzureSigning):
    """Appends the token to each URL."""

    source = "a SAS token"

    def __init__(self, token: SasToken, clock: Clock) -> None:
        super().__init__(clock)
        self.token = token
        self._query = token.query.reveal()

    def sign(self, call: Call) -> tuple[str, Fields]:
        """With the token behind the query."""
        query = f"{call.query}&{self._query}" if call.query else self._query
        return query, [*call.fields, *self.stamped()]

    def secrets(self) -> Iterable[Secret]:
        """The token, and the signature in it."""
        signature = dict(part.partition("=")[::2] for part in self._query.split("&")).get("sig", "")
        return (self.token.query, Secret(signature), Secret(percent_decode(signature)))

    def sign_inside(self, call: Call) -> tuple[str, Fields]:
        """With the token, too."""
        return self._query, call.fields

    def copy_source(self, url: str) -> tuple[str, Fields]:
        """With the same token."""
        return f"{url}{'&' if '?' in url else '?'}{self._query}", []


class TokenSigning(AzureSigning):
    """Sends a bearer token, which is fetched anew in time, and when the service refuses it."""

    refreshable = True

    def __init__(self, credential: TokenCredential, clock: Clock, source: str) -> None:
        super().__init__(clock)
        self.credential = credential
        self.source = source
        self._lock = ForkSafeLock()
        self._token: tuple[Secret, float] | None = None

    def sign(self, call: Call) -> tuple[str, Fields]:
        """With the token of now."""
        return call.query, [*call.fields, *self.stamped(), ("authorization", self.bearer())]

    def secrets(self) -> Iterable[Secret]:
        """The token of now."""
        return () if self._token is None else (self._token[0],)

    def bearer(self) -> str:
        """The value of ``Authorization``."""
        found = self._token
        if found is None or found[1] - _EARLY <= self.clock.now_ns() / _NANO:
            with self._lock.mine():
                if self._token is found or self._token is None:
                    self._token = self._fetched()
                found = self._token
        return f"Bearer {found[0].reveal()}"

    def refresh(self, response: Response) -> None:
        """Fetch another one, unless another thread has done so since this one was sent."""
        sent = dict(response.request.headers).get("authorization")
        with self._lock.mine():
            if self._token is None or sent == f"Bearer {self._token[0].reveal()}":
                self._token = self._fetched()

    def sign_inside(self, call: Call) -> tuple[str, Fields]:
        """With the token, too."""
        return call.query, [*call.fields, ("authorization", self.bearer())]

    def copy_source(self, url: str) -> tuple[str, Fields]:
        """With the token in a field of its own."""
        return url, [("x-ms-copy-source-authorization", self.bearer())]

    def _fetched(self) -> tuple[Secret, float]:
        try:
            found = self.credential.get_token(_SCOPE)
        except Exception as error:  # noqa: BLE001  # whatever somebody else's credential raises
            said = redact_text(str(error)).partition("\n")[0][:500]
            # Not chained: the library's own error may show what it was sent.
            raise UnauthenticatedError(
                f"no token from {self.source}: {said} ({type(error).__name__}); sign in, or check what it is set up with"
            ) from None
        return Secret(found.token), float(found.expires_on)


def _date(seconds: int) -> str:
    return format_http_date(datetime.fromtimestamp(seconds, UTC))


# ---- choosing ------------------------------------------------------------------------------------------------------

_CREDENTIALS: Final[dict[Identity, str]] = {
    "default": "DefaultAzureCredential",
    "environment": "EnvironmentCredential",
    "workload": "WorkloadIdentityCredential",
    "managed": "ManagedIdentityCredential",
    "cli": "AzureCliCredential",
    "powershell": "AzurePowerShellCredential",
    "developer": "AzureDeveloperCliCredential",
}


def identity_credential(identity: Identity, client_id: str | None = None) -> TokenCredential:
    """A credential of azure-identity. Nothing is asked of anybody yet.

    Raises `ConfigError` that names the extra where the library is missing.
    """
    try:
        # Not at the top: it is an extra, and slow to import.
        library = importlib.import_module("azure.identity")
    except ImportError:
        raise ConfigError(
            "signing in by Entra ID needs the extra 'azure': pip install 'mediagit-storage[azure]'; or set"
            " AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING"
        ) from None
    options: dict[str, str] = {}
    if client_id is not None:
        if identity not in {"default", "managed", "workload"}:
            raise ConfigError("client_id belongs to identity=default, managed or workload")
        options["managed_identity_client_id" if identity == "default" else "client_id"] = client_id
    try:
        made: TokenCredential = getattr(library, _CREDENTIALS[identity])(**options)
    except ValueError as error:
        raise ConfigError(f"identity={identity}: {str(error).partition(chr(10))[0]}") from None
    return made


def signing_for(
    config: AzureConfig,
    found: Opened,
    clock: Clock,
    link: Callable[[KeySigner, int], str],
    credential: TokenCredential | None = None,
) -> AzureSigning:
    """The way that the options ask for. ``link`` makes, at a time, the SAS by which the service may read a source."""
    if credential is None and config.identity is not None:
        credential = identity_credential(config.identity, config.client_id)
    if credential is not None:
        _check_secure(found.address)
        return TokenSigning(credential, clock, config.identity or "the given credential")
    if found.sas is not None:
        return SasSigning(found.sas, clock)
    if found.key is not None:
        signer = KeySigner(found.address.account, found.key)
        return KeySigning(signer, clock, link)
    return Anonymous(clock)


def _check_secure(address: Address) -> None:
    if not address.secure and not is_loopback(address.host.partition(":")[0]):
        raise ConfigError("a bearer token would be shown to the network: it needs https")
