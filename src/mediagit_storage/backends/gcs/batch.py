"""The operations of a batch as requests: reads, looks and small writes side by side, deletes a hundred at a time."""

from __future__ import annotations

from collections.abc import Sequence

from mediagit_storage.backend import DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.gcs.copying import Copier
from mediagit_storage.backends.gcs.deleting import Deleter
from mediagit_storage.backends.gcs.listing import marked
from mediagit_storage.backends.gcs.multiparts import MAX_CALLS
from mediagit_storage.backends.gcs.names import check_written, generation_of
from mediagit_storage.backends.gcs.reading import CameBackError, GCSReader
from mediagit_storage.backends.gcs.writing import Writer
from mediagit_storage.http.operations import Group, Operations, Sending, Step, Value, Working
from mediagit_storage.http.retry import Retried
from mediagit_storage.types import ReadOptions

__all__ = ["GCSOperations"]


class GCSOperations(Operations):
    """The operations of one bucket."""

    group_limit = MAX_CALLS

    def __init__(self, reader: GCSReader, writer: Writer, deleter: Deleter, copier: Copier) -> None:
        self._reader = reader
        self._writer = writer
        self._deleter = deleter
        self._copier = copier

    def read(self, operation: ReadOperation) -> Step:
        """One GET; what is to be empty is looked at instead."""
        key, options, reader = operation.key, operation.options, self._reader
        if options.range.length == 0 or options.range.suffix == 0:
            return Working(lambda: reader.read(key, options))
        call = reader.call(key, options)

        def finish(retried: Retried) -> Value | Sending:
            try:
                return reader.content(key, options, call, retried.response)
            except CameBackError:
                return Sending(call, finish)

        return Sending(call, finish)

    def put(self, operation: PutOperation) -> Step:
        """One POST of what is small and at hand; everything else goes its own way."""
        key, options, writer = operation.key, operation.options, self._writer
        check_written(key)
        data = writer.small(operation.source, options)
        if data is None:
            return Working(lambda: writer.put(key, operation.source, options))
        sent = writer.put_call(key, data, options)
        return Sending(sent.call, lambda retried: writer.stored(key, sent, options, retried), held=sent.size)

    def stat(self, operation: StatOperation) -> Step:
        """One GET of the description."""
        key, options, reader = operation.key, ReadOptions(version=operation.version), self._reader
        call = reader.stat_call(key, options)
        return Sending(call, lambda retried: reader.described(key, options, call, retried.response))

    def delete(self, operation: DeleteOperation) -> Step:
        """One DELETE; that of a mark brings an object back."""
        key, options, deleter = operation.key, operation.options, self._deleter
        generation = None if options.version is None else marked(options.version)
        if generation is not None:
            copier, name = self._copier, generation
            return Working(lambda: copier.restore(key, name))
        if options.version is not None and generation_of(options.version) is None:
            return Working(lambda: deleter.delete(key, options))
        call = deleter.call(key, options)
        return Sending(call, lambda retried: deleter.done(call, options, retried))

    def groups(self, operation: DeleteOperation) -> bool:
        """Plain deletes."""
        return self._deleter.groups(operation)

    def group(self, operations: Sequence[DeleteOperation]) -> Group:
        """Many in one request."""
        call = self._deleter.group_call(operations)
        return Group(call, lambda retried: self._deleter.group_done(call, operations, retried))
