"""A body that is compared with its digest while it is read."""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.backend import Body
from mediagit_storage.errors import TruncatedError
from mediagit_storage.hashing import hash_region, new_hasher, verify_kept
from mediagit_storage.layers.bodies import ToldBody
from mediagit_storage.source import FileRegion
from mediagit_storage.types import Checksum, ObjectInfo

__all__ = ["VerifiedBody"]


class VerifiedBody(ToldBody):
    """A whole object: its last piece is given out only when all of it has the digest, else comes a `ChecksumError`."""

    def __init__(self, inner: Body, info: ObjectInfo, checksum: Checksum) -> None:
        super().__init__(inner, info)
        self._checksum = checksum
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        hasher = new_hasher(self._checksum.algorithm)
        missing = self.length
        for piece in self._inner:
            hasher.update(piece)
            missing -= len(piece)
            # Also where more comes than was announced: the digest is then another one.
            if missing <= 0:
                verify_kept(self._checksum, hasher)
            yield piece
        if not self.length:
            verify_kept(self._checksum, hasher)
        elif missing > 0 and not self._closed:
            raise TruncatedError(f"{missing:,} bytes of the object are missing")

    def region(self) -> FileRegion | None:
        """The file, which is read once here to prove it."""
        region = self._inner.region()
        if region is not None:
            verify_kept(self._checksum, hash_region(region, 0, region.size, self._checksum.algorithm))
        return region

    def close(self) -> None:
        """Forwarded; what is then missing is missed by nobody."""
        self._closed = True
        super().close()
