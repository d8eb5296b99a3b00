"""Objects in this process's memory: the reference model of what every storage promises, and a fast fake for tests.

It has every capability. ``memory://NAME`` is one store for each name in a process; it ends with the process.
"""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import weakref
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    Content,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StorageBackend,
)
from mediagit_storage.capabilities import EVERYTHING, Capabilities
from mediagit_storage.clock import SYSTEM_CLOCK, Clock, utc_from_ns
from mediagit_storage.conditions import check_conditions
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CancelledError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnsupportedError,
)
from mediagit_storage.ranges import Span, resolve_range
from mediagit_storage.scope import current_scope
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import (
    Attributes,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Entry,
    Folder,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PresignOptions,
    PutOptions,
    ReadOptions,
    Retention,
)

__all__ = ["MemoryBackend", "MemoryConfig"]

#: All but what is of use only where a network lies between.
_CAPABILITIES: Final = replace(EVERYTHING, parallel_reads=False, resumable_uploads=False)
_PIECE: Final = 1024 * 1024
_PAGE: Final = 1000
_NO_ATTRIBUTES: Final = Attributes()


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """``name``: storages of one name in one process are the same storage."""

    name: str = "default"


@dataclass(frozen=True, slots=True)
class _Version:
    data: bytes
    modified_ns: int
    etag: str
    version: str | None
    attributes: Attributes = _NO_ATTRIBUTES
    retention: Retention | None = None
    legal_hold: bool = False
    deleted: bool = False


class _MemoryBody(Body):
    def __init__(self, info: ObjectInfo, data: bytes, span: Span) -> None:
        self.info = info
        self.start, self.length = span
        self._data: bytes | None = data

    def __iter__(self) -> Iterator[bytes]:
        end = self.start + self.length
        for offset in range(self.start, end, _PIECE):
            if self._data is None:
                return
            yield self._data[offset : min(offset + _PIECE, end)]

    def close(self) -> None:
        self._data = None


