"""`AsyncStorage`: the face of `Storage` for tasks of asyncio and trio."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Self, TypeVar, overload

from mediagit_storage.aio.engine import Course, Engine
from mediagit_storage.aio.files import AsyncReader, AsyncWriter, Opening
from mediagit_storage.aio.iteration import AsyncBatch, AsyncItems, AsyncObjectStream
from mediagit_storage.aio.lane import Value
from mediagit_storage.attributes import shown
from mediagit_storage.backend import (
    DEFAULT_LIMITS,
    BatchLimits,
    Content,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.checked import check_buffer
from mediagit_storage.errors import BucketNotFoundError, ClosedError, NotFoundError
from mediagit_storage.events import current_listener
from mediagit_storage.keys import KeyRules, check_readable_key
from mediagit_storage.progress import transfer
from mediagit_storage.source import SourceData, as_source
from mediagit_storage.storage import Storage, _put_options
from mediagit_storage.transfer import Durability
from mediagit_storage.types import (
    Attributes,
    ByteRange,
    BytesLike,
    Checksum,
    ConnectionInfo,
    DeleteOptions,
    Entry,
    Finding,
    ObjectInfo,
    PendingUpload,
    PresignMethod,
    PutOptions,
    Retention,
)
from mediagit_storage.writer import ObjectWriter

__all__ = ["AsyncStorage"]

T = TypeVar("T")

_NO_RESPONSE: Final[Mapping[str, str]] = MappingProxyType({})
#: How many operations travel at once, and how many bytes wait for the tasks of one event loop.
_LIMITS: Final = BatchLimits(concurrency=64)
#: How many threads there are at most for what cannot travel with others.
_THREADS: Final = 32
#: Larger sources are written in threads: they need not be sent in one piece, and nobody waits behind them.
_SMALL: Final = 1024 * 1024


class AsyncStorage:
    """A `Storage` for tasks: the same methods, awaitable, with the same results and errors. Use with ``async with``.

    Works with asyncio and with trio, also with several event loops at once, and after a fork. `get`, `put`, `stat` and
    `delete` of any number of tasks travel together, where the storage and its layers can do so; everything else runs in
    a bounded number of threads. ``limits`` says how many operations travel at once, and how many bytes of results may
    wait for the tasks of an event loop; ``threads``, how many threads there are at most.

    A task that is cancelled has its transfer stopped at once. A write that is cancelled raises when it is certain that
    nothing of it goes on; like any call that was cut off it may have been done. The scope, the progress callback and the event
    listener of a task hold for what it calls. What is handed over to be iterated over (sources, keys) is iterated over in
    a thread.

    ``owned=False`` leaves the storage open on `close`.
    """

    def __init__(
        self,
        storage: Storage | StorageBackend,
        *,
        keys: KeyRules = "strict",
        owned: bool = True,
        limits: BatchLimits = _LIMITS,
        threads: int = _THREADS,
    ) -> None:
        self._store = storage if isinstance(storage, Storage) else Storage(storage, keys=keys, owned=owned)
        self._owned = owned
        self._limits = limits
        self._threads = threads
        self._listener = current_listener()
        self._engines: dict[int, Engine] = {}
        self._seen_through: weakref.WeakSet[AsyncStorage] = weakref.WeakSet()
        self._closed = False

    # ---- reading

    async def get(
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
        engine, store = self._engine, self._store
        if not engine.travels:
            return await self._called(
                "get",
                key,
                lambda: store.get(
                    key,
                    offset=offset,
                    length=length,
                    suffix=suffix,
                    version=version,
                    if_match=if_match,
                    if_none_match=if_none_match,
                ),
                settles=False,
            )
        with store._explain("get", key):
            options = store._read_options(ByteRange(offset, length, suffix), version, if_match, if_none_match)
            check_readable_key(key)
            store._start()
            with transfer(f"get {key}", None) as report:
                content = _content(await engine.carry_out(ReadOperation(key, options)))
                report.finish(len(content.data))
                return content.data

    async def get_ranges(
        self, key: str, ranges: Sequence[tuple[int, int]], *, version: str | None = None
    ) -> Sequence[bytes]:
        """The parts ``(offset, length)`` of one version of an object, in the order given.

        They may overlap, repeat and be empty; each follows the rules of `get`. Parts that lie close together are
        fetched in one request. Raises like `get`, for the whole call.
        """
        return await self._called(
            "get", key, lambda: self._store.get_ranges(key, ranges, version=version), settles=False
        )

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
    ) -> AsyncObjectStream:
        """Like `get`, in pieces and constant memory: ``async for chunk in store.stream(key)``.

        All pieces are of one version of the object, whatever is written meanwhile. What is missing or refused raises
        here. A slow reader slows the storage down instead of filling memory.
        """
        return AsyncObjectStream(
            self._engine,
            self._store._explain("get", key),
            lambda: self._store.stream(
                key,
                offset=offset,
                length=length,
                suffix=suffix,
                version=version,
                if_match=if_match,
                if_none_match=if_none_match,
            ),
        )

    @overload
    def open(self, key: str, mode: Literal["rb"] = "rb", *, version: str | None = None) -> Opening[AsyncReader]: ...

    @overload
    def open(
        self,
        key: str,
        mode: Literal["wb"],
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> Opening[AsyncWriter]: ...

    def open(
        self,
        key: str,
        mode: Literal["rb", "wb"] = "rb",
        *,
        version: str | None = None,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> Opening[AsyncReader] | Opening[AsyncWriter]:
        """A binary file over an object: ``async with store.open(key) as file``, or ``file = await store.open(key)``.

        ``"rb"``: seekable, with read-ahead, over the object that is current now; `read_at(offset, n)` may be awaited by several
        tasks at once. A read after somebody wrote another object there is a `PreconditionError`, where the storage has
        conditional reads. ``"wb"``: `close` commits; an exception inside the ``async with`` block, or losing the file without
        closing it, leaves the old object and nothing new. Attributes and conditions are those of `put`.
        """
        engine, store = self._engine, self._store
        if mode == "rb":
            return Opening(
                engine,
                store._explain("stat", key),
                lambda _: AsyncReader(engine, store.open(key, "rb", version=version)),
            )

        def begin(course: Course) -> AsyncWriter:
            writer = store.open(key, "wb", attributes=attributes, if_absent=if_absent, if_match=if_match)
            return AsyncWriter(engine, writer, course)

        if mode != "wb":
            raise ValueError(f"mode is 'rb' or 'wb', not {mode!r}: objects are bytes, and written whole")
        return Opening(engine, store._explain("put", key), begin)

    async def stat(self, key: str, *, version: str | None = None) -> ObjectInfo:
        """Everything about one object, its attributes included. One request. Raises `NotFoundError`."""
        engine, store = self._engine, self._store
        if not engine.travels:
            return await self._called("stat", key, lambda: store.stat(key, version=version), settles=False)
        check_readable_key(key)
        with store._explain("stat", key):
            store._require_versions(version)
            store._start()
            return _info(await engine.carry_out(StatOperation(key, version)))

    async def exists(self, key: str) -> bool:
        """Whether there is such an object. False only for a proven absence: everything else raises. One request."""
        try:
            await self.stat(key)
        except BucketNotFoundError:
            raise
        except NotFoundError:
            return False
        return True

    # ---- writing

    async def put(
        self,
        key: str,
        data: SourceData | AsyncIterable[BytesLike],
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

        ``data`` is bytes-like, a binary file (read from its position, not closed), or an iterable of bytes-like, or an
        asynchronous one, which this task iterates over.
        ``if_absent`` writes only a new key (`AlreadyExistsError`), ``if_match`` only over the object with that ETag
        (`PreconditionError`). Data that are not ``size`` bytes long or do not have ``checksum`` store nothing
        (`IntegrityError`). What the backend cannot keep or promise is an `UnsupportedError` before anything is sent.
        A plain put may be retried and may then overwrite a writer that came between; who minds uses a condition.
        """
        engine, store = self._engine, self._store
        with store._explain("put", key):
            options = _put_options(
                attributes,
                if_absent=if_absent,
                if_match=if_match,
                checksum=checksum,
                retention=retention,
                legal_hold=legal_hold,
            )
            if isinstance(data, AsyncIterable):
                return await self._put_pieces(key, data, options, size)
            source = as_source(data)
            content = source.buffer()
            if content is None or len(content) > _SMALL or checksum is not None or not engine.travels:
                return await engine.in_thread(lambda: store._put(key, source, options, size))
            store._start()
            store._check_written_key(key)
            store._refuse_put(options)
            check_buffer(content, size=size, checksum=None)
            with transfer(f"put {key}", len(content)):
                return _info(await engine.carry_out(PutOperation(key, source, options)))

    async def upload(
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
        return await self._called(
            "put",
            key,
            lambda: self._store.upload(
                path,
                key,
                attributes=attributes,
                if_absent=if_absent,
                if_match=if_match,
                checksum=checksum,
                resume=resume,
            ),
        )

    async def download(
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
        return await self._called(
            "get",
            key,
            lambda: self._store.download(
                key, path, version=version, overwrite=overwrite, durability=durability, resume=resume
            ),
        )

    async def copy(
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
        return await self._called(
            "copy",
            source,
            lambda: self._store.copy(source, target, attributes=attributes, if_absent=if_absent, version=version),
        )

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Move an object within this storage: atomically where the backend can, else copy and then delete.

        A crash in between leaves both, never neither. Onto itself nothing happens.
        """
        return await self._called("rename", source, lambda: self._store.rename(source, target, if_absent=if_absent))

    async def delete(
        self, key: str, *, version: str | None = None, if_match: str | None = None, missing_ok: bool = True
    ) -> None:
        """Remove an object, or one version of it. A missing one is fine unless ``missing_ok=False``. Idempotent."""
        engine, store = self._engine, self._store
        if not engine.travels:
            await self._called(
                "delete", key, lambda: store.delete(key, version=version, if_match=if_match, missing_ok=missing_ok)
            )
            return
        check_readable_key(key)
        with store._explain("delete", key):
            store._require_versions(version)
            if if_match is not None:
                store._require(store.capabilities.delete_if_match, "this storage has no conditional deletes")
            store._start()
            await engine.carry_out(DeleteOperation(key, DeleteOptions(version, if_match, missing_ok)))

    # ---- listing

    def list(
        self, prefix: str = "", *, start_after: str | None = None, versions: bool = False, exact: bool = False
    ) -> AsyncItems[ObjectInfo]:
        """Every object whose key starts with the string ``prefix``, sorted by the bytes of the key, lazily.

        ``start_after`` begins behind that key, whether it exists or not. ``versions`` lists all of them, the newest of a
        key first. ``exact`` resolves sizes that only the objects themselves know (through compress and encrypt).
        """
        return AsyncItems(
            self._engine,
            self._store._explain("list", prefix),
            lambda: self._store.list(prefix, start_after=start_after, versions=versions, exact=exact),
        )

    def list_dir(self, prefix: str = "", *, start_after: str | None = None, exact: bool = False) -> AsyncItems[Entry]:
        """One level: objects, and a `Folder` for each group of keys that share their next segment, sorted together."""
        return AsyncItems(
            self._engine,
            self._store._explain("list", prefix),
            lambda: self._store.list_dir(prefix, start_after=start_after, exact=exact),
        )

    async def list_consistent(self, prefix: str = "", *, max_attempts: int = 5) -> Sequence[ObjectInfo]:
        """A listing that came out twice in a row: the same keys, sizes, times and ETags. In memory, whole.

        Raises `UnavailableError` when ``max_attempts`` (at least 2) runs never agreed, because somebody keeps writing.
        """
        return await self._called(
            "list", prefix, lambda: self._store.list_consistent(prefix, max_attempts=max_attempts), settles=False
        )

    # ---- many at once

    def get_many(self, keys: Iterable[str], *, limits: BatchLimits = DEFAULT_LIMITS) -> AsyncBatch[bytes]:
        """The bytes of many objects, fetched concurrently, as outcomes in the order given.

        A failing item is an outcome with its error; the others go on. Memory is bounded by ``limits``.
        """
        return AsyncBatch(self._engine, self._store._explain("get", None), self._store.get_many(keys, limits=limits))

    def put_many(
        self,
        items: Iterable[tuple[str, SourceData]],
        *,
        attributes: Attributes | None = None,
        if_absent: bool = False,
        limits: BatchLimits = DEFAULT_LIMITS,
    ) -> AsyncBatch[ObjectInfo]:
        """Store many objects concurrently; each is as atomic as a `put`, and durable when its outcome is yielded."""
        return AsyncBatch(
            self._engine,
            self._store._explain("put", None),
            self._store.put_many(items, attributes=attributes, if_absent=if_absent, limits=limits),
        )

    def stat_many(self, keys: Iterable[str], *, limits: BatchLimits = DEFAULT_LIMITS) -> AsyncBatch[ObjectInfo]:
        """What is known about many objects."""
        return AsyncBatch(self._engine, self._store._explain("stat", None), self._store.stat_many(keys, limits=limits))

    def delete_many(
        self, keys: Iterable[str], *, missing_ok: bool = True, limits: BatchLimits = DEFAULT_LIMITS
    ) -> AsyncBatch[None]:
        """Remove many objects, in as few requests as the storage allows. ``await store.delete_many(keys).run()``."""
        return AsyncBatch(
            self._engine,
            self._store._explain("delete", None),
            self._store.delete_many(keys, missing_ok=missing_ok, limits=limits),
        )

    def delete_versions(
        self, items: Iterable[tuple[str, str]], *, limits: BatchLimits = DEFAULT_LIMITS
    ) -> AsyncBatch[None]:
        """Remove versions, given as (key, version), each for good; the outcomes have the keys, in the order given.

        Removing the newest version of a key brings back the one before it. One that is gone already is fine, unless the
        service says that it never was.
        """
        return AsyncBatch(
            self._engine, self._store._explain("delete", None), self._store.delete_versions(items, limits=limits)
        )

    # ---- the storage itself

    async def presign(
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
        return await self._called(
            "presign",
            key,
            lambda: self._store.presign(
                key, method=method, expires=expires, content_type=content_type, response=response
            ),
            settles=False,
        )

    def pending_uploads(self, prefix: str = "") -> AsyncItems[PendingUpload]:
        """Uploads under ``prefix`` that were begun and not ended; they cost space until they are aborted."""
        return AsyncItems(
            self._engine, self._store._explain("pending_uploads", prefix), lambda: self._store.pending_uploads(prefix)
        )

    async def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """One of `pending_uploads` with what has arrived of it (``size``) and when something last did (``active``).

        As far as the storage tells; at most a few requests. Raises `NotFoundError` for one that ended meanwhile.
        """
        return await self._called("stat_upload", upload.key, lambda: self._store.stat_upload(upload), settles=False)

    async def abort_upload(self, upload: PendingUpload) -> None:
        """Abort one of `pending_uploads` and free its space. Idempotent."""
        return await self._called("abort_upload", upload.key, lambda: self._store.abort_upload(upload))

    async def create(self, *, versioning: bool | None = None) -> None:
        """Make the bucket, container or root folder. One that exists is fine. ``versioning`` switches versions."""
        return await self._called("create", None, lambda: self._store.create(versioning=versioning))

    async def check(self, *, write: bool = True) -> Sequence[Finding]:
        """Try it: list; write, read, overwrite and delete one small object, also on condition; compare clocks; measure how
        long a request takes; and ask the backend and its layers about their health. About 15 requests.

        A failure is a finding with advice, not an exception. ``write=False`` changes nothing: it looks at the first object
        that is listed, and reads a byte of it.
        """
        return await self._called("check", None, lambda: self._store.check(write=write))

    def connection_info(self) -> ConnectionInfo:
        """How to open this storage again, in another process; JSON-serialisable, with secrets as references only."""
        return self._store.connection_info()

    def with_layer(self, layer: Callable[[StorageBackend], StorageBackend]) -> AsyncStorage:
        """This storage seen through one more layer, for example ``store.with_layer(ReadOnlyLayer)``. Does not own it."""
        return self._derived(self._store.with_layer(layer))

    def with_prefix(self, prefix: str) -> AsyncStorage:
        """This storage with ``prefix`` (a raw string) in front of every key. Does not own it."""
        return self._derived(self._store.with_prefix(prefix))

    @property
    def storage(self) -> Storage:
        """The same storage, for threads. It is closed with this one."""
        return self._store

    @property
    def backend(self) -> StorageBackend:
        """The backend or outermost layer, for implementers of layers and tools."""
        return self._store.backend

    @property
    def capabilities(self) -> Capabilities:
        """What this storage can do."""
        return self._store.capabilities

    @property
    def description(self) -> str:
        """Where it is, URL-like, without secrets."""
        return self._store.description

    async def close(self) -> None:
        """Free connections and files. Idempotent; every later call is a `ClosedError`.

        What is under way ends with a `ClosedError`, also what was begun through `with_layer` and `with_prefix`. It is
        done in a task that is cancelled, too.
        """
        if self._closed:
            return
        closing = Engine(self._store.backend, self._limits, 1)
        threads = self._end()
        try:
            await closing.see_through(lambda: self._finish(threads))
        finally:
            closing.close()

    async def __aenter__(self) -> Self:
        self._require_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncStorage {self._store.description}{' (closed)' if self._closed else ''}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (self._store, self._limits, self._threads))

    # ---- inside

    async def _called(self, operation: str, key: str | None, work: Callable[[], T], *, settles: bool = True) -> T:
        """What a method of `Storage` returns, called in a thread."""
        with self._store._explain(operation, key):
            return await self._engine.in_thread(work, settles=settles)

    async def _put_pieces(
        self, key: str, pieces: AsyncIterable[BytesLike], options: PutOptions, size: int | None
    ) -> ObjectInfo:
        """Store what an asynchronous iterable gives: one thread sends what this task hands over."""
        engine, store = self._engine, self._store
        store._start()
        store._check_written_key(key)
        store._refuse_put(options)

        def begin(course: Course) -> AsyncWriter:
            return AsyncWriter(engine, ObjectWriter(lambda source: store._put(key, source, options, size), key), course)

        async with Opening(engine, store._explain("put", key), begin) as writer:
            async for piece in pieces:
                await writer.write(piece)
        return writer.info

    @property
    def _engine(self) -> Engine:
        """The engine of this process: a forked child has its own."""
        return self._engines.get(os.getpid()) or self._started()

    def _started(self) -> Engine:
        self._require_open()
        engine = Engine(self._store._mended, self._limits, self._threads, self._listener)
        return self._engines.setdefault(os.getpid(), engine)

    def _derived(self, store: Storage) -> AsyncStorage:
        derived = AsyncStorage(store, owned=False, limits=self._limits, threads=self._threads)
        self._seen_through.add(derived)
        return derived

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the storage is closed")

    def _end(self) -> Sequence[threading.Thread]:
        """End all that is under way, and return the threads that are about to end."""
        self._closed = True
        engine = self._engines.get(os.getpid())
        threads = [] if engine is None else engine.close()
        for each in [*self._seen_through]:
            threads.extend(each._end())
        return threads

    def _finish(self, threads: Iterable[threading.Thread]) -> None:
        for thread in threads:
            thread.join()
        if self._owned:
            self._store.close()


def _reopen(storage: Storage, limits: BatchLimits, threads: int) -> AsyncStorage:
    return AsyncStorage(storage, limits=limits, threads=threads)


def _content(value: Value) -> Content:
    if not isinstance(value, Content):
        raise TypeError("a read completes with its content")
    return value


def _info(value: Value) -> ObjectInfo:
    if not isinstance(value, ObjectInfo):
        raise TypeError("this operation completes with what is known of the object")
    return shown(value)
