"""`Layer`: a backend over a backend that changes nothing. A layer overrides what it changes and forwards the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, TypeVar

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.layers.order import Placed, Rule, check_order
from mediagit_storage.settings import export_config
from mediagit_storage.source import Source
from mediagit_storage.types import (
    JSON,
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

__all__ = ["Layer", "closing_with", "find_layer", "layers_of", "transfer_name"]

T = TypeVar("T")
L = TypeVar("L", bound="Layer")


class Layer(StorageBackend):
    """Forwards every method and property to ``inner``, unchanged; ``config`` is the layer's own configuration.

    `connection_info` is the inner one with this layer put first in its list ``layers``: the outermost comes first.

    A stack whose order breaks a rule of `layers.order`, or one of the ``order_rules`` of its layers, is a `ConfigError`.
    """

    layer_name: ClassVar[str]
    #: What a layer of a third party asks of the order of a stack that it is in.
    order_rules: ClassVar[tuple[Rule, ...]] = ()
    #: Whether a read may be answered from what this layer has kept of an earlier one: see `forget`.
    keeps_bytes: ClassVar[bool] = False
    #: Whether the very same objects are seen through this layer and below it, with whatever options.
    unseen: ClassVar[bool] = False
    #: Whether who is given the stored bytes has the content: a CDN in front of the storage can deliver it.
    links: ClassVar[bool] = True

    def __init__(self, inner: StorageBackend, config: object) -> None:
        self.inner = inner
        self.config = config
        stack = [*layers_of(self)]
        more = (rule for layer in stack for rule in layer.order_rules)
        check_order([Placed(layer.layer_name, layer.config) for layer in stack], more)

    @property
    def capabilities(self) -> Capabilities:
        """What the inner storage can do."""
        return self.inner.capabilities

    @property
    def description(self) -> str:
        """Where the inner storage is."""
        return self.inner.description

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded."""
        return self.inner.put(key, source, options)

    def read(self, key: str, options: ReadOptions) -> Content:
        """Forwarded."""
        return self.inner.read(key, options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Forwarded."""
        return self.inner.stream(key, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Forwarded."""
        return self.inner.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Forwarded."""
        return self.inner.list(prefix, options)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Forwarded."""
        return self.inner.list_dir(prefix, options)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Forwarded."""
        self.inner.delete(key, options)

    def connection_info(self) -> ConnectionInfo:
        """The inner one, led in ``layers`` by this layer and its options."""
        info = self.inner.connection_info()
        inner = info.config.get("layers")
        own: dict[str, JSON] = {"layer": self.layer_name, **export_config(self.config)}
        return ConnectionInfo(info.type, {**info.config, "layers": [own, *(inner if isinstance(inner, list) else [])]})

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded."""
        return self.inner.copy(source, target, options)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Forwarded."""
        return self.inner.rename(source, target, if_absent=if_absent)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Forwarded."""
        return self.inner.batch(operations, limits)

    def presign(self, key: str, options: PresignOptions) -> str:
        """Forwarded."""
        return self.inner.presign(key, options)

    def create(self, *, versioning: bool | None = None) -> None:
        """Forwarded."""
        self.inner.create(versioning=versioning)

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Forwarded."""
        return self.inner.pending_uploads(prefix)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """Forwarded."""
        return self.inner.stat_upload(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Forwarded."""
        self.inner.abort_upload(upload)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Forwarded."""
        return self.inner.replace_head(key, head, old_length, if_match=if_match)

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """Forwarded: a layer that changes bytes has none."""
        return self.inner.content_checksum(key, options)

    def check(self) -> Iterable[Finding]:
        """Forwarded."""
        return self.inner.check()

    def forget(self, key: str, version: str | None = None) -> bool:
        """Drop what this layer and those below it keep of an object's bytes: they were found to be damaged further out.

        Whether any of them had kept something, so that another read may show other bytes. Makes no request. Forwarded:
        a layer that keeps bytes, changes keys, or has several storages below it has its own.
        """
        return self.inner.forget(key, version) if isinstance(self.inner, Layer) else False

    def stored_key(self, key: str) -> str:
        """The key that an object has in the storage below all layers. Makes no request.

        Forwarded: a layer that changes keys has its own.
        """
        return self.inner.stored_key(key) if isinstance(self.inner, Layer) else key

    def lend(self, key: str, what: str) -> None:
        """Hear of a link to an object that something else than the storage has made, such as a CDN.

        ``what`` says who and for what, in a few words. Makes no request. Forwarded: a layer that changes keys, or tells
        of what is lent, has its own.
        """
        if isinstance(self.inner, Layer):
            self.inner.lend(key, what)

    def close(self) -> None:
        """Close the inner storage."""
        self.inner.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.inner!r}>"


def layers_of(backend: StorageBackend) -> Iterator[Layer]:
    """The layers of a stack, outermost first; none of a bare backend."""
    while isinstance(backend, Layer):
        yield backend
        backend = backend.inner


def find_layer(backend: StorageBackend, kind: type[L]) -> L | None:
    """The outermost layer of a class in a stack: ``find_layer(store.backend, ThrottleLayer)``; None without one."""
    return next((layer for layer in layers_of(backend) if isinstance(layer, kind)), None)


def transfer_name(backend: StorageBackend) -> str:
    """The text by which a transfer that broke off is found again: that of the stack, less the layers that are `unseen`.

    The others belong to it: what is below a layer may be other bytes under the same key.
    """
    name = repr(backend)
    for layer in layers_of(backend):
        if layer.unseen:
            name = name.replace(repr(layer), repr(layer.inner))
    return name


def closing_with(inner: Iterator[object], mapped: Iterator[T]) -> Iterator[T]:
    """``mapped``, which draws from ``inner``: when it is closed or fails, ``inner`` is closed at once as well."""
    try:
        yield from mapped
    finally:
        close = getattr(inner, "close", None)
        if close is not None:
            close()
