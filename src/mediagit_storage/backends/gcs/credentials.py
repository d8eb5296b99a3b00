"""Access tokens: one that was given, or those that google-auth fetches (the extra ``gcs``), anew when they get old.

google-auth's own requests travel over this library's transport, so proxies, certificates and time-outs hold for them
too, and no other HTTP library is needed. That extra is imported when the first token or signature is asked for.
"""

from __future__ import annotations

import importlib
import json
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from mediagit_storage.backends.gcs.config import GCSConfig
from mediagit_storage.errors import ConfigError, StorageError, UnauthenticatedError, UnavailableError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.client import Signing
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.http.network import TransportOptions
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.transport import Transport
from mediagit_storage.secrets import Secret, resolve_secret

__all__ = [
    "BearerSigning",
    "FetchedToken",
    "GivenToken",
    "ServiceAccount",
    "TokenTransport",
    "fetched_token",
    "read_account",
    "signing_for",
]

_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.full_control",)
#: Where an instance of Google's asks for its token; plain http, by design.
_METADATA: Final = ("metadata.google.internal", "169.254.169.254")
_MISSING: Final = (
    "credentials of Google need the extra 'gcs': pip install 'mediagit-storage[gcs]'; or give token, or open with"
    " anonymous=True"
)


class ServiceAccount:
    """The file of a service account, as far as it is needed without google-auth. ``info`` is never shown."""

    def __init__(self, path: str, info: Mapping[str, object]) -> None:
        self.path = path
        self.info = info
        self.email = str(info.get("client_email", ""))

    def __repr__(self) -> str:
        return f"<ServiceAccount {self.email}>"

    def sign(self, message: bytes) -> bytes:
        """RSA with SHA-256 by the account's key; no network."""
        crypt = _google("google.auth.crypt")
        try:
            signer = crypt.RSASigner.from_service_account_info(dict(self.info))
            return cast("bytes", signer.sign(message))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"the key in {self.path} cannot sign: {type(error).__name__}") from None


