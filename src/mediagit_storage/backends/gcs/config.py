"""What a storage on Google Cloud Storage is opened with, and its names in the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from mediagit_storage.backends.gcs.names import HOST, is_google
from mediagit_storage.backends.gcs.session import check_chunk_size
from mediagit_storage.backends.gcs.shapes import key_fields
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.config import HttpConfig
from mediagit_storage.http.endpoint import Endpoint, endpoint_url, parse_endpoint
from mediagit_storage.http.multipart import GIB, KIB, PartLimits
from mediagit_storage.secrets import Secret, SecretValue, resolve_secret

__all__ = ["DEFAULT_SIMPLE", "GCSConfig"]

#: Objects of at most so many bytes go in one request.
DEFAULT_SIMPLE: Final = 5_000_000
_CHUNKS: Final = PartLimits(min_part=256 * KIB, max_part=GIB, max_parts=2**31)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]").fullmatch
_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9.:-]{0,99}").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class GCSConfig(HttpConfig):
    """The options of a `GCSBackend`, checked. Sizes are bytes, times seconds; see `HttpConfig` for those of all services.

    ====================== ============================================================================================
    ``bucket``             its name
    ``project``            the project that a new bucket belongs to
    ``service_account_file`` a file of credentials, best of a service account: only that can sign links. Without it
                           google-auth's application default credentials are asked (extra ``gcs``)
    ``token``              an access token that somebody else fetched; it is used as it is, and before any file
    ``anonymous``          no credentials at all, whatever else is given or found
    ``emulator_host``      ``http://localhost:4443``: a server for tests, which is shown no credentials
    ``endpoint``           ``https://host`` of another address of the service, used before ``emulator_host``; one that is
                           not Google's gets only credentials that are given beside it
    ``location``           where a new bucket is, such as ``EU`` or ``europe-west1``
    ``object_retention``   the bucket keeps retention dates: retention and holds; `create` makes it so
    ``kms_key_name``       ``projects/P/locations/L/keyRings/R/cryptoKeys/K``: what the service encrypts with
    ``customer_key``       Base64 of 32 bytes: the service encrypts with it, and forgets it
    ``user_project``       the project that pays for requests
    ``part_size``          of the chunks of streams: a multiple of 256 KiB
    ``in_chunks``          what has a known size goes in chunks, too, and not in one request of any length
    ``multipart_threshold`` up to here one request, above a resumable upload
    ====================== ============================================================================================
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "bucket": "GCS_BUCKET_NAME",
        "project": "GCS_PROJECT_ID",
        "service_account_file": "GOOGLE_APPLICATION_CREDENTIALS",
        "emulator_host": "STORAGE_EMULATOR_HOST",
    }
    HOST_OPTIONS: ClassVar[tuple[str, ...]] = ("endpoint", "emulator_host")
    #: A path, and yet whoever names the server gets tokens made with what is there.
    CREDENTIAL_OPTIONS: ClassVar[tuple[str, ...]] = ("service_account_file",)

    bucket: str
    project: str | None = None
    service_account_file: str | None = None
    token: SecretValue | None = None
    anonymous: bool = False
    emulator_host: str | None = None
    endpoint: str | None = None
    location: str | None = None
    object_retention: bool = False
    kms_key_name: str | None = None
    customer_key: SecretValue | None = None
    user_project: str | None = None
    in_chunks: bool = False
    multipart_threshold: int = DEFAULT_SIMPLE

    def __post_init__(self) -> None:
        if not _BUCKET(self.bucket):
            raise ConfigError(
                "the name of a bucket has 3 to 222 lower-case letters, digits, '-', '_' and '.': "
                f"{self.bucket[:80]!r} is none; name it, or set GCS_BUCKET_NAME"
            )
        for name, value in (("project", self.project), ("user_project", self.user_project)):
            if value is not None and not _PROJECT(value):
                raise ConfigError(f"{name} is the id of a project, such as my-project-123")
        if self.anonymous and self.token is not None:
            raise ConfigError("anonymous excludes a token")
        if self.kms_key_name and self.customer_key is not None:
            raise ConfigError("give kms_key_name or customer_key, not both")
        check_chunk_size(self.part_size)
        HttpConfig.check_transfers(self, _CHUNKS)
        self.server()
        if isinstance(self.customer_key, Secret):
            key_fields(self.customer_key)

    @staticmethod
    def same_host(one: str, other: str) -> bool:
        """Whether two spellings name one server."""
        return endpoint_url(one) == endpoint_url(other)

    def server(self) -> Endpoint:
        """Where requests go."""
        text = self.endpoint or self.emulator_host or HOST
        server = parse_endpoint(endpoint_url(text, allow_http=self.allow_http), allow_http=self.allow_http)
        if server.base:
            raise ConfigError("the address of the service has no path: https://host:port is all")
        return server

    @property
    def emulated(self) -> bool:
        """Whether a server for tests stands in for the service: it is shown no credentials, and trusted with less."""
        return bool(self.emulator_host) and not self.endpoint

    @property
    def credentials_file(self) -> str | None:
        """The file whose credentials are used, if no other option says otherwise."""
        other = self.anonymous or self.token is not None or self.emulated
        return None if other else self.service_account_file

    @property
    def trusted(self) -> bool:
        """Whether credentials that nobody named for this server may go there: it is Google's own."""
        return not self.emulated and is_google(self.server().origin)

    def known_customer_key(self) -> Secret | None:
        """The customer's key itself."""
        return None if self.customer_key is None else resolve_secret(self.customer_key)
