"""`S3Backend`: one bucket of Amazon S3 or of a service that speaks its language. See the modules beside it for how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, Self

from mediagit_storage.backend import BatchLimits, StorageBackend
from mediagit_storage.backends.s3.addressing import address_of
from mediagit_storage.backends.s3.batch import S3Operations
from mediagit_storage.backends.s3.checks import findings
from mediagit_storage.backends.s3.client import Client, S3Signing
from mediagit_storage.backends.s3.config import S3Config
from mediagit_storage.backends.s3.copying import Copier
from mediagit_storage.backends.s3.credentials import provider_for
from mediagit_storage.backends.s3.deleting import Deleter
from mediagit_storage.backends.s3.documents import create_bucket
from mediagit_storage.backends.s3.documents import versioning as versioning_document
from mediagit_storage.backends.s3.paging import Lister
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.relocating import BatchCopier
from mediagit_storage.backends.s3.services import capabilities_of, region_to_name
from mediagit_storage.backends.s3.shapes import response_query
from mediagit_storage.backends.s3.translate import read_failure
from mediagit_storage.backends.s3.uploads import Uploads
from mediagit_storage.backends.s3.writing import Writer
from mediagit_storage.backends.s3.written import Written
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import AlreadyExistsError, ConfigError, PermissionDeniedError, UnsupportedError
from mediagit_storage.facets import BatchCopying, Relocated, Relocation
from mediagit_storage.http.backend import HttpBackend
from mediagit_storage.http.call import Fields
from mediagit_storage.http.retry import Rules
from mediagit_storage.secrets import SecretValue
from mediagit_storage.settings import as_secret, config_from_env
from mediagit_storage.source import Source
from mediagit_storage.types import (
    Checksum,
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["S3Backend"]


class S3Backend(HttpBackend[S3Config], BatchCopying):
    """One bucket of Amazon S3, or of any service that speaks its language (``service``, ``endpoint``).

    The credentials are those given, or else what botocore's chain finds (extra ``aws``) when the first request is made.
    All further options are in `S3Config`, for `from_config`. Nothing is asked of the service before the first call.

    Objects of more than 100 MB, and streams of more than one part, travel in parts of 8 MiB and more, 8 at once; an
    upload that fails is aborted. Consecutive plain deletes of a batch go a thousand at a time. A content type, storage
    class ``STANDARD`` or tag that the service makes up reads back as None.
    """

    SCHEME: ClassVar[str] = "s3"
    CONFIG: ClassVar[type[S3Config]] = S3Config
    _client: Client
    _reader: Reader

    def __init__(
        self,
        bucket: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        service: str | None = None,
        access_key_id: str | SecretValue | None = None,
        secret_access_key: str | SecretValue | None = None,
        session_token: str | SecretValue | None = None,
        profile: str | None = None,
        anonymous: bool = False,
    ) -> None:
        config = self.CONFIG(
            bucket=bucket,
            region=region,
            endpoint=endpoint,
            service=service,
            access_key_id=as_secret(access_key_id),
            secret_access_key=as_secret(secret_access_key),
            session_token=as_secret(session_token),
            profile=profile,
            anonymous=anonymous,
        )
        self._begin(config)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, bucket: str | None = None) -> Self:
        """What the environment names (`S3Config.ENVIRONMENT` of this class); ``bucket`` where that names none."""
        return cls.from_config(config_from_env(cls.CONFIG, environ, "bucket", bucket))

    def _open(self, config: S3Config, rules: Rules) -> None:
        service = config.known_service()
        endpoint = config.full_endpoint()
        address = address_of(
            service,
            config.bucket,
            region=config.region,
            account=config.account,
            endpoint=endpoint,
            allow_http=config.allow_http,
        )
        # Only Amazon's own answers may send to another region, and only to Amazon's own hosts.
        wanders = service.name == "aws" and endpoint is None
        bucket = config.bucket
        # A server of one's own takes any region.
        self._region = config.region or service.region or "us-east-1"
        encryption = config.server_encryption()
        if encryption is not None:
            encryption.check(service, address.scheme)
        provider = provider_for(config)
        signing = None if provider is None else S3Signing(provider, self._region, address.host, self._clock)
        self._client = Client(
            address,
            service,
            signing,
            self._transport,
            rules,
            bucket=bucket,
            elsewhere=(lambda region: address_of(service, bucket, region=region)) if wanders else None,
            encryption=encryption,
            requester_pays=config.requester_pays,
        )
        self._reader = Reader(self._client, verify=config.verify_reads)
        written = Written(self._client, self._reader)
        self._uploads = uploads = Uploads(self._client, written, config.sizes())
        self._writer = Writer(self._client, written, uploads, config.sizes())
        self._deleter = Deleter(self._client, self._reader)
        self._lister = Lister(self._client)
        self._copier = Copier(
            self._client, self._reader, self._writer, uploads, written, concurrency=config.concurrency
        )
        self._operations = S3Operations(self._client, self._reader, self._writer, self._deleter)
        self._capabilities = self._promised()
        own = f"{self.SCHEME}://{config.bucket}"
        self._description = own if endpoint is None else f"{own} at {address.scheme}://{address.host}"

    def _promised(self) -> Capabilities:
        service = self._client.service
        found = capabilities_of(service)
        return replace(
            found,
            retention=found.retention and self._config.object_lock,
            replace_head=found.replace_head and service.put_conditions and service.multipart_conditions,
            presign=found.presign if self._client.signing is not None else frozenset(),
            parallel_reads=True,
            resumable_uploads=True,
        )

    # ---- objects

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store an object: one request, or an upload in parts that is completed by one or aborted.

        A conditional write carries a random token in hidden metadata: when an answer gets lost and the repeated
        request meets its own object, that is the success that it is.
        """
        return self._writer.put(key, source, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """One request; one more where the object has tags, and for an absence that may be the bucket's."""
        return self._reader.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Pages of 1,000, the next one on its way while one is used; folder by folder where the server has no order."""
        return self._lister.list(prefix, options)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level, grouped by the server."""
        return self._lister.list_dir(prefix, options)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """One request; with ``missing_ok=False`` one before it to look."""
        self._deleter.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """By the server, of the version that was looked at first; part by part above the service's limit."""
        return self._copier.copy(source, target, options)

    def copies_from(self, source: StorageBackend) -> bool:
        """Whether ``source`` is a bucket of the same service, opened with the same options."""
        if not isinstance(source, S3Backend) or type(source) is not type(self):
            return False
        return replace(source.config, bucket=self._config.bucket) == self._config

    def copy_batch(
        self, source: StorageBackend, operations: Iterator[Relocation], limits: BatchLimits
    ) -> Iterator[Relocated]:
        """By the service, many at once: a listing or a look at each object, then its copy."""
        if not isinstance(source, S3Backend):
            raise UnsupportedError("only objects of the same service can be copied without moving their bytes here")
        listed = source._lister.standard  # noqa: SLF001  # of the same class
        return BatchCopier(self._client, self._copier, source, source.config.bucket, listed).run(operations, limits)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """An upload whose first part is new and whose others are copied by the server."""
        return self._copier.replace_head(key, head, old_length, if_match)

    # ---- links, bucket, uploads

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link signed with the credentials of now, at most seven days; it ends when temporary ones do."""
        client = self._client
        if client.signing is None:
            raise UnsupportedError("nothing can be signed without credentials")
        fields: Fields = []
        if options.content_type is not None and options.method == "PUT":
            fields.append(("content-type", options.content_type))
        if options.response and options.method != "GET":
            raise ConfigError("only links for GET can set fields of their answer")
        seconds = options.expires // timedelta(seconds=1)
        if options.expires > timedelta(0):
            seconds = max(1, seconds)
        if options.method == "PUT":
            client.check_written(key)
        path = client.address.path(key)
        query = client.signing.presign(options.method, path, response_query(options.response), fields, seconds)
        return client.address.url(path, query)

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the bucket (with object lock where the options say so), and switch versions on or off."""
        client = self._client
        body = create_bucket(region_to_name(client.service, self._region if self._config.region else None))
        fields: Fields = [("x-amz-bucket-object-lock-enabled", "true")] if self._config.object_lock else []
        call = client.bucket_call("PUT", (), fields, body)
        try:
            client.expect(call, subject="bucket")
        except AlreadyExistsError as error:
            # Somebody else's is one, too: what can be looked at is taken for ours.
            try:
                client.expect(client.bucket_call("HEAD"), subject="bucket")
            except PermissionDeniedError:
                raise AlreadyExistsError(
                    "a bucket of this name exists and is not for these credentials to see; choose another name, or ask its owner"
                ) from error
        if versioning is not None:
            if not client.service.versions:
                raise UnsupportedError(f"{client.service.title} keeps no versions")
            document = versioning_document(enabled=versioning)
            client.expect(client.bucket_call("PUT", [("versioning", "")], None, document), subject="bucket")

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Uploads in parts that were neither completed nor aborted."""
        return self._lister.uploads(prefix)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """What has arrived of one and when, as its parts tell. Raises `NotFoundError` for one that has ended."""
        return self._uploads.described(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Abort one; its space is free at once."""
        client = self._client
        call = client.key_call("DELETE", upload.key, [("uploadId", upload.id)])
        response = client.send(call).response
        if response.status != 404:
            client.check(response, call)
            return
        if read_failure(response.status, response.headers, response.body).code == "NoSuchBucket":
            client.check(response, call)

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """One request: what the service keeps of objects that came in one, or with CRC32C in parts."""
        return self._reader.content_checksum(key, options)

    def check(self) -> Iterable[Finding]:
        """Credentials, bucket, region, clocks, versions and conditions, as far as looking tells."""
        return findings(self._client, self._config, self._region, self._clock)
