"""`Storage`: what a user holds. Every convenience is written here once, over any backend or stack of layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Self, TypeVar, overload

from mediagit_storage.attributes import checked_attributes, guess_content_type, shown
from mediagit_storage.backend import (
    DEFAULT_LIMITS,
    BatchLimits,
    Body,
    Content,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.batch import Planned, Result, run_batch
from mediagit_storage.batches import Batch
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.checked import CheckedSource, check_buffer
from mediagit_storage.clock import SYSTEM_CLOCK
from mediagit_storage.downloading import Download, FileLanding
from mediagit_storage.errors import (
    BucketNotFoundError,
    ClosedError,
    ConfigError,
    IntegrityError,
    InvalidKeyError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.hashing import check_declared
from mediagit_storage.keys import KeyRules, check_key, check_readable_key
from mediagit_storage.layers.base import transfer_name
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.mending import mended
from mediagit_storage.probe import probe
from mediagit_storage.progress import NO_TRANSFER, Transfer, current_progress, transfer
from mediagit_storage.ranges import check_range, coalesce, resolve_range
from mediagit_storage.reader import ObjectReader
from mediagit_storage.scope import current_scope
from mediagit_storage.source import IterableSource, Source, SourceData, as_source
from mediagit_storage.transfer import Durability, LocalFileSource, resume_point
from mediagit_storage.types import (
    PLAIN_PUT,
    Attributes,
    ByteRange,
    Checksum,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    ListOptions,
    ObjectInfo,
    Outcome,
    PendingUpload,
    PresignMethod,
    PresignOptions,
    PutOptions,
    ReadOptions,
    Retention,
)
from mediagit_storage.writer import ObjectWriter

__all__ = ["ObjectStream", "Storage"]

T = TypeVar("T")

_PLAIN_READ: Final = ReadOptions()
_NO_RESPONSE: Final[Mapping[str, str]] = MappingProxyType({})
#: Ranges that lie closer together than this are fetched in one read: a request costs more than the gap.
_COALESCE_GAP: Final = 64 * 1024
_COALESCE_LIMIT: Final = 8 * 1024 * 1024


class ObjectStream:
    """The pieces of one object, fetched as they are asked for. Iterate once; leaving early frees the connection."""

    def __init__(self, body: Body, explain: _Explain) -> None:
        self.info = shown(body.info)
        self._body = body
        self._explain = explain

    def __iter__(self) -> Iterator[bytes]:
        scope = current_scope()
        with self._body, self._explain, transfer(f"get {self.info.key}", self._body.length) as report:
            for chunk in self._body:
                scope.check()
                report.advance(len(chunk))
                yield chunk

    def close(self) -> None:
        """Free the connection or file; iterating then ends. Idempotent."""
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Explain:
    """Fills the caller's operation, key and store into a `StorageError` that passes through."""

    __slots__ = ("_key", "_operation", "_store")

    def __init__(self, operation: str, key: str | None, store: StorageBackend) -> None:
        self._operation = operation
        self._key = key
        self._store = store

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StorageError):
            error.with_context(operation=self._operation, key=self._key, store=self._store.description)