class MemoryBackend(StorageBackend):
    """A dictionary of immutable byte strings that keeps every promise of the contract.

    ``versioning`` keeps every version from the start; `create` switches it later. ``created=False`` starts without
    the bucket, so that `BucketNotFoundError` can be met. Thread-safe; a forked child has its own copy.
    """

    def __init__(
        self, name: str = "", *, versioning: bool = False, created: bool = True, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._name = name
        self._versioning = versioning
        self._created = created
        self._clock = clock
        self._lock = threading.RLock()
        _hold_during_forks(self._lock)
        self._versions: dict[str, list[_Version]] = {}  # oldest first, never empty
        self._sorted: list[str] = []  # the same keys; code points sort like the bytes of their UTF-8
        self._uploads: dict[str, PendingUpload] = {}
        self._last_ns = 0
        self._writes = 0
        self._link_key = secrets.token_bytes(32)

    @classmethod
    def named(cls, name: str) -> MemoryBackend:
        """The one storage of this name in this process."""
        with _named_lock:
            return _named.setdefault(name, cls(name))

    @classmethod
    def from_config(cls, config: MemoryConfig) -> MemoryBackend:
        """What ``memory://NAME`` opens."""
        return cls.named(config.name)

    @classmethod
    def from_env(cls) -> MemoryBackend:
        """The storage named ``default``; no variable is read."""
        return cls.named(MemoryConfig().name)

    @property
    def capabilities(self) -> Capabilities:
        """All of them, but for the two that only pay over a network."""
        return _CAPABILITIES

    @property
    def description(self) -> str:
        """``memory://NAME``."""
        return f"memory://{quote(self._name, safe='')}"

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Keep a private copy of the bytes; visible all at once when the last has come."""
        self._require_bucket()
        data = source.buffer()
        if data is not None:
            return self._commit(key, bytes(data), options, None)
        upload = PendingUpload(key, secrets.token_hex(8), utc_from_ns(self._clock.now_ns()))
        with self._lock:
            self._uploads[upload.id] = upload
        try:
            content = bytearray()
            for chunk in source.chunks():
                content += chunk
            return self._commit(key, bytes(content), options, upload)
        finally:
            with self._lock:
                self._uploads.pop(upload.id, None)

    def read(self, key: str, options: ReadOptions) -> Content:
        """The bytes of one version; a copy only where a part is asked for."""
        info, data, span = self._open(key, options)
        whole = span.length == len(data)
        return Content(info, data if whole else data[span.start : span.start + span.length], span.start)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The same bytes in pieces of 1 MiB."""
        info, data, span = self._open(key, options)
        return _MemoryBody(info, data, span)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Everything about one version."""
        with self._lock:
            found = self._find(key, version)
        return _info(key, found, with_attributes=True)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """In pages of 1,000 keys, each a consistent picture."""
        after, inclusive = _first_key(prefix, options.start_after)
        while page := self._page(prefix, after, inclusive=inclusive):
            for key, versions in page:
                yield from _listed(key, versions, all_versions=options.versions)
            after, inclusive = page[-1][0], False

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level; a folder is skipped over by its prefix, however many keys it holds."""
        after, inclusive = _first_key(prefix, options.start_after)
        while True:
            page = self._page(prefix, after, inclusive=inclusive, limit=1)
            if not page:
                return
            key, versions = page[0]
            cut = key.find("/", len(prefix))
            if cut < 0:
                yield from _listed(key, versions, all_versions=False)
                after, inclusive = key, False
                continue
            folder = key[: cut + 1]
            if (options.start_after is None or folder > options.start_after) and self._has_object(folder):
                yield Folder(folder)
            # The first string after every key with this prefix: "/" is followed by "0".
            after, inclusive = folder[:-1] + "0", True

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Remove a version, or the object; with versioning on, the latter only adds a deletion mark."""
        self._require_bucket()
        with self._lock:
            versions = self._versions.get(key, [])
            if options.version is not None:
                found = next((each for each in versions if each.version == options.version), None)
            else:
                found = versions[-1] if versions and not versions[-1].deleted else None
            if options.if_match is not None and (found is None or found.etag != options.if_match):
                raise PreconditionError("the object is not the one that if_match names")
            if found is None:
                if not options.missing_ok:
                    raise NotFoundError("no such object")
                return
            if options.version is None and (self._versioning or any(each.version for each in versions)):
                # Also where versioning was switched off: the versions of before stay, and must not come back.
                name = secrets.token_hex(8) if self._versioning else None
                self._append(key, _Version(b"", self._now(), "", name, deleted=True))
                return
            self._refuse_protected(found)
            self._drop(key, found)

    def connection_info(self) -> ConnectionInfo:
        """The name; it leads back to the same objects only in this process. Without a name nothing does."""
        if not self._name:
            raise UnsupportedError("a memory storage without a name cannot be opened again; use MemoryBackend.named")
        return ConnectionInfo("memory", {"name": self._name})

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """One step: the bytes are shared, being immutable."""
        with self._lock:
            found = self._find(source, options.version)
            options.require(found.etag)
            attributes = options.attributes if options.attributes is not None else found.attributes
            return self._commit(target, found.data, PutOptions(attributes, if_absent=options.if_absent), None)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """One step: no reader sees both or neither."""
        with self._lock:
            found = self._find(source, None)
            if source == target:
                return _info(source, found, with_attributes=True)
            self._refuse_protected(found)
            info = self._commit(target, found.data, PutOptions(found.attributes, if_absent=if_absent), None)
            self.delete(source, DeleteOptions())
            return info

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """One after the other: nothing here ever waits."""
        for operation in operations:
            if operation is None:
                continue
            current_scope().check()
            try:
                completion = Completion(operation, self._carry_out(operation), None)
            except Exception as error:  # noqa: BLE001  # every failure belongs to its item
                completion = Completion(operation, None, error)
            yield completion

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link for `redeem`, good in this process."""
        until = self._clock.now_ns() // 1_000_000_000 + int(options.expires.total_seconds())
        fields = {"method": options.method, "expires": str(until)}
        if options.content_type is not None:
            fields["content-type"] = options.content_type
        unsigned = f"{self.description}/{quote(key, safe='')}?{urlencode(fields)}"
        return f"{unsigned}&signature={self._signature(unsigned)}"

    def redeem(
        self, link: str, method: str = "GET", data: bytes = b"", *, content_type: str | None = None
    ) -> Content | ObjectInfo | None:
        """Do what a link from `presign` allows. `PermissionDeniedError` when it was altered, is over, or says otherwise."""
        unsigned, _, signature = link.rpartition("&signature=")
        if not hmac.compare_digest(signature, self._signature(unsigned)):
            raise PermissionDeniedError("the link's signature does not match")
        parts = urlsplit(unsigned)
        fields = dict(parse_qsl(parts.query))
        if int(fields["expires"]) <= self._clock.now_ns() // 1_000_000_000:
            raise PermissionDeniedError("the link has expired")
        if fields["method"] != method or fields.get("content-type") != content_type:
            raise PermissionDeniedError("the link was made for another method or content type")
        key = unquote(parts.path[1:])
        if method == "GET":
            return self.read(key, ReadOptions())
        if method == "PUT":
            return self.put(key, BytesSource(data), PutOptions(Attributes(content_type=content_type)))
        self.delete(key, DeleteOptions())
        return None

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the bucket; versions that exist stay when versioning is switched off."""
        with self._lock:
            self._created = True
            self._versioning = self._versioning if versioning is None else versioning

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """The puts that are running now."""
        self._require_bucket()
        with self._lock:
            uploads = [each for each in self._uploads.values() if each.key.startswith(prefix)]
        yield from sorted(uploads, key=lambda each: (each.key, each.started))

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """The same, as long as that put runs."""
        with self._lock:
            if upload.id not in self._uploads:
                raise NotFoundError("the upload has ended")
        return upload

    def abort_upload(self, upload: PendingUpload) -> None:
        """Make that put fail instead of committing."""
        with self._lock:
            self._uploads.pop(upload.id, None)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """A new version of the object with another beginning."""
        with self._lock:
            found = self._find(key, None)
            options = PutOptions(found.attributes, if_match=if_match)
            return self._commit(key, head + found.data[old_length:], options, None)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a memory storage lives in one process and cannot be pickled")

    def _commit(self, key: str, data: bytes, options: PutOptions, upload: PendingUpload | None) -> ObjectInfo:
        attributes = options.late_attributes() if options.late_attributes is not None else options.attributes
        with self._lock:
            self._require_bucket()
            if upload is not None and upload.id not in self._uploads:
                raise CancelledError("the upload was aborted")
            versions = self._versions.get(key)
            current = versions[-1] if versions and not versions[-1].deleted else None
            if options.if_absent and current is not None:
                raise AlreadyExistsError("an object of this key exists")
            if options.if_match is not None and (current is None or current.etag != options.if_match):
                raise PreconditionError("the object is not the one that if_match names")
            if current is not None and not self._versioning:
                self._refuse_protected(current)
            self._writes += 1
            written = _Version(
                data,
                self._now(),
                f'"{self._writes:x}"',
                secrets.token_hex(8) if self._versioning else None,
                attributes or _NO_ATTRIBUTES,
                options.retention,
                options.legal_hold,
            )
            self._append(key, written)
        return _info(key, written, with_attributes=False)

    def _open(self, key: str, options: ReadOptions) -> tuple[ObjectInfo, bytes, Span]:
        with self._lock:
            found = self._find(key, options.version)
        check_conditions(found.etag, options)
        return _info(key, found, with_attributes=True), found.data, resolve_range(options.range, len(found.data))

    def _find(self, key: str, version: str | None) -> _Version:
        self._require_bucket()
        versions = self._versions.get(key, [])
        if version is None:
            if versions and not versions[-1].deleted:
                return versions[-1]
            raise NotFoundError("no such object")
        for each in versions:
            if each.version == version and not each.deleted:
                return each
        raise NotFoundError("no such version")

    def _append(self, key: str, version: _Version) -> None:
        versions = self._versions.get(key)
        if versions is None:
            self._versions[key] = [version]
            insort(self._sorted, key)
        elif self._versioning:
            versions.append(version)
        else:
            # As on S3: without versioning a write replaces the one version that has no name.
            versions[:] = [each for each in versions if each.version is not None]
            versions.append(version)

    def _drop(self, key: str, version: _Version) -> None:
        versions = self._versions[key]
        versions.remove(version)
        if not versions:
            del self._versions[key]
            del self._sorted[bisect_left(self._sorted, key)]

    def _page(
        self, prefix: str, after: str, *, inclusive: bool, limit: int = _PAGE
    ) -> Sequence[tuple[str, Sequence[_Version]]]:
        current_scope().check()
        with self._lock:
            self._require_bucket()
            begin = (bisect_left if inclusive else bisect_right)(self._sorted, after)
            keys = self._sorted[begin : begin + limit]
            return [(key, list(self._versions[key])) for key in keys if key.startswith(prefix)]

    def _has_object(self, prefix: str) -> bool:
        return next(self.list(prefix, ListOptions()), None) is not None

    def _carry_out(self, operation: Operation) -> Content | ObjectInfo | None:
        if isinstance(operation, ReadOperation):
            return self.read(operation.key, operation.options)
        if isinstance(operation, PutOperation):
            return self.put(operation.key, operation.source, operation.options)
        if isinstance(operation, DeleteOperation):
            self.delete(operation.key, operation.options)
            return None
        return self.stat(operation.key, operation.version)

    def _refuse_protected(self, version: _Version) -> None:
        if version.legal_hold:
            raise PermissionDeniedError("the object is under a legal hold")
        if version.retention is not None and utc_from_ns(self._clock.now_ns()) < version.retention.until:
            raise PermissionDeniedError(f"the object is retained until {version.retention.until.isoformat()}")

    def _require_bucket(self) -> None:
        if not self._created:
            raise BucketNotFoundError("the storage was not created yet")

    def _now(self) -> int:
        self._last_ns = max(self._clock.now_ns(), self._last_ns + 1)
        return self._last_ns

    def _signature(self, text: str) -> str:
        return hmac.new(self._link_key, text.encode(), "sha256").hexdigest()


_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()
_held: list[threading.RLock] = []


def _hold_during_forks(lock: threading.RLock) -> None:
    """No fork happens while another thread holds ``lock``: a child would find it held for ever, and half a change."""
    if not _locks:
        _begin_holding()
    _locks.add(lock)


@cache
def _begin_holding() -> None:
    def hold() -> None:
        for lock in [*_locks]:
            lock.acquire()
            _held.append(lock)

    def release() -> None:
        while _held:
            _held.pop().release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=release)


_named: dict[str, MemoryBackend] = {}
_named_lock = threading.Lock()


def _info(key: str, version: _Version, *, with_attributes: bool) -> ObjectInfo:
    size = len(version.data)
    attributes = version.attributes if with_attributes else None
    modified = utc_from_ns(version.modified_ns)
    return ObjectInfo(key, size, size, modified, version.etag, version.version, attributes, version.deleted)


def _listed(key: str, versions: Sequence[_Version], *, all_versions: bool) -> Iterator[ObjectInfo]:
    if all_versions:
        for version in reversed(versions):
            yield _info(key, version, with_attributes=False)
    elif not versions[-1].deleted:
        yield _info(key, versions[-1], with_attributes=False)


def _first_key(prefix: str, start_after: str | None) -> tuple[str, bool]:
    """Where a listing begins, and whether that very key is part of it."""
    if start_after is not None and start_after >= prefix:
        return start_after, False
    return prefix, True
