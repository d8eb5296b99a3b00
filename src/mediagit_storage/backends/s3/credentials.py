"""Where credentials come from: given ones, or botocore's chain (the extra ``aws``), fetched anew when they get old."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, cast

from mediagit_storage.backends.s3.config import S3Config
from mediagit_storage.errors import ConfigError, StorageError, UnauthenticatedError
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.http.sigv4 import Credentials
from mediagit_storage.secrets import Secret, resolve_secret

__all__ = ["ChainProvider", "CredentialProvider", "StaticProvider", "botocore_credentials", "provider_for"]


class CredentialProvider(ABC):
    """Hands out the credentials to sign with. Thread-safe."""

    #: Whether `refresh` may bring others.
    refreshable: bool = False
    #: Where they come from, for people.
    source: str

    @abstractmethod
    def current(self) -> Credentials:
        """Those to sign with now. Raises `UnauthenticatedError` or `ConfigError` where there are none."""

    def refresh(self, stale: Credentials) -> None:  # noqa: B027  # what was given cannot be fetched anew
        """``stale`` was refused as too old: fetch others, once for all threads that say so."""


class StaticProvider(CredentialProvider):
    """Always the same."""

    def __init__(self, credentials: Credentials, source: str) -> None:
        self._credentials = credentials
        self.source = source

    def current(self) -> Credentials:
        """The ones given."""
        return self._credentials


class _Frozen(Protocol):
    access_key: str
    secret_key: str
    token: str | None


class _Chained(Protocol):
    method: str

    def get_frozen_credentials(self) -> _Frozen: ...


class ChainProvider(CredentialProvider):
    """Those of a chain, which is asked again when its answer was refused; ``load`` runs the chain from its start."""

    refreshable = True
    source = "botocore's chain"

    def __init__(self, load: Callable[[], _Chained | None]) -> None:
        self._load = load
        self._lock = ForkSafeLock()
        self._chained: _Chained | None = None
        self._last: Credentials | None = None

    def current(self) -> Credentials:
        """What the chain has now; it renews what is about to end by itself."""
        chained = self._chained
        if chained is None:
            with self._lock.mine():
                if self._chained is None:
                    self._chained = self._loaded()
                chained = self._chained
        return self._kept(self._freeze(chained))

    def refresh(self, stale: Credentials) -> None:
        """Run the chain anew, unless another thread has done so since ``stale`` was handed out."""
        with self._lock.mine():
            if self._last == stale:
                self._chained = self._loaded()
                self._last = self._freeze(self._chained)

    def _loaded(self) -> _Chained:
        try:
            chained = self._load()
        except StorageError:
            raise
        except Exception as error:
            raise UnauthenticatedError(f"no credentials: {type(error).__name__}: {error}") from error
        if chained is None:
            raise UnauthenticatedError(
                "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile,"
                " or open the storage with anonymous=True"
            )
        self.source = f"botocore: {chained.method}"
        return chained

    def _freeze(self, chained: _Chained) -> Credentials:
        try:
            frozen = chained.get_frozen_credentials()
        except Exception as error:
            raise UnauthenticatedError(f"the credentials cannot be renewed: {type(error).__name__}: {error}") from error
        token = Secret(frozen.token) if frozen.token else None
        return Credentials(frozen.access_key, Secret(frozen.secret_key), token)

    def _kept(self, found: Credentials) -> Credentials:
        # The same object as long as nothing changed, so that its user can tell by identity.
        last = self._last
        if last == found:
            return last
        self._last = found
        return found


def provider_for(config: S3Config) -> CredentialProvider | None:
    """The provider that a configuration asks for; None for anonymous access. Looks nothing up yet.

    What the chain finds by itself goes to Amazon only: a URL may have named any other server.
    """
    if config.anonymous:
        return None
    if config.access_key_id is not None and config.secret_access_key is not None:
        token = None if config.session_token is None else resolve_secret(config.session_token)
        key_id = resolve_secret(config.access_key_id).reveal()
        credentials = Credentials(key_id, resolve_secret(config.secret_access_key), token)
        return StaticProvider(credentials, "given" if isinstance(config.access_key_id, Secret) else "referenced")
    profile = config.profile
    if config.SERVICE == "aws" and config.service in {None, "aws"} and (profile or config.at_amazon):
        return ChainProvider(lambda: botocore_credentials(profile))
    raise ConfigError(
        f"a storage of this kind needs credentials: set {config.ENVIRONMENT['access_key_id']} and"
        f" {config.ENVIRONMENT['secret_access_key']}, or give access_key_id and secret_access_key"
        + (" or the profile they are in" if config.SERVICE == "aws" else "")
    )


def botocore_credentials(profile: str | None) -> _Chained | None:
    """What botocore's chain finds, beginning with a profile where one is named. Raises `ConfigError` without the extra."""
    try:
        # Not at the top: it is an extra, and slow to import.
        session_module = importlib.import_module("botocore.session")
    except ImportError:
        raise ConfigError(
            "credentials from profiles, SSO, roles and instances need the extra 'aws': pip install"
            " 'mediagit-storage[aws]'; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    session = session_module.Session(profile=profile)
    return cast("_Chained | None", session.get_credentials())
