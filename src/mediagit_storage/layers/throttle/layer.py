"""So many bytes and requests per second: see `ThrottleLayer`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, PutOperation, StorageBackend
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.throttle.feed import Feed, Gates
from mediagit_storage.layers.throttle.gate import Gate, Wait, wait_for
from mediagit_storage.layers.throttle.paced import PacedBody, PacedSource
from mediagit_storage.source import Source
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
    PutOptions,
    ReadOptions,
)

__all__ = ["Limits", "ThrottleLayer"]

T = TypeVar("T")

#: How many entries of a listing count as one request: what most services put on a page.
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """``bytes_up``, ``bytes_down`` and ``requests`` per second, None for no limit.

    ``burst`` is how many seconds' worth of each may go at once after a pause.
    """

    bytes_up: int | None = None
    bytes_down: int | None = None
    requests: float | None = None
    burst: float = 1.0

    def __post_init__(self) -> None:
        for name in ("bytes_up", "bytes_down", "requests"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"the limit {name} is more than 0, or left out for no limit")
        if not 0 < self.burst < float("inf"):
            raise ConfigError("burst is a number of seconds above 0")


@dataclass(slots=True)
class _Shared:
    """What layers that are held to the same limits together have in common."""

    limits: Limits
    gates: Gates


class ThrottleLayer(Layer):
    """``inner``, at most as fast as `limits` say, for all threads together; who comes first is served first.

    Bytes are those of objects that pass here, counted as they pass: each piece of a stream or source waits for its
    turn, and what waits ends with the surrounding scope. A request is one call, one operation of a batch, or 1,000
    entries of a listing; a large upload makes more of them than are counted here. Links are free.

    In a batch an object pays as a whole: a put before it begins, a read when it is there, so that the next ones wait.
    A put that is larger than a burst goes by itself, in pieces.

    Uploads resume, also with other limits or without: what had arrived is not paid for again.
    """

    layer_name: ClassVar[str] = "throttle"
    unseen: ClassVar[bool] = True

    def __init__(
        self,
        inner: StorageBackend,
        limits: Limits | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        wait: Wait = wait_for,
    ) -> None:
        given = limits or Limits()
        super().__init__(inner, given)
        gates = [Gate(rate, given.burst, clock, wait) for rate in (given.bytes_up, given.bytes_down, given.requests)]
        self._pass(_Shared(given, Gates(*gates)))

    def _pass(self, shared: _Shared) -> None:
        self._shared = shared
        self._up, self._down, self._requests = shared.gates

    def beside(self, inner: StorageBackend) -> ThrottleLayer:
        """Another storage within the same limits: what passes here and there together is held to them.

        Limits that are set on one of the two hold for both. In another process each has its own.
        """
        other = ThrottleLayer(inner, self.limits)
        other._pass(self._shared)
        return other

    @property
    def limits(self) -> Limits:
        """The limits of this moment. Others may be set at any time, and hold for what waits already as well.

        What began while there was no limit on its bytes ends without one.
        """
        return self._shared.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        """Hold to others from now on."""
        self._shared.limits = limits
        self._up.change(limits.bytes_up, limits.burst)
        self._down.change(limits.bytes_down, limits.burst)
        self._requests.change(limits.requests, limits.burst)

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded; what does not pass at once is read piece by piece."""
        self._requests.pass_through(1)
        return self.inner.put(key, self._paced(source, options), options)

    def read(self, key: str, options: ReadOptions) -> Content:
        """Forwarded; with a limit on bytes down it is read as a stream, piece by piece."""
        self._requests.pass_through(1)
        if not self._down.limited:
            return self.inner.read(key, options)
        with self.inner.stream(key, options) as inner:
            body = PacedBody(inner, self._down)
            return Content(body.info, b"".join(body), body.start)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Forwarded; with a limit on bytes down each piece waits for its turn."""
        self._requests.pass_through(1)
        body = self.inner.stream(key, options)
        return PacedBody(body, self._down) if self._down.limited else body

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Forwarded."""
        self._requests.pass_through(1)
        return self.inner.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Forwarded, a request for each 1,000 entries."""
        inner = self.inner.list(prefix, options)
        return closing_with(inner, self._pages(inner))

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Forwarded, a request for each 1,000 entries."""
        inner = self.inner.list_dir(prefix, options)
        return closing_with(inner, self._pages(inner))

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Forwarded."""
        self._requests.pass_through(1)
        self.inner.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded; the bytes do not pass here."""
        self._requests.pass_through(1)
        return self.inner.copy(source, target, options)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Forwarded."""
        self._requests.pass_through(1)
        return self.inner.rename(source, target, if_absent=if_absent)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Forwarded; an operation begins when the limits have room for it. See the class for what bytes cost."""
        feed = Feed(operations, Gates(self._up, self._down, self._requests))
        while True:
            inner = self.inner.batch(feed.operations(), limits)
            yield from closing_with(inner, feed.counted(inner))
            large = feed.take_large()
            if large is None:
                return
            yield self._put_large(large)

    def create(self, *, versioning: bool | None = None) -> None:
        """Forwarded."""
        self._requests.pass_through(1)
        self.inner.create(versioning=versioning)

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Forwarded, a request for each 1,000 entries."""
        inner = self.inner.pending_uploads(prefix)
        return closing_with(inner, self._pages(inner))

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """Forwarded."""
        self._requests.pass_through(1)
        return self.inner.stat_upload(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Forwarded."""
        self._requests.pass_through(1)
        self.inner.abort_upload(upload)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Forwarded; the head's bytes count."""
        self._requests.pass_through(1)
        self._up.pass_through(len(head))
        return self.inner.replace_head(key, head, old_length, if_match=if_match)

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """Forwarded."""
        self._requests.pass_through(1)
        return self.inner.content_checksum(key, options)

    def connection_info(self) -> ConnectionInfo:
        """The inner one, led by this layer with the limits of this moment."""
        self.config = self.limits
        return super().connection_info()

    def check(self) -> Iterable[Finding]:
        """Forwarded."""
        self._requests.pass_through(1)
        return self.inner.check()

    def __reduce__(self) -> tuple[object, ...]:
        return (ThrottleLayer, (self.inner, self.limits))

    def __repr__(self) -> str:
        return f"<ThrottleLayer {self.limits} over {self.inner!r}>"

    def _paced(self, source: Source, options: PutOptions) -> Source:
        gate = self._up
        if not gate.limited:
            return source
        data = source.buffer()
        if data is not None and len(data) <= gate.piece:
            gate.pass_through(len(data))
            return source
        # Who resumes reads the file by position, and knows that it has to ask for each turn.
        resuming = options.resume is not None and self.inner.capabilities.resumable_uploads
        return PacedSource(source, gate, resuming=resuming)

    def _put_large(self, operation: PutOperation) -> Completion:
        try:
            source = PacedSource(operation.source, self._up)
            return Completion(operation, self.inner.put(operation.key, source, operation.options), None)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its operation
            return Completion(operation, None, error)

    def _pages(self, entries: Iterator[T]) -> Iterator[T]:
        self._requests.pass_through(1)
        for number, entry in enumerate(entries):
            if number and number % _PAGE == 0:
                self._requests.pass_through(1)
            yield entry
