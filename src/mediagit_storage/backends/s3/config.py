"""What a storage of the S3 family is opened with: one set of options, and each service's own names in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar, get_args
from urllib.parse import urlsplit

from mediagit_storage.backends.s3.services import ChecksumName, EncryptionName, Service, adjusted, service_named
from mediagit_storage.backends.s3.shapes import Encryption
from mediagit_storage.errors import ConfigError
from mediagit_storage.http.config import HttpConfig
from mediagit_storage.http.endpoint import endpoint_url
from mediagit_storage.secrets import Secret, SecretValue, resolve_secret

__all__ = ["B2Config", "MinIOConfig", "S3Config", "SpacesConfig"]

C = TypeVar("C", bound="S3Config")
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config(HttpConfig):
    """The options of an `S3Backend`, checked. Sizes are bytes, times seconds.

    ==================== ==============================================================================================
    ``bucket``           its name
    ``region``           where it is; with an own ``endpoint`` what is signed for
    ``endpoint``         ``https://host:port`` of a server of one's own; without a scheme http on this machine, else https
    ``service``          ``aws minio b2 spaces r2 seaweedfs generic``: what the server can do. By default ``aws``, and
                         ``generic`` with an endpoint that is not Amazon's
    ``account``          the account in R2's host name
    ``access_key_id``    with ``secret_access_key`` and ``session_token``: who signs. Without them botocore's chain is
                         asked (extra ``aws``); ``profile`` names one of its profiles; ``anonymous`` signs nothing
    ``conditional_writes`` ``checksum`` ``versions`` ``tags`` ``ordered`` ``path_style``: what is known better than the
                         table of services says
    ``object_lock``      the bucket has object lock: retention and legal holds; `create` makes it so
    ``encryption``       ``sse-s3``, ``sse-kms`` (``kms_key_id``, ``kms_context``, ``bucket_key``) or ``sse-c``
                         (``customer_key``: Base64 of 32 bytes)
    ``requester_pays``   accept the costs of requests
    ==================== ==============================================================================================

    Besides these it has the options of `HttpConfig`.
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
        "region": "AWS_REGION",
        "profile": "AWS_PROFILE",
        "endpoint": "AWS_ENDPOINT_URL",
    }
    HOST_OPTION: ClassVar[str] = "endpoint"
    #: A service or account out of a URL leads to another provider's host.
    HOST_OPTIONS: ClassVar[tuple[str, ...]] = ("endpoint", "service", "account")
    CREDENTIAL_OPTIONS: ClassVar[tuple[str, ...]] = ("profile",)
    #: The service where neither it nor a foreign endpoint is named.
    SERVICE: ClassVar[str] = "aws"

    bucket: str
    region: str | None = None
    endpoint: str | None = None
    service: str | None = None
    account: str | None = None
    access_key_id: SecretValue | None = None
    secret_access_key: SecretValue | None = None
    session_token: SecretValue | None = None
    profile: str | None = None
    anonymous: bool = False
    path_style: bool | None = None
    conditional_writes: bool | None = None
    checksum: ChecksumName | None = None
    versions: bool | None = None
    tags: bool | None = None
    ordered: bool | None = None
    object_lock: bool = False
    encryption: EncryptionName | None = None
    kms_key_id: str | None = None
    kms_context: str | None = None
    bucket_key: bool = False
    customer_key: SecretValue | None = None
    requester_pays: bool = False

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ConfigError("an S3 storage needs the name of a bucket")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError("access_key_id and secret_access_key belong together: give both or none")
        if self.anonymous and (self.access_key_id is not None or self.profile):
            raise ConfigError("anonymous excludes credentials and a profile")
        if self.encryption is not None and self.encryption not in get_args(EncryptionName):
            raise ConfigError(f"encryption is one of {', '.join(get_args(EncryptionName))}")
        if self.checksum is not None and self.checksum not in get_args(ChecksumName):
            raise ConfigError(f"checksum is one of {', '.join(get_args(ChecksumName))}")
        self.check_transfers(self.known_service().parts)

    @staticmethod
    def same_host(one: str, other: str) -> bool:
        """Whether two endpoints are spelled for the same place."""
        return endpoint_url(one) == endpoint_url(other)

    @property
    def at_amazon(self) -> bool:
        """Whether no server but Amazon's own is named."""
        return not self.endpoint or _is_amazon(endpoint_url(self.endpoint))

    def known_service(self) -> Service:
        """The service, as the user knows it better."""
        name = self.service
        if name is None:
            name = self.SERVICE
            if name == "aws" and not self.at_amazon:
                name = "generic"
        return adjusted(
            service_named(name),
            conditional_writes=self.conditional_writes,
            checksum=self.checksum,
            versions=self.versions,
            tags=self.tags,
            ordered=self.ordered,
            path_style=self.path_style,
        )

    def full_endpoint(self) -> str | None:
        """The endpoint with its scheme."""
        return endpoint_url(self.endpoint, allow_http=self.allow_http) if self.endpoint else None

    def server_encryption(self) -> Encryption | None:
        """How the service is asked to encrypt."""
        if self.encryption is None:
            if self.customer_key is not None or self.kms_key_id:
                raise ConfigError('a key for encryption needs encryption="sse-c" or "sse-kms"')
            return None
        key: Secret | None = None if self.customer_key is None else resolve_secret(self.customer_key)
        return Encryption(self.encryption, self.kms_key_id, self.kms_context, self.bucket_key, key)


# The presets have no options of their own, so they are dataclasses by inheritance: making each anew costs 2 ms at start.


class MinIOConfig(S3Config):
    """The options of a `MinIOBackend`: those of `S3Config`, with an ``endpoint`` that has to be named."""

    __slots__ = ()
    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "endpoint": "MINIO_ENDPOINT",
        "bucket": "MINIO_BUCKET",
        "access_key_id": "MINIO_ACCESS_KEY",
        "secret_access_key": "MINIO_SECRET_KEY",
    }
    SERVICE: ClassVar[str] = "minio"


class B2Config(S3Config):
    """The options of a `B2Backend`: those of `S3Config`, with a ``region`` such as ``us-west-004``."""

    __slots__ = ()
    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "access_key_id": "B2_APPLICATION_KEY_ID",
        "secret_access_key": "B2_APPLICATION_KEY",
        "bucket": "B2_BUCKET",
        "region": "B2_REGION",
    }
    SERVICE: ClassVar[str] = "b2"


class SpacesConfig(S3Config):
    """The options of a `SpacesBackend`: those of `S3Config`, with a ``region`` such as ``ams3``."""

    __slots__ = ()
    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "access_key_id": "SPACES_ACCESS_KEY",
        "secret_access_key": "SPACES_SECRET_KEY",
        "bucket": "SPACES_NAME",
        "region": "SPACES_REGION",
    }
    SERVICE: ClassVar[str] = "spaces"


def _is_amazon(endpoint: str) -> bool:
    try:
        host = (urlsplit(endpoint).hostname or "").rstrip(".")
    except ValueError:
        return False
    return f".{host}".endswith(_AMAZON)
