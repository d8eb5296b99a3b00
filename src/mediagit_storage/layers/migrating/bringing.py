"""What was read whole in the old storage is brought into the new one.

An object that is deleted meanwhile must not come back. So the copy only stays where the old storage is proven to have the
object afterwards; else it is taken away again, and only what is known to be that copy: by its ETag, or, where an answer got
lost, by its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

from mediagit_storage.backend import Body, Content, StorageBackend
from mediagit_storage.errors import AlreadyExistsError, NotFoundError, PreconditionError, StorageError
from mediagit_storage.events import Event, emit
from mediagit_storage.layers.bodies import ToldBody
from mediagit_storage.layers.migrating.carrying import is_there, kept_attributes, store
from mediagit_storage.layers.migrating.naming import naming
from mediagit_storage.scope import current_scope
from mediagit_storage.types import Attributes, DeleteOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["bring"]


def bring(old: StorageBackend, new: StorageBackend, key: str, found: Content | Body) -> ObjectInfo | None:
    """Copy what was read to the new storage; what is known of the copy there, or None where the object is not brought over.

    What hinders it is no matter of the reader's: it is told in an event. Raises only what ends the surrounding scope;
    then, as in a process that is killed, nobody looks at the old storage afterwards.
    """
    sent = _Hashed(found) if isinstance(found, Body) else found
    copy: ObjectInfo | None = None
    failure: StorageError | None = None
    try:
        attributes = kept_attributes(found.info.attributes, new)
        stored = store(sent, new, key, PutOptions(attributes, if_absent=True))
        copy = replace(stored, attributes=attributes or Attributes())
    except AlreadyExistsError:
        return None
    except StorageError as error:
        current_scope().check()
        failure = error
    try:
        with naming(old):
            kept = is_there(old, key)
    except StorageError as error:
        current_scope().check()
        kept, failure = False, failure or error
    if not kept:
        _take_away(new, key, copy, _digest(sent))
    if failure is not None:
        emit(Event("migrating.left", f"{key!r} is not brought over: {failure.message}", key))
    return copy if kept else None


def _take_away(new: StorageBackend, key: str, copy: ObjectInfo | None, digest: bytes) -> None:
    """Delete the copy, and nothing else."""
    try:
        etag = copy.etag if copy is not None else None
        etag = etag or _etag_of(new, key, digest)
        if etag is not None:
            new.delete(key, DeleteOptions(if_match=etag))
    except (NotFoundError, PreconditionError):
        # Deleted or overwritten since.
        return
    except StorageError as error:
        current_scope().check()
        message = f"{key!r} may be gone in the old storage, and its copy could not be taken away: {error.message}"
        emit(Event("migrating.left", message, key))


def _etag_of(new: StorageBackend, key: str, digest: bytes) -> str | None:
    """The ETag of what the new storage has, if it is what was sent: it may be somebody else's object by now."""
    with new.stream(key, ReadOptions()) as body:
        hasher = blake2b()
        for piece in body:
            hasher.update(piece)
        return body.info.etag if hasher.digest() == digest else None


class _Hashed(ToldBody):
    """A body that remembers what was read of it."""

    def __init__(self, inner: Body) -> None:
        super().__init__(inner, inner.info)
        self.hasher = blake2b()

    def __iter__(self) -> Iterator[bytes]:
        for piece in super().__iter__():
            self.hasher.update(piece)
            yield piece


def _digest(sent: Content | _Hashed) -> bytes:
    return sent.hasher.digest() if isinstance(sent, _Hashed) else blake2b(sent.data).digest()
