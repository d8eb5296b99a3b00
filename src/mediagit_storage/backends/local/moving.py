"""Many objects that get other names and share their syncs, so that durable moves cost little.

A group of files is renamed one after the other, then all names are synced together; only then are folders that became
empty removed, and the moves told of. A rename is one step of the file system: a crash leaves the old name, the new
one, or both. A create-only move needs two (link, then unlink), so its old name goes after a sync of the new one; and a
name that was left is taken by another only after a sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOSYS, ENOTSUP
from os import stat_result
from typing import Final

from mediagit_storage.backends.local.commit import Moved, Publisher
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.translate import ABSENT, translate
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.clock import Clock
from mediagit_storage.errors import NotFoundError, StorageError
from mediagit_storage.facets import Relocated, Relocation
from mediagit_storage.scope import current_scope
from mediagit_storage.types import ObjectInfo

__all__ = ["MoveGroups"]

#: How large a group may become before it is synced: objects, and seconds since its first.
_OBJECTS: Final = 1024
_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Member:
    operation: Relocation
    source: Sequence[str]
    moved: Moved
    error: Exception | None = None


class MoveGroups:
    """Moves files within one root, group by group. ``names`` splits the two keys of a move, or refuses it."""

    def __init__(
        self,
        system: OperatingSystem,
        tree: Tree,
        clock: Clock,
        publisher: Publisher,
        *,
        names: Callable[[Relocation], tuple[Sequence[str], Sequence[str]] | None],
        info: Callable[[str, stat_result], ObjectInfo],
        durable: bool,
    ) -> None:
        self._os = system
        self._tree = tree
        self._clock = clock
        self._publisher = publisher
        self._names = names
        self._info = info
        self._durable = durable

    def run(self, operations: Iterator[Relocation], alone: Callable[[Relocation], ObjectInfo]) -> Iterator[Relocated]:
        """All of it. What cannot be done in a group is done by ``alone``, one object after the other and durably."""
        root = self._open_root()
        group: list[_Member] = []
        left: set[str] = set()
        try:
            scope = current_scope()
            since = self._clock.monotonic()
            together = self._sync(root)
            for operation in operations:
                scope.check()
                if operation.target in left:
                    # A name that is free, or not even that, only once its object is safe under the new one.
                    yield from self._commit(root, group)
                if not group:
                    left.clear()
                    since = self._clock.monotonic()
                moved = self._move(operation) if together else None
                if isinstance(moved, _Member):
                    group.append(moved)
                    left.add(operation.source)
                elif moved is not None:
                    yield moved
                if len(group) >= _OBJECTS or moved is None or self._clock.monotonic() - since >= _SECONDS:
                    yield from self._commit(root, group)
                if moved is None:
                    yield _alone(operation, alone)
            yield from self._commit(root, group)
        finally:
            # Also when it ends early: what has two names loses the old one, and what was moved is durable.
            try:
                self._commit(root, group)
            finally:
                shut(self._os, root)

    def _open_root(self) -> int:
        # Before anything moves: `syncfs` reports what went wrong since its descriptor was opened.
        try:
            return self._tree.open_root()
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def _sync(self, root: int) -> bool:
        """Sync the whole file system; False where there is no such thing."""
        if not self._durable:
            return True
        try:
            self._os.syncfs(root)
        except OSError as error:
            if error.errno in {ENOTSUP, ENOSYS}:
                return False
            raise translate(error) from error
        return True

    def _move(self, operation: Relocation) -> _Member | Relocated | None:
        """A new member of the group, or how it failed; None for what cannot be done in a group."""
        try:
            names = self._names(operation)
            if names is None:
                return None
            source, target = names
            moved = self._publisher.move_unsynced(source, target, if_absent=operation.if_absent)
            return None if moved is None else _Member(operation, source, moved)
        except StorageError as error:
            return Relocated(operation, None, error)
        except OSError as error:
            if error.errno in ABSENT:
                return Relocated(operation, None, NotFoundError("no such object"))
            return Relocated(operation, None, translate(error))

    def _commit(self, root: int, members: list[_Member]) -> list[Relocated]:
        """Make durable what was moved, and tell of it."""
        group = [*members]
        members.clear()
        if not group:
            return []
        try:
            self._sync(root)
            linked = [each for each in group if each.moved.linked]
            for each in linked:
                self._unlink(each)
            if linked:
                self._sync(root)
        except StorageError as error:
            return [Relocated(each.operation, None, each.error or error) for each in group]
        # Not before: an empty folder that goes takes a name with it that a crash would still need.
        for parent in dict.fromkeys(tuple(each.source[:-1]) for each in group if len(each.source) > 1):
            self._tree.remove_empty_parents(parent)
        return [
            Relocated(each.operation, None, each.error)
            if each.error is not None
            else Relocated(each.operation, self._info(each.operation.target, each.moved.found), None)
            for each in group
        ]

    def _unlink(self, member: _Member) -> None:
        try:
            self._publisher.remove_moved(member.source, member.moved.found)
        except StorageError as error:
            member.error = error
        except OSError as error:
            member.error = translate(error)


def _alone(operation: Relocation, alone: Callable[[Relocation], ObjectInfo]) -> Relocated:
    try:
        return Relocated(operation, alone(operation), None)
    except Exception as error:  # noqa: BLE001  # one object's failure is its own
        return Relocated(operation, None, error)
