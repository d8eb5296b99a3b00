"""A storage that is being migrated to, whose objects lie in the old one: for tests of where objects are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mediagit_storage.backend import BatchLimits, Completion, Operation, PutOperation, StorageBackend
from mediagit_storage.errors import StorageError
from mediagit_storage.layers.migrating import MigratingLayer
from mediagit_storage.layers.migrating.tokens import told_of_old
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.types import CopyOptions, DeleteOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["Sinking", "SinkingSuite"]

#: Larger objects stay where they are: they would be held in memory.
_LARGEST: Final = 2 * 1024 * 1024


class Sinking(MigratingLayer):
    """What is written without a condition goes to the old storage at once, and nothing of it stays in the new one.

    Conditions hold only as long as nobody but the layer writes to the old storage, so what they wrote stays. So does what
    the old storage cannot keep. ``sinks`` False lets everything stay.
    """

    def __init__(self, inner: StorageBackend, old: StorageBackend) -> None:
        super().__init__(inner, old)
        self.sinks = True

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded, and moved."""
        return self._sunk(key, super().put(key, source, options), options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded, and moved."""
        return self._sunk(target, super().copy(source, target, options), PutOptions(if_absent=options.if_absent))

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Forwarded, and each written object moved."""
        for operation, value, error in super().batch(operations, limits):
            if isinstance(operation, PutOperation) and isinstance(value, ObjectInfo):
                yield Completion(operation, self._sunk(operation.key, value, operation.options), None)
            else:
                yield Completion(operation, value, error)

    def _sunk(self, key: str, info: ObjectInfo, options: PutOptions) -> ObjectInfo:
        plain = replace(options, attributes=None, checksum=None, late_attributes=None, resume=None) == PutOptions()
        if not self.sinks or not plain or (info.size or 0) > _LARGEST:
            return info
        try:
            content = self.inner.read(key, ReadOptions(attributes=True))
            attributes = content.info.attributes
            if attributes is not None and attributes.named() - self.old.capabilities.attributes:
                return info
            sunk = self.old.put(key, BytesSource(content.data), PutOptions(attributes))
            self.inner.delete(key, DeleteOptions(if_match=content.info.etag))
        except StorageError:
            # Another writer was quicker, or the old storage cannot keep it.
            return info
        return told_of_old(sunk)


class SinkingSuite(ConformanceSuite):
    """The suite for a storage like that."""

    def test_a_create_only_writer(self) -> None:
        """What is written while the writer is open stays in the new storage: nobody writes to the old one meanwhile."""
        assert isinstance(self.backend, Sinking)
        self.backend.sinks = False
        super().test_a_create_only_writer()
