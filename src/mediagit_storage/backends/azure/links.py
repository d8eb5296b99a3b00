"""Links that let their holder do one thing with one blob for a while: service SAS and user delegation SAS."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from mediagit_storage.backends.azure.answers import parse_delegation_key
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.credentials import AzureSigning, KeySigning, TokenSigning
from mediagit_storage.backends.azure.services import Address
from mediagit_storage.backends.azure.shapes import response_query
from mediagit_storage.backends.azure.signing import (
    DelegationKey,
    Grant,
    KeySigner,
    format_time,
    service_sas,
    user_delegation_sas,
)
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.encoding import encode_query
from mediagit_storage.http.xml import element
from mediagit_storage.types import PresignMethod, PresignOptions

__all__ = ["Linker", "can_link", "source_link"]

#: What a link may do. To write means to create as well as to overwrite.
_PERMISSIONS: Final[dict[PresignMethod, str]] = {"GET": "r", "PUT": "cw", "DELETE": "d"}
#: The longest life of a user delegation key, and of links signed with it.
_LONGEST: Final = timedelta(days=7)
#: How long a copy may take that reads its source by a link.
_COPYING: Final = timedelta(hours=24)


def can_link(signing: AzureSigning) -> bool:
    """Whether links can be signed: not with a SAS token, which could only be handed on as it is."""
    return isinstance(signing, KeySigning | TokenSigning)


def source_link(address: Address, signer: KeySigner, now: int) -> str:
    """The query by which the service itself may read any blob of the container, and any version, as a copy's source."""
    expires = datetime.fromtimestamp(now, UTC) + _COPYING
    return service_sas(
        Grant("r", expires, address.account, address.container, None, https_only=address.secure), signer.digest
    )  # fmt: skip


class Linker:
    """Makes links to blobs of one container. Thread-safe."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._key: tuple[DelegationKey, datetime] | None = None

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link. With Entra ID the first one asks the service for a key, which then serves for days."""
        client, address = self._client, self._client.address
        signing = client.signing
        if options.response and options.method != "GET":
            raise ConfigError("only links for GET can set fields of their answer")
        if options.content_type is not None:
            raise UnsupportedError("a link of Azure cannot fix the content type of what is sent")
        if options.method == "PUT":
            address.check_written(key)
        now = datetime.fromtimestamp(signing.now(), UTC)
        expires = _end(now, options.expires)
        grant = Grant(
            _PERMISSIONS[options.method],
            expires,
            address.account,
            address.container,
            key,
            https_only=address.secure,
            response=response_query(options.response),
        )
        if isinstance(signing, KeySigning):
            return client.url(key, service_sas(grant, signing.signer.digest))
        if isinstance(signing, TokenSigning):
            if expires - now > _LONGEST:
                raise ConfigError("a link signed by a user lives 7 days at most")
            return client.url(key, user_delegation_sas(grant, self._delegation_key(now, expires)))
        raise UnsupportedError("links are signed with an account's key or by Entra ID, and neither was given")

    def _delegation_key(self, now: datetime, expires: datetime) -> DelegationKey:
        with self._lock:
            if self._key is None or self._key[1] < expires:
                until = now + _LONGEST - timedelta(minutes=1)
                until = max(until, expires)
                self._key = self._fetched(now, until), until
            return self._key[0]

    def _fetched(self, start: datetime, until: datetime) -> DelegationKey:
        times = element("Start", format_time(start)) + element("Expiry", format_time(until))
        body = f'<?xml version="1.0" encoding="utf-8"?>{element("KeyInfo", times)}'.encode()
        query = encode_query([("restype", "service"), ("comp", "userdelegationkey")])
        call = Call("POST", self._client.address.account_path, query, [("content-type", "application/xml")], body)
        return parse_delegation_key(self._client.expect(call, subject="bucket").body)


def _end(now: datetime, life: timedelta) -> datetime:
    if life <= timedelta(0):
        raise ConfigError("a link lives longer than no time at all")
    try:
        # Whole seconds, and never none.
        return now + max(life, timedelta(seconds=1))
    except OverflowError:
        raise ConfigError("a link cannot live that long") from None
