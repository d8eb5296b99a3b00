"""The private folder of temporary files, in which every object is complete before it gets its name.

It lies inside of the root (so on the same file system): ``.mediagit-storage/tmp``. A temporary file has a random
name, is created with ``O_EXCL`` and stays locked while it is written; a file whose lock is free and that is old was
left by a process that died, and is swept.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import stat
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from mediagit_storage.backends.local.attributes import XATTR_KEY
from mediagit_storage.backends.local.layout import PRIVATE
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.translate import NO_LOCKS
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.errors import ConfigError, NotFoundError, UnavailableError

__all__ = ["Leftover", "Staged", "Staging"]

_TMP: Final = "tmp"
_RACES: Final = 16
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: The names that `Staging.create` gives; anything else in the folder is none of ours.
_NAME: Final = re.compile(r"[0-9a-f]{16}-[^/]*")
_FREE: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
#: What the name of a file ends with that another run may go on with, and how much longer it stays, in nanoseconds.
_KEPT: Final = "-kept"
_KEPT_NS: Final = 7 * 24 * 3600 * 10**9
_KEEP: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Leftover(NamedTuple):
    """A temporary file: its name, when it was last written, its size, whether its writer holds it, its key."""

    name: str
    modified_ns: int
    size: int
    alive: bool
    #: The key that a large upload is for, else "".
    key: str


class _Folder:
    """An open folder, closed when its last user is gone: a thread may still need it when another has a new one."""

    __slots__ = ("__weakref__", "close", "descriptor")

    def __init__(self, system: OperatingSystem, descriptor: int) -> None:
        self.descriptor = descriptor
        self.close = weakref.finalize(self, shut, system, descriptor)


class Staged:
    """One temporary file being written. ``descriptor`` is None once closed, ``name`` None once it is an object."""

    __slots__ = ("_folder", "_os", "_process", "descriptor", "folder", "name")

    def __init__(self, system: OperatingSystem, folder: _Folder, name: str, descriptor: int) -> None:
        self._os = system
        self._folder = folder
        self._process = os.getpid()
        self.folder = folder.descriptor
        self.name: str | None = name
        self.descriptor: int | None = descriptor

    def close(self) -> None:
        """Close the file; an error of close is an error of the write. Its lock ends."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            self._os.close(descriptor)

    def discard(self) -> None:
        """Remove what is left of it, as far as possible; never raises, so that it cannot hide the first error.

        In a forked child the file is its parent's, and stays.
        """
        with suppress(OSError):
            self.close()
        name, self.name = self.name, None
        if name is not None and self._process == os.getpid():
            with suppress(OSError):
                self._os.unlink(name, dir_fd=self.folder)


