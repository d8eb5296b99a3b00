"""Objects as files of a folder: durable, atomic, and never outside of it."""

from mediagit_storage.backends.local.backend import LocalBackend
from mediagit_storage.backends.local.config import LocalConfig

__all__ = ["LocalBackend", "LocalConfig"]
