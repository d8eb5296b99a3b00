"""The S3 family: AWS S3 and the services that speak its language."""

from mediagit_storage.backends.s3.backend import S3Backend
from mediagit_storage.backends.s3.config import B2Config, MinIOConfig, S3Config, SpacesConfig
from mediagit_storage.backends.s3.presets import B2Backend, MinIOBackend, SpacesBackend

__all__ = [
    "B2Backend",
    "B2Config",
    "MinIOBackend",
    "MinIOConfig",
    "S3Backend",
    "S3Config",
    "SpacesBackend",
    "SpacesConfig",
]