class Staging:
    """The folder of temporary files of one root. Methods raise `OSError` as it comes unless they say otherwise."""

    def __init__(self, system: OperatingSystem, tree: Tree, *, file_mode: int) -> None:
        self._os = system
        self._tree = tree
        self._file_mode = file_mode
        self._folder: _Folder | None = None
        # Nobody can guess it; each process has its own, as forked ones would else try the same names one by one.
        self._token = ""
        self._owner = os.getpid()
        self._numbers = itertools.count(1)

    def create(self, ending: str = "") -> Staged:
        """A new, empty, locked temporary file; its name is random and ends with ``ending``.

        The private folder's descriptor is kept between calls: it is ours alone, and asking for it by name each time
        would cost more than the rest. Other processes may remove the folder when it is empty; then it is made again.
        """
        for _ in range(_RACES):
            try:
                folder = self._folder or self._open()
                if self._owner != os.getpid():
                    self._token, self._owner = self._os.urandom(8).hex(), os.getpid()
                name = f"{self._token}-{next(self._numbers):x}{ending}"
                descriptor = self._os.open(name, _CREATE, self._file_mode, dir_fd=folder.descriptor)
            except NotFoundError:
                raise
            except FileNotFoundError:
                self.reopen()
                continue
            except FileExistsError:
                continue
            staged = Staged(self._os, folder, name, descriptor)
            try:
                # Waiting, not trying: somebody who looks for leftovers may be holding the lock for a moment.
                self._os.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    staged.discard()
                    raise
            return staged
        raise UnavailableError("the storage's private folder keeps being removed; try again")

    def keep(self, name: str) -> Staged | None:
        """The locked file that is found again by ``name`` (16 hexadecimal digits), made if missing; None if in use."""
        for _ in range(_RACES):
            try:
                folder = self._folder or self._open()
                descriptor = self._os.open(name + _KEPT, _KEEP, self._file_mode, dir_fd=folder.descriptor)
            except NotFoundError:
                raise
            except FileNotFoundError:
                self.reopen()
                continue
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
                    return None  # something else has this name
                raise
            staged = Staged(self._os, folder, name + _KEPT, descriptor)
            try:
                self._os.flock(descriptor, _FREE)
                there = self._os.stat(name + _KEPT, dir_fd=folder.descriptor, follow_symlinks=False)
                if os.path.samestat(there, self._os.fstat(descriptor)):
                    return staged
                staged.close()
            except FileNotFoundError:
                staged.close()  # somebody completed or removed it before we had the lock: a new one is made
            except OSError:
                # In use; or a file system without locks, where nobody could tell whether it is.
                staged.close()
                return None
        raise UnavailableError("the storage's private folder keeps being removed; try again")

    def reopen(self) -> None:
        """Look for the private folder anew the next time: it was removed, or the root is another one now."""
        self._folder = None

    def sweep(self, before_ns: int) -> int:
        """Remove the temporary files last written before then that no process holds; returns how many."""
        removed = 0
        for leftover in self.leftovers():
            kept_for = _KEPT_NS if leftover.name.endswith(_KEPT) else 0
            if leftover.modified_ns < before_ns - kept_for and not leftover.alive:
                with suppress(UnavailableError):
                    removed += self.remove(leftover.name)
        return removed

    def leftovers(self) -> Iterator[Leftover]:
        """Every temporary file there is, in no order; nothing where there is no private folder."""
        folder = self._open_existing()
        if folder is None:
            return
        try:
            for name in filter(_NAME.fullmatch, self._os.listdir(folder)):
                leftover = self._look(folder, name)
                if leftover is not None:
                    yield leftover
        finally:
            shut(self._os, folder)

    def remove(self, name: str) -> bool:
        """Remove one temporary file; False if it is gone. `UnavailableError` while its writer holds it."""
        folder = self._open_existing() if _NAME.fullmatch(name) else None
        if folder is None:
            return False
        try:
            leftover = self._look(folder, name)
            if leftover is None:
                return False
            if leftover.alive:
                raise UnavailableError("this upload is still being written; try again when it has ended")
            self._os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return False
        finally:
            shut(self._os, folder)
        return True

    def close(self, *, remove: bool) -> None:
        """Free the descriptor; remove the private folder where it is empty. Never raises."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()
        if remove:
            self._tree.remove_empty_parents([PRIVATE, _TMP])

    def _look(self, folder: int, name: str) -> Leftover | None:
        """One temporary file; None if it is gone or none of ours (only plain files are)."""
        try:
            descriptor = self._os.open(name, _LOOK, dir_fd=folder)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
                return None
            raise
        try:
            found = self._os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            try:
                self._os.flock(descriptor, _FREE)
                alive = False
            except OSError as error:
                alive = error.errno not in NO_LOCKS
            return Leftover(name, found.st_mtime_ns, found.st_size, alive, self._key_of(descriptor))
        finally:
            shut(self._os, descriptor)

    def _key_of(self, descriptor: int) -> str:
        try:
            return os.fsdecode(self._os.getxattr(descriptor, XATTR_KEY))
        except OSError:
            return ""

    def _open(self) -> _Folder:
        descriptor = self._tree.make_folder([PRIVATE, _TMP], durable=False)
        folder = _Folder(self._os, descriptor)
        try:
            self._check_same_device(descriptor)
        except BaseException:
            folder.close()
            raise
        self._token = self._token or self._os.urandom(8).hex()
        self._folder = folder
        return folder

    def _check_same_device(self, folder: int) -> None:
        if self._os.fstat(folder).st_dev != self._os.stat(self._tree.root).st_dev:
            raise ConfigError(
                f"{PRIVATE}/{_TMP} in {self._tree.root!r} is on another file system than the storage, so that nothing"
                " could be moved from there into place; remove that mount"
            )

    def _open_existing(self) -> int | None:
        try:
            return self._tree.open_folder([PRIVATE, _TMP])
        except (FileNotFoundError, NotADirectoryError):
            return None
