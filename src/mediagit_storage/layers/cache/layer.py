"""`CacheLayer`: what was read is kept, and used again when the storage says, or the user, that it is still right."""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import NotFoundError, UnsupportedError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.cache.batching import Batches
from mediagit_storage.layers.cache.bodies import Streams
from mediagit_storage.layers.cache.config import CacheConfig
from mediagit_storage.layers.cache.disk import DiskTier
from mediagit_storage.layers.cache.entries import head_of
from mediagit_storage.layers.cache.files import DiskFiles
from mediagit_storage.layers.cache.reading import Reads
from mediagit_storage.layers.cache.shelf import Shelf, outcome_unknown, passing_identity
from mediagit_storage.layers.cache.spans import chunk_count, chunk_span
from mediagit_storage.layers.cache.stats import CacheStats
from mediagit_storage.source import Source
from mediagit_storage.types import WHOLE, CopyOptions, DeleteOptions, ObjectInfo, PutOptions, ReadOptions

__all__ = ["CacheLayer", "disk_folder"]

#: The most that the file of a head may hold, in bytes: a key, an ETag, a version, and what JSON makes of them.
_LARGEST_HEAD: Final = 64 * 1024


class CacheLayer(Layer):
    """Keeps what is read from ``inner``, by chunk, in memory and in a folder. Writes go to the storage at once.

    With ``validate="etag"`` every read asks the storage whether what is kept is current, so this layer keeps every
    promise of the storage, also when others write. With ``immutable`` and ``ttl`` reads may show what others have
    replaced or deleted meanwhile; what this layer itself wrote is always seen. A version that is asked for by its name
    is never asked for again. `stat` and listings always ask.

    Trouble with the folder never fails a call: an event ``cache.disk`` tells of it once.
    """

    layer_name: ClassVar[str] = "cache"
    keeps_bytes: ClassVar[bool] = True

    def __init__(
        self,
        inner: StorageBackend,
        config: CacheConfig | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        files: DiskFiles | None = None,
    ) -> None:
        chosen = config or CacheConfig()
        super().__init__(inner, chosen)
        self._chosen = chosen
        folder = disk_folder(chosen)
        disk = None
        if folder is not None:
            largest = max(chosen.chunk_size, _LARGEST_HEAD)
            disk = DiskTier(folder, chosen.disk_bytes, chosen.disk_entries, clock=clock, files=files, largest=largest)
        self._shelf = Shelf(chosen, "" if disk is None else _identity(inner), disk, clock)
        self._believing = self._shelf.believing
        self._reads = Reads(inner, self._shelf, chosen)
        self._streams = Streams(inner, self._shelf, self._reads)
        self._batches = Batches(inner, self._shelf, self._reads)
        _reset_in_children(self)

    def read(self, key: str, options: ReadOptions) -> Content:
        """From the cache where that is right. Several threads that miss the same thing at once fetch it once."""
        if self._believing and options.range == WHOLE and not options.attributes:
            plain = options.version is None and options.if_match is None and options.if_none_match is None
            content = self._shelf.whole(key) if plain else None
            if content is not None:
                return content
        self._refuse_absent(key, options.version)
        if self._reads.passes(options):
            return self.inner.read(key, options)
        return self._reads.read(key, options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """From the cache where that is right; what comes from the storage is kept chunk by chunk as it passes."""
        self._refuse_absent(key, options.version)
        if self._reads.passes(options):
            return self.inner.stream(key, options)
        return self._streams.open(key, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Asked of the storage; what it says of a current object is heeded by later reads."""
        self._refuse_absent(key, version)
        began = self._shelf.now()
        try:
            info = self.inner.stat(key, version)
        except NotFoundError as error:
            if version is None:
                self._reads.missing(key, began, error)
            raise
        if self._believing and version is None:
            self._reads.heed(key, info, began)
        return info

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Forwarded. What was known of the key is forgotten, however it ends; a small body is kept in memory."""
        with self._writing(key):
            info = self.inner.put(key, source, options)
        self._keep_written(source, info)
        return info

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Forwarded; what was known of the key is forgotten, however it ends."""
        with self._writing(key, version=options.version):
            self.inner.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Forwarded; what was known of the target is forgotten, however it ends."""
        with self._writing(target):
            return self.inner.copy(source, target, options)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Forwarded; what was known of both keys is forgotten, however it ends."""
        with self._writing(source, target):
            return self.inner.rename(source, target, if_absent=if_absent)

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Forwarded; what was known of the key is forgotten, however it ends."""
        with self._writing(key):
            return self.inner.replace_head(key, head, old_length, if_match=if_match)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Reads are answered by what is kept, or asked on condition; writes make the cache forget."""
        return self._batches.run(operations, limits)

    def forget(self, key: str, version: str | None = None) -> bool:
        """Drop the chunks of the object that is known here, in memory and in the folder: they are fetched again."""
        here = self._shelf.forget(key if version is None else (key, version))
        return super().forget(key, version) or here

    def stats(self) -> CacheStats:
        """What this cache did so far, in this process."""
        return self._shelf.stats()

    def close(self) -> None:
        """Close the inner storage. What is in the folder stays for the next one."""
        self._shelf.close()
        self.inner.close()

    def after_fork(self) -> None:
        """What a forked child does first: locks that threads of the parent held, and its memory, are made new."""
        self._shelf.reset()
        self._reads.flights.reset()

    def __repr__(self) -> str:
        return f"<CacheLayer {self._chosen.validate!r} over {self.inner!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (CacheLayer, (self.inner, self._chosen))

    def _refuse_absent(self, key: str, version: str | None) -> None:
        if version is None and self._shelf.is_absent(key):
            raise NotFoundError("no such object, as the storage said a moment ago")

    @contextmanager
    def _writing(self, *keys: str, version: str | None = None) -> Iterator[None]:
        """The block writes to these keys: what was known of them is forgotten when it ends."""
        doubtful = False
        try:
            yield
        except BaseException as error:
            doubtful = outcome_unknown(error)
            raise
        finally:
            for key in keys:
                self._shelf.wrote(key, version, doubtful=doubtful)

    def _keep_written(self, source: Source, info: ObjectInfo) -> None:
        """Hold a body that lay in memory and was stored, if it is not too large for the cache's.

        Only under an ETag that is the put's own: one that a later look told may belong to another writer's object.
        """
        if not self._reads.exact:
            return
        data = source.buffer()
        head = head_of(info, None, self._shelf.now(), exact=True)
        if data is None or head is None or len(data) != head.size or head.size > self._chosen.memory_bytes:
            return
        if not self._reads.keeps(head):
            return
        size = self._chosen.chunk_size
        # A part of `bytes` that is all of it is the same object: what nobody can change need not be copied.
        whole = data if isinstance(data, bytes) else memoryview(data)
        spans = (chunk_span(index, head.size, size) for index in range(chunk_count(head.size, size)))
        self._shelf.keep_written(head, [bytes(whole[start : start + length]) for start, length in spans])


def disk_folder(config: CacheConfig) -> Path | None:
    """The folder of the disk tier that a configuration asks for; ``~`` is the home folder."""
    if config.folder is None or not config.keeps_disk:
        return None
    return Path(config.folder).expanduser().absolute()


def _identity(inner: StorageBackend) -> str:
    """What tells the files of this storage from those of every other in the same folder.

    The options and the layers below belong to it: they decide which bytes a key has. What lives in this process only is
    never met again: the next storage of its name has other objects under the same ETags.
    """
    try:
        info = inner.connection_info()
    except UnsupportedError:
        return passing_identity()
    if info.type == "memory":
        return passing_identity()
    text = json.dumps([inner.description, info.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


_living: weakref.WeakSet[CacheLayer] = weakref.WeakSet()


def _reset_in_children(layer: CacheLayer) -> None:
    """A child begins with locks that nobody holds, whatever the parent's threads were doing when it was forked."""
    _begin_resetting()
    _living.add(layer)


@cache
def _begin_resetting() -> None:
    def reset() -> None:
        for layer in [*_living]:
            layer.after_fork()

    os.register_at_fork(after_in_child=reset)
