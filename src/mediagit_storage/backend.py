"""`StorageBackend`: what an implementer writes. Backends and layers are both this; users hold a `Storage`.

The written contract
====================

Keys and options arrive checked: `Storage` validates keys and ranges, and refuses what `capabilities` do not
promise, before a backend is called. A backend refuses only keys that it cannot hold. Every promise below holds on
every backend; the conformance suite (`mediagit_storage.testing.conformance`) tests each.

1.  ``put`` is all-or-nothing. No reader ever sees a part; the old object stays until the new one is complete. A
    source that fails half-way, a cancelled call or a killed process leaves the old object, nothing in a listing,
    and nothing that clean-up cannot find.
2.  Read-after-write and list-after-write.
3.  Acknowledged means durable, as far as the storage goes: it survives power loss when ``put`` has returned.
4.  Bytes are checked. A body shorter, longer or other than announced is an `IntegrityError`, never short data.
5.  `NotFoundError` only on proof of absence. A refused or failed request is its own error.
6.  ``delete`` of a missing object succeeds, unless ``missing_ok=False``.
7.  Listings are sorted by the UTF-8 bytes of the key, lazy and complete. Prefixes are raw strings.
8.  Keys are exact: no normalising, ever.
9.  Conditional writes are atomic; of any number of create-only writers exactly one succeeds. A refused condition
    has no side effect.
10. Ranges: a missing object is `NotFoundError` first; then length 0 is ``b""``; then a start at or past the end
    (any given start on an empty object) is `InvalidRangeError`; an end past the end is clipped. Without offset and
    length the whole object comes, however empty. A suffix longer than the object is the whole object.
    `mediagit_storage.ranges` holds this arithmetic.
11. Timestamps are aware UTC and do not go back.
12. No secret in ``repr``, errors, logs or `connection_info`.
13. Methods may be called from several threads at once, and after a fork.

Errors: raise from the tree in `errors`; leave ``key``, ``operation`` and ``store`` None, because `Storage` fills in
the caller's own (layers rewrite keys). Errors of a user's source or iterator pass through unchanged.

Scopes and progress: call ``current_scope().check()`` between pieces of work. `Storage` reports progress for what
passes through sources and bodies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, NoReturn, Self

from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.scope import Scope
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import (
    Checksum,
    ConnectionInfo,
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

__all__ = [
    "BatchLimits",
    "Body",
    "Completion",
    "Content",
    "DeleteOperation",
    "Operation",
    "PutOperation",
    "ReadOperation",
    "StatOperation",
    "StorageBackend",
]


class Content(NamedTuple):
    """A read object or part of one: ``data`` starts at byte ``start``; ``info.size`` is the whole object's size."""

    info: ObjectInfo
    data: bytes
    start: int


