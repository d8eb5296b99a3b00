"""Objects that are stored compressed, and seen as they were: sizes, ranges and checksums are of the plain bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Final

from mediagit_storage.backend import BatchLimits, Body, Completion, Content, Operation, StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.errors import (
    IntegrityError,
    LimitExceededError,
    NotFoundError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.layers.base import Layer, closing_with
from mediagit_storage.layers.compress.codec import Codec
from mediagit_storage.layers.compress.config import CompressConfig
from mediagit_storage.layers.compress.framing import MAX_FRAMES
from mediagit_storage.layers.compress.reading import Reader, as_plain
from mediagit_storage.layers.compress.source import CompressedSource, compressed
from mediagit_storage.layers.ordered import ordered
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import (
    Checksum,
    CopyOptions,
    Entry,
    Folder,
    ListOptions,
    ObjectInfo,
    PresignOptions,
    PutOptions,
    ReadOptions,
)

__all__ = ["CompressLayer"]

#: How many ends are read at once for a listing with exact sizes.
_AT_ONCE: Final = 16


class CompressLayer(Layer):
    """Compresses what is put and decompresses what is read; see `framing` for how objects are stored.

    A put takes bounded memory (some frames for each thread) and hands on the conditions, attributes and versions. A read
    takes one request for the object's end, which holds the table of its frames, and one for the frames that it needs;
    `read` of a whole object takes one. Damage of any kind is an `IntegrityError`. Copies and renames are the inner ones,
    followed by one read of the new object's end for its size. Batches, continued uploads and links to read or write are
    not offered.
    """

    layer_name: ClassVar[str] = "compress"
    links: ClassVar[bool] = False

    def __init__(self, inner: StorageBackend, config: CompressConfig | None = None) -> None:
        chosen = config or CompressConfig()
        super().__init__(inner, chosen)
        self._frame_size = chosen.frame_size
        self._workers = chosen.workers
        self._codec = Codec(chosen.level)
        self._reader = Reader(inner, chosen, self._codec)
        self._capabilities = _offered(inner.capabilities, chosen.frame_size)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner storage, without what needs the stored bytes to be the plain ones."""
        return self._capabilities

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Stored compressed, while it is read; what is known to fit in a frame is compressed before."""
        if options.checksum is not None or options.resume is not None:
            # What was declared speaks of the plain bytes, and was checked, or is while the source is read.
            options = replace(options, checksum=None, resume=None)
        if source.size is not None and source.size <= self._frame_size:
            data = source.buffer()
            if data is None:
                # A piece is good only until the next is asked for: join() keeps them all first.
                data = b"".join(map(bytes, source.chunks()))
            info = self.inner.put(key, BytesSource(compressed(data, self._codec)), options)
            return as_plain(info, len(data))
        with CompressedSource(source, self._codec, self._frame_size, self._workers) as stored:
            info = self.inner.put(key, stored, options)
            return as_plain(info, stored.plain_size)

    def read(self, key: str, options: ReadOptions) -> Content:
        """The plain bytes; see `Reader.read`."""
        return self._reader.read(key, options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """The plain bytes in pieces; see `Reader.stream`."""
        return self._reader.stream(key, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """By one read of the object's end, which comes with all that the storage knows of it."""
        return self._reader.look(key, ReadOptions(version=version, attributes=True))

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """Without sizes, unless ``exact``: then the ends of some objects at a time are read."""
        inner = self.inner.list(prefix, options)
        if options.exact:
            return closing_with(inner, ordered(self._exactly, inner, _AT_ONCE))
        return closing_with(inner, (as_plain(info, None) for info in inner))

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """As `list`."""
        inner = self.inner.list_dir(prefix, options)
        return closing_with(inner, ordered(self._entry, inner, _AT_ONCE) if options.exact else map(_sizeless, inner))

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """The inner copy: stored bytes are the same under every key."""
        return self._copied(self.inner.copy(source, target, options))

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """The inner rename."""
        return self._copied(self.inner.rename(source, target, if_absent=if_absent))

    def presign(self, key: str, options: PresignOptions) -> str:
        """Only to delete: a link moves the stored bytes, and nobody would undo or do the compression."""
        if options.method != "DELETE":
            raise UnsupportedError("a link leads to the stored bytes, which are compressed")
        return self.inner.presign(key, options)

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Refused: several objects at once are compressed by threads, which `Storage` has."""
        self._refuse("batches of compressed objects")

    def replace_head(self, key: str, head: bytes, old_length: int, *, if_match: str) -> ObjectInfo:
        """Refused: plain bytes have no place of their own in the object."""
        self._refuse("replacing the head of a compressed object")

    def content_checksum(self, key: str, options: ReadOptions) -> Checksum | None:
        """None: what the storage keeps is the checksum of the stored bytes. Each frame brings its own."""
        return None

    def __reduce__(self) -> tuple[object, ...]:
        # What the library needs for each thread is made anew.
        return (type(self), (self.inner, self.config))

    def _entry(self, entry: Entry) -> Entry:
        return entry if isinstance(entry, Folder) else self._exactly(entry)

    def _exactly(self, listed: ObjectInfo) -> ObjectInfo:
        """What was listed with its plain size; what is there now, where the object was written to since."""
        found = self._found(listed)
        if found is None:
            return as_plain(listed, None)
        return as_plain(listed, found.size) if found.etag == listed.etag else found

    def _copied(self, info: ObjectInfo) -> ObjectInfo:
        """What a copy or rename gave, with the plain size; without, where somebody else has written there since.

        It is done already: that its size cannot be told now is no failure of it.
        """
        try:
            found = self._found(info)
        except StorageError:
            found = None
        return as_plain(info, found.size if found is not None and found.etag == info.etag else None)

    def _found(self, info: ObjectInfo) -> ObjectInfo | None:
        """What the object's end tells; None where that is no size: not ours, damaged, too large, or gone."""
        if info.deleted:
            return None
        try:
            return self._reader.look(info.key, ReadOptions(version=info.version))
        except (IntegrityError, LimitExceededError, NotFoundError, UnsupportedError):
            return None


def _offered(inner: Capabilities, frame_size: int) -> Capabilities:
    largest = MAX_FRAMES * frame_size
    if inner.max_object_size is not None:
        # What does not shrink grows by less than this.
        largest = min(largest, inner.max_object_size - inner.max_object_size // 64)
    return replace(
        inner,
        batch=False,
        presign=inner.presign & {"DELETE"},
        resumable_uploads=False,
        replace_head=False,
        max_object_size=largest,
    )


def _sizeless(entry: Entry) -> Entry:
    return entry if isinstance(entry, Folder) else as_plain(entry, None)
