"""One object from the old storage into the new one, in bounded memory."""

from __future__ import annotations

from typing import Final

from mediagit_storage.backend import Body, Content, StorageBackend
from mediagit_storage.checked import CheckedSource
from mediagit_storage.errors import StorageError, UnsupportedError
from mediagit_storage.layers.migrating.courses import proves_absence
from mediagit_storage.layers.migrating.naming import NamedBody, naming
from mediagit_storage.progress import NO_TRANSFER
from mediagit_storage.source import BytesSource, IterableSource
from mediagit_storage.types import Attributes, CopyOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["carry", "is_there", "kept_attributes", "store"]

#: Objects up to this many bytes are held in memory, so that a write which fails on its way can be repeated.
_SMALL: Final = 1024 * 1024


def carry(old: StorageBackend, source: str, new: StorageBackend, target: str, options: CopyOptions) -> ObjectInfo:
    """Copy the object of the key ``source`` to ``target``, as atomically as a put; what is told is of the new object.

    Attributes come along as `kept_attributes` says. Raises `NotFoundError`; `PreconditionError` for another object than
    ``options.if_match``, or one that changes meanwhile where the old storage has conditional reads. Three requests.
    """
    with naming(old):
        found = old.stat(source)
    options.require(found.etag)
    attributes = options.attributes if options.attributes is not None else kept_attributes(found.attributes, new)
    put = PutOptions(attributes, options.if_absent)
    pinned = ReadOptions(if_match=found.etag if old.capabilities.read_conditions else None)
    if found.size is not None and found.size <= _SMALL:
        with naming(old):
            content = old.read(source, pinned)
        return store(content, new, target, put)
    with naming(old):
        body = old.stream(source, pinned)
    with body:
        return store(NamedBody(body, body.info, old), new, target, put)


def store(value: Content | Body, new: StorageBackend, key: str, options: PutOptions) -> ObjectInfo:
    """Put what was read whole."""
    if isinstance(value, Content):
        return new.put(key, BytesSource(value.data), options)
    pieces = IterableSource(iter(value))
    return new.put(key, CheckedSource(pieces, size=value.length, checksum=None, progress=NO_TRANSFER), options)


def is_there(storage: StorageBackend, key: str) -> bool:
    """Whether an object is there: only a proof says that it is not."""
    try:
        storage.stat(key)
    except StorageError as error:
        if not proves_absence(error):
            raise
        return False
    return True


def kept_attributes(found: Attributes | None, new: StorageBackend) -> Attributes | None:
    """What an object takes along: all but its storage class, for which each service has names of its own.

    What else the new storage cannot keep is an `UnsupportedError` that names it.
    """
    if found is None:
        return None
    # Spelled out: the storage class stays behind.
    attributes = Attributes(
        found.content_type,
        found.cache_control,
        found.content_encoding,
        found.content_disposition,
        found.metadata,
        tags=found.tags,
    )
    named = attributes.named()
    missing = named - new.capabilities.attributes
    if missing:
        raise UnsupportedError(
            f"the new storage does not keep {', '.join(sorted(missing))}; say with attributes= what the copy should have"
        )
    return attributes if named else None