def read_account(path: str, option: str = "service_account_file") -> ServiceAccount | None:
    """The service account in a file of credentials; None where the file is of another kind, which cannot sign.

    Raises `ConfigError`, which names the file and ``option``, and shows nothing of it, for what is no file of credentials.
    """
    where = Path(os.path.expanduser(path))  # noqa: PTH111  # Path fails where there is no such user
    hint = f"check {option} or GOOGLE_APPLICATION_CREDENTIALS"
    try:
        info = json.loads(where.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the file of credentials {where} cannot be read: {error.strerror}; {hint}") from None
    except ValueError:
        raise ConfigError(f"the file of credentials {where} is no JSON; {hint}") from None
    if not isinstance(info, dict) or not isinstance(info.get("type"), str):
        raise ConfigError(f"the file {where} holds no credentials of Google: it has no 'type'; {hint}")
    if info["type"] != "service_account":
        return None
    missing = [name for name in ("client_email", "private_key", "token_uri") if not isinstance(info.get(name), str)]
    if missing:
        raise ConfigError(f"the service account in {where} has no {missing[0]!r}; fetch a new key")
    return ServiceAccount(str(where), info)


class _Google(Protocol):
    """The part of google-auth's credentials that is used."""

    token: str | None

    @property
    def valid(self) -> bool: ...

    def refresh(self, request: object) -> None: ...


class TokenAnswer(NamedTuple):
    """An answer in the shape that google-auth reads."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class TokenTransport:
    """google-auth's requests, sent by this library. Plain http goes to this machine and to the metadata server only,
    which no proxy leads to.
    """

    def __init__(self, options: TransportOptions) -> None:
        self._transport = Transport(options)
        self._near = Transport(replace(options, allow_http=True, proxy=None, connect_timeout=3.0))

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_others: object,
    ) -> TokenAnswer:
        """One request and its answer, whatever its status. Failures are google-auth's own `TransportError`."""
        near = urlsplit(url).hostname in _metadata_hosts()
        data = body.encode() if isinstance(body, str) else body
        fields = tuple((name.lower(), str(value)) for name, value in (headers or {}).items())
        try:
            request = Request(method, url, fields, data, idle_timeout=timeout)
            response = (self._near if near else self._transport).send(request)
        except StorageError as error:
            raise _google("google.auth.exceptions").TransportError(error.message) from error
        return TokenAnswer(response.status, dict(response.headers), response.body)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
        self._near.close()


def _metadata_hosts() -> frozenset[str]:
    named = [os.environ.get(name, "") for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP")]
    return frozenset({*_METADATA, *(each.rpartition(":")[0] or each for each in named if each)})


class BearerSigning(Signing):
    """Sends an access token with each request."""

    #: Where it comes from, for people.
    source: str = ""

    @abstractmethod
    def current(self) -> str:
        """The token to send now."""

    def secrets(self) -> tuple[Secret, ...]:
        """The token that is in use."""
        token = self.known()
        return () if token is None else (Secret(token),)

    @abstractmethod
    def known(self) -> str | None:
        """The token that was sent last; fetches none."""

    def sign(self, call: Call) -> tuple[str, Fields]:
        """The call with its token."""
        return call.query, [*call.fields, ("authorization", f"Bearer {self.current()}")]


class GivenToken(BearerSigning):
    """Always the same token."""

    source = "a given token"

    def __init__(self, token: Secret) -> None:
        self._token = token

    def current(self) -> str:
        """The one given."""
        return self._token.reveal()

    def known(self) -> str:
        """The same."""
        return self._token.reveal()


class FetchedToken(BearerSigning):
    """Tokens that google-auth fetches; ``load`` finds its credentials when the first one is needed."""

    refreshable = True

    def __init__(self, load: Callable[[], _Google], transport: TokenTransport, source: str) -> None:
        self._load = load
        self._transport = transport
        self.source = source
        self._lock = ForkSafeLock()
        self._credentials: _Google | None = None

    def current(self) -> str:
        """The token, fetched when there is none or it is about to end: once for all threads."""
        credentials = self._credentials
        if credentials is None or not credentials.valid:
            with self._lock.mine():
                credentials = self._credentials
                if credentials is None:
                    credentials = self._credentials = self._loaded()
                if not credentials.valid:
                    self._fetch(credentials)
        if not credentials.token:
            raise UnauthenticatedError("google-auth has no token; check the credentials")
        return credentials.token

    def known(self) -> str | None:
        """That of the credentials, if they were fetched."""
        return None if self._credentials is None else self._credentials.token

    def refresh(self, response: Response) -> None:
        """The token of ``response`` was refused: fetch another, unless a thread has done so since."""
        refused = next((value for name, value in response.request.headers if name == "authorization"), "")
        with self._lock.mine():
            credentials = self._credentials
            if credentials is not None and refused == f"Bearer {credentials.token}":
                self._fetch(credentials)

    def _loaded(self) -> _Google:
        try:
            return self._load()
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  # of google-auth's many ways to find nothing
            raise UnauthenticatedError(
                f"no credentials of Google were found ({type(error).__name__}); set GOOGLE_APPLICATION_CREDENTIALS to"
                " the file of a service account, run `gcloud auth application-default login`, or open the storage"
                " with anonymous=True"
            ) from None

    def _fetch(self, credentials: _Google) -> None:
        errors = _google("google.auth.exceptions")
        try:
            credentials.refresh(self._transport)
        except StorageError:
            raise
        except errors.TransportError as error:
            cause = error.__cause__
            if isinstance(cause, StorageError):
                raise cause from None
            raise UnavailableError(f"a token could not be fetched: {_plain(error)}") from None
        except errors.GoogleAuthError as error:
            raise UnauthenticatedError(
                f"the credentials were refused when a token was asked for: {_plain(error)}; check {self.source}"
            ) from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the credentials cannot be used ({type(error).__name__}); check {self.source}") from None


def signing_for(config: GCSConfig, account: ServiceAccount | None, transport: TokenTransport) -> BearerSigning | None:
    """What signs the requests of a configuration; None for none. Fetches nothing yet."""
    if config.anonymous or config.emulated:
        return None
    if config.token is not None:
        return GivenToken(resolve_secret(config.token))
    path = config.credentials_file
    if path is None and not config.trusted:
        return None
    return fetched_token(path, account, transport, _SCOPES)


def fetched_token(
    path: str | None, account: ServiceAccount | None, transport: TokenTransport, scopes: Sequence[str]
) -> FetchedToken:
    """Tokens for ``scopes``: of the file of credentials at ``path`` (``account`` where it is read already and a service
    account's), or of what google-auth finds by itself. Fetches nothing yet.
    """
    if path is None:
        return FetchedToken(lambda: _default(transport, scopes), transport, "application default credentials")
    found = account
    load = (lambda: _of_account(found, scopes)) if found is not None else (lambda: _of_file(path, transport, scopes))
    return FetchedToken(load, transport, f"the file {path}")


def _google(module: str) -> ModuleType:
    try:
        # Not at the top: it is an extra, and slow to import.
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(_MISSING) from None


def _of_account(account: ServiceAccount, scopes: Sequence[str]) -> _Google:
    kind = _google("google.oauth2.service_account").Credentials
    return cast("_Google", kind.from_service_account_info(dict(account.info), scopes=list(scopes)))


def _of_file(path: str, transport: TokenTransport, scopes: Sequence[str]) -> _Google:
    """Credentials of another kind, from a file that the user named."""
    info = json.loads(Path(os.path.expanduser(path)).read_text(encoding="utf-8"))  # noqa: PTH111
    auth = _google("google.auth")
    with warnings.catch_warnings():
        # It warns of files from strangers: this one is the user's own choice.
        warnings.simplefilter("ignore", DeprecationWarning)
        found, _ = auth.load_credentials_from_dict(info, scopes=list(scopes), request=transport)
    return cast("_Google", found)


def _default(transport: TokenTransport, scopes: Sequence[str]) -> _Google:
    found, _ = _google("google.auth").default(scopes=list(scopes), request=transport)
    return cast("_Google", found)


def _plain(error: Exception) -> str:
    """The first word of what went wrong: further arguments hold the whole answer of a server."""
    return str(error.args[0] if error.args else error)[:200]
