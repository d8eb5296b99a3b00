"""The services that have a name of their own here: the same backend, with their options and environment."""

from __future__ import annotations

from typing import ClassVar

from mediagit_storage.backends.s3.backend import S3Backend
from mediagit_storage.backends.s3.config import B2Config, MinIOConfig, S3Config, SpacesConfig
from mediagit_storage.secrets import SecretValue

__all__ = ["B2Backend", "MinIOBackend", "SpacesBackend"]


class MinIOBackend(S3Backend):
    """One bucket of a MinIO server: ``endpoint`` is ``host:port`` or a URL. Otherwise like `S3Backend`."""

    SCHEME: ClassVar[str] = "minio"
    CONFIG: ClassVar[type[S3Config]] = MinIOConfig

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str,
        access_key: str | SecretValue,
        secret_key: str | SecretValue,
        region: str | None = None,
    ) -> None:
        super().__init__(
            bucket, region=region, endpoint=endpoint, access_key_id=access_key, secret_access_key=secret_key
        )


class B2Backend(S3Backend):
    """One bucket of Backblaze B2, in a ``region`` such as ``us-west-004``. Otherwise like `S3Backend`."""

    SCHEME: ClassVar[str] = "b2"
    CONFIG: ClassVar[type[S3Config]] = B2Config

    def __init__(
        self,
        bucket: str,
        *,
        region: str,
        application_key_id: str | SecretValue,
        application_key: str | SecretValue,
        endpoint: str | None = None,
    ) -> None:
        super().__init__(
            bucket,
            region=region,
            endpoint=endpoint,
            access_key_id=application_key_id,
            secret_access_key=application_key,
        )


class SpacesBackend(S3Backend):
    """One DigitalOcean Space, in a ``region`` such as ``ams3``. Otherwise like `S3Backend`."""

    SCHEME: ClassVar[str] = "spaces"
    CONFIG: ClassVar[type[S3Config]] = SpacesConfig

    def __init__(
        self,
        bucket: str,
        *,
        region: str,
        access_key: str | SecretValue,
        secret_key: str | SecretValue,
        endpoint: str | None = None,
    ) -> None:
        super().__init__(
            bucket, region=region, endpoint=endpoint, access_key_id=access_key, secret_access_key=secret_key
        )
