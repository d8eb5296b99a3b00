"""Errors that tell of the old storage itself name it: callers only know the storage that they opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    InvalidRangeError,
    NotFoundError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.layers.bodies import ToldBody
from mediagit_storage.types import ObjectInfo

__all__ = ["NamedBody", "naming", "tell_origin"]

#: Answers about an object, which are the same whichever storage gives them.
_ABOUT_OBJECTS: Final = (NotFoundError, AlreadyExistsError, PreconditionError, InvalidRangeError)


def tell_origin(error: Exception, storage: StorageBackend) -> None:
    """Fill in where an error comes from, unless it is an answer about an object."""
    if isinstance(error, BucketNotFoundError) or (
        isinstance(error, StorageError) and not isinstance(error, _ABOUT_OBJECTS)
    ):
        error.with_context(store=storage.description)


@contextmanager
def naming(storage: StorageBackend) -> Iterator[None]:
    """The same for what is raised inside."""
    try:
        yield
    except StorageError as error:
        tell_origin(error, storage)
        raise


class NamedBody(ToldBody):
    """The same, of a storage that is named where reading fails."""

    def __init__(self, inner: Body, info: ObjectInfo, storage: StorageBackend) -> None:
        super().__init__(inner, info)
        self._storage = storage

    def __iter__(self) -> Iterator[bytes]:
        with naming(self._storage):
            yield from self._inner
