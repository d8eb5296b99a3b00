"""Azure Blob Storage, and its emulator Azurite."""

from mediagit_storage.backends.azure.backend import AzureBackend
from mediagit_storage.backends.azure.config import AzureConfig

__all__ = ["AzureBackend", "AzureConfig"]
