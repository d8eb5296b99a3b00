"""A storage whose operations are told of: to log lines, metrics, spans, an audit log, and hooks of one's own."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Final, TypeVar

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
from mediagit_storage.errors import ConfigError
from mediagit_storage.events import overhear, stop_overhearing
from mediagit_storage.facets import Place, Placed, Placing, RangePlacing, placing_of
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.observe.config import ObserveConfig, hooks_of
from mediagit_storage.layers.observe.hooks import Hook
from mediagit_storage.layers.observe.running import Observer, Running
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import (
    Checksum,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Entry,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["ObserveLayer"]

T = TypeVar("T")
A = TypeVar("A", Operation | None, Placing)
D = TypeVar("D", Completion, Placed)


class _End:
    """What `next` returns for an iterator that is over."""


_END: Final = _End()


class _ObservedBody(Body):
    """An inner body whose bytes are counted as they pass. The read ends with the last of them, an error, or `close`."""

    def __init__(self, body: Body, observer: Observer, running: Running) -> None:
        self.info = body.info
        self.start = body.start
        self.length = body.length
        self._body = body
        self._running = running
        # Whoever takes this out tells of the end, so that it is told once. A body that is dropped is closed as well.
        self._unfinished = weakref.finalize(self, _abandon, body, observer, running, os.getpid())
        self._unfinished.atexit = False

    def __iter__(self) -> Iterator[bytes]:
        running, pieces = self._running, iter(self._body)
        while True:
            running.resume()
            try:
                piece = next(pieces, _END)
            except BaseException as error:
                running.pause()
                self._finish(error)
                raise
            running.pause()
            if isinstance(piece, _End):
                break
            running.bytes_read += len(piece)
            yield piece
        self._finish()

    def region(self) -> FileRegion | None:
        """The inner one. Who asks for it reads all of it there, where nobody can count."""
        region = self._body.region()
        if region is not None:
            self._running.bytes_read = self.length
        return region

    def close(self) -> None:
        if not self._unfinished.alive:
            self._body.close()
            return
        self._running.resume()
        try:
            self._body.close()
        finally:
            self._running.pause()
        self._finish()

    def _finish(self, error: BaseException | None = None) -> None:
        if self._unfinished.detach() is not None:
            self._running.finish(error)


def _abandon(body: Body, observer: Observer, running: Running, process: int) -> None:
    """Close what nobody holds any more. What was opened before a fork is its parent's to close."""
    if os.getpid() == process:
        body.close()
        observer.abandon(running)


