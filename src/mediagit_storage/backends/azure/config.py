"""What an Azure storage is opened with: one set of options, and what they come to together."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

from mediagit_storage.backends.azure.connection import (
    EMULATOR_ACCOUNT,
    EMULATOR_KEY,
    SasToken,
    parse_connection_string,
    parse_sas,
)
from mediagit_storage.backends.azure.services import (
    BLOCK_CHECKSUMS,
    LIMITS,
    Address,
    BlockChecksum,
    address_of,
    check_container,
)
from mediagit_storage.errors import ConfigError
from mediagit_storage.hashing import new_hasher
from mediagit_storage.http.config import HttpConfig
from mediagit_storage.http.multipart import MIB
from mediagit_storage.secrets import Secret, SecretRef, SecretValue, resolve_secret

__all__ = ["AzureConfig", "Identity", "Opened", "VersionKind", "config_from_env", "opened"]

Identity = Literal["default", "environment", "workload", "managed", "cli", "powershell", "developer", "given"]
VersionKind = Literal["versions", "snapshots"]

_BLOCK = 4 * MIB
_GIVEN = "the credential was handed over by the program: open the storage with AzureBackend.with_credential"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureConfig(HttpConfig):
    """The options of an `AzureBackend`, checked. How requests travel: `HttpConfig`.

    ==================== ==============================================================================================
    ``container``        its name
    ``account``          the storage account
    ``endpoint``         the address of the account's blobs, where it is not ``https://ACCOUNT.blob.core.windows.net``;
                         emulators have the account as its path: ``http://127.0.0.1:10000/devstoreaccount1``
    ``endpoint_suffix``  the domain of another cloud, such as ``core.chinacloudapi.cn``
    ``account_key`` ``sas_token`` ``connection_string`` ``identity`` ``anonymous``: who asks; exactly one of them
    ``identity``         sign in by azure-identity (extra ``azure``): ``default`` tries its chain, the others one of it
    ``client_id``        which user-assigned managed identity, or workload
    ``service``          ``azure`` or ``azurite``; by default told from the endpoint
    ``versions``         ``versions`` or ``snapshots``: what listings and reads of versions are about. The account must
                         have them switched on; it cannot be asked
    ``ordered``          False for accounts with a hierarchical namespace, which list in an order of their own
    ``delete_snapshots`` deleting a blob that has snapshots deletes those too; otherwise it is refused
    ``encryption_key``   Base64 of 32 bytes: the customer's own key, sent with each request, over https only
    ``encryption_scope`` the name of an encryption scope for what is written
    ``block_checksum``   ``crc64`` or ``md5``: what blocks are sent with. By default CRC64 where the service compares it
                         and the extra ``azure`` is installed (Azurite does not), else MD5
    ==================== ==============================================================================================
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
        "account": "AZURE_STORAGE_ACCOUNT",
        "account_key": "AZURE_STORAGE_KEY",
        "sas_token": "AZURE_STORAGE_SAS_TOKEN",
    }
    #: Which options keep another one from being taken from the environment.
    ENVIRONMENT_YIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "connection_string": ("account_key", "sas_token", "identity", "anonymous"),
        "account": ("connection_string", "endpoint"),
        "account_key": ("connection_string", "sas_token", "identity", "anonymous"),
        "sas_token": ("connection_string", "account_key", "identity", "anonymous"),
    }
    HOST_OPTION: ClassVar[str] = "endpoint"
    #: An account is somebody's, too: what is signed for it is shown to its owner.
    HOST_OPTIONS: ClassVar[tuple[str, ...]] = ("account", "endpoint", "endpoint_suffix")

    container: str
    account: str | None = None
    endpoint: str | None = None
    endpoint_suffix: str | None = None
    service: Literal["azure", "azurite"] | None = None
    account_key: SecretValue | None = None
    sas_token: SecretValue | None = None
    connection_string: SecretValue | None = None
    identity: Identity | None = None
    client_id: str | None = None
    anonymous: bool = False
    versions: VersionKind | None = None
    ordered: bool = True
    delete_snapshots: bool = False
    encryption_key: SecretValue | None = None
    encryption_scope: str | None = None
    block_checksum: BlockChecksum | None = None
    # The service's own measure of a block, and what is larger goes in blocks.
    part_size: int = _BLOCK
    multipart_threshold: int = _BLOCK

    def __post_init__(self) -> None:
        check_container(self.container)
        given = [
            name
            for name in ("account_key", "sas_token", "connection_string", "identity", "anonymous")
            if getattr(self, name)
        ]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} exclude each other: say in one way who asks")
        if self.identity is not None and self.identity not in get_args(Identity):
            raise ConfigError(f"identity is one of {', '.join(get_args(Identity)[:-1])}")
        if self.versions is not None and self.versions not in get_args(VersionKind):
            raise ConfigError(f"versions is one of {', '.join(get_args(VersionKind))}")
        if self.encryption_key is not None and self.encryption_scope is not None:
            raise ConfigError("encryption_key and encryption_scope exclude each other")
        if self.block_checksum not in {None, *BLOCK_CHECKSUMS}:
            raise ConfigError(f"block_checksum is {' or '.join(BLOCK_CHECKSUMS)}")
        if self.block_checksum == "crc64":
            # A missing library is told of now.
            new_hasher("crc64nvme")
        self.check_transfers(LIMITS)

    def customer_key(self) -> bytes | None:
        """The 32 bytes of the customer's key."""
        if self.encryption_key is None:
            return None
        try:
            raw = base64.b64decode(resolve_secret(self.encryption_key).reveal(), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:
            raise ConfigError("encryption_key is the Base64 of 32 random bytes")
        return raw


class Opened(NamedTuple):
    """What the options come to: where the container is, and at most one way to prove who asks."""

    address: Address
    key: Secret | None = None
    sas: SasToken | None = None


def opened(config: AzureConfig) -> Opened:
    """Put the options together. Raises `ConfigError` for what contradicts itself or is missing, saying what to set."""
    if config.identity == "given":
        raise ConfigError(_GIVEN)
    account, endpoint, suffix = config.account, config.endpoint, config.endpoint_suffix
    key = None if config.account_key is None else resolve_secret(config.account_key)
    token = None if config.sas_token is None else resolve_secret(config.sas_token)
    allow_http = config.allow_http
    if config.connection_string is not None:
        found = parse_connection_string(resolve_secret(config.connection_string).reveal())
        account = _agreed("account", account, found.account)
        suffix = _agreed("endpoint_suffix", suffix, found.suffix)
        endpoint = endpoint or found.endpoint
        key, token = found.key, found.sas
        if endpoint is None and found.protocol == "http":
            raise ConfigError("DefaultEndpointsProtocol=http would show everything to the network; use https")
        if key is None and token is None:
            raise ConfigError("the connection string has no AccountKey and no SharedAccessSignature")
    elif account == EMULATOR_ACCOUNT and key is None and token is None and not config.anonymous:
        # Its key is published, and protects nothing.
        key = Secret(EMULATOR_KEY)
    sas = None if token is None else parse_sas(token.reveal())
    if sas is not None and sas.endpoint is not None:
        endpoint = endpoint or sas.endpoint
        if sas.container is not None and sas.container != config.container:
            raise ConfigError(f"the SAS URL is for the container {sas.container!r}, not {config.container!r}")
    address = address_of(
        config.container,
        account,
        endpoint=endpoint,
        suffix=suffix,
        service=config.service,
        allow_http=allow_http,
    )
    if key is None and sas is None and config.identity is None and not config.anonymous:
        raise ConfigError(_nothing(address.account))
    return Opened(address, key, sas)


def _agreed(name: str, given: str | None, found: str | None) -> str | None:
    if given is not None and found is not None and given != found:
        raise ConfigError(f"{name} is {given!r}, and the connection string is for {found!r}")
    return given if given is not None else found


def _nothing(account: str) -> str:
    return (
        f"nothing says who asks the account {account!r}: set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or"
        " AZURE_STORAGE_CONNECTION_STRING, or give identity=default (extra 'azure') or anonymous=true. Those of the"
        " environment are used for the account that AZURE_STORAGE_ACCOUNT or the connection string names"
    )


def config_from_env(environ: Mapping[str, str] | None, container: str) -> AzureConfig:
    """The options that the environment gives for a container. Secrets of this process's environment stay references.

    A connection string wins over a key, and a key over a SAS token.
    """
    source = os.environ if environ is None else environ

    def secret(name: str) -> SecretValue | None:
        variable = AzureConfig.ENVIRONMENT[name]
        text = source.get(variable)
        if not text:
            return None
        return SecretRef(env=variable) if environ is None else Secret(text)

    whole = secret("connection_string")
    if whole is not None:
        return AzureConfig(container=container, connection_string=whole)
    account, key = source.get("AZURE_STORAGE_ACCOUNT") or None, secret("account_key")
    sas = secret("sas_token") if key is None else None
    if account is None and (key is not None or (sas is not None and "://" not in resolve_secret(sas, source).reveal())):
        raise ConfigError("the environment has a secret for an account and does not name it: set AZURE_STORAGE_ACCOUNT")
    if account is None and sas is None:
        raise ConfigError("set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY")
    return AzureConfig(container=container, account=account, account_key=key, sas_token=sas)
