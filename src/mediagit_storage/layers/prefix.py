"""A part of a storage as if it were a storage of its own: every key is led by a fixed text inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.facets import Place, Placed, Placing, RangePlacing, placing_of
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import (
    Checksum,
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
)

__all__ = ["PrefixConfig", "PrefixLayer"]


@dataclass(frozen=True, slots=True)
class PrefixConfig:
    """``prefix`` is put before every key as it is: end it with ``/`` to mean a folder."""

    prefix: str

    def __post_init__(self) -> None:
        if not self.prefix:
            raise ConfigError("the prefix layer needs a prefix that is not empty")


class _PrefixBody(Body):
    """An inner body whose info and errors show the caller's key."""

    def __init__(self, body: Body, info: ObjectInfo, layer: PrefixLayer, key: str) -> None:
        self.info = info
        self.start = body.start
        self.length = body.length
        self._body = body
        self._layer = layer
        self._key = key

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except StorageError as error:
            self._layer.restore(error, self._key)
            raise

    def region(self) -> FileRegion | None:
        return self._body.region()

    def close(self) -> None:
        self._body.close()


class PrefixLayer(Layer, RangePlacing):
    """The objects of ``inner`` whose key starts with the prefix, under what follows it.

    The prefix is a raw text that is only put in front: with ``p`` the key ``2/x`` is ``p2/x`` inside. An object whose
    key is the prefix itself has no key left here and is not listed.
    """

    layer_name: ClassVar[str] = "prefix"

    def __init__(self, inner: StorageBackend, prefix: str) -> None:
        super().__init__(inner, PrefixConfig(prefix))
        self._prefix = prefix
        capabilities = inner.capabilities
        longest = capabilities.max_key_bytes - len(prefix.encode("utf-8", "surrogateescape"))
        if longest < 1:
            raise ConfigError(f"a prefix of this length leaves no room for keys in {inner.description}")
        self._capabilities = replace(capabilities, max_key_bytes=longest)

    @classmethod
    def from_config(cls, inner: StorageBackend, config: PrefixConfig) -> PrefixLayer:
        """What ``layer = "prefix"`` in a profile makes."""
        return cls(inner, config.prefix)

    @property
    def prefix(self) -> str:
        """What is put before every key."""
        return self._prefix

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner storage; keys are shorter by the prefix."""
        return self._capabilities

    @property
    def description(self) -> str:
        """Where the inner storage is, and the prefix in it."""
        return f"{self.inner.description.rstrip('/')}/{self._prefix}"

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded under the longer key."""
        try:
            return _named(self.inner.put(self._prefix + key, source, options), key)
        except StorageError as error:
            self.restore(error, key)
            raise

    def read(self, key: str, options: ReadOptions) -> Content:
        """Forwarded under the longer key."""
        try:
            content = self.inner.read(self._prefix + key, options)
        except StorageError as error:
            self.restore(error, key)
            raise
        return content._replace(info=_named(content.info, key))

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Forwarded under the longer key."""
        try:
            body = self.inner.stream(self._prefix + key, options)
        except StorageError as error:
            self.restore(error, key)
            raise
        return _PrefixBody(body, _named(body.info, key), self, key)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Forwarded under the longer key."""
        try:
            return _named(self.inner.stat(self._prefix + key, version), key)
        except StorageError as error:
            self.restore(error, key)
            raise

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """Forwarded under the longer key."""
        return self.inner.content_checksum(self._prefix + key, options)

    def forget(self, key: str, version: str | None = None) -> bool:
        """Forwarded under the longer key."""
        return super().forget(self._prefix + key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Forwarded under the longer prefix; keys are shown without it."""
        inner = self.inner.list(self._prefix + prefix, self._within(options))
        return closing_with(inner, self._listed(inner))

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """Forwarded under the longer prefix; keys and folders are shown without it."""
        inner = self.inner.list_dir(self._prefix + prefix, self._within(options))
        return closing_with(inner, self._entries(inner))

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Forwarded under the longer key."""
        try:
            self.inner.delete(self._prefix + key, options)
        except StorageError as error:
            self.restore(error, key)
            raise

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded, both keys made longer."""
        try:
            return _named(self.inner.copy(self._prefix + source, self._prefix + target, options), target)
        except StorageError as error:
            self.restore(error, source, target)
            raise

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Forwarded, both keys made longer."""
        try:
            info = self.inner.rename(self._prefix + source, self._prefix + target, if_absent=if_absent)
        except StorageError as error:
            self.restore(error, source, target)
            raise
        return _named(info, target)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Each operation is forwarded under its longer key when the inner batch asks for it."""
        # By identity: two operations may be equal, and a source need not be hashable. The value keeps both alive.
        running: dict[int, tuple[Operation, Operation]] = {}

        def longer() -> Iterator[Operation | None]:
            for operation in operations:
                if operation is None:
                    yield None
                    continue
                moved = replace(operation, key=self._prefix + operation.key)
                running[id(moved)] = (moved, operation)
                yield moved

        def shorter() -> Iterator[Completion]:
            for moved, value, error in inner:
                _, operation = running.pop(id(moved))
                yield self._completion(operation, value, error)

        inner = self.inner.batch(longer(), limits)
        return closing_with(inner, shorter())

    def placing(self) -> Place | None:
        """The inner storage's, under the longer keys."""
        place = placing_of(self.inner)
        return None if place is None else _PrefixPlacing(self, place).run

    def presign(self, key: str, options: PresignOptions) -> str:
        """Forwarded under the longer key, which the link shows."""
        try:
            return self.inner.presign(self._prefix + key, options)
        except StorageError as error:
            self.restore(error, key)
            raise

    def stored_key(self, key: str) -> str:
        """That of the longer key."""
        return super().stored_key(self._prefix + key)

    def lend(self, key: str, what: str) -> None:
        """Forwarded under the longer key."""
        super().lend(self._prefix + key, what)

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Forwarded under the longer prefix; keys are shown without it."""
        inner = self.inner.pending_uploads(self._prefix + prefix)
        shown = (replace(upload, key=key) for upload in inner if (key := self._shortened(upload.key)))
        return closing_with(inner, shown)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """Forwarded under the longer key."""
        try:
            found = self.inner.stat_upload(replace(upload, key=self._prefix + upload.key))
        except StorageError as error:
            self.restore(error, upload.key)
            raise
        return replace(found, key=upload.key)

    def abort_upload(self, upload: PendingUpload) -> None:
        """Forwarded under the longer key."""
        try:
            self.inner.abort_upload(replace(upload, key=self._prefix + upload.key))
        except StorageError as error:
            self.restore(error, upload.key)
            raise

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Forwarded under the longer key."""
        try:
            return _named(self.inner.replace_head(self._prefix + key, head, old_length, if_match=if_match), key)
        except StorageError as error:
            self.restore(error, key)
            raise

    def __repr__(self) -> str:
        return f"<PrefixLayer {self._prefix!r} over {self.inner!r}>"

    def restore(self, error: StorageError, *keys: str) -> None:
        """Put the caller's key in the place of the longer one, where the inner storage named that one."""
        for key in keys:
            if error.key == self._prefix + key:
                error.key = key
                return

    def _completion(
        self, operation: Operation, value: Content | ObjectInfo | None, error: Exception | None
    ) -> Completion:
        if isinstance(error, StorageError):
            self.restore(error, operation.key)
        if isinstance(value, Content):
            value = value._replace(info=_named(value.info, operation.key))
        elif isinstance(value, ObjectInfo):
            value = _named(value, operation.key)
        return Completion(operation, value, error)

    def _within(self, options: ListOptions) -> ListOptions:
        if options.start_after is None:
            return options
        return replace(options, start_after=self._prefix + options.start_after)

    def _listed(self, inner: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        for info in inner:
            if key := self._shortened(info.key):
                yield _named(info, key)

    def _entries(self, inner: Iterator[Entry]) -> Iterator[Entry]:
        for entry in inner:
            if isinstance(entry, Folder):
                yield Folder(self._shortened(entry.prefix))
            elif key := self._shortened(entry.key):
                yield _named(entry, key)

    def _shortened(self, key: str) -> str:
        if not key.startswith(self._prefix):
            raise StorageError(f"the storage listed {key!r}, which does not start with the prefix {self._prefix!r}")
        return key[len(self._prefix) :]


class _PrefixPlacing:
    """Places ranges for a layer."""

    def __init__(self, layer: PrefixLayer, place: Place) -> None:
        self._layer = layer
        self._place = place

    def run(self, operations: Iterator[Placing], limits: BatchLimits) -> Iterator[Placed]:
        """Each is forwarded under its longer key."""
        # By identity; the value keeps both alive.
        running: dict[int, tuple[Placing, Placing]] = {}

        def longer() -> Iterator[Placing]:
            for operation in operations:
                moved = replace(operation, key=self._layer.prefix + operation.key)
                running[id(moved)] = (moved, operation)
                yield moved

        inner = self._place(longer(), limits)
        return closing_with(inner, (self._placed(running.pop(id(each.operation))[1], each) for each in inner))

    def _placed(self, operation: Placing, inner: Placed) -> Placed:
        if isinstance(inner.error, StorageError):
            self._layer.restore(inner.error, operation.key)
        info = None if inner.info is None else _named(inner.info, operation.key)
        return inner._replace(operation=operation, info=info)


def _named(info: ObjectInfo, key: str) -> ObjectInfo:
    # Spelled out: dataclasses.replace() would take several times as long for each object of a listing.
    return ObjectInfo(
        key,
        info.size,
        info.stored_size,
        info.modified,
        info.etag,
        info.version,
        info.attributes,
        info.deleted,
        info.checksum,
    )
