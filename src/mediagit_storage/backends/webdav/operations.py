"""Many operations at once: reads and looks side by side in one thread; writes and deletes, which take several requests
each, in a few threads.
"""

from __future__ import annotations

from mediagit_storage.backend import DeleteOperation, PutOperation, ReadOperation, StatOperation
from mediagit_storage.backends.webdav.deleting import DavDeleter
from mediagit_storage.backends.webdav.reading import DavReader
from mediagit_storage.backends.webdav.writing import DavWriter
from mediagit_storage.http.operations import Operations, Sending, Step, Working

__all__ = ["DavOperations"]


class DavOperations(Operations):
    """The operations of one storage."""

    def __init__(self, reader: DavReader, writer: DavWriter, deleter: DavDeleter) -> None:
        self._reader = reader
        self._writer = writer
        self._deleter = deleter

    def read(self, operation: ReadOperation) -> Step:
        """One GET, its condition judged by the answer; a range of nothing needs a look."""
        key, options = operation.key, operation.options
        if options.range.length == 0 or options.range.suffix == 0:
            return Working(lambda: self._reader.read(key, options))
        call = self._reader.call(key, options)
        return Sending(call, lambda retried: self._reader.content(key, options, call, retried.response))

    def stat(self, operation: StatOperation) -> Step:
        """A few looks where the server answers oddly."""
        return Working(lambda: self._reader.stat(operation.key))

    def put(self, operation: PutOperation) -> Step:
        """Several requests."""
        return Working(lambda: self._writer.put(operation.key, operation.source, operation.options))

    def delete(self, operation: DeleteOperation) -> Step:
        """Two requests."""

        def work() -> None:
            self._deleter.delete(operation.key, operation.options)

        return Working(work)
