"""`GCSBackend`: one bucket of Google Cloud Storage. See the modules beside it for how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import ClassVar, Final, Self

from mediagit_storage.backends.gcs.batch import GCSOperations
from mediagit_storage.backends.gcs.checks import findings
from mediagit_storage.backends.gcs.client import JSON_FIELD, GCSClient
from mediagit_storage.backends.gcs.config import GCSConfig
from mediagit_storage.backends.gcs.copying import Copier
from mediagit_storage.backends.gcs.credentials import ServiceAccount, TokenTransport, read_account, signing_for
from mediagit_storage.backends.gcs.deleting import Deleter
from mediagit_storage.backends.gcs.listing import Lister, marked
from mediagit_storage.backends.gcs.names import JSON_BASE
from mediagit_storage.backends.gcs.reading import GCSReader
from mediagit_storage.backends.gcs.resources import NewBucket, Versioning, encode
from mediagit_storage.backends.gcs.shapes import key_fields
from mediagit_storage.backends.gcs.signing import link_path, response_query, signed_query
from mediagit_storage.backends.gcs.writing import MAX_OBJECT, Writer
from mediagit_storage.capabilities import ALL_ATTRIBUTES, Capabilities
from mediagit_storage.errors import AlreadyExistsError, ConfigError, UnsupportedError
from mediagit_storage.http.backend import HttpBackend
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.retry import Rules
from mediagit_storage.settings import config_from_env
from mediagit_storage.source import Source
from mediagit_storage.types import (
    Checksum,
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    ListOptions,
    ObjectInfo,
    PresignMethod,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["GCSBackend"]

_SIGNED: Final[frozenset[PresignMethod]] = frozenset({"GET", "PUT", "DELETE"})


class GCSBackend(HttpBackend[GCSConfig]):
    """One bucket of Google Cloud Storage, by its JSON API; or of an emulator (``STORAGE_EMULATOR_HOST``).

    Without ``service_account_file`` the application default credentials are asked when the first request is made; both
    need the extra ``gcs``. All further options are in `GCSConfig`, for `from_config`. Nothing is asked of the service
    before the first call.

    Objects of more than 5 MB travel in one request, streams of more than that in chunks of 8 MiB, one after the other:
    in a session that goes on where it broke off, for files also in a later run. Consecutive deletes of a batch go a hundred at a time. ETag and version of an
    object are its generation. A content type that nobody gave, and the storage class ``STANDARD``, read back as None.
    """

    SCHEME: ClassVar[str] = "gs"
    _client: GCSClient
    _reader: GCSReader

    def __init__(
        self,
        bucket: str,
        *,
        service_account_file: str | None = None,
        project: str | None = None,
        emulator_host: str | None = None,
        anonymous: bool = False,
    ) -> None:
        if anonymous and service_account_file:
            raise ConfigError("anonymous excludes service_account_file")
        config = GCSConfig(
            bucket=bucket,
            service_account_file=service_account_file,
            project=project,
            emulator_host=emulator_host,
            anonymous=anonymous,
        )
        self._begin(config)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, bucket: str | None = None) -> Self:
        """What the environment names (`GCSConfig.ENVIRONMENT`); ``bucket`` where that names none."""
        return cls.from_config(config_from_env(GCSConfig, environ, "bucket", bucket))

    def _open(self, config: GCSConfig, rules: Rules) -> None:
        server = config.server()
        self._server = server
        # Only a service account can sign links; its file is looked at now, so that a wrong one is told at once.
        path = config.credentials_file
        self._account = None if path is None else read_account(path)
        self._tokens = TokenTransport(config.transport_options())
        self._signing = signing_for(config, self._account, self._tokens)
        key = config.known_customer_key()
        self._client = client = GCSClient(
            server.origin,
            self._transport,
            rules,
            self._signing,
            bucket=config.bucket,
            user_project=config.user_project,
            content=key_fields(key),
            source=key_fields(key, source=True),
        )
        self._reader = GCSReader(client, verify=config.verify_reads)
        self._writer = Writer(
            client,
            self._reader,
            config.sizes(),
            kms_key_name=config.kms_key_name,
            asks=not config.emulated,
            in_chunks=config.in_chunks,
        )
        self._deleter = Deleter(client, self._reader)
        self._lister = Lister(client)
        self._copier = Copier(client, self._reader, self._writer.sessions, kms_key_name=config.kms_key_name)
        self._operations = GCSOperations(self._reader, self._writer, self._deleter, self._copier)
        self._capabilities = _promised(config, self._account)
        own = f"{self.SCHEME}://{config.bucket}"
        self._description = own if config.trusted else f"{own} at {server.origin}"

    # ---- objects

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store an object: one request, or a session of chunks that is completed by the last one or cancelled.

        A conditional write carries a random token in hidden metadata: when an answer gets lost and the repeated
        request meets its own object, that is the success that it is.
        """
        return self._writer.put(key, source, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """One request; one more for an absence that may be the bucket's."""
        return self._reader.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Pages of 1,000. A deletion is listed as a mark, whose deletion brings the object back as a copy."""
        return self._lister.list(prefix, options)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level, grouped by the server."""
        return self._lister.list_dir(prefix, options)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """One request; one more where something is missing that may be the bucket."""
        generation = None if options.version is None else marked(options.version)
        if generation is not None:
            self._copier.restore(key, generation)
        else:
            self._deleter.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """By the server, of the generation that was looked at first; large ones in several calls."""
        return self._copier.copy(source, target, options)

    # ---- links, bucket

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link signed with the service account's key, at most for seven days."""
        account = self._account
        if account is None:
            raise UnsupportedError("only the key of a service account signs links; give service_account_file")
        fields: Fields = [("host", self._server.host)]
        if options.content_type is not None and options.method == "PUT":
            fields.append(("content-type", options.content_type))
        if options.response and options.method != "GET":
            raise ConfigError("only links for GET can set fields of their answer")
        if options.method == "PUT":
            self._client.check_written(key)
        path = link_path(self._config.bucket, key)
        query = signed_query(
            options.method,
            path,
            response_query(options.response),
            fields,
            email=account.email,
            sign=account.sign,
            expires=max(1, options.expires // timedelta(seconds=1)) if options.expires > timedelta(0) else 0,
            now=self._clock.now_ns() // 1_000_000_000,
        )
        return f"{self._server.origin}{path}?{query}"

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the bucket in the project and location of the options; one that exists already only gets ``versioning``."""
        client, config = self._client, self._config
        if config.project is None and not config.emulated:
            raise ConfigError("a new bucket belongs to a project: give project, or set GCS_PROJECT_ID")
        versions = None if versioning is None else Versioning(versioning)
        body = encode(NewBucket(config.bucket, config.location, versioning=versions))
        query = [("project", config.project or "emulated")]
        if config.object_retention:
            query.append(("enableObjectRetention", "true"))
        call = Call("POST", JSON_BASE, client.query(query), [JSON_FIELD], body)
        try:
            client.expect(call, subject="bucket")
        except AlreadyExistsError:
            # Somebody else's is one, too.
            client.expect(client.bucket_call("GET", "/o", [("maxResults", "1")]), subject="bucket")
            if versions is not None:
                changed = encode(NewBucket(versioning=versions))
                client.expect(client.bucket_call("PATCH", body=changed), subject="bucket")
        client.bucket_seen = True

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """One request: CRC32C, or MD5 where that is not at hand and the object is not a composite one."""
        return self._reader.content_checksum(key, options)

    def check(self) -> Iterable[Finding]:
        """Credentials, checksums, bucket, versions and permissions, as far as looking tells."""
        return findings(self._client, self._config, self._signing)

    def close(self) -> None:
        """Close the connections, those that fetch tokens too."""
        super().close()
        self._tokens.close()


def _promised(config: GCSConfig, account: ServiceAccount | None) -> Capabilities:
    return Capabilities(
        if_absent=True,
        if_match=True,
        delete_if_match=True,
        read_conditions=True,
        copy_if_absent=True,
        versions=True,
        retention=config.object_retention,
        attributes=ALL_ATTRIBUTES - {"tags"},
        presign=_SIGNED if account is not None else frozenset(),
        server_copy=True,
        batch=True,
        parallel_reads=True,
        resumable_uploads=True,
        max_object_size=MAX_OBJECT,
    )
