"""Reads of a stack whose layers keep bytes: what turns out to be damaged is forgotten and read once more from below.

A cache proves its files by a checksum, and finds what a disk does to them. It cannot know better than a layer outside of
it that decrypts, unpacks or compares with a digest: when that one finds damage, the bytes may have been kept so.

That no key at hand opens an object is no damage: others, who have the key, may use the same folder. Nothing is dropped
then; but what was kept may be an older object, so the storage is asked once which one is current.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    Content,
    Operation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.errors import IntegrityError, KeyUnavailableError, StorageError
from mediagit_storage.layers.base import Layer, closing_with, layers_of
from mediagit_storage.source import FileRegion
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["forgotten", "mended"]

T = TypeVar("T")

#: A body of so many bytes is held until all of it has proven to be right.
_HELD: Final = 1024 * 1024


def mended(backend: StorageBackend) -> StorageBackend:
    """A storage whose reads are tried once more where damage may have been kept; ``backend`` itself where nothing is.

    After an `IntegrityError` every layer is told to `forget` the object, and if one had kept something of it the read is
    made again, once. A stream that has given bytes already ends in its error: the next read is right. After a
    `KeyUnavailableError` nothing is forgotten: the read is made again where a look at the object then succeeds.
    """
    if isinstance(backend, _Mended):
        return backend
    return _Mended(backend) if any(layer.keeps_bytes for layer in [*layers_of(backend)][1:]) else backend


def forgotten(backend: StorageBackend, key: str, version: str | None) -> bool:
    """Have every layer of a stack forget an object, the outermost one too; whether any had kept something of it."""
    return isinstance(backend, Layer) and backend.forget(key, version)


class _Mended(Layer):
    """No layer of the stack: `Storage` looks at the stack through it."""

    def __init__(self, inner: StorageBackend) -> None:
        self.inner = inner

    def read(self, key: str, options: ReadOptions) -> Content:
        return self._tried(lambda: self.inner.read(key, options), key, options.version)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        return self._tried(lambda: self.inner.stat(key, version), key, version)

    def stream(self, key: str, options: ReadOptions) -> Body:
        body = self._tried(lambda: self.inner.stream(key, options), key, options.version)
        return _MendedBody(
            body,
            lambda: self.inner.stream(key, options),
            lambda error: self._may_differ(error, key, options.version),
        )

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        inner = self.inner.batch(operations, limits)
        return closing_with(inner, map(self._completion, inner))

    def __repr__(self) -> str:
        return repr(self.inner)

    def _tried(self, attempt: Callable[[], T], key: str, version: str | None) -> T:
        try:
            return attempt()
        except IntegrityError as error:
            if not self._may_differ(error, key, version):
                raise
        return attempt()

    def _may_differ(self, error: IntegrityError, key: str, version: str | None) -> bool:
        """Whether another read may show other bytes than those that made this error."""
        if isinstance(error, KeyUnavailableError):
            return version is None and self._is_readable(key)
        return self.forget(key, version)

    def _is_readable(self, key: str) -> bool:
        # A look asks the storage: a cache that knew of an older object learns of the current one.
        try:
            self.inner.stat(key)
        except StorageError:
            return False
        return True

    def _completion(self, completion: Completion) -> Completion:
        operation = completion.operation
        if not isinstance(completion.error, IntegrityError) or not isinstance(operation, ReadOperation | StatOperation):
            return completion
        version = operation.version if isinstance(operation, StatOperation) else operation.options.version
        if not self._may_differ(completion.error, operation.key, version):
            return completion
        try:
            if isinstance(operation, StatOperation):
                return Completion(operation, self.inner.stat(operation.key, version), None)
            return Completion(operation, self.inner.read(operation.key, operation.options), None)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its item
            return Completion(operation, None, error)


class _MendedBody(Body):
    """A body that begins anew where damage shows before anything of it was given."""

    def __init__(self, body: Body, again: Callable[[], Body], may_differ: Callable[[IntegrityError], bool]) -> None:
        self.info = body.info
        self.start = body.start
        self.length = body.length
        self._body = body
        self._again = again
        self._may_differ = may_differ

    def __iter__(self) -> Iterator[bytes]:
        given = False
        try:
            for piece in self._pieces():
                given = True
                yield piece
        except IntegrityError as error:
            if not self._may_differ(error) or given:
                raise
            self._begin_anew(error)
        else:
            return
        yield from self._body

    def region(self) -> FileRegion | None:
        try:
            return self._body.region()
        except IntegrityError as error:
            if not self._may_differ(error):
                raise
            self._begin_anew(error)
        return self._body.region()

    def close(self) -> None:
        self._body.close()

    def _pieces(self) -> Iterator[bytes]:
        if self.length > _HELD:
            return iter(self._body)
        return iter([data] if (data := b"".join(self._body)) else [])

    def _begin_anew(self, error: IntegrityError) -> None:
        """Open it once more. What was told of it already binds: where another object is there by now, ``error`` stays."""
        self._body.close()
        self._body = self._again()
        if (self._body.info.etag, self._body.start, self._body.length) != (self.info.etag, self.start, self.length):
            raise error
