"""Walking the tree below the root by folder descriptors, never by paths of more than one unknown component.

Every component is opened by itself with ``O_NOFOLLOW`` relative to its parent's descriptor, so a folder that is
swapped for a symbolic link in the middle of a walk stops it and never leads out of the root. Descriptors of inner
folders are not kept between calls: a folder that was renamed must not go on receiving files.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence
from typing import Final

from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.errors import BucketNotFoundError, KeyConflictError, UnavailableError

__all__ = ["Tree"]

_RACES: Final = 16
#: Opening a folder for nothing but the way through it.
_PASS: Final = os.O_PATH if sys.platform == "linux" else os.O_RDONLY


class Tree:
    """The folders below one root. Methods raise `OSError` as it comes unless they say otherwise."""

    def __init__(self, system: OperatingSystem, root: str, *, follow_symlinks: bool, folder_mode: int) -> None:
        self._os = system
        self.root = root
        self._base = root if root.endswith("/") else root + "/"
        self.follow_symlinks = follow_symlinks
        self.folder_mode = folder_mode
        #: Folders made whose parents are not synced yet: another thread that finds one has to sync the parent itself,
        #: or what it acknowledges could hang from a folder that a crash takes away.
        self._unsynced: set[tuple[str, ...]] = set()
        nofollow = 0 if follow_symlinks else os.O_NOFOLLOW
        self._folder_flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | nofollow
        self._pass_flags = _PASS | os.O_DIRECTORY | os.O_CLOEXEC | nofollow
        # O_NONBLOCK: opening a FIFO must not wait for its other end.
        self._file_flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | nofollow

    def open_root(self) -> int:
        """The root itself, which may be reached through symbolic links. `BucketNotFoundError` if it is not there."""
        try:
            return self._os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise self.missing_root() from None

    def missing_root(self) -> BucketNotFoundError:
        """The error for a root that is not there."""
        return BucketNotFoundError(
            f"the folder {self.root!r} does not exist; create it with `mgs mb`, or open it with create=True"
        )

    def root_exists(self) -> bool:
        """Whether the root is a folder now; other failures than absence raise."""
        try:
            return stat.S_ISDIR(self._os.stat(self.root).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def open_folder(self, names: Sequence[str]) -> int:
        """The descriptor of the folder that ``names`` lead to."""
        if not names:
            return self.open_root()
        opened = self._os.open(self._base + names[0], self._folder_flags)
        for name in names[1:]:
            opened = self._step(opened, name)
        return opened

    def open_file(self, names: Sequence[str]) -> int:
        """The descriptor of whatever is at the end of ``names``; the caller looks what it is."""
        system = self._os
        if len(names) == 1:
            return system.open(self._base + names[0], self._file_flags)
        # The folders are only passed through: that takes the right to enter them, not to list them.
        folder = system.open(self._base + names[0], self._pass_flags)
        try:
            for name in names[1:-1]:
                inner = system.open(name, self._pass_flags, dir_fd=folder)
                folder, passed = inner, folder
                shut(system, passed)
            return system.open(names[-1], self._file_flags, dir_fd=folder)
        finally:
            shut(system, folder)

    def open_subfolder(self, folder: int, name: str) -> int:
        """The descriptor of a folder in an open folder, which stays open."""
        return self._os.open(name, self._folder_flags, dir_fd=folder)

    def make_folder(self, names: Sequence[str], *, durable: bool) -> int:
        """Like `open_folder`, creating what is missing; durable: each new one is synced into its parent.

        Raises `BucketNotFoundError` if the root is missing and `KeyConflictError` if something that is no folder is
        in the way.
        """
        try:
            opened = self.open_folder(names)
        except FileNotFoundError:
            if not names:
                raise
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            raise self._conflict(names) from None
        else:
            if not (durable and self._unsynced and self._is_unsynced(names)):
                return opened
            shut(self._os, opened)
        opened = self.open_root()
        for depth in range(len(names)):
            try:
                child = self._make_one(opened, tuple(names[: depth + 1]), durable=durable)
            except (NotADirectoryError, FileExistsError):
                raise self._conflict(names[: depth + 1]) from None
            finally:
                shut(self._os, opened)
            opened = child
        return opened

    def _make_one(self, parent: int, path: tuple[str, ...], *, durable: bool) -> int:
        for _ in range(_RACES):
            try:
                child = self._os.open(path[-1], self._folder_flags, dir_fd=parent)
            except FileNotFoundError:
                pass
            else:
                if durable and path in self._unsynced:
                    self._sync_new(parent, child, path)
                return child
            if durable:
                self._unsynced.add(path)
            try:
                self._os.mkdir(path[-1], self.folder_mode, dir_fd=parent)
            except FileExistsError:
                if self._is_dangling(parent, path[-1]):
                    raise
        raise UnavailableError(f"the folder {path[-1]!r} keeps being removed while it is made; try again")

    def _sync_new(self, parent: int, child: int, path: tuple[str, ...]) -> None:
        try:
            self._os.fsync(parent)
        except BaseException:
            shut(self._os, child)
            raise
        self._unsynced.discard(path)

    def _is_unsynced(self, names: Sequence[str]) -> bool:
        return any(tuple(names[:depth]) in self._unsynced for depth in range(1, len(names) + 1))

    def _is_dangling(self, parent: int, name: str) -> bool:
        try:
            return stat.S_ISLNK(self._os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def _conflict(self, names: Sequence[str]) -> KeyConflictError:
        return KeyConflictError(
            f"an object or a link is where the folder {'/'.join(names)!r} would have to be: the plain layout cannot"
            ' hold "a" beside "a/b"; choose another key, or a storage with layout="sharded"'
        )

    def remove_empty_parents(self, names: Sequence[str]) -> None:
        """Remove the folder ``names`` if it is empty, then its parents, up to the root, which always stays.

        Never takes a file: only ``rmdir`` is used, and the first refusal ends it quietly.
        """
        try:
            for depth in range(len(names), 0, -1):
                parent = self.open_folder(names[: depth - 1])
                try:
                    self._os.rmdir(names[depth - 1], dir_fd=parent)
                finally:
                    shut(self._os, parent)
        except OSError:
            return

    def remove_empty_tree(self, parent: int, name: str) -> bool:
        """Remove a folder that holds nothing but folders, at any depth; False if anything else is in it."""
        path = [name]
        try:
            while path:
                deepest = self._descend(parent, path[:-1])
                try:
                    inner = self._first_entry(deepest, path[-1])
                    if inner is None:
                        self._os.rmdir(path.pop(), dir_fd=deepest)
                    else:
                        path.append(inner)
                finally:
                    shut(self._os, deepest)
        except OSError as error:
            return error.errno == errno.ENOENT and len(path) == 1
        return True

    def _first_entry(self, folder: int, name: str) -> str | None:
        opened = self._os.open(name, self._folder_flags | os.O_NOFOLLOW, dir_fd=folder)
        try:
            with self._os.scandir(opened) as entries:
                for entry in entries:
                    return entry.name
                return None
        finally:
            shut(self._os, opened)

    def _descend(self, folder: int, names: Sequence[str]) -> int:
        opened = self._os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        for name in names:
            opened = self._step(opened, name)
        return opened

    def _step(self, folder: int, name: str) -> int:
        try:
            return self._os.open(name, self._folder_flags, dir_fd=folder)
        finally:
            shut(self._os, folder)
