"""Giving one stored object another header where it lies: as little as can be travels, and none of it is decrypted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from mediagit_storage.backend import Content, StorageBackend
from mediagit_storage.errors import BucketNotFoundError, NotFoundError, PreconditionError, StorageError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.encrypt.header import MAX_HEADER, IncompleteHeaderError
from mediagit_storage.layers.encrypt.rewrapping import NewHead, Rewrapping, is_age_file
from mediagit_storage.layers.encrypt.sizes import NONCE, plain_size
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import WHOLE, ByteRange, BytesLike, PutOptions, ReadOptions

__all__ = ["ObjectRotation", "RotationState"]

#: Objects up to this many bytes are read whole at once, of others the first bytes, which hold most headers.
_TINY: Final = 64 * 1024
_HEAD: Final = 4096
#: Objects up to this many bytes are held in memory on their way.
_SMALL: Final = 1024 * 1024
#: How many larger ones at once: each that travels takes the buffers of an upload, and one that the storage puts together
#: a part or two.
_TRAVELLING: Final = 2
_PUT_TOGETHER: Final = 4
#: How often an object is looked at again that somebody wrote meanwhile.
_ATTEMPTS: Final = 5


class RotationState(StrEnum):
    """What became of an object."""

    #: It has the new header now.
    REWRAPPED = "rewrapped"
    #: It would get it.
    PLANNED = "planned"
    #: It had one already that is for the wanted recipients and for no other.
    DONE = "done"
    #: It is no age file, and was left as it is.
    FOREIGN = "foreign"
    #: Somebody deleted it meanwhile.
    GONE = "gone"


class _Found(NamedTuple):
    """An object as it was read: its beginning, or all of it, and what is to stand there instead."""

    content: Content
    etag: str
    new: NewHead

    @property
    def size(self) -> int:
        return self.content.info.size or 0

    @property
    def is_whole(self) -> bool:
        return len(self.content.data) == self.size


class ObjectRotation:
    """Rewraps objects of ``storage``, which is what lies below the layer `encrypt`. Thread-safe.

    An object is replaced on condition that it still is the one that was read, with all its attributes: a crash leaves the
    old one or the new one, and whoever writes meanwhile wins. ``lead`` stands before the keys where the layer sees them.
    Requests of an object: one to look at it; then what `StorageBackend.replace_head` takes for one of over 1 MiB, else a
    look at its attributes, one that reads all of it if it is not tiny, and a put. ``dry`` only looks. What layers below
    keep of an object is forgotten before each look, and fetched anew.
    """

    def __init__(self, storage: StorageBackend, rewrapping: Rewrapping, *, lead: str = "", dry: bool = False) -> None:
        self._storage = storage
        self._rewrapping = rewrapping
        self._lead = lead
        self._dry = dry
        self._in_place = storage.capabilities.replace_head
        self._large = threading.BoundedSemaphore(_PUT_TOGETHER if self._in_place else _TRAVELLING)

    def rotate(self, key: str, size: int | None = None) -> RotationState:
        """Give one object the new header unless it has it; ``size`` is what a listing said of it.

        Raises `KeyUnavailableError`, `DecryptionError` and what reads and puts raise; then it is as it was.
        """
        for _ in range(_ATTEMPTS):
            found = self._look(key, size)
            if isinstance(found, RotationState):
                return found
            if self._dry:
                return RotationState.PLANNED
            try:
                self._replace(key, found)
            except BucketNotFoundError:
                raise
            except (PreconditionError, NotFoundError):
                # Written or deleted meanwhile: what is there now is another object.
                size = None
                continue
            return RotationState.REWRAPPED
        raise PreconditionError("somebody wrote the object again and again while it was rotated; try again later")

    def _look(self, key: str, size: int | None) -> _Found | RotationState:
        if isinstance(self._storage, Layer):
            # What a cache has kept tells nothing of what others wrote into the storage since.
            self._storage.forget(key)
        wanted = size if size is not None and 0 < size <= _TINY else _HEAD
        for length in (wanted, MAX_HEADER + NONCE):
            try:
                content = self._storage.read(key, ReadOptions(ByteRange(length=length)))
            except BucketNotFoundError:
                raise
            except NotFoundError:
                return RotationState.GONE
            if not is_age_file(content.data):
                return RotationState.FOREIGN
            try:
                new = self._rewrapping.new_head(self._lead + key, content.data)
            except IncompleteHeaderError:
                if length > wanted or len(content.data) >= (content.info.size or 0):
                    raise
                continue
            if new is None:
                return RotationState.DONE
            return _described(content, new)
        raise IncompleteHeaderError(f"the header has more than {MAX_HEADER:,} bytes")

    def _replace(self, key: str, found: _Found) -> None:
        head, old_length = found.new
        if found.is_whole:
            self._put(key, found, BytesSource(head + found.content.data[old_length:]))
        elif found.size <= _SMALL:
            # Whole, as layers verify nothing else.
            whole = self._storage.read(key, ReadOptions(if_match=self._pin(found)))
            self._put(key, found, BytesSource(head + whole.data[old_length:]))
        else:
            with self._large:
                if self._in_place:
                    self._storage.replace_head(key, head, old_length, if_match=found.etag)
                else:
                    self._put(key, found, _WithHead(self._storage, key, found, self._pin(found)))

    def _put(self, key: str, found: _Found, source: Source) -> None:
        # Reads do not tell all attributes everywhere: Azure's tell no access tier.
        attributes = self._storage.stat(key).attributes
        if attributes is None:
            raise StorageError("the storage did not say what attributes the object has")
        # What was read since is of the object that was looked at, or this is refused.
        self._storage.put(key, source, PutOptions(attributes, if_match=found.etag))

    def _pin(self, found: _Found) -> str | None:
        return found.etag if self._storage.capabilities.read_conditions else None


class _WithHead(Source):
    """A stored object with another header. It can be read again, and is always the same version, or an error."""

    rewindable = True

    def __init__(self, storage: StorageBackend, key: str, found: _Found, pin: str | None) -> None:
        self._storage = storage
        self._key = key
        self._found = found
        self._options = ReadOptions(WHOLE, if_match=pin)
        self.size = found.size - found.new.old_length + len(found.new.head)

    def chunks(self) -> Iterator[BytesLike]:
        """The new header, and what follows the old one as it is read."""
        yield self._found.new.head
        skipped = self._found.new.old_length
        # From the start: what is read whole is verified where the storage keeps a digest.
        with self._storage.stream(self._key, self._options) as body:
            if body.info.etag != self._found.etag:
                raise PreconditionError("the object was replaced while it was rotated")
            for piece in body:
                if skipped < len(piece):
                    yield memoryview(piece)[skipped:]
                skipped = max(0, skipped - len(piece))


def _described(content: Content, new: NewHead) -> _Found:
    """What was read, if it is enough to write it again. Raises `DecryptionError` for an object that is cut off."""
    info = content.info
    if info.size is None or info.etag is None:
        raise StorageError("the storage did not say how large the object is, or which one it is")
    plain_size(info.size, new.old_length)
    return _Found(content, info.etag, new)