class Body(ABC):
    """An open read: iterate over the pieces, then close. ``info.size`` is the whole object's size.

    ``start`` and ``length`` say which part comes. Exactly ``length`` bytes are yielded, or an error is raised.
    Closing early frees the connection or file at once; iterating after `close` ends at once.
    """

    info: ObjectInfo
    start: int
    length: int

    @abstractmethod
    def __iter__(self) -> Iterator[bytes]:
        """The pieces, in order, once."""

    @abstractmethod
    def close(self) -> None:
        """Free what the read holds; idempotent."""

    def region(self) -> FileRegion | None:
        """Where the very same bytes lie in an open file on this machine, until `close`; None where they do not."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True, unsafe_hash=True)
class ReadOperation:
    """Read one object whole or in part; completes with a `Content`."""

    key: str
    options: ReadOptions = ReadOptions()
    scope: Scope | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True, unsafe_hash=True)
class PutOperation:
    """Write one object; completes with its `ObjectInfo`."""

    key: str
    source: Source
    options: PutOptions = PutOptions()
    scope: Scope | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True, unsafe_hash=True)
class StatOperation:
    """Look at one object; completes with its `ObjectInfo`."""

    key: str
    version: str | None = None
    scope: Scope | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True, unsafe_hash=True)
class DeleteOperation:
    """Delete one object; completes with None."""

    key: str
    options: DeleteOptions = DeleteOptions()
    scope: Scope | None = field(default=None, compare=False, repr=False)


#: Treat them as immutable: they are not frozen because that triples the cost of making one. A ``scope`` bounds that one
#: operation. A backend whose batch waits for something drops an operation whose scope has ended (`bell.listening` tells
#: at once) and completes it with the scope's error; a layer hands it on with what it asks of the storage below.
Operation = ReadOperation | PutOperation | StatOperation | DeleteOperation


class Completion(NamedTuple):
    """How one operation of a batch ended: with ``value``, or with ``error``."""

    operation: Operation
    value: Content | ObjectInfo | None
    error: Exception | None


class BatchLimits(NamedTuple):
    """Bounds of one batch: operations in flight, and bytes of bodies held in memory (one larger object is let in)."""

    concurrency: int = 16
    buffer_bytes: int = 64 * 1024 * 1024


#: The limits of a batch for which nobody said otherwise.
DEFAULT_LIMITS: Final = BatchLimits()


class StorageBackend(ABC):
    """A storage for immutable objects, in its smallest form. See the module for the contract that binds every method.

    Ten things have to be written; what follows `connection_info` is optional, and `capabilities` says what is there.
    """

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this backend can do. Constant while it is open; asking makes no request."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Where this is, for people: URL-like, without secrets, for example ``s3://bucket``."""

    @abstractmethod
    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store all of ``source`` under ``key``, replacing bytes and attributes of what was there.

        The result has ``size``, ``modified`` and ``etag`` (``version`` where there are versions).
        Raises `AlreadyExistsError` (if_absent), `PreconditionError` (if_match; also when the object is absent),
        `BucketNotFoundError`, `AccessError`, `CapacityError`, `KeyConflictError`, `UnavailableError`.
        """

    @abstractmethod
    def read(self, key: str, options: ReadOptions) -> Content:
        """The object, or the part of it that ``options.range`` names, in memory; its attributes too, if asked for.

        Raises `NotFoundError`, `InvalidRangeError`, `PreconditionError` (if_match), `NotModifiedError`
        (if_none_match), `IntegrityError`, `AccessError`, `UnavailableError`.
        """

    @abstractmethod
    def stream(self, key: str, options: ReadOptions) -> Body:
        """Like `read`, in pieces and bounded memory. What is missing or refused raises here, not at the first piece.

        The body is one version of the object, whatever is written meanwhile.
        """

    @abstractmethod
    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Everything about one object, ``attributes`` included. Raises `NotFoundError` on proof of absence."""

    @abstractmethod
    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All objects whose key starts with the string ``prefix``, sorted by the key's UTF-8 bytes, lazily.

        A missing prefix lists nothing; a missing bucket is a `BucketNotFoundError` at the first item. An object that
        exists throughout is yielded exactly once, whatever is written meanwhile.
        """

    @abstractmethod
    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level: the objects whose key is ``prefix`` and more without a ``/``, and a `Folder` for the rest.

        Sorted together: a folder sorts as its prefix. ``options.start_after`` and ``options.exact`` apply.
        """

    @abstractmethod
    def delete(self, key: str, options: DeleteOptions) -> None:
        """Remove the object, or the version asked for. See promise 6."""

    @abstractmethod
    def connection_info(self) -> ConnectionInfo:
        """How to open this again, in another process; secrets as references only."""

    # ---- optional: a backend that overrides one of these says so in its capabilities

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Copy within this storage without moving the bytes through this machine (`Capabilities.server_copy`).

        As atomic as a put. Copying an object onto itself keeps it, with new attributes if given. The source has to be
        what ``options.require`` wants.
        """
        self._refuse("server-side copies")

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Move one object atomically, attributes included (`Capabilities.server_rename`)."""
        self._refuse("server-side renames")

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Carry out many operations in one thread (`Capabilities.batch`), yielding each as it completes, in any order.

        Pulls from ``operations`` only while it has room within ``limits``. A None from it means "nothing now": ask
        again after yielding a completion. Closing the result aborts what is in flight.
        """
        self._refuse("batches")

    def presign(self, key: str, options: PresignOptions) -> str:
        """A URL that does one thing for a while, made without network I/O (`Capabilities.presign`)."""
        self._refuse("presigned URLs")

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the bucket, container or root folder; one that exists already is fine. None keeps versioning as is."""
        self._refuse("creating buckets")

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Uploads begun under ``prefix`` and not ended, oldest first for a key (`Capabilities.pending_uploads`)."""
        self._refuse("listing unfinished uploads")

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """The same with ``size`` and ``active``, as far as more can be known than `pending_uploads` tells.

        One that ended meanwhile is a `NotFoundError`, where the storage is asked at all.
        """
        return upload

    def abort_upload(self, upload: PendingUpload) -> None:
        """Abort one of `pending_uploads` and free its space; one that is gone already is fine."""
        self._refuse("aborting uploads")

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Replace the first ``old_length`` bytes by ``head`` without moving the rest (`Capabilities.replace_head`)."""
        self._refuse("replacing the head of an object")

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """The digest of all that `read` gives, as the storage keeps it; None where it keeps none that can be checked here.

        For what was read in ranges, so at most one request; ``options`` name the version. What cannot be told now is
        None, and never an error.
        """
        return None

    def check(self) -> Iterable[Finding]:
        """What this backend knows about its own health beyond what `Storage.check` tries on every storage."""
        return ()

    def close(self) -> None:  # noqa: B027  # most backends hold nothing
        """Free what is held; idempotent. No other method is called afterwards."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.description}>"

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedError(f"{self.description} does not support {what}")