class ObserveLayer(Layer, RangePlacing):
    """Forwards everything unchanged and tells ``hooks``, and those that ``config`` asks for, of each operation.

    Operations of batches are told of one by one. A listing is one operation from its first item to its end or `close`,
    a stream one from its opening to its last byte or `close`; either is closed with what is dropped. No hook can change
    a result or fail an operation. Not told of are `check` (its trials are), `close`, and what makes no request.
    """

    layer_name: ClassVar[str] = "observe"

    def __init__(self, inner: StorageBackend, hooks: Sequence[Hook] = (), config: ObserveConfig | None = None) -> None:
        own = config or ObserveConfig()
        super().__init__(inner, own)
        self._exported = own != ObserveConfig()
        made = hooks_of(own, inner)
        self._observer = Observer(own.name or inner.description, (*hooks, *made), own.actor)

    @classmethod
    def from_config(cls, inner: StorageBackend, config: ObserveConfig) -> ObserveLayer:
        """What ``layer = "observe"`` in a profile makes. One that observes nothing is a `ConfigError`."""
        if config.log_http and not config.log:
            raise ConfigError("log_http = true needs log, the level of the lines")
        if not (config.log or config.metrics or config.trace or config.audit):
            raise ConfigError("the layer 'observe' needs at least one of log, metrics, trace and audit")
        return cls(inner, (), config)

    def connection_info(self) -> ConnectionInfo:
        """The inner one, led by this layer where it has options: hooks that were given in code stay in this process."""
        return super().connection_info() if self._exported else self.inner.connection_info()

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Observed; the bytes are those that are stored."""
        with self._observer.begin("put", key) as running:
            info = self.inner.put(key, source, options)
            running.bytes_written = info.size or 0
        return info

    def read(self, key: str, options: ReadOptions) -> Content:
        """Observed."""
        with self._observer.begin("read", key, None, options.version) as running:
            content = self.inner.read(key, options)
            running.bytes_read = len(content.data)
        return content

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Observed until the body ends."""
        running = self._observer.begin("stream", key, None, options.version)
        running.resume()
        try:
            body = self.inner.stream(key, options)
        except BaseException as error:
            running.pause()
            running.finish(error)
            raise
        running.pause()
        return _ObservedBody(body, self._observer, running)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Observed; that there is no such object is an answer, not a failure."""
        with self._observer.begin("stat", key, None, version):
            return self.inner.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Observed from the first object to the end."""
        return self._listing("list", prefix, lambda: self.inner.list(prefix, options))

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Observed from the first entry to the end."""
        return self._listing("list_dir", prefix, lambda: self.inner.list_dir(prefix, options))

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Observed."""
        with self._observer.begin("delete", key, None, options.version):
            self.inner.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Observed; its bytes do not pass here and are not counted."""
        with self._observer.begin("copy", source, target, options.version):
            return self.inner.copy(source, target, options)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Observed."""
        with self._observer.begin("rename", source, target):
            return self.inner.rename(source, target, if_absent=if_absent)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Each operation is observed from when it is asked for to its completion."""
        return _Batch(self._observer).run(operations, lambda pulled: self.inner.batch(pulled, limits))

    def placing(self) -> Place | None:
        """The inner storage's; each placing is a ``read``, observed as in a batch."""
        place = placing_of(self.inner)
        if place is None:
            return None
        return lambda operations, limits: _Batch(self._observer).run(operations, lambda pulled: place(pulled, limits))

    def presign(self, key: str, options: PresignOptions) -> str:
        """Observed; the link itself is told to nobody."""
        with self._observer.begin("presign", key, None, options.method):
            return self.inner.presign(key, options)

    def lend(self, key: str, what: str) -> None:
        """Observed as ``presign``: who has the link may do what one of the storage's own lets them do."""
        with self._observer.begin("presign", key, None, what):
            super().lend(key, what)

    def create(self, *, versioning: bool | None = None) -> None:
        """Observed."""
        with self._observer.begin("create"):
            self.inner.create(versioning=versioning)

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Observed from the first upload to the end."""
        return self._listing("pending_uploads", prefix, lambda: self.inner.pending_uploads(prefix))

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """Observed."""
        with self._observer.begin("stat_upload", upload.key):
            return self.inner.stat_upload(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Observed."""
        with self._observer.begin("abort_upload", upload.key):
            self.inner.abort_upload(upload)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Observed; the bytes are those of the head."""
        with self._observer.begin("replace_head", key) as running:
            info = self.inner.replace_head(key, head, old_length, if_match=if_match)
            running.bytes_written = len(head)
        return info

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """Observed."""
        with self._observer.begin("content_checksum", key, None, options.version):
            return self.inner.content_checksum(key, options)

    def close(self) -> None:
        """Close the inner storage."""
        super().close()
        self._observer.settle()

    def _listing(self, operation: str, prefix: str, start: Callable[[], Iterator[T]]) -> Iterator[T]:
        try:
            inner = start()
        except Exception as error:
            self._observer.begin(operation, prefix).finish(error)
            raise
        return closing_with(inner, self._items(operation, prefix, inner))

    def _items(self, operation: str, prefix: str, inner: Iterator[T]) -> Iterator[T]:
        running = self._observer.begin(operation, prefix)
        try:
            while True:
                running.resume()
                try:
                    item = next(inner, _END)
                finally:
                    running.pause()
                if isinstance(item, _End):
                    break
                running.items += 1
                yield item
        except GeneratorExit:
            # The reader has seen enough, which is no failure.
            running.finish()
            raise
        except BaseException as error:
            running.finish(error)
            raise
        running.finish()


class _Batch:
    """One batch: which of its operations run."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        # By identity: two operations may be equal, and a source need not be hashable. The value keeps it alive.
        self._running: dict[int, tuple[Operation | Placing, Running]] = {}

    def run(self, operations: Iterator[A], start: Callable[[Iterator[A]], Iterator[D]]) -> Iterator[D]:
        """The completions of the inner batch. When it ends early, so do those that run."""
        inner = start(self._pulled(operations))
        return closing_with(inner, self._completed(inner))

    def _pulled(self, operations: Iterator[A]) -> Iterator[A]:
        for operation in operations:
            if operation is not None:
                name, detail = _described(operation)
                running = self._observer.begin(name, operation.key, None, detail)
                running.join()
                self._running[id(operation)] = operation, running
            yield operation

    def _completed(self, inner: Iterator[D]) -> Iterator[D]:
        try:
            while True:
                # Not held while the caller has its turn: a generator must not change its caller's context.
                token = overhear(self._observer.heard, details=self._observer.details)
                try:
                    completion = next(inner, _END)
                finally:
                    stop_overhearing(token)
                if isinstance(completion, _End):
                    break
                self._complete(completion)
                yield completion
        except BaseException as error:
            self._give_up(error)
            raise
        self._give_up(GeneratorExit())

    def _complete(self, completion: Completion | Placed) -> None:
        known = self._running.pop(id(completion.operation), None)
        if known is None:
            return  # a backend that answers what nobody asked is `Storage`'s to refuse
        running = known[1]
        if isinstance(completion, Placed):
            running.bytes_read = completion.length
        elif isinstance(completion.value, Content):
            running.bytes_read = len(completion.value.data)
        elif isinstance(completion.value, ObjectInfo) and isinstance(completion.operation, PutOperation):
            running.bytes_written = completion.value.size or 0
        running.finish(completion.error)

    def _give_up(self, error: BaseException) -> None:
        for _, running in self._running.values():
            running.finish(error)
        self._running.clear()


def _described(operation: Operation | Placing) -> tuple[str, str | None]:
    """The method that does the same alone, and the version that is named."""
    if isinstance(operation, ReadOperation | Placing):
        return "read", operation.options.version
    if isinstance(operation, PutOperation):
        return "put", None
    if isinstance(operation, DeleteOperation):
        return "delete", operation.options.version
    return "stat", operation.version
