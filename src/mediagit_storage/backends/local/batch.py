"""Many operations in one thread; and groups of puts that share their syncs, so that durable puts cost little.

A group of puts is written without a sync, then its bytes are synced together, then all get their names, then the
names are synced together; only then are its completions handed out. A crash leaves for each object the old content or
the new one, and for each that was completed the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import ENOSYS, ENOTSUP
from typing import Final

from mediagit_storage.backend import Completion, Content, Operation, PutOperation
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.staging import Staged
from mediagit_storage.backends.local.translate import translate
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.clock import Clock
from mediagit_storage.errors import StorageError
from mediagit_storage.scope import current_scope
from mediagit_storage.types import ObjectInfo

__all__ = ["GROUP_BYTES", "GroupBounds", "PutGroup", "StagedPut", "run_batch"]

#: The most that waits in a group, in bytes.
GROUP_BYTES: Final = 64 * 1024 * 1024

#: How long to wait before asking again for an operation when there is none and nothing else to do, in seconds.
_IDLE: Final = 0.001


@dataclass(frozen=True, slots=True)
class GroupBounds:
    """How large a group of puts may become before it is synced: objects, bytes, and seconds since its first."""

    objects: int = 1024
    size: int = GROUP_BYTES
    seconds: float = 1.0


@dataclass(slots=True)
class StagedPut:
    """One put of a group: written, closed, and without a name yet; ``error`` once it has failed."""

    operation: PutOperation
    info: ObjectInfo
    staged: Staged
    publish: Callable[[Staged, bool], None]
    error: Exception | None = None


class PutGroup:
    """The puts that wait for their common sync. `add` writes one; `commit` makes all durable and tells how it went."""

    def __init__(
        self,
        system: OperatingSystem,
        tree: Tree,
        clock: Clock,
        stage: Callable[[PutOperation], StagedPut],
        bounds: GroupBounds,
    ) -> None:
        self._os = system
        self._tree = tree
        self._clock = clock
        self._stage = stage
        self._bounds = bounds
        self._members: list[StagedPut] = []
        self._size = 0
        self._since = 0.0
        self._root: int | None = None

    def add(self, operation: PutOperation) -> None:
        """Write one object's temporary file. Whatever is wrong with it raises, and leaves the group as it was."""
        if self._root is None:
            # Opened before anything is written: `syncfs` reports what went wrong since its descriptor was opened.
            try:
                self._root = self._tree.open_root()
            except StorageError:
                raise
            except OSError as error:
                raise translate(error) from error
            self._since = self._clock.monotonic()
        member = self._stage(operation)
        self._members.append(member)
        self._size += member.info.size or 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._members

    @property
    def full(self) -> bool:
        """Whether it is time to commit."""
        return bool(self._members) and (
            len(self._members) >= self._bounds.objects
            or self._size >= self._bounds.size
            or self._clock.monotonic() - self._since >= self._bounds.seconds
        )

    def commit(self) -> list[Completion]:
        """Sync, place and sync again; one completion for each put that was added, in that order."""
        members = self._members
        if not members or self._root is None:
            return []
        try:
            together = self._sync_all(self._root, members)
            for member in members:
                if member.error is None:
                    _attempt(member, lambda each: each.publish(each.staged, not together))
            if together:
                self._sync_names(self._root, members)
        finally:
            self.abandon()
        return [
            Completion(member.operation, member.info if member.error is None else None, member.error)
            for member in members
        ]

    def abandon(self) -> None:
        """Remove what has no name yet, and begin anew."""
        members, self._members, self._size = self._members, [], 0
        for member in members:
            member.staged.discard()
        root, self._root = self._root, None
        if root is not None:
            shut(self._os, root)

    def _sync_all(self, root: int, members: list[StagedPut]) -> bool:
        """Write the bytes of all to disk; False if that had to be done file by file, as names then have to be too."""
        try:
            self._os.syncfs(root)
        except OSError as error:
            if error.errno not in {ENOTSUP, ENOSYS}:
                for member in members:
                    member.error = translate(error)
                return True
        else:
            return True
        for member in members:
            _attempt(member, lambda each: self._sync_one(each.staged))
        return False

    def _sync_one(self, staged: Staged) -> None:
        try:
            opened = self._os.open(str(staged.name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=staged.folder)
            try:
                self._os.fsync(opened)
            finally:
                shut(self._os, opened)
        except OSError as error:
            raise translate(error) from error

    def _sync_names(self, root: int, members: list[StagedPut]) -> None:
        try:
            self._os.syncfs(root)
        except OSError as error:
            for member in members:
                member.error = member.error or translate(error)


def _attempt(member: StagedPut, step: Callable[[StagedPut], None]) -> None:
    try:
        step(member)
    except Exception as error:  # noqa: BLE001  # one object's failure is that object's completion
        member.error = error


def run_batch(
    operations: Iterator[Operation | None],
    perform: Callable[[Operation], Content | ObjectInfo | None],
    group: PutGroup | None,
) -> Iterator[Completion]:
    """Carry out operations one after the other; puts by ``group`` if there is one. See `StorageBackend.batch`.

    Nothing is read ahead: at most one body is in memory. Puts that wait in a group hold no descriptor, only what
    their sources hold, which the group's bounds limit.
    """
    scope = current_scope()
    try:
        for operation in operations:
            scope.check()
            if operation is None:
                if group is not None and not group.empty:
                    yield from group.commit()
                else:
                    scope.sleep(_IDLE)
                continue
            if group is not None and isinstance(operation, PutOperation):
                try:
                    group.add(operation)
                except Exception as error:  # noqa: BLE001  # as for every operation: it is its completion
                    yield Completion(operation, None, error)
            else:
                yield _completed(operation, perform)
            if group is not None and group.full:
                yield from group.commit()
        if group is not None:
            yield from group.commit()
    finally:
        if group is not None:
            group.abandon()


def _completed(operation: Operation, perform: Callable[[Operation], Content | ObjectInfo | None]) -> Completion:
    try:
        return Completion(operation, perform(operation), None)
    except Exception as error:  # noqa: BLE001  # one operation's failure is its completion
        return Completion(operation, None, error)
