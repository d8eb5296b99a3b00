"""The dangerous sequences: where a complete temporary file becomes an object, and where an object goes away.

All of them hold a lock on the parent folder while they change it, so that a condition that was checked still holds
when the change is made, among all processes that use this library. They raise `OSError` as it comes, or an error of
`mediagit_storage.errors`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.staging import Staged
from mediagit_storage.backends.local.translate import NO_LOCKS
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.clock import Clock
from mediagit_storage.errors import (
    AlreadyExistsError,
    KeyConflictError,
    NotFoundError,
    PreconditionError,
    StorageTimeoutError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.scope import current_scope

__all__ = ["UNCONDITIONAL", "Condition", "Moved", "Publisher", "etag_of"]

T = TypeVar("T")

_RACES: Final = 64
_LOCK_LIMIT: Final = 60.0
_TRY_LOCK: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
_IN_THE_WAY: Final = "a link or another thing that is no object has this name; remove it"
_FIRST_WAIT, _LONGEST_WAIT = 0.000_05, 0.005


class Condition(NamedTuple):
    """What must hold when an object gets its name: nothing, no object there, or the one with this etag."""

    if_absent: bool = False
    if_match: str | None = None


UNCONDITIONAL: Final = Condition()


class Moved(NamedTuple):
    """A file that has its new name, which is not synced yet; ``linked`` says that it still has the old one too."""

    found: os.stat_result
    linked: bool


def etag_of(found: os.stat_result) -> str:
    """The token that changes with every put: the writer's own time stamp, the size, and the inode."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"


