"""From an ``OSError`` to this library's errors: one table, each row saying what to do.

What `ENOENT` and its kin mean depends on what was being done, so the backend decides about those itself before it
asks this table; here they have their plain meaning.
"""

from __future__ import annotations

import errno
import sys
from typing import Final, NamedTuple

from mediagit_storage.errors import (
    AlreadyExistsError,
    CapacityError,
    ConfigError,
    ConnectionLostError,
    InvalidKeyError,
    KeyConflictError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    StorageTimeoutError,
    UnavailableError,
    UnsupportedError,
)

__all__ = ["ABSENT", "NO_LOCKS", "NO_XATTRS", "NO_XATTR_HERE", "TABLE", "TOO_LARGE_XATTRS", "Row", "translate"]


class Row(NamedTuple):
    """What an error number becomes, and what the reader of the message should do."""

    kind: type[StorageError]
    advice: str


_OWNER: Final = "check the owner and the permissions of the storage's folder"
_AGAIN: Final = "try again"

TABLE: Final[dict[int, Row]] = {
    errno.ENOENT: Row(NotFoundError, "the object is not there"),
    errno.EEXIST: Row(AlreadyExistsError, "an object is there already"),
    errno.ENOTDIR: Row(KeyConflictError, "an object is where a folder would have to be; choose another key"),
    errno.EISDIR: Row(KeyConflictError, "a folder is where the object would have to be; choose another key"),
    errno.ENOTEMPTY: Row(KeyConflictError, "a folder is where the object would have to be; choose another key"),
    errno.ELOOP: Row(KeyConflictError, "a symbolic link is in the way; open the storage with follow_symlinks=True"),
    errno.ENAMETOOLONG: Row(InvalidKeyError, 'a part of the key is too long for a file name; use layout="sharded"'),
    errno.EILSEQ: Row(InvalidKeyError, 'the file system takes no such name; use layout="sharded"'),
    errno.ENOSPC: Row(CapacityError, "free some space or choose another disk"),
    errno.EDQUOT: Row(CapacityError, "free some space or ask for a larger quota"),
    errno.EFBIG: Row(LimitExceededError, "the file system takes no file of this size"),
    errno.EMLINK: Row(LimitExceededError, "the folder holds as many folders as the file system takes"),
    errno.EACCES: Row(PermissionDeniedError, _OWNER),
    errno.EPERM: Row(PermissionDeniedError, _OWNER),
    errno.EROFS: Row(PermissionDeniedError, "the file system is mounted read-only; mount it for writing"),
    errno.EMFILE: Row(UnavailableError, "close some files, or raise the limit of open files (ulimit -n)"),
    errno.ENFILE: Row(UnavailableError, "the whole system has too many open files; try again later"),
    errno.ENOMEM: Row(UnavailableError, "the system is out of memory; try again later"),
    errno.EAGAIN: Row(UnavailableError, _AGAIN),
    errno.EINTR: Row(UnavailableError, _AGAIN),
    errno.EBUSY: Row(UnavailableError, "something else uses the file or folder; try again"),
    errno.ENOLCK: Row(UnavailableError, "the system has no locks left; try again later"),
    errno.ESTALE: Row(UnavailableError, "the network file system lost track of the file; try again"),
    errno.ETIMEDOUT: Row(StorageTimeoutError, "the network file system does not answer; try again later"),
    errno.EHOSTDOWN: Row(ConnectionLostError, "the network file system's server is down; try again later"),
    errno.ENOTCONN: Row(ConnectionLostError, "the file system is disconnected; mount it again"),
    errno.ENODEV: Row(ConnectionLostError, "the disk is gone; connect it again"),
    errno.ENXIO: Row(ConnectionLostError, "the disk is gone; connect it again"),
    errno.EIO: Row(StorageError, "the disk reports an input/output error; look into the system's log"),
    errno.EXDEV: Row(
        ConfigError, "a folder in the storage is on another file system; open that one as a storage of its own"
    ),
    errno.ENOTSUP: Row(UnsupportedError, "the file system cannot do that"),
    errno.ENOSYS: Row(UnsupportedError, "the system cannot do that"),
}

#: Answers that prove, for somebody who reads, that no object has that name.
ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ}
)

#: Answers of `flock` that say that this file system has none.
NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF})

#: Answers of the calls for extended attributes that say that this file system has none.
NO_XATTRS: Final = frozenset({errno.ENOTSUP, errno.ENOSYS})

#: Answers of `getxattr` that say that this file has no such attribute.
NO_XATTR_HERE: Final = NO_XATTRS | {errno.ENODATA if sys.platform == "linux" else 93}

#: Answers of `setxattr` that say that the value is too long for this file system.
TOO_LARGE_XATTRS: Final = frozenset({errno.E2BIG, errno.ENOSPC, errno.ERANGE})


def translate(error: OSError) -> StorageError:
    """The error to raise for ``error``. One of ours is returned as it is; an unknown number keeps its name."""
    if isinstance(error, StorageError):
        return error
    number = error.errno if error.errno is not None else 0
    row = TABLE.get(number)
    reason = error.strerror or str(error)
    if row is None:
        return StorageError(f"the operating system says: {reason} ({errno.errorcode.get(number, number)})")
    return row.kind(f"{reason}: {row.advice}")
