"""mediagit-storage: immutable objects, stored the same way everywhere.

>>> import mediagit_storage as mgs
>>> with mgs.open_storage("memory://example") as store:
...     _ = store.put("a/b.png", b"pixels")
...     store.get("a/b.png")
b'pixels'

Everything public is a name of this module or is documented in its own: `mediagit_storage.errors` draws the tree of
errors, `mediagit_storage.backend` holds the contract for implementers, `mediagit_storage.testing` the suite that tests
it. Importing this module loads no HTTP, cryptography or command-line library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

# Not on demand like the others: importing its module would put that, of the same name, in the function's place.
from mediagit_storage.scope import scope

if TYPE_CHECKING:
    from mediagit_storage.aio import AsyncStorage
    from mediagit_storage.backend import BatchLimits
    from mediagit_storage.backends.azure import AzureBackend
    from mediagit_storage.backends.gcs import GCSBackend
    from mediagit_storage.backends.local import LocalBackend
    from mediagit_storage.backends.memory import MemoryBackend
    from mediagit_storage.backends.s3 import B2Backend, MinIOBackend, S3Backend, SpacesBackend
    from mediagit_storage.backends.webdav import WebDAVBackend
    from mediagit_storage.batches import Batch
    from mediagit_storage.capabilities import Capabilities
    from mediagit_storage.errors import (
        AccessError,
        AlreadyExistsError,
        BucketNotFoundError,
        CancelledError,
        CapacityError,
        ChecksumError,
        ClosedError,
        ConfigError,
        ConnectionLostError,
        DecryptionError,
        IntegrityError,
        InvalidKeyError,
        InvalidRangeError,
        KeyConflictError,
        KeyUnavailableError,
        LimitExceededError,
        NotFoundError,
        NotModifiedError,
        PermissionDeniedError,
        PreconditionError,
        StorageError,
        StorageTimeoutError,
        ThrottledError,
        TruncatedError,
        UnauthenticatedError,
        UnavailableError,
        UnsupportedError,
    )
    from mediagit_storage.events import Event, on_event
    from mediagit_storage.opening import LiteralSecretWarning, open_async, open_storage
    from mediagit_storage.progress import Progress, current_progress, on_progress
    from mediagit_storage.registry import register_backend, register_layer
    from mediagit_storage.scope import Scope, current_scope
    from mediagit_storage.secrets import Secret, SecretRef
    from mediagit_storage.storage import ObjectStream, Storage
    from mediagit_storage.types import (
        Attributes,
        Checksum,
        ConnectionInfo,
        Finding,
        FindingLevel,
        Folder,
        ObjectInfo,
        Outcome,
        PendingUpload,
        Retention,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "AlreadyExistsError",
    "AsyncStorage",
    "Attributes",
    "AzureBackend",
    "B2Backend",
    "Batch",
    "BatchLimits",
    "BucketNotFoundError",
    "CancelledError",
    "Capabilities",
    "CapacityError",
    "Checksum",
    "ChecksumError",
    "ClosedError",
    "ConfigError",
    "ConnectionInfo",
    "ConnectionLostError",
    "DecryptionError",
    "Event",
    "Finding",
    "FindingLevel",
    "Folder",
    "GCSBackend",
    "IntegrityError",
    "InvalidKeyError",
    "InvalidRangeError",
    "KeyConflictError",
    "KeyUnavailableError",
    "LimitExceededError",
    "LiteralSecretWarning",
    "LocalBackend",
    "MemoryBackend",
    "MinIOBackend",
    "NotFoundError",
    "NotModifiedError",
    "ObjectInfo",
    "ObjectStream",
    "Outcome",
    "PendingUpload",
    "PermissionDeniedError",
    "PreconditionError",
    "Progress",
    "Retention",
    "S3Backend",
    "Scope",
    "Secret",
    "SecretRef",
    "SpacesBackend",
    "Storage",
    "StorageError",
    "StorageTimeoutError",
    "ThrottledError",
    "TruncatedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "WebDAVBackend",
    "__version__",
    "current_progress",
    "current_scope",
    "on_event",
    "on_progress",
    "open_async",
    "open_storage",
    "register_backend",
    "register_layer",
    "scope",
]

#: Where each public name lives. A module is imported when one of its names is first asked for, so that a command that
#: needs one of them does not pay for all, and backends may bring libraries that nobody else needs.
_HOMES: Final = {
    "mediagit_storage.aio": ("AsyncStorage",),
    "mediagit_storage.backend": ("BatchLimits",),
    "mediagit_storage.backends.gcs": ("GCSBackend",),
    "mediagit_storage.backends.azure": ("AzureBackend",),
    "mediagit_storage.backends.local": ("LocalBackend",),
    "mediagit_storage.backends.memory": ("MemoryBackend",),
    "mediagit_storage.backends.s3": ("B2Backend", "MinIOBackend", "S3Backend", "SpacesBackend"),
    "mediagit_storage.backends.webdav": ("WebDAVBackend",),
    "mediagit_storage.batches": ("Batch",),
    "mediagit_storage.capabilities": ("Capabilities",),
    "mediagit_storage.errors": (
        "AccessError",
        "AlreadyExistsError",
        "BucketNotFoundError",
        "CancelledError",
        "CapacityError",
        "ChecksumError",
        "ClosedError",
        "ConfigError",
        "ConnectionLostError",
        "DecryptionError",
        "IntegrityError",
        "InvalidKeyError",
        "InvalidRangeError",
        "KeyConflictError",
        "KeyUnavailableError",
        "LimitExceededError",
        "NotFoundError",
        "NotModifiedError",
        "PermissionDeniedError",
        "PreconditionError",
        "StorageError",
        "StorageTimeoutError",
        "ThrottledError",
        "TruncatedError",
        "UnauthenticatedError",
        "UnavailableError",
        "UnsupportedError",
    ),
    "mediagit_storage.events": ("Event", "on_event"),
    "mediagit_storage.opening": ("LiteralSecretWarning", "open_async", "open_storage"),
    "mediagit_storage.progress": ("Progress", "current_progress", "on_progress"),
    "mediagit_storage.registry": ("register_backend", "register_layer"),
    "mediagit_storage.scope": ("Scope", "current_scope"),
    "mediagit_storage.secrets": ("Secret", "SecretRef"),
    "mediagit_storage.storage": ("ObjectStream", "Storage"),
    "mediagit_storage.types": (
        "Attributes",
        "Checksum",
        "ConnectionInfo",
        "Finding",
        "FindingLevel",
        "Folder",
        "ObjectInfo",
        "Outcome",
        "PendingUpload",
        "Retention",
    ),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
