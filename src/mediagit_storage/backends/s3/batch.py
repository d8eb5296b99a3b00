"""The operations of a batch as requests to S3."""

from __future__ import annotations

from collections.abc import Sequence

from mediagit_storage.backend import DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.deleting import Deleter
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.writing import Writer
from mediagit_storage.http.operations import SMALL, Group, Operations, Sending, Step, Working
from mediagit_storage.http.parts import small_source
from mediagit_storage.types import ReadOptions

__all__ = ["S3Operations"]


class S3Operations(Operations):
    """How one bucket is read, written, looked at and emptied, many at once."""

    def __init__(self, client: Client, reader: Reader, writer: Writer, deleter: Deleter) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._deleter = deleter
        self.group_limit = client.service.max_bulk_delete

    def read(self, operation: ReadOperation) -> Step:
        """A GET."""
        reader, key, options = self._reader, operation.key, operation.options
        if options.range.length == 0 or options.range.suffix == 0:
            return Working(lambda: reader.read(key, options))
        call = reader.call(key, options)
        return Sending(call, lambda retried: reader.content(key, options, call, retried.response))

    def put(self, operation: PutOperation) -> Step:
        """A PUT, where one request is enough and nothing has to be waited for."""
        writer, key, source, options = self._writer, operation.key, operation.source, operation.options
        data = small_source(source, SMALL)
        if data is None or len(data) > writer.single_limit(options) or options.late_attributes is not None:
            return Working(lambda: writer.put(key, source, options))
        body = data if isinstance(data, bytes) else bytes(data)
        size = len(body)
        sent = writer.put_call(key, body, options)
        return Sending(sent[0], lambda retried: writer.stored(key, size, sent, options, retried), held=size)

    def stat(self, operation: StatOperation) -> Step:
        """A HEAD."""
        reader, key = self._reader, operation.key
        asked = ReadOptions(version=operation.version)
        look = reader.look(key, asked)
        return Sending(look, lambda retried: reader.described(key, asked, look, retried.response))

    def delete(self, operation: DeleteOperation) -> Step:
        """A DELETE, where the object need not be looked for first."""
        deleter, key, options = self._deleter, operation.key, operation.options
        if not options.missing_ok or not self._client.holds(key):
            return Working(lambda: deleter.delete(key, options))
        call = deleter.call(key, options)
        return Sending(call, lambda retried: deleter.done(call, options, retried))

    def groups(self, operation: DeleteOperation) -> bool:
        """Where nothing is special about it."""
        return self._deleter.groups(operation)

    def group(self, operations: Sequence[DeleteOperation]) -> Group:
        """A DeleteObjects."""
        call = self._deleter.bulk_call([each.key for each in operations])
        return Group(call, lambda retried: self._deleter.bulk_done(call, operations, retried))
