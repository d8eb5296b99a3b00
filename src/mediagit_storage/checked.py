"""A source that is watched while a backend reads it: declared size and checksum, progress, scope.

Because the check raises inside the put that reads the source, a put that is all-or-nothing stores nothing when the
data are not what was declared.
"""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.errors import IntegrityError
from mediagit_storage.hashing import hash_region, new_hasher, verify
from mediagit_storage.progress import Transfer
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion, Source
from mediagit_storage.types import BytesLike, Checksum

__all__ = ["CheckedSource", "check_buffer"]


class CheckedSource(Source):
    """``inner``, ended by an `IntegrityError` where it is not ``size`` bytes long or does not have ``checksum``."""

    def __init__(self, inner: Source, *, size: int | None, checksum: Checksum | None, progress: Transfer) -> None:
        self._inner = inner
        self._declared = size
        self._checksum = checksum
        self._progress = progress
        self.size = size if size is not None else inner.size
        self.rewindable = inner.rewindable
        self._unproven = False

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks, counted, hashed and reported; raises in the place of the end when a check fails."""
        scope, progress = current_scope(), self._progress
        self._unproven = False
        expected = self._declared if self._declared is not None else self._inner.size
        hasher = None if self._checksum is None else new_hasher(self._checksum.algorithm)
        count = 0
        progress.restart()
        for chunk in self._inner.chunks():
            scope.check()
            count += len(chunk)
            if expected is not None and count > expected:
                raise _wrong_size(expected, f"more than {expected:,}")
            if hasher is not None:
                hasher.update(chunk)
            yield chunk
            progress.advance(len(chunk))
        if expected is not None and count != expected:
            raise _wrong_size(expected, f"{count:,}")
        if self._checksum is not None and hasher is not None:
            verify(self._checksum, hasher)

    def region(self) -> FileRegion | None:
        """The inner file; a declared checksum costs reading it once more, before anything is sent."""
        region = self._inner.region()
        if region is None:
            return None
        if self._declared is not None and self._declared != region.size:
            raise _wrong_size(self._declared, f"{region.size:,}")
        self._unproven = True
        if self._checksum is not None:
            verify(self._checksum, hash_region(region, 0, region.size, self._checksum.algorithm))
        self._progress.restart()
        return region

    def admit(self, count: int) -> int:
        """Asked of the inner source."""
        return self._inner.admit(count)

    def finished(self) -> None:
        """The inner file is still what it was."""
        self._inner.finished()
        self._unproven = False

    def advance(self, count: int) -> None:
        """Reported as progress."""
        self._progress.advance(count)

    def require_proof(self) -> None:
        """For after the put: a backend that read the `region` and never asked whether it was `finished` is broken."""
        if self._unproven:
            raise IntegrityError("the storage committed a local file without asking whether it had changed meanwhile")


def check_buffer(data: BytesLike, *, size: int | None, checksum: Checksum | None) -> None:
    """The same checks for content that lies in memory, before a backend is called."""
    if size is not None and size != len(data):
        raise _wrong_size(size, f"{len(data):,}")
    if checksum is not None:
        hasher = new_hasher(checksum.algorithm)
        hasher.update(data)
        verify(checksum, hasher)


def _wrong_size(expected: int, actual: str) -> IntegrityError:
    return IntegrityError(f"the data have {actual} bytes where {expected:,} were announced; nothing was stored")