class Publisher:
    """Puts complete files into their place and takes objects away, for one root."""

    def __init__(self, system: OperatingSystem, tree: Tree, clock: Clock, *, durable: bool) -> None:
        self._os = system
        self._tree = tree
        self._clock = clock
        self._durable = durable

    def publish(
        self, staged: Staged, names: Sequence[str], condition: Condition, *, durable: bool | None = None
    ) -> None:
        """Give a complete, synced and closed temporary file its name, replacing what was there, in one step.

        In this order: open the parent folder (making it, and syncing each new folder into its parent), lock it, check
        the condition, rename (or link, when nothing may be there), unlock, sync the parent. Before the rename a
        failure leaves the old object; after it the new one is complete, and a failing sync is still raised.
        """
        synced = self._durable if durable is None else durable
        for _ in range(_RACES):
            try:
                parent = self._tree.make_folder(names[:-1], durable=synced)
                try:
                    locked = self._lock(parent, needed=condition.if_match is not None)
                    try:
                        self._place(staged, parent, names[-1], condition)
                    finally:
                        self._unlock(parent, locked=locked)
                    if synced:
                        self._os.fsync(parent)
                finally:
                    shut(self._os, parent)
            except NotFoundError:
                raise
            except FileNotFoundError:
                # A delete removed an empty folder on the way between our steps: make it again.
                continue
            else:
                return
        raise UnavailableError("the object's folder keeps being removed while it is written to; try again")

    def remove(self, names: Sequence[str], if_match: str | None) -> bool:
        """Take an object away and sync its folder, then remove the folders that this left empty.

        False where there is no object. A symbolic link is removed itself, never what it leads to; folders, FIFOs,
        sockets and devices are no objects and stay.
        """
        try:
            parent = self._tree.open_folder(names[:-1])
        except (FileNotFoundError, NotADirectoryError):
            return self._refuse_missing(if_match)
        try:
            locked = self._lock(parent, needed=if_match is not None)
            try:
                found = self._look(parent, names[-1], follow=False)
                if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                    return self._refuse_missing(if_match)
                if if_match is not None:
                    self._check_match(parent, names[-1], if_match)
                self._os.unlink(names[-1], dir_fd=parent)
            finally:
                self._unlock(parent, locked=locked)
            self._sync(parent)
        finally:
            shut(self._os, parent)
        if len(names) > 1:
            self._tree.remove_empty_parents(names[:-1])
        return True

    def move(self, source: Sequence[str], target: Sequence[str], *, if_absent: bool) -> os.stat_result:
        """Give an object another name; the result tells about the file. A source that is no file is a `NotFoundError`.

        Both folders are locked, in the order of their inodes so that two moves never wait for each other. The
        target's folder is synced before the source's: a crash leaves the object under one name or under both.
        """

        def step(old_parent: int, new_parent: int) -> os.stat_result:
            with self._both_locked(old_parent, new_parent) as different:
                found = self._give_name(old_parent, source[-1], new_parent, target[-1], if_absent=if_absent)
            self._sync(new_parent)
            if different:
                self._sync(old_parent)
            return found

        found = self._between(source, target, step)
        if len(source) > 1:
            self._tree.remove_empty_parents(source[:-1])
        return found

    def move_unsynced(self, source: Sequence[str], target: Sequence[str], *, if_absent: bool) -> Moved | None:
        """Like `move` without its syncs: whoever calls syncs both names, then calls `remove_moved` for one that is
        linked, and only then removes folders that became empty.

        None, with nothing done, where more than the new name would change: those have to be moved by themselves.
        """

        def step(old_parent: int, new_parent: int) -> Moved | None:
            with self._both_locked(old_parent, new_parent):
                found = self._regular(old_parent, source[-1])
                there = self._look(new_parent, target[-1], follow=False)
                if there is not None and not stat.S_ISREG(there.st_mode):
                    return None
                if there is not None and os.path.samestat(there, found):
                    return None
                if if_absent:
                    self._link(old_parent, source[-1], new_parent, target[-1])
                else:
                    self._os.rename(source[-1], target[-1], src_dir_fd=old_parent, dst_dir_fd=new_parent)
                return Moved(found, if_absent)

        return self._between(source, target, step)

    def remove_moved(self, source: Sequence[str], found: os.stat_result) -> None:
        """Take the old name from a file that has a new, synced one; nothing where the name is another file's by now."""
        try:
            parent = self._tree.open_folder(source[:-1])
        except FileNotFoundError:
            return
        try:
            locked = self._lock(parent, needed=False)
            try:
                there = self._look(parent, source[-1], follow=False)
                if there is not None and os.path.samestat(there, found):
                    self._os.unlink(source[-1], dir_fd=parent)
            finally:
                self._unlock(parent, locked=locked)
        finally:
            shut(self._os, parent)

    def _between(self, source: Sequence[str], target: Sequence[str], step: Callable[[int, int], T]) -> T:
        """What ``step`` gives for the open folders of both names; the target's is made, and synced, if missing."""
        for _ in range(_RACES):
            old_parent = self._tree.open_folder(source[:-1])
            try:
                self._regular(old_parent, source[-1])
                new_parent = self._tree.make_folder(target[:-1], durable=self._durable)
                try:
                    return step(old_parent, new_parent)
                finally:
                    shut(self._os, new_parent)
            except NotFoundError:
                raise
            except FileNotFoundError:
                # A delete removed the target's folder, or somebody the source: the next round tells which.
                continue
            finally:
                shut(self._os, old_parent)
        raise UnavailableError("the target's folder keeps being removed while it is written to; try again")

    @contextmanager
    def _both_locked(self, one: int, other: int) -> Iterator[bool]:
        """Locks on both folders while the block runs, taken in the order of their inodes; true where they are two."""
        folders = sorted({self._identity(one): one, self._identity(other): other}.items())
        locked: list[int] = []
        try:
            for _, folder in folders:
                if self._lock(folder, needed=False):
                    locked.append(folder)  # those taken before one fails have to be in it
            yield len(folders) > 1
        finally:
            for folder in locked:
                self._unlock(folder, locked=True)

    def _give_name(
        self, old_parent: int, old_name: str, new_parent: int, new_name: str, *, if_absent: bool
    ) -> os.stat_result:
        found = self._regular(old_parent, old_name)
        there = self._look(new_parent, new_name, follow=False)
        if if_absent:
            self._link(old_parent, old_name, new_parent, new_name)
            self._sync(new_parent)
            self._os.unlink(old_name, dir_fd=old_parent)
        elif there is not None and (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
            # Two names of one file: POSIX makes such a rename do nothing at all.
            self._os.unlink(old_name, dir_fd=old_parent)
        else:
            _refuse_special(there)
            self._rename(old_parent, old_name, new_parent, new_name)
        return found

    def _place(self, staged: Staged, parent: int, name: str, condition: Condition) -> None:
        assert staged.name is not None  # noqa: S101  # nobody publishes twice
        if condition.if_match is not None:
            self._check_match(parent, name, condition.if_match)
        if condition.if_absent:
            self._link(staged.folder, staged.name, parent, name)
            staged.discard()
        else:
            _refuse_special(self._look(parent, name, follow=False))
            self._rename(staged.folder, staged.name, parent, name)
            staged.name = None

    def _rename(self, old_parent: int, old_name: str, parent: int, name: str) -> None:
        try:
            self._os.rename(old_name, name, src_dir_fd=old_parent, dst_dir_fd=parent)
        except OSError as error:
            if error.errno not in {errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST}:
                raise
            self._clear_folder(parent, name)
            self._os.rename(old_name, name, src_dir_fd=old_parent, dst_dir_fd=parent)

    def _link(self, old_parent: int, old_name: str, parent: int, name: str) -> None:
        try:
            self._try_link(old_parent, old_name, parent, name)
        except FileExistsError:
            found = self._look(parent, name, follow=self._tree.follow_symlinks)
            if found is not None and stat.S_ISREG(found.st_mode):
                raise AlreadyExistsError("an object is there already") from None
            if found is None or not stat.S_ISDIR(found.st_mode):
                raise KeyConflictError(_IN_THE_WAY) from None
            self._clear_folder(parent, name)
            self._try_link(old_parent, old_name, parent, name)

    def _try_link(self, old_parent: int, old_name: str, parent: int, name: str) -> None:
        try:
            self._os.link(old_name, name, src_dir_fd=old_parent, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
                raise UnsupportedError(
                    "this file system has no hard links, which if_absent needs; use another file system"
                ) from error
            raise

    def _clear_folder(self, parent: int, name: str) -> None:
        """A folder has the object's name: remove it if it is but a left-over, holding no file at any depth."""
        if not self._tree.remove_empty_tree(parent, name):
            raise KeyConflictError(
                f'there are objects below "{name}/": the plain layout cannot hold "a" beside "a/b";'
                ' choose another key, or a storage with layout="sharded"'
            )

    def _look(self, parent: int, name: str, *, follow: bool) -> os.stat_result | None:
        try:
            return self._os.stat(name, dir_fd=parent, follow_symlinks=follow)
        except FileNotFoundError:
            return None

    def _regular(self, parent: int, name: str) -> os.stat_result:
        found = self._look(parent, name, follow=False)
        if found is None or not stat.S_ISREG(found.st_mode):
            raise NotFoundError("no such object")
        return found

    def _check_match(self, parent: int, name: str, etag: str) -> None:
        found = self._look(parent, name, follow=self._tree.follow_symlinks)
        if found is None or not stat.S_ISREG(found.st_mode):
            raise PreconditionError("if_match does not hold: there is no object")
        if etag_of(found) != etag:
            raise PreconditionError("if_match does not hold: the object was changed")

    def _refuse_missing(self, if_match: str | None) -> bool:
        if if_match is not None:
            raise PreconditionError("if_match does not hold: there is no object")
        return False

    def _identity(self, folder: int) -> tuple[int, int]:
        found = self._os.fstat(folder)
        return (found.st_dev, found.st_ino)

    def _sync(self, folder: int) -> None:
        if self._durable:
            self._os.fsync(folder)

    def _lock(self, folder: int, *, needed: bool) -> bool:
        """Lock an open folder among processes and threads, waiting within the scope; False where there are no locks.

        The end of the process ends the lock. Closing the descriptor is not enough: a child that was forked meanwhile
        shares the lock, and would keep it; so every lock is ended by `_unlock`.
        """
        waited, pause = 0.0, _FIRST_WAIT
        while True:
            try:
                self._os.flock(folder, _TRY_LOCK)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    if needed:
                        raise UnsupportedError("this file system has no locks, which if_match needs") from error
                    return False
                if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EINTR}:
                    raise
            else:
                return True
            current_scope().check()
            if waited > _LOCK_LIMIT:
                raise StorageTimeoutError(f"another process holds the object's folder for {waited:.0f} s; try again")
            self._clock.sleep(pause)
            waited, pause = waited + pause, min(pause * 2, _LONGEST_WAIT)

    def _unlock(self, folder: int, *, locked: bool) -> None:
        """End a lock before the sync, so that nobody waits for that."""
        if locked:
            with suppress(OSError):
                self._os.flock(folder, fcntl.LOCK_UN)


def _refuse_special(found: os.stat_result | None) -> None:
    """A device, FIFO or socket is not replaced: /dev/null would be a file from then on, for everybody."""
    if found is not None and not (
        stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode) or stat.S_ISDIR(found.st_mode)
    ):
        raise KeyConflictError(_IN_THE_WAY)
