"""`AzureBackend`: one container of Azure Blob Storage or of Azurite. See the modules beside it for how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Self

from mediagit_storage.backends.azure.batch import AzureOperations
from mediagit_storage.backends.azure.blocks import Blocks
from mediagit_storage.backends.azure.checks import findings
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.config import AzureConfig, Identity, config_from_env, opened
from mediagit_storage.backends.azure.copying import Copier
from mediagit_storage.backends.azure.credentials import TokenCredential, signing_for
from mediagit_storage.backends.azure.deleting import Deleter
from mediagit_storage.backends.azure.links import Linker, can_link, source_link
from mediagit_storage.backends.azure.paging import Lister
from mediagit_storage.backends.azure.reading import Reader
from mediagit_storage.backends.azure.services import LIMITS
from mediagit_storage.backends.azure.shapes import encryption_fields
from mediagit_storage.backends.azure.writing import Writer
from mediagit_storage.backends.azure.written import Written
from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import AlreadyExistsError, ConfigError, PermissionDeniedError, UnsupportedError
from mediagit_storage.http.backend import HttpBackend
from mediagit_storage.http.retry import Rules
from mediagit_storage.secrets import Secret, SecretValue
from mediagit_storage.source import Source
from mediagit_storage.types import (
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PresignOptions,
    PutOptions,
)

__all__ = ["AzureBackend"]


class AzureBackend(HttpBackend[AzureConfig]):
    """One container of Azure Blob Storage. Made by one of its ``with_`` methods, `from_env` or `from_config`.

    All options are in `AzureConfig`. Nothing is asked of the service before the first call. Objects of more than 4 MiB
    travel in blocks of that size, 8 at once. A content type that nobody gave and an access tier that nobody chose read
    back as None. Consecutive plain deletes of a batch go 256 at a time; reading a suffix takes two requests.
    """

    SCHEME: ClassVar[str] = "az"
    _client: AzureClient
    _reader: Reader
    _credential: TokenCredential | None = None

    def __init__(
        self,
        config: AzureConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rules: Rules | None = None,
        credential: TokenCredential | None = None,
    ) -> None:
        self._credential = credential
        self._begin(config, clock, rules)

    def _open(self, config: AzureConfig, rules: Rules) -> None:
        credential, clock = self._credential, self._clock
        # A credential at hand takes the place of one that would have to be made.
        found = opened(config if credential is None else replace(config, identity="default"))
        address = found.address
        key = config.customer_key()
        if key is not None and not address.secure:
            raise UnsupportedError("a customer's key would be shown to the network: it needs https")
        signing = signing_for(
            config, found, clock, lambda signer, now: source_link(address, signer, now), credential
        )  # fmt: skip
        encryption = encryption_fields(key, config.encryption_scope)
        self._client = client = AzureClient(address, signing, self._transport, rules, encryption)
        sizes = config.sizes()
        self._reader = Reader(client, verify=config.verify_reads, versions=config.versions == "versions")
        written = Written(client, self._reader)
        self._blocks = Blocks(client, self._reader, written, sizes, config.block_checksum)
        self._writer = Writer(client, self._reader, written, self._blocks, sizes)
        self._deleter = Deleter(client, self._reader, snapshots=config.delete_snapshots)
        self._lister = Lister(client, self._blocks, ordered=config.ordered, versions=config.versions)
        self._copier = Copier(
            client, self._reader, self._writer, written, self._blocks, concurrency=config.concurrency
        )  # fmt: skip
        self._linker = Linker(client)
        self._operations = AzureOperations(client, self._reader, self._writer, self._deleter)
        self._capabilities = self._promised()
        self._description = f"{self.SCHEME}://{config.container} at {address.origin}{address.base}"

    def _promised(self) -> Capabilities:
        client = self._client
        return Capabilities(
            if_absent=True,
            if_match=True,
            delete_if_match=True,
            read_conditions=True,
            copy_if_absent=True,
            versions=self._config.versions is not None,
            attributes=ALL_ATTRIBUTES,
            presign=frozenset({"GET", "PUT", "DELETE"}) if can_link(client.signing) else frozenset(),
            server_copy=True,
            batch=True,
            pending_uploads=True,
            late_metadata=True,
            replace_head=client.address.service.from_url,
            parallel_reads=True,
            resumable_uploads=True,
            max_object_size=LIMITS.max_object,
        )

    # ---- making one

    @classmethod
    def with_connection_string(cls, container: str, connection_string: str | SecretValue) -> Self:
        """A container of the account that a connection string names, as the portal shows it."""
        return cls(AzureConfig(container=container, connection_string=_secret(connection_string)))

    @classmethod
    def with_account_key(
        cls, container: str, *, account: str, account_key: str | SecretValue, endpoint: str | None = None
    ) -> Self:
        """A container of ``account``, signed for with one of its keys."""
        key = _secret(account_key)
        return cls(AzureConfig(container=container, account=account, account_key=key, endpoint=endpoint))

    @classmethod
    def with_sas_token(
        cls,
        container: str,
        sas_token: str | SecretValue,
        *,
        account: str | None = None,
        endpoint: str | None = None,
    ) -> Self:
        """A container, opened by a SAS token (``account`` or ``endpoint`` says where) or by a URL that ends with one."""
        token = _secret(sas_token)
        return cls(AzureConfig(container=container, account=account, sas_token=token, endpoint=endpoint))

    @classmethod
    def with_credential(
        cls,
        container: str,
        *,
        account: str,
        credential: TokenCredential | Identity = "default",
        endpoint: str | None = None,
    ) -> Self:
        """A container of ``account``, opened by Entra ID: by the name of a credential, or with one of azure-identity.

        Credentials by name need the extra ``azure``.
        """
        if isinstance(credential, str):
            return cls(AzureConfig(container=container, account=account, identity=credential, endpoint=endpoint))
        config = AzureConfig(container=container, account=account, identity="given", endpoint=endpoint)
        return cls(config, credential=credential)

    @classmethod
    def from_env(cls, container: str, *, environ: Mapping[str, str] | None = None) -> Self:
        """A container of the account that the environment names (`AzureConfig.ENVIRONMENT`)."""
        return cls(config_from_env(environ, container))

    # ---- objects

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store an object: one request, or blocks that are committed by one.

        A conditional write carries a random token in hidden metadata: when an answer gets lost and the repeated
        request meets its own object, that is the success that it is.
        """
        return self._writer.put(key, source, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """One request; one more where the object has tags."""
        return self._reader.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Pages of 5,000, the next one on its way while one is used; with ``start_after`` all before it travel, too."""
        return self._lister.list(prefix, options)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level, grouped by the service."""
        return self._lister.list_dir(prefix, options)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """One request. A blob with snapshots is only deleted where the options say that they go with it."""
        self._deleter.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """By the service, of the version that was looked at first; block by block above 256 MiB."""
        return self._copier.copy(source, target, options)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Blocks of which the first is new and the others are copied by the service."""
        return self._copier.replace_head(key, head, old_length, if_match)

    # ---- links, container, uploads

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link signed with the account's key, or by Entra ID: then the first one makes one request.

        Who writes by a link has to send the field ``x-ms-blob-type: BlockBlob``.
        """
        return self._linker.presign(key, options)

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the container, for nobody but the account's users. Versions are switched with the provider's tools."""
        if versioning is not None:
            raise UnsupportedError("versions are switched on and off for the whole account, with the provider's tools")
        client = self._client
        try:
            client.expect(client.container_call("PUT", (), None, b""), subject="bucket")
        except AlreadyExistsError:
            return
        except PermissionDeniedError:
            # Who may not make containers may use one that is there.
            if client.send(client.container_call("HEAD")).response.status != 200:
                raise

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Keys under which blocks wait that were never committed, and no object is."""
        return self._lister.uploads(prefix)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """The same with the size of the blocks together; one request."""
        return self._lister.stat_upload(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Drop the blocks of a key. The service can only do that by an empty object that is there for a moment."""
        self._blocks.discard(upload.key)

    def check(self) -> Iterable[Finding]:
        """Credentials, container, account, clocks and versions, as far as looking tells."""
        return findings(self._client, self._config, self._clock)

    def __reduce__(self) -> tuple[object, ...]:
        if self._credential is not None:
            raise ConfigError("a storage that was opened with a credential object cannot be pickled; name it instead")
        return super().__reduce__()


def _secret(value: str | SecretValue) -> SecretValue:
    return Secret(value) if isinstance(value, str) else value
