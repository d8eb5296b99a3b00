"""Reading an object as a seekable binary file, with read-ahead that grows while the reading goes on in order."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mediagit_storage.backend import Content
from mediagit_storage.errors import ChecksumError, ClosedError, TruncatedError
from mediagit_storage.hashing import Hasher, new_hasher, verify_kept
from mediagit_storage.types import ByteRange, Checksum, ObjectInfo

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["ObjectReader"]

_FIRST_BLOCK: Final = 128 * 1024
_SMALLEST_BLOCK: Final = 4 * 1024
_LARGEST_BLOCK: Final = 8 * 1024 * 1024


class ObjectReader(io.BufferedIOBase):
    """A seekable file over one version of one object.

    Reading in order fetches blocks that grow from 128 KiB to 8 MiB. A seek starts with 128 KiB again, and each further
    one with half as much, down to 4 KiB, until the reading goes on in order: what reads here and there fetches little.
    `read_at` neither uses nor moves the position and may be called from several threads; everything else is for one
    thread at a time.

    Where the content's digest is known (``info.checksum``), an object that is read from its start to its end is
    compared with it: a `ChecksumError` in the place of its last bytes. What is skipped or read out of order is not.
    """

    def __init__(self, read: Callable[[ByteRange], Content], info: ObjectInfo, size: int) -> None:
        super().__init__()
        self.info = info
        self.name = info.key
        self.mode = "rb"
        self._read_range = read
        self._size = size
        self._position = 0
        self._block = b""
        self._block_start = 0
        self._ahead = self._after_seek = _FIRST_BLOCK
        self._begun = False
        self._hasher = None if info.checksum is None else new_hasher(info.checksum.algorithm)
        self._hashed = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer only at the end, none past it. Thread-safe; one request."""
        self._require_open()
        if offset < 0 or length < 0:
            raise ValueError("offset and length must not be negative")
        if offset >= self._size or length == 0:
            return b""
        return self._read_range(ByteRange(offset, length)).data

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, fewer only at the end; all the rest without a size."""
        self._require_open()
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        while wanted:
            part = self._take(wanted)
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        """What one fetch or the read-ahead gives, at most ``size`` bytes."""
        self._require_open()
        left = max(0, self._size - self._position)
        return self._take(min(size, left) if size >= 0 else min(left, self._ahead)) if left and size else b""

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` as far as the object goes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` from one fetch."""
        view = memoryview(buffer).cast("B")
        data = self.read1(len(view))
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int = 0, /) -> bytes:
        """Bytes ahead, at least one before the end, without moving on (this is what makes reading by lines quick)."""
        self._require_open()
        if self._position >= self._size:
            return b""
        self._fill()
        return self._block[self._position - self._block_start :]

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; a place past the end is allowed and reads nothing."""
        self._require_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}.get(whence)
        if base is None:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if base + offset < 0:
            raise ValueError("a position must not be negative")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        self._require_open()
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Drop what was read ahead."""
        self._block = b""
        super().close()

    def _take(self, wanted: int) -> bytes:
        """At least one byte at the position (there is one), at most ``wanted``, and move on."""
        if not self._buffered():
            self._plan()
            if wanted >= self._ahead:
                # Larger than what would be read ahead: straight to the caller, without a copy kept here.
                data = self._fetch(wanted)
                self._block, self._block_start = b"", self._position + len(data)
                return self._passed(data)
            self._read_ahead()
        offset = self._position - self._block_start
        return self._passed(self._block[offset : offset + wanted])

    def _passed(self, data: bytes) -> bytes:
        if not data:
            raise TruncatedError("the storage gave no bytes where the object has some", key=self.info.key)
        self._position += len(data)
        return data

    def _fill(self) -> None:
        """Have the byte at the position in the block."""
        if not self._buffered():
            self._plan()
            self._read_ahead()

    def _plan(self) -> None:
        """Decide how much to read ahead from here, by how the position came to be here."""
        if not self._begun:
            self._begun = True
        elif self._position == self._block_start + len(self._block):
            self._ahead = min(self._ahead * 2, _LARGEST_BLOCK)
            self._after_seek = _FIRST_BLOCK
        else:
            self._ahead = self._after_seek
            self._after_seek = max(self._after_seek // 2, _SMALLEST_BLOCK)

    def _read_ahead(self) -> None:
        self._block = self._fetch(self._ahead)
        self._block_start = self._position

    def _fetch(self, length: int) -> bytes:
        """What lies at the position; taken into the digest as far as it follows on what is in there already."""
        data = self._read_range(ByteRange(self._position, length)).data
        checksum, known = self.info.checksum, self._hashed - self._position
        if checksum is not None and self._hasher is not None and 0 <= known < len(data):
            self._hasher.update(memoryview(data)[known:])
            self._hashed = self._position + len(data)
            if self._hashed >= self._size:
                self._verify(checksum, self._hasher)
        return data

    def _verify(self, checksum: Checksum, hasher: Hasher) -> None:
        try:
            verify_kept(checksum, hasher)
        except ChecksumError as error:
            error.with_context(operation="get", key=self.info.key)
            raise

    def _buffered(self) -> bool:
        return 0 <= self._position - self._block_start < len(self._block)

    def _require_open(self) -> None:
        if self.closed:
            raise ClosedError("the reader is closed")
