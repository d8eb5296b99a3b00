"""Reads of a stack whose layers keep bytes: what turns out to be damaged is forgotten and read once more from below.

A cache proves its files by a checksum, and finds what a disk does to them. It cannot know better than a layer outside of
it that decrypts, unpacks or compares with a digest: when that one finds damage, the bytes may have been kept so.
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
from mediagit_storage.errors import IntegrityError
from mediagit_storage.layers.base import Layer, closing_with, layers_of
from mediagit_storage.source import FileRegion
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["mended"]

T = TypeVar("T")

#: A body of so many bytes is held until all of it has proven to be right.
_HELD: Final = 1024 * 1024


def mended(backend: StorageBackend) -> StorageBackend:
    """A storage whose reads are tried once more where damage may have been kept; ``backend`` itself where nothing is.

    After an `IntegrityError` every layer is told to `forget` the object, and if one had kept something of it the read is
    made again, once. A stream that has given bytes already ends in its error: the next read is right.
    """
    if isinstance(backend, _Mended):
        return backend
    return _Mended(backend) if any(layer.keeps_bytes for layer in [*layers_of(backend)][1:]) else backend


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
        return _MendedBody(body, lambda: self.inner.stream(key, options), lambda: self.forget(key, options.version))

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        inner = self.inner.batch(operations, limits)
        return closing_with(inner, map(self._completion, inner))

    def __repr__(self) -> str:
        return repr(self.inner)

    def _tried(self, attempt: Callable[[], T], key: str, version: str | None) -> T:
        try:
            return attempt()
        except IntegrityError:
            if not self.forget(key, version):
                raise
        return attempt()

    def _completion(self, completion: Completion) -> Completion:
        operation = completion.operation
        if not isinstance(completion.error, IntegrityError) or not isinstance(operation, ReadOperation | StatOperation):
            return completion
        version = operation.version if isinstance(operation, StatOperation) else operation.options.version
        if not self.forget(operation.key, version):
            return completion
        try:
            if isinstance(operation, StatOperation):
                return Completion(operation, self.inner.stat(operation.key, version), None)
            return Completion(operation, self.inner.read(operation.key, operation.options), None)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its item
            return Completion(operation, None, error)


class _MendedBody(Body):
    """A body that begins anew where damage shows before anything of it was given."""

    def __init__(self, body: Body, again: Callable[[], Body], forget: Callable[[], bool]) -> None:
        self.info = body.info
        self.start = body.start
        self.length = body.length
        self._body = body
        self._again = again
        self._forget = forget

    def __iter__(self) -> Iterator[bytes]:
        given = False
        try:
            for piece in self._pieces():
                given = True
                yield piece
        except IntegrityError as error:
            if not self._forget() or given:
                raise
            self._begin_anew(error)
        else:
            return
        yield from self._body

    def region(self) -> FileRegion | None:
        try:
            return self._body.region()
        except IntegrityError as error:
            if not self._forget():
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
