"""Google Cloud Storage, by its JSON API."""

from mediagit_storage.backends.gcs.backend import GCSBackend
from mediagit_storage.backends.gcs.config import GCSConfig

__all__ = ["GCSBackend", "GCSConfig"]
