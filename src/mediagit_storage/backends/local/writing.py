"""Filling a temporary file: bytes, attributes, time stamp, sync. Nothing here is visible to any reader."""

from __future__ import annotations

import errno
import os
import threading
from typing import Final

from mediagit_storage.backends.local.attributes import XATTR, XATTR_KEY, encode_attributes
from mediagit_storage.backends.local.osfs import OperatingSystem
from mediagit_storage.backends.local.staging import Staged
from mediagit_storage.backends.local.translate import NO_XATTR_HERE, NO_XATTRS, TOO_LARGE_XATTRS, translate
from mediagit_storage.clock import Clock
from mediagit_storage.errors import LimitExceededError, StorageError, UnsupportedError
from mediagit_storage.scope import current_scope
from mediagit_storage.source import CHUNK, FileSource, Source
from mediagit_storage.types import Attributes, BytesLike

__all__ = ["Writer"]

#: How much the kernel copies between two looks at the scope.
_PIECE: Final = 16 * CHUNK
#: Attributes above this many bytes are refused as too large when the file system says "no space".
_MODEST: Final = 1024
_NO_COPY: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.ETXTBSY, errno.EISDIR}
)


class Writer:
    """Writes temporary files for one backend. Its own calls' errors are translated, a source's pass unchanged."""

    def __init__(self, system: OperatingSystem, clock: Clock) -> None:
        self._os = system
        self._clock = clock
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._latest_ns = 0

    def fill(self, staged: Staged, source: Source, key: str) -> int:
        """Write all of a source; returns the number of bytes."""
        descriptor = _open(staged)
        data = source.buffer()
        if data is not None:
            self.write_all(descriptor, data)
            return len(data)
        if isinstance(source, FileSource):
            origin = source.descriptor()
            if origin is not None:
                copied = self.copy_range(origin, descriptor, source.start or 0)
                if copied:
                    return copied
        return self._fill_from_chunks(descriptor, source, key)

    def write_all(self, descriptor: int, data: BytesLike) -> None:
        """Write every byte, however many the kernel takes at a time."""
        try:
            written = self._os.write(descriptor, data)
            if written == len(data):
                return
            with memoryview(data) as view:
                while written < len(view):
                    current_scope().check()
                    written += self._os.write(descriptor, view[written:])
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def copy_range(self, origin: int, descriptor: int, start: int) -> int:
        """Copy from an open file within the kernel until its end; 0 where that cannot be done, or nothing is there."""
        scope = current_scope()
        copied = 0
        try:
            while count := self._os.copy_file_range(origin, descriptor, _PIECE, start + copied):
                copied += count
                scope.check()
        except StorageError:
            raise
        except OSError as error:
            if copied or error.errno not in _NO_COPY:
                raise translate(error) from error
        return copied

    def copy_file(self, origin: int, descriptor: int) -> None:
        """Copy an open file from its start to its end, within the kernel where that is possible."""
        if self.copy_range(origin, descriptor, 0):
            return
        scope = current_scope()
        offset = 0
        while True:
            try:
                chunk = self._os.pread(origin, CHUNK, offset)
            except OSError as error:
                raise translate(error) from error
            if not chunk:
                return
            self.write_all(descriptor, chunk)
            offset += len(chunk)
            scope.check()

    def set_attributes(self, staged: Staged, attributes: Attributes | None) -> None:
        """Keep attributes with the file; `UnsupportedError` where the file system cannot, never a silent loss."""
        if attributes is not None and attributes.named():
            self.set_raw_attributes(staged, encode_attributes(attributes))

    def set_raw_attributes(self, staged: Staged, raw: bytes) -> None:
        """Keep attributes that are encoded already."""
        try:
            self._os.setxattr(_open(staged), XATTR, raw)
        except OSError as error:
            if error.errno in NO_XATTRS:
                raise UnsupportedError(
                    "this file system keeps no extended attributes: store the object without attributes,"
                    " or use another file system"
                ) from error
            if error.errno in TOO_LARGE_XATTRS and (error.errno != errno.ENOSPC or len(raw) > _MODEST):
                raise LimitExceededError(
                    f"the attributes take {len(raw):,} bytes, more than this file system keeps with a file; shorten them"
                ) from error
            raise translate(error) from error

    def name(self, staged: Staged, key: str) -> None:
        """Tell whoever lists unfinished uploads what an unfinished file will be, as far as the file system keeps that."""
        self._name_upload(_open(staged), key)

    def unname(self, staged: Staged) -> None:
        """Take that from a file that is complete."""
        try:
            self._os.removexattr(_open(staged), XATTR_KEY)
        except OSError as error:
            if error.errno not in NO_XATTR_HERE:
                raise translate(error) from error

    def seal(self, staged: Staged, *, sync: bool) -> os.stat_result:
        """Stamp, sync and close a written file; nothing may change in it from here on. Raises `OSError`.

        The stamp is our own, later than any we gave before: the kernel's is too coarse to tell two writes apart.
        """
        descriptor = _open(staged)
        stamp = self._next_stamp()
        self._os.utime(descriptor, ns=(stamp, stamp))
        if sync:
            self._os.fsync(descriptor)
        found = self._os.fstat(descriptor)
        staged.close()
        return found

    def _fill_from_chunks(self, descriptor: int, source: Source, key: str) -> int:
        scope = current_scope()
        total = 0
        named = False
        for chunk in source.chunks():
            self.write_all(descriptor, chunk)
            total += len(chunk)
            scope.check()
            if not named and total > CHUNK:
                named = self._name_upload(descriptor, key)
        if named:
            self._unname_upload(descriptor)
        return total

    def _name_upload(self, descriptor: int, key: str) -> bool:
        """Tell whoever lists unfinished uploads what this will be. Only for large ones: the others end at once."""
        try:
            self._os.setxattr(descriptor, XATTR_KEY, os.fsencode(key))
        except (OSError, UnicodeEncodeError):
            return False
        return True

    def _unname_upload(self, descriptor: int) -> None:
        try:
            self._os.removexattr(descriptor, XATTR_KEY)
        except OSError as error:
            raise translate(error) from error

    def _next_stamp(self) -> int:
        if self._owner != os.getpid():
            # In a forked child the lock may be held for ever, by a thread that is not there.
            self._lock, self._owner = threading.Lock(), os.getpid()
        with self._lock:
            self._latest_ns = max(self._clock.now_ns(), self._latest_ns + 1)
            return self._latest_ns


def _open(staged: Staged) -> int:
    if staged.descriptor is None:
        raise ValueError("the temporary file is closed")
    return staged.descriptor
