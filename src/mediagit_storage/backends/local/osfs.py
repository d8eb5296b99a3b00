"""The seam between the local backend and the operating system.

Every call that the backend makes goes through one injected `OperatingSystem`, so that a test can record the calls,
make the Nth one fail, or replay them as a crashed disk would have kept them:

- `CALLS` names every method; each takes what its namesake in `os` (or `fcntl`) takes and raises `OSError`.
- `mediagit_storage.testing.os_faults.RecordingOS` writes every call down in order, with arguments, result and error.
- `mediagit_storage.testing.os_faults.FaultyOS` is that, and fails chosen calls: ``FaultyOS([Fault("fsync", 2, EIO)])``.
- Anything else derives from `OperatingSystem` and overrides methods; ``LocalBackend(path, os=mine)`` uses it.

Descriptors are plain numbers of the real kernel. Paths of `open`, `stat`, `mkdir` are either absolute (only the root,
or a first component below it) or one name relative to ``dir_fd``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final, NoReturn

__all__ = ["CALLS", "SYSTEM", "OperatingSystem", "shut"]


if sys.platform == "linux":
    _getxattr = os.getxattr
    _setxattr = os.setxattr
    _removexattr = os.removexattr
    _copy_file_range = os.copy_file_range
    _libc = ctypes.CDLL(None, use_errno=True)

    def _syncfs(descriptor: int) -> None:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

else:  # attributes are refused there, and what only saves time is left out

    def _missing(*_: object) -> NoReturn:
        raise OSError(errno.ENOTSUP, "this platform has no such call")

    _getxattr = _setxattr = _removexattr = _copy_file_range = _syncfs = _missing


class OperatingSystem:
    """The calls that the local backend makes, each exactly the one of the same name in `os` or `fcntl`."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    read = staticmethod(os.read)
    pread = staticmethod(os.pread)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    utime = staticmethod(os.utime)
    rename = staticmethod(os.rename)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    scandir: staticmethod[[int], AbstractContextManager[Iterator[os.DirEntry[str]]]] = staticmethod(os.scandir)
    listdir: staticmethod[[int], list[str]] = staticmethod(os.listdir)
    statvfs = staticmethod(os.statvfs)
    urandom = staticmethod(os.urandom)
    flock = staticmethod(fcntl.flock)
    getxattr = staticmethod(_getxattr)
    setxattr = staticmethod(_setxattr)
    removexattr = staticmethod(_removexattr)
    copy_file_range = staticmethod(_copy_file_range)
    #: Write everything of the descriptor's file system to disk; ENOTSUP where the platform has no such call.
    syncfs = staticmethod(_syncfs)


#: The names of all calls, for wrappers that treat them alike.
CALLS: Final[tuple[str, ...]] = tuple(
    name for name, value in vars(OperatingSystem).items() if isinstance(value, staticmethod)
)

#: The real operating system.
SYSTEM: Final = OperatingSystem()


def shut(system: OperatingSystem, descriptor: int) -> None:
    """Close what was only read or walked through: nothing can be lost by it, so that an error means nothing."""
    try:  # noqa: SIM105  # suppress() would double the cost of a call that every read makes
        system.close(descriptor)
    except OSError:
        pass
