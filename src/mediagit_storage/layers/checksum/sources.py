"""Finding the digest of what is to be stored, in the cheapest way that ends before the commit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, Final, NamedTuple

from mediagit_storage.errors import StorageError, UnsupportedError
from mediagit_storage.hashing import DIGEST_SIZES, Hasher, hash_data, hash_region, new_hasher, verify
from mediagit_storage.layers.checksum.digests import ALGORITHM, with_checksum
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion, FileSource, Source
from mediagit_storage.types import PLAIN_PUT, Attributes, BytesLike, Checksum, PutOptions

__all__ = ["Prepared", "Spool", "prepare"]


#: Stands for a digest that is not known yet.
_UNKNOWN: Final = Checksum(ALGORITHM, bytes(DIGEST_SIZES[ALGORITHM]))


class Spool(NamedTuple):
    """How much of a stream may be kept in a file until its digest is known, and where (None: where the system does)."""

    most: int
    folder: str | None


class Prepared(NamedTuple):
    """What is handed on in the place of a put. ``checksum`` is to be called when that is done, then ``close``."""

    source: Source
    options: PutOptions
    checksum: Callable[[], Checksum]
    close: Callable[[], None]


def prepare(source: Source, options: PutOptions, spool: Spool, *, late: bool) -> Prepared:
    """The put that also stores the digest. ``late`` says that metadata may follow the bytes.

    What lies in memory or in a file is hashed first. Other sources are hashed while they are sent, where their digest
    was declared or may come late; else one that can be gone through twice is, and a stream that comes once goes through
    a file. Raises `UnsupportedError` where that is not allowed, and `IntegrityError` for what does not keep still.
    """
    data = source.buffer()
    if data is not None:
        return _decided(source, options, _checksum(hash_data(data, ALGORITHM)))
    region = source.region()
    if region is not None:
        checksum = _checksum(hash_region(region, 0, region.size, ALGORITHM))
        return _decided(_Still(source, region), options, checksum)
    declared = options.checksum
    if declared is not None and declared.algorithm == ALGORITHM:
        return _decided(_Proven(source, declared), options, declared)
    if late:
        hashed = _Hashed(source)
        return Prepared(hashed, _late(options, hashed.checksum), hashed.checksum, _nothing)
    if source.rewindable:
        checksum = _checksum(_hash_chunks(source))
        return _decided(_Proven(source, checksum), options, checksum)
    return _spooled(source, options, spool)


def _decided(source: Source, options: PutOptions, checksum: Checksum) -> Prepared:
    """A put whose digest is known before it begins."""
    if options.late_attributes is not None:
        changed = _late(options, lambda: checksum)
    else:
        attributes = with_checksum(options.attributes, checksum)
        # The usual case apart: dataclasses.replace() takes several times as long.
        changed = PutOptions(attributes) if options is PLAIN_PUT else replace(options, attributes=attributes)
    return Prepared(source, changed, lambda: checksum, _nothing)


def _late(options: PutOptions, checksum: Callable[[], Checksum]) -> PutOptions:
    asked = options.late_attributes

    def attributes() -> Attributes:
        return with_checksum(options.attributes if asked is None else asked(), checksum())

    # What comes early is of the same length, so that too much of it is refused before the source is read.
    return replace(options, attributes=with_checksum(options.attributes, _UNKNOWN), late_attributes=attributes)


def _spooled(source: Source, options: PutOptions, spool: Spool) -> Prepared:
    """The stream in an unnamed file of the user's own, which is gone when it is closed or the process ends."""
    if (source.size or 0) > spool.most or not spool.most:
        raise _too_long(spool, source.size)
    with ExitStack() as cleaning:
        file = cleaning.enter_context(tempfile.TemporaryFile(prefix="mgs-checksum-", dir=spool.folder))
        checksum = _checksum(_copy(source, file, spool))
        file.seek(0)
        prepared = _decided(FileSource(file), options, checksum)
        return prepared._replace(close=cleaning.pop_all().close)


def _copy(source: Source, file: IO[bytes], spool: Spool) -> Hasher:
    hasher, count = new_hasher(ALGORITHM), 0
    for chunk in source.chunks():
        count += len(chunk)
        if count > spool.most:
            raise _too_long(spool, None)
        hasher.update(chunk)
        file.write(chunk)
    return hasher


def _too_long(spool: Spool, size: int | None) -> UnsupportedError:
    what = (
        "this stream can be read only once" if size is None else f"this stream of {size:,} bytes can be read only once"
    )
    why = f"{what}, and the storage takes no metadata after the bytes"
    kept = f"spool_bytes allows {spool.most:,} bytes" if spool.most else "spool_bytes allows none"
    return UnsupportedError(
        f"{why}, so its checksum would have to be found in a temporary file, of which {kept}: raise the checksum layer's"
        " spool_bytes, give a file or bytes, or declare its blake3 with checksum="
    )


def _hash_chunks(source: Source) -> Hasher:
    scope, hasher = current_scope(), new_hasher(ALGORITHM)
    for chunk in source.chunks():
        scope.check()
        hasher.update(chunk)
    return hasher


def _checksum(hasher: Hasher) -> Checksum:
    return Checksum(ALGORITHM, hasher.digest())


def _nothing() -> None:
    """Nothing is held."""


class _Proven(Source):
    """``inner``, which must have the digest that was found when it was read before, or was declared."""

    def __init__(self, inner: Source, checksum: Checksum) -> None:
        self._inner = inner
        self._checksum = checksum
        self.size = inner.size
        self.rewindable = inner.rewindable

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks; in the place of their end an `IntegrityError` if they are others."""
        hasher = new_hasher(ALGORITHM)
        for chunk in self._inner.chunks():
            hasher.update(chunk)
            yield chunk
        verify(self._checksum, hasher)


class _Still(Source):
    """``inner``, whose file was read by position and must not change until everything is sent."""

    def __init__(self, inner: Source, region: FileRegion) -> None:
        self._inner = inner
        self._region = region
        self.size = inner.size
        self.rewindable = inner.rewindable

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks; in the place of their end an `IntegrityError` if the file is not as it was."""
        yield from self._inner.chunks()
        self._inner.finished()

    def region(self) -> FileRegion:
        """The same file again."""
        return self._region

    def admit(self, count: int) -> int:
        """Asked of the inner source."""
        return self._inner.admit(count)

    def finished(self) -> None:
        """Asked of the inner source."""
        self._inner.finished()

    def advance(self, count: int) -> None:
        """Told to the inner source."""
        self._inner.advance(count)


class _Hashed(Source):
    """``inner``, hashed while it is read; again from the start when it is rewound."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self._found: Checksum | None = None
        self.size = inner.size
        self.rewindable = inner.rewindable

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks."""
        self._found, hasher = None, new_hasher(ALGORITHM)
        for chunk in self._inner.chunks():
            hasher.update(chunk)
            yield chunk
        self._found = _checksum(hasher)

    def checksum(self) -> Checksum:
        """The digest of all that was read last. `StorageError` before its end."""
        if self._found is None:
            raise StorageError("the storage asked for late metadata before it had read the content to its end")
        return self._found
