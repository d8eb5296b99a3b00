"""Every error this library raises, in one tree.

::

    StorageError                      .operation .key .store .retryable
    ├── NotFoundError                 (FileNotFoundError)  proven absence of an object or version
    │   └── BucketNotFoundError       the bucket, container or root folder itself is missing
    ├── AlreadyExistsError            (FileExistsError)    if_absent, and something is there
    ├── PreconditionError             if_match does not hold
    │   └── NotModifiedError          if_none_match holds: the caller's copy is current
    ├── AccessError                   (PermissionError)
    │   ├── UnauthenticatedError      who are you: missing, wrong or expired credentials
    │   └── PermissionDeniedError     we know you, and the answer is no
    ├── InvalidKeyError               (ValueError)         refused before any I/O
    ├── InvalidRangeError             (ValueError)         a range that the object does not have
    ├── ConfigError                   (ValueError)         an option, URL or profile is wrong
    ├── UnsupportedError              this backend or stack cannot do that, and said so before doing anything
    ├── KeyConflictError              two keys that this storage cannot hold side by side
    ├── IntegrityError                bytes are not what they were said to be
    │   ├── TruncatedError            fewer bytes than announced
    │   ├── ChecksumError             the right number of bytes, but other ones
    │   └── DecryptionError           authentication of encrypted data failed
    │       └── KeyUnavailableError   no key at hand opens this object
    ├── UnavailableError              temporary; trying again may help
    │   ├── ThrottledError            asked to slow down
    │   ├── StorageTimeoutError       (TimeoutError)
    │   └── ConnectionLostError
    ├── CapacityError                 disk or quota is full
    ├── LimitExceededError            larger than a provider or a configured limit allows
    └── CancelledError                the surrounding scope was cancelled

    ClosedError                       (RuntimeError)       the storage, reader or writer was closed before

Where an error has a builtin counterpart it also derives from it, so ``except FileNotFoundError`` works.
Messages never hold a secret; vendor codes that a backend does not know are kept in the message of a plain
``StorageError`` and are never read as "not found".
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
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
]


class StorageError(Exception):
    """The root of the tree: something a storage could not do.

    ``operation`` is the verb ("put"), ``key`` the caller's own key, ``store`` a description of the storage without
    secrets; each is None where it is not known yet, and an outer layer may fill it in with `with_context`.
    ``retryable`` says whether the same call may succeed later without anybody changing anything.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, operation: str | None = None, key: str | None = None, store: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.key = key
        self.store = store

    def __str__(self) -> str:
        where = " ".join(part for part in (self.operation, None if self.key is None else repr(self.key)) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} (in {self.store})" if self.store else text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.operation, self.key, self.store))

    def with_context(
        self, *, operation: str | None = None, key: str | None = None, store: str | None = None
    ) -> StorageError:
        """Fill in what is still None and return the same error, ready to be raised."""
        self.operation = self.operation if self.operation is not None else operation
        self.key = self.key if self.key is not None else key
        self.store = self.store if self.store is not None else store
        return self


def _rebuild(
    kind: type[StorageError], message: str, operation: str | None, key: str | None, store: str | None
) -> StorageError:
    return kind(message, operation=operation, key=key, store=store)


class NotFoundError(StorageError, FileNotFoundError):
    """The object (or the version asked for) is proven to be absent."""


class BucketNotFoundError(NotFoundError):
    """The bucket, container or root folder itself is absent."""


class AlreadyExistsError(StorageError, FileExistsError):
    """A create-only write met an object; that object is unchanged."""


class PreconditionError(StorageError):
    """``if_match`` does not hold; nothing was changed."""


class NotModifiedError(PreconditionError):
    """``if_none_match`` names the current object: the caller's copy is still good."""


class AccessError(StorageError, PermissionError):
    """The storage refused the caller."""


class UnauthenticatedError(AccessError):
    """Credentials are missing, wrong or expired."""


class PermissionDeniedError(AccessError):
    """The caller is known and not allowed to do this."""


class InvalidKeyError(StorageError, ValueError):
    """The key cannot be used; refused before any I/O."""


class InvalidRangeError(StorageError, ValueError):
    """The range lies outside of the object, or is negative."""


class ConfigError(StorageError, ValueError):
    """An option, URL, profile or environment variable is wrong or missing; the message says what to set."""


class UnsupportedError(StorageError):
    """This backend or stack of layers cannot do what was asked; nothing was sent or changed."""


class KeyConflictError(StorageError):
    """The key cannot live beside one that is there already (a file where a folder would have to be)."""


class IntegrityError(StorageError):
    """Bytes are not what they were announced to be; none of them were stored or handed out as good."""


class TruncatedError(IntegrityError):
    """A body ended before its announced length."""


class ChecksumError(IntegrityError):
    """A body has the right length and the wrong content."""


class DecryptionError(IntegrityError):
    """Encrypted data did not authenticate."""


class KeyUnavailableError(DecryptionError):
    """None of the identities at hand opens this object."""


class UnavailableError(StorageError):
    """A temporary failure of the storage or of the way to it.

    ``retry_after`` is how many seconds the storage asks to wait, where a backend knows and does not wait itself.
    """

    retryable: ClassVar[bool] = True
    retry_after: float | None = None


class ThrottledError(UnavailableError):
    """The storage asks for fewer requests."""


class StorageTimeoutError(UnavailableError, TimeoutError):
    """No answer or no progress within the time allowed."""


class ConnectionLostError(UnavailableError):
    """The connection broke or could not be made."""


class CapacityError(StorageError):
    """The disk, volume or quota is full; what was stored before is intact."""


class LimitExceededError(StorageError):
    """Larger than a provider's or a configured limit."""


class CancelledError(StorageError):
    """The surrounding `scope` was cancelled."""


class ClosedError(RuntimeError):
    """The storage, reader or writer was closed before this call."""
