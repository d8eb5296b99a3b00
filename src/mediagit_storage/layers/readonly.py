"""A storage that can be read and not changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, NoReturn

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    DeleteOperation,
    Operation,
    PutOperation,
    StorageBackend,
)
from mediagit_storage.errors import PermissionDeniedError
from mediagit_storage.facets import Place, RangePlacing, placing_of
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.source import Source
from mediagit_storage.types import (
    CopyOptions,
    DeleteOptions,
    ObjectInfo,
    PendingUpload,
    PresignOptions,
    PutOptions,
)

__all__ = ["ReadOnlyConfig", "ReadOnlyLayer"]

_MESSAGE: Final = "the storage was opened read-only"


@dataclass(frozen=True, slots=True)
class ReadOnlyConfig:
    """No options."""


class ReadOnlyLayer(Layer, RangePlacing):
    """Reads, listings and links to read pass; whatever could change something is a `PermissionDeniedError`.

    The refusal comes before the inner storage is called and before a byte of a source is read. Capabilities stay
    those of the inner storage: they say what it can do, not who may.
    """

    layer_name: ClassVar[str] = "readonly"

    def __init__(self, inner: StorageBackend, config: ReadOnlyConfig | None = None) -> None:
        super().__init__(inner, config or ReadOnlyConfig())

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Refused."""
        _refuse()

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Refused, also where there is nothing to delete."""
        _refuse()

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Refused."""
        _refuse()

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Refused."""
        _refuse()

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Reads pass; each put and delete is refused on its own, and the others go on."""
        for operation in operations:
            if operation is None:
                continue
            if isinstance(operation, PutOperation | DeleteOperation):
                yield _refused(operation)
                continue
            turned_away: list[Operation] = []
            inner = self.inner.batch(_reads(operation, operations, turned_away), limits)
            yield from closing_with(inner, inner)
            for each in turned_away:
                yield _refused(each)

    def placing(self) -> Place | None:
        """The inner storage's: it only reads."""
        return placing_of(self.inner)

    def presign(self, key: str, options: PresignOptions) -> str:
        """A link to read passes; one to write or delete is refused."""
        if options.method != "GET":
            _refuse()
        return self.inner.presign(key, options)

    def create(self, *, versioning: bool | None = None) -> None:
        """Refused."""
        _refuse()

    def abort_upload(self, upload: PendingUpload) -> None:
        """Refused: somebody else may be uploading."""
        _refuse()

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Refused."""
        _refuse()


def _refuse() -> NoReturn:
    raise PermissionDeniedError(_MESSAGE)


def _refused(operation: Operation) -> Completion:
    return Completion(operation, None, PermissionDeniedError(_MESSAGE))


def _reads(
    first: Operation, rest: Iterator[Operation | None], turned_away: list[Operation]
) -> Iterator[Operation | None]:
    """The operations up to the next one that changes something, which goes to ``turned_away``."""
    yield first
    for operation in rest:
        if isinstance(operation, PutOperation | DeleteOperation):
            turned_away.append(operation)
            return
        yield operation