class Storage:
    """Objects under keys, the same on every backend. Thread-safe; works after a fork; use as a context manager.

    ``keys="raw"`` lets `put` write any key the backend can hold; the default takes only keys that are portable. A
    storage that does not own its backend (``owned=False``) leaves it open on `close`.
    """

    def __init__(self, backend: StorageBackend, *, keys: KeyRules = "strict", owned: bool = True) -> None:
        self._backend = backend
        self._mended = mended(backend)
        self._keys: KeyRules = keys
        self._owned = owned
        self._closed = False

    # ---- reading

    def get(
        self,
        key: str,
        *,
        offset: int | None = None,
        length: int | None = None,
        suffix: int | None = None,
        version: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> bytes:
        """The object's bytes, or a part: ``length`` bytes from ``offset``, or the last ``suffix``. One request.

        An end past the end is clipped; an ``offset`` at or past the end is an `InvalidRangeError`; length 0 gives
        ``b""``. Raises `NotFoundError`; `PreconditionError` when the ETag is not ``if_match``; `NotModifiedError` when
        it is ``if_none_match``; `IntegrityError` rather than short or wrong bytes.
        """
        with self._explain("get", key):
            options = self._read_options(ByteRange(offset, length, suffix), version, if_match, if_none_match)
            return self._read(key, options).data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, version: str | None = None) -> Sequence[bytes]:
        """The parts ``(offset, length)`` of one version of an object, in the order given.

        They may overlap, repeat and be empty; each follows the rules of `get`. Parts that lie close together are
        fetched in one request. Raises like `get`, for the whole call.
        """
        with self._explain("get", key):
            for offset, length in ranges:
                check_range(ByteRange(offset, length))
            info = self.stat(key, version=version)
            spans = [resolve_range(ByteRange(offset, length), info.size or 0) for offset, length in ranges]
            results = [b""] * len(spans)
            read = self._reader_of(key, info, version)
            for joined in coalesce(spans, _COALESCE_GAP, _COALESCE_LIMIT):
                data = read(ByteRange(joined.offset, joined.length)).data
                for index, start, length in joined.parts:
                    results[index] = data[start : start + length]
            return results

    def stream(
        self,
        key: str,
        *,
        offset: int | None = None,
        length: int | None = None,
        suffix: int | None = None,
        version: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> ObjectStream:
        """Like `get`, in pieces and constant memory: ``for chunk in store.stream(key)``.

        All pieces are of one version of the object, whatever is written meanwhile. What is missing or refused raises
        here. A slow reader slows the storage down instead of filling memory.
        """
        with self._explain("get", key):
            options = self._read_options(ByteRange(offset, length, suffix), version, if_match, if_none_match)
            check_readable_key(key)
            return ObjectStream(self._start().stream(key, options), self._explain("get", key))

    @overload
    def open(self, key: str, mode: Literal["rb"] = "rb", *, version: str | None = None) -> ObjectReader: ...

    @overload
    def open(
        self,
        key: str,
        mode: Literal["wb"],
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectWriter: ...

    def open(
        self,
        key: str,
        mode: Literal["rb", "wb"] = "rb",
        *,
        version: str | None = None,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> ObjectReader | ObjectWriter:
        """A binary file over an object.

        ``"rb"``: seekable, with read-ahead, over the object that is current now; `read_at(offset, n)` is thread-safe. A
        read after somebody wrote another object there is a `PreconditionError`, where the storage has conditional reads.
        ``"wb"``: `close` commits; an exception inside the ``with`` block, or losing the file without closing it,
        leaves the old object and nothing new. Attributes and conditions are those of `put`. An `io.TextIOWrapper`
        around it closes, and so commits, whatever happens: write encoded text instead, or ``detach()`` it in time.
        """
        if mode == "rb":
            info = self.stat(key, version=version)
            return ObjectReader(self._reader_of(key, info, version), info, info.size or 0)
        if mode != "wb":
            raise ValueError(f"mode is 'rb' or 'wb', not {mode!r}: objects are bytes, and written whole")
        with self._explain("put", key):
            options = _put_options(attributes, if_absent=if_absent, if_match=if_match)
            self._start()
            self._check_written_key(key)
            self._refuse_put(options)

        def store(source: Source) -> ObjectInfo:
            with self._explain("put", key):
                return self._put(key, source, options, None)

        return ObjectWriter(store, key)

    def stat(self, key: str, *, version: str | None = None) -> ObjectInfo:
        """Everything about one object, its attributes included. One request. Raises `NotFoundError`."""
        check_readable_key(key)
        with self._explain("stat", key):
            self._require_versions(version)
            return shown(self._start().stat(key, version))

    def exists(self, key: str) -> bool:
        """Whether there is such an object. False only for a proven absence: everything else raises. One request."""
        try:
            self.stat(key)
        except BucketNotFoundError:
            raise
        except NotFoundError:
            return False
        return True

    # ---- writing

    def put(
        self,
        key: str,
        data: SourceData,
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        size: int | None = None,
        checksum: Checksum | None = None,
        retention: Retention | None = None,
        legal_hold: bool = False,
    ) -> ObjectInfo:
        """Store an object, all of it or nothing. Durable when this returns.

        ``data`` is bytes-like, a binary file (read from its position, not closed), or an iterable of bytes-like.
        ``if_absent`` writes only a new key (`AlreadyExistsError`), ``if_match`` only over the object with that ETag
        (`PreconditionError`). Data that are not ``size`` bytes long or do not have ``checksum`` store nothing
        (`IntegrityError`). What the backend cannot keep or promise is an `UnsupportedError` before anything is sent.
        A plain put may be retried and may then overwrite a writer that came between; who minds uses a condition.
        """
        with self._explain("put", key):
            options = _put_options(
                attributes,
                if_absent=if_absent,
                if_match=if_match,
                checksum=checksum,
                retention=retention,
                legal_hold=legal_hold,
            )
            return self._put(key, as_source(data), options, size)

    def upload(
        self,
        path: str | os.PathLike[str],
        key: str,
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        checksum: Checksum | None = None,
        resume: bool = True,
    ) -> ObjectInfo:
        """Store a local file. Like `put`; the content type is guessed from ``key`` unless given.

        A file that changes while it is read is an `IntegrityError`, and nothing is stored. Trouble with the file itself
        is the operating system's own error (`FileNotFoundError`, `PermissionError`).

        Where the storage can (`Capabilities.resumable_uploads`), a large upload that broke off, even by a killed
        process, goes on where it stopped when the same call is made again: the same file, unchanged, to the same key
        with the same options. Anything else starts afresh. ``resume=False`` always starts afresh and leaves nothing.
        """
        with self._explain("put", key), Path(path).open("rb", buffering=0) as file:
            described = self._with_content_type(key, attributes)
            options = _put_options(described, if_absent=if_absent, if_match=if_match, checksum=checksum)
            source = LocalFileSource(file)
            if not resume or not self.capabilities.resumable_uploads:
                return self._put(key, source, options, None)
            with resume_point(source, str(Path(path).resolve()), transfer_name(self._backend), key, options) as point:
                return self._put(key, source, replace(options, resume=point), None)

    def download(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        version: str | None = None,
        overwrite: bool = True,
        durability: Durability = "full",
        resume: bool = True,
    ) -> ObjectInfo:
        """Fetch an object into a local file, which appears under ``path`` only when it is complete.

        ``overwrite=False`` refuses a path that exists (`FileExistsError`). The folder must exist.

        From a storage that gains by it (`Capabilities.parallel_reads`) an object above 16 MiB comes as several ranges
        at once, all of one version of it, with at most 32 MiB in memory. When that breaks off, even by a killed process,
        a hidden ``.NAME.*.part`` file beside ``path`` stays, and the same call fetches only what is missing; an object
        that has changed starts afresh. A disk that fills up meanwhile gets its space back. ``resume=False`` starts afresh
        and leaves nothing.
        """
        with self._explain("get", key):
            check_readable_key(key)
            self._require_versions(version)
            backend = self._start()
            landing = FileLanding(Path(path), durability=durability, overwrite=overwrite)
            return shown(Download(backend, key, landing, version, resume=resume).run())

    def copy(
        self,
        source: str,
        target: str,
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        version: str | None = None,
    ) -> ObjectInfo:
        """Copy an object within this storage, as atomically as a put; on the server where it can.

        Keeps the source's attributes unless others are given. Copying an object onto itself keeps it.
        """
        check_readable_key(source)
        with self._explain("copy", source):
            checked = None if attributes is None else checked_attributes(attributes)
            self._refuse_attributes(checked)
            self._require_versions(version)
            return shown(self._copy(source, target, CopyOptions(checked, if_absent, version)))

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Move an object within this storage: atomically where the backend can, else copy and then delete.

        A crash in between leaves both, never neither. Onto itself nothing happens.
        """
        check_readable_key(source)
        if source == target:
            return self.stat(source)
        with self._explain("rename", source):
            backend = self._start()
            self._check_written_key(target)
            self._refuse_create_only_copy(if_absent=if_absent)
            capabilities = backend.capabilities
            if capabilities.server_rename:
                return shown(backend.rename(source, target, if_absent=if_absent))
            before = backend.stat(source)
            info = self._copy(source, target, CopyOptions(if_absent=if_absent))
            if not capabilities.delete_if_match and backend.stat(source).etag != before.etag:
                raise PreconditionError("the object was written to while it was moved; it stays, beside its copy")
            pinned = before.etag if capabilities.delete_if_match else None
            backend.delete(source, DeleteOptions(if_match=pinned))
            return info

    def delete(
        self, key: str, *, version: str | None = None, if_match: str | None = None, missing_ok: bool = True
    ) -> None:
        """Remove an object, or one version of it. A missing one is fine unless ``missing_ok=False``. Idempotent."""
        check_readable_key(key)
        options = DeleteOptions(version, if_match, missing_ok)
        with self._explain("delete", key):
            self._require_versions(version)
            if if_match is not None:
                self._require(self.capabilities.delete_if_match, "this storage has no conditional deletes")
            self._start().delete(key, options)

    # ---- listing

    def list(
        self, prefix: str = "", *, start_after: str | None = None, versions: bool = False, exact: bool = False
    ) -> Iterator[ObjectInfo]:
        """Every object whose key starts with the string ``prefix``, sorted by the bytes of the key, lazily.

        ``start_after`` begins behind that key, whether it exists or not. ``versions`` lists all of them, the newest of a
        key first. ``exact`` resolves sizes that only the objects themselves know (through compress and encrypt).
        """
        _check_listing(prefix, start_after)
        options = ListOptions(start_after, versions, exact)
        with self._explain("list", prefix):
            self._require(self.capabilities.versions or not versions, "this storage keeps no versions")
            return self._listing(self._start().list(prefix, options), "list", prefix)

    def list_dir(self, prefix: str = "", *, start_after: str | None = None, exact: bool = False) -> Iterator[Entry]:
        """One level: objects, and a `Folder` for each group of keys that share their next segment, sorted together."""
        _check_listing(prefix, start_after)
        options = ListOptions(start_after, versions=False, exact=exact)
        with self._explain("list", prefix):
            return self._listing(self._start().list_dir(prefix, options), "list", prefix)

    def list_consistent(self, prefix: str = "", *, max_attempts: int = 5) -> Sequence[ObjectInfo]:
        """A listing that came out twice in a row: the same keys, sizes, times and ETags. In memory, whole.

        Raises `UnavailableError` when ``max_attempts`` (at least 2) runs never agreed, because somebody keeps writing.
        """
        if max_attempts < 2:
            raise ConfigError("max_attempts must be at least 2: two runs have to agree")
        previous: Sequence[ObjectInfo] | None = None
        for _ in range(max_attempts):
            current = [*self.list(prefix)]
            if previous is not None and [_identity(each) for each in previous] == [_identity(each) for each in current]:
                return current
            previous = current
        raise UnavailableError(
            f"the listing was different in each of {max_attempts} runs: somebody is writing", operation="list"
        ).with_context(key=prefix, store=self._backend.description)

    # ---- many at once

    def get_many(self, keys: Iterable[str], *, limits: BatchLimits = DEFAULT_LIMITS) -> Batch[bytes]:
        """The bytes of many objects, fetched concurrently, as outcomes in the order given.

        A failing item is an outcome with its error; the others go on. Memory is bounded by ``limits``.
        """
        planned = (self._plan(key, ReadOperation(key, _PLAIN_READ)) for key in keys)
        return Batch(self._outcomes("get", planned, limits, _content), "get_many")

    def put_many(
        self,
        items: Iterable[tuple[str, SourceData]],
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        limits: BatchLimits = DEFAULT_LIMITS,
    ) -> Batch[ObjectInfo]:
        """Store many objects concurrently; each is as atomic as a `put`, and durable when its outcome is yielded."""
        with self._explain("put", None):
            options = _put_options(attributes, if_absent=if_absent)
            self._refuse_put(options)
        planned = (self._plan_put(key, data, options) for key, data in items)
        return Batch(self._outcomes("put", planned, limits, _info), "put_many")

    def stat_many(self, keys: Iterable[str], *, limits: BatchLimits = DEFAULT_LIMITS) -> Batch[ObjectInfo]:
        """What is known about many objects."""
        planned = (self._plan(key, StatOperation(key)) for key in keys)
        return Batch(self._outcomes("stat", planned, limits, _info), "stat_many")

    def delete_many(
        self, keys: Iterable[str], *, missing_ok: bool = True, limits: BatchLimits = DEFAULT_LIMITS
    ) -> Batch[None]:
        """Remove many objects, in as few requests as the storage allows. ``store.delete_many(keys).run()``."""
        options = DeleteOptions(missing_ok=missing_ok)
        planned = (self._plan(key, DeleteOperation(key, options)) for key in keys)
        return Batch(self._outcomes("delete", planned, limits, lambda _: None), "delete_many")

    def delete_versions(self, items: Iterable[tuple[str, str]], *, limits: BatchLimits = DEFAULT_LIMITS) -> Batch[None]:
        """Remove versions, given as (key, version), each for good; the outcomes have the keys, in the order given.

        Removing the newest version of a key brings back the one before it. One that is gone already is fine, unless the
        service says that it never was.
        """
        with self._explain("delete", None):
            self._require(self.capabilities.versions, "this storage keeps no versions")
        planned = (self._plan(key, DeleteOperation(key, DeleteOptions(version))) for key, version in items)
        return Batch(self._outcomes("delete", planned, limits, lambda _: None), "delete_versions")

    # ---- the storage itself

    def presign(
        self,
        key: str,
        *,
        method: PresignMethod = "GET",
        expires: float | timedelta = 3600,
        content_type: str | None = None,
        response: Mapping[str, str] = _NO_RESPONSE,
    ) -> str:
        """A URL that lets its holder get, put or delete this object for ``expires`` seconds. No network I/O.

        ``content_type`` binds an upload to a type; ``response`` overrides headers of a download
        (``{"content-disposition": "attachment"}``).
        """
        with self._explain("presign", key):
            backend = self._ready()
            if method == "PUT":
                self._check_written_key(key)
            check_readable_key(key)
            if method not in backend.capabilities.presign:
                raise UnsupportedError(f"this storage makes no presigned URLs for {method}")
            duration = expires if isinstance(expires, timedelta) else timedelta(seconds=expires)
            if duration <= timedelta(0):
                raise ConfigError("a link's time is positive: expires counts the seconds from now")
            return backend.presign(key, PresignOptions(method, duration, content_type, response))

    def pending_uploads(self, prefix: str = "") -> Iterator[PendingUpload]:
        """Uploads under ``prefix`` that were begun and not ended; they cost space until they are aborted."""
        with self._explain("pending_uploads", prefix):
            self._require(self.capabilities.pending_uploads, "this storage lists no unfinished uploads")
            return self._listing(self._start().pending_uploads(prefix), "pending_uploads", prefix)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """One of `pending_uploads` with what has arrived of it (``size``) and when something last did (``active``).

        As far as the storage tells; at most a few requests. Raises `NotFoundError` for one that ended meanwhile.
        """
        with self._explain("stat_upload", upload.key):
            self._require(self.capabilities.pending_uploads, "this storage lists no unfinished uploads")
            return self._start().stat_upload(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Abort one of `pending_uploads` and free its space. Idempotent."""
        with self._explain("abort_upload", upload.key):
            self._require(self.capabilities.pending_uploads, "this storage aborts no uploads")
            self._start().abort_upload(upload)

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the bucket, container or root folder. One that exists is fine. ``versioning`` switches versions."""
        with self._explain("create", None):
            self._require(self.capabilities.versions or not versioning, "this storage keeps no versions")
            self._start().create(versioning=versioning)

    def check(self, *, write: bool = True) -> Sequence[Finding]:
        """Try it: list; write, read, overwrite and delete one small object, also on condition; compare clocks; measure how
        long a request takes; and ask the backend and its layers about their health. About 15 requests.

        A failure is a finding with advice, not an exception. ``write=False`` changes nothing: it looks at the first object
        that is listed, and reads a byte of it.
        """
        return [*probe(self._ready(), SYSTEM_CLOCK, write=write)]

    def connection_info(self) -> ConnectionInfo:
        """How to open this storage again, in another process; JSON-serialisable, with secrets as references only."""
        return self._ready().connection_info()

    def with_layer(self, layer: Callable[[StorageBackend], StorageBackend]) -> Storage:
        """This storage seen through one more layer, for example ``store.with_layer(ReadOnlyLayer)``. Does not own it."""
        return Storage(layer(self._ready()), keys=self._keys, owned=False)

    def with_prefix(self, prefix: str) -> Storage:
        """This storage with ``prefix`` (a raw string) in front of every key. Does not own it."""
        _check_prefix(prefix)
        return self.with_layer(lambda backend: PrefixLayer(backend, prefix))

    @property
    def backend(self) -> StorageBackend:
        """The backend or outermost layer, for implementers of layers and tools."""
        return self._ready()

    @property
    def capabilities(self) -> Capabilities:
        """What this storage can do."""
        return self._ready().capabilities

    @property
    def description(self) -> str:
        """Where it is, URL-like, without secrets."""
        return self._backend.description

    def close(self) -> None:
        """Free connections and files. Idempotent; every later call is a `ClosedError`."""
        if not self._closed:
            self._closed = True
            if self._owned:
                self._backend.close()

    def __enter__(self) -> Self:
        self._ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Storage {self._backend.description}{' (closed)' if self._closed else ''}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (self._ready(), self._keys))

    # ---- inside

    def _ready(self) -> StorageBackend:
        if self._closed:
            raise ClosedError("the storage is closed")
        return self._backend

    def _start(self) -> StorageBackend:
        """The backend for one operation: not when the storage is closed, nor when the scope has ended."""
        current_scope().check()
        self._ready()
        return self._mended

    def _check_written_key(self, key: str) -> None:
        check_key(key, self._keys)
        longest = self._backend.capabilities.max_key_bytes
        # No character has more than four bytes: most keys need not be encoded to know that they fit.
        if len(key) * 4 > longest and len(key.encode("utf-8")) > longest:
            raise InvalidKeyError(f"a key may have at most {longest:,} bytes of UTF-8 in this storage", key=key)

    def _explain(self, operation: str, key: str | None) -> _Explain:
        return _Explain(operation, key, self._backend)

    def _require(self, capability: object, message: str) -> None:
        if not capability:
            raise UnsupportedError(message, store=self._backend.description)

    def _require_versions(self, version: str | None) -> None:
        if version is not None:
            self._require(self.capabilities.versions, "this storage keeps no versions")

    def _read_options(
        self, wanted: ByteRange, version: str | None, if_match: str | None, if_none_match: str | None
    ) -> ReadOptions:
        plain = version is None and if_match is None and if_none_match is None
        if plain and wanted == (None, None, None):
            return _PLAIN_READ
        check_range(wanted)
        if not plain:
            capabilities = self.capabilities
            self._require_versions(version)
            if if_match is not None or if_none_match is not None:
                self._require(capabilities.read_conditions, "this storage has no conditional reads")
        return ReadOptions(wanted, version, if_match, if_none_match)

    def _read(self, key: str, options: ReadOptions) -> Content:
        check_readable_key(key)
        backend = self._start()
        if current_progress() is None:
            return backend.read(key, options)
        with transfer(f"get {key}", None) as report:
            content = backend.read(key, options)
            report.finish(len(content.data))
            return content

    def _reader_of(self, key: str, info: ObjectInfo, version: str | None) -> Callable[[ByteRange], Content]:
        """Reads ranges of the very object that ``info`` tells of: never parts of two versions."""
        pinned = info.etag if self.capabilities.read_conditions else None
        exact_version = info.version if version is not None else None

        def read(wanted: ByteRange) -> Content:
            with self._explain("get", key):
                return self._read(key, ReadOptions(wanted, exact_version, pinned))

        return read

    def _put(self, key: str, source: Source, options: PutOptions, size: int | None) -> ObjectInfo:
        backend = self._start()
        self._check_written_key(key)
        if options is not PLAIN_PUT:
            self._refuse_put(options)
        data = source.buffer()
        if data is not None:
            check_buffer(data, size=size, checksum=options.checksum)
            if current_progress() is None:
                return shown(backend.put(key, source, options))
        with transfer(f"put {key}", size if size is not None else source.size) as report:
            if data is not None:
                return shown(backend.put(key, source, options))
            checked = CheckedSource(source, size=size, checksum=options.checksum, progress=report)
            info = backend.put(key, checked, options)
            checked.require_proof()
            return shown(info)

    def _copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        backend = self._start()
        self._check_written_key(target)
        self._refuse_create_only_copy(if_absent=options.if_absent)
        capabilities = backend.capabilities
        if capabilities.server_copy:
            return backend.copy(source, target, options)
        info = backend.stat(source, options.version)
        pinned = info.etag if capabilities.read_conditions else None
        kept = info.attributes if options.attributes is None else options.attributes
        with backend.stream(source, ReadOptions(version=options.version, if_match=pinned)) as body:
            put = PutOptions(kept, options.if_absent)
            return self._put(target, IterableSource(iter(body)), put, info.size)

    def _refuse_create_only_copy(self, *, if_absent: bool) -> None:
        capabilities = self.capabilities
        possible = capabilities.copy_if_absent if capabilities.server_copy else capabilities.if_absent
        self._require(possible or not if_absent, "this storage has no create-only copies and renames")

    def _refuse_put(self, options: PutOptions) -> None:
        capabilities = self.capabilities
        if options.if_absent:
            self._require(capabilities.if_absent, "this storage has no create-only writes")
        if options.if_match is not None:
            self._require(capabilities.if_match, "this storage has no conditional writes")
        if options.retention is not None or options.legal_hold:
            self._require(capabilities.retention, "this storage has no retention and no legal holds")
        self._refuse_attributes(options.attributes)

    def _refuse_attributes(self, attributes: Attributes | None) -> None:
        if attributes is not None:
            missing = attributes.named() - self.capabilities.attributes
            self._require(not missing, f"this storage does not keep {', '.join(sorted(missing))}")

    def _with_content_type(self, key: str, attributes: Attributes | None) -> Attributes | None:
        given = attributes or Attributes()
        if given.content_type is not None or "content_type" not in self.capabilities.attributes:
            return attributes
        guessed = guess_content_type(key)
        return attributes if guessed is None else replace(given, content_type=guessed)

    def _listing(self, entries: Iterator[T], operation: str, prefix: str) -> Iterator[T]:
        scope = current_scope()
        with self._explain(operation, prefix):
            for entry in entries:
                scope.check()
                yield entry
            scope.check()

    def _plan(self, key: str, operation: ReadOperation | StatOperation | DeleteOperation) -> Planned:
        try:
            check_readable_key(key)
        except (StorageError, TypeError) as error:
            return Planned(key, error)
        callback = current_progress()
        if callback is None or not isinstance(operation, ReadOperation):
            return Planned(key, operation)
        return Planned(key, operation, Transfer(f"get {key}", None, callback))

    def _plan_put(self, key: str, data: SourceData, options: PutOptions) -> Planned:
        try:
            self._check_written_key(key)
            source = as_source(data)
        except (StorageError, TypeError) as error:
            return Planned(key, error)
        callback = current_progress()
        progress = NO_TRANSFER if callback is None else Transfer(f"put {key}", source.size, callback)
        if source.buffer() is None:
            source = CheckedSource(source, size=None, checksum=None, progress=progress)
        return Planned(key, PutOperation(key, source, options), progress)

    def _outcomes(
        self, operation: str, planned: Iterator[Planned], limits: BatchLimits, value: Callable[[Result], T]
    ) -> Generator[Outcome[T], None, None]:
        with self._explain(operation, None):
            backend = self._start()
            scope = current_scope()
            # Not left to the garbage collector, in which an interrupt would be lost.
            with closing(run_batch(backend, planned, limits)) as results:
                for result in results:
                    scope.check()
                    key, done, progress = result.item
                    error = result.error or (_unproven(done.source) if type(done) is PutOperation else None)
                    if error is None:
                        if progress is not NO_TRANSFER:
                            progress.finish(len(result.value.data) if isinstance(result.value, Content) else None)
                        yield Outcome(key, value(result), None)
                        continue
                    progress.fail()
                    if isinstance(error, StorageError):
                        error.with_context(operation=operation, key=key, store=backend.description)
                    yield Outcome(key, None, error)


def _put_options(
    attributes: Attributes | None,
    *,
    if_absent: bool,
    if_match: str | None = None,
    checksum: Checksum | None = None,
    retention: Retention | None = None,
    legal_hold: bool = False,
) -> PutOptions:
    plain = attributes is None and if_match is None and checksum is None and retention is None
    if plain and not if_absent and not legal_hold:
        return PLAIN_PUT
    if if_absent and if_match is not None:
        raise ConfigError("if_absent and if_match exclude each other")
    if checksum is not None:
        check_declared(checksum)
    checked = None if attributes is None else checked_attributes(attributes)
    return PutOptions(checked, if_absent, if_match, checksum, retention, legal_hold)


def _unproven(source: Source) -> Exception | None:
    """What is wrong with a put that says that it is done."""
    if type(source) is not CheckedSource:
        return None
    try:
        source.require_proof()
    except IntegrityError as error:
        return error
    return None


def _reopen(backend: StorageBackend, keys: KeyRules) -> Storage:
    return Storage(backend, keys=keys)


def _content(result: Result) -> bytes:
    if not isinstance(result.value, Content):
        raise TypeError("a read completes with its content")
    return result.value.data


def _info(result: Result) -> ObjectInfo:
    if not isinstance(result.value, ObjectInfo):
        raise TypeError("this operation completes with what is known of the object")
    return shown(result.value)


def _identity(info: ObjectInfo) -> tuple[object, ...]:
    return info.key, info.size, info.stored_size, info.modified, info.etag


def _check_listing(prefix: str, start_after: str | None) -> None:
    _check_prefix(prefix)
    if start_after is not None and not isinstance(start_after, str):
        raise TypeError(f"start_after is a str, not {type(start_after).__name__}")


def _check_prefix(prefix: str) -> None:
    if not isinstance(prefix, str):
        raise TypeError(f"a prefix is a str, not {type(prefix).__name__}")
