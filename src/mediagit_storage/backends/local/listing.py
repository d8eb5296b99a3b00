"""Sorted, lazy listings: a walk with its own stack, so that depth costs neither recursion nor descriptors.

Memory is bounded by the names of the largest folder and those of its parents. What goes away while it is being listed
is skipped; a folder that cannot be read is an error, because a listing is complete or it fails.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from stat import S_ISREG
from typing import Final, Literal

from mediagit_storage.backends.local.commit import etag_of
from mediagit_storage.backends.local.layout import PRIVATE, Layout, PrefixStart
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.translate import ABSENT, translate
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.errors import StorageError
from mediagit_storage.events import Event, emit
from mediagit_storage.keys import sort_key
from mediagit_storage.scope import current_scope
from mediagit_storage.types import Entry, Folder, ObjectInfo

__all__ = ["Walker", "info_of", "modified_of"]

#: So many folders on the way down stay open; those above are opened again when the walk comes back to them.
_OPEN_FOLDERS: Final = 16
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
#: The scope is asked once in so many objects.
_CHECK_EVERY: Final = 128

_FIRST_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_from_timestamp: Final = datetime.fromtimestamp


class _Frame:
    """One folder on the way from the start of the walk to where it is: its entries, and the next one to look at."""

    __slots__ = ("bound", "descriptor", "entries", "identity", "name", "next", "text")

    def __init__(self, name: str, text: str, bound: str | None, descriptor: int) -> None:
        self.name = name
        self.text = text
        #: What follows ``text`` in ``start_after``: entries up to it are left out. None: all are wanted.
        self.bound = bound
        self.descriptor: int | None = descriptor
        self.identity: tuple[int, int] | None = None
        self.entries: list[str] = []
        self.next = 0


def info_of(key: str, found: os.stat_result) -> ObjectInfo:
    """What a file's status says about its object."""
    size = found.st_size
    return ObjectInfo(key, size, size, modified_of(found.st_mtime_ns), etag_of(found))


def modified_of(nanoseconds: int) -> datetime:
    """A file's time stamp; one that no calendar holds becomes the first or the last moment that it does hold."""
    try:
        # To the microsecond exact until the year 2242: half a microsecond is more than such a float rounds by.
        return _from_timestamp(nanoseconds // 1000 / 1e6, UTC)
    except (ValueError, OverflowError, OSError):
        return _FIRST_MOMENT if nanoseconds < 0 else _LAST_MOMENT


class Walker:
    """Lists one root in one layout."""

    def __init__(self, system: OperatingSystem, tree: Tree, layout: Layout) -> None:
        self._os = system
        self._tree = tree
        self._layout = layout

    def walk(self, prefix: str, start_after: str | None, *, level: bool) -> Iterator[Entry]:
        """Objects (and with ``level`` one `Folder` for all below the next ``/``) in the order of their keys."""
        try:
            begin = self._layout.start(prefix)
            frames = [] if begin is None else self._first_frame(begin, start_after)
            if begin is None or not frames:
                if not self._tree.root_exists():
                    raise self._tree.missing_root()
                return
            try:
                yield from self._run(frames, begin, len(prefix) if level else None)
            finally:
                for frame in frames:
                    self._close(frame)
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def _run(self, frames: list[_Frame], begin: PrefixStart, level: int | None) -> Iterator[Entry]:
        layout, scope = self._layout, current_scope()
        last_folder: str | None = None
        while frames:
            frame = frames[-1]
            if frame.next >= len(frame.entries):
                self._close(frame)
                frames.pop()
                continue
            if frame.descriptor is None and not self._reopen(frames, begin):
                continue
            scope.check()
            if not layout.is_folder(frame.entries[frame.next]):
                if level is None:
                    yield from self._objects(frame)
                    continue
                info = self._next_object(frame)
                if info is None:
                    continue
                slash = info.key.find("/", level)
                if slash < 0:
                    yield info
                elif info.key != last_folder:
                    last_folder = info.key
                    yield Folder(info.key)
                continue
            entry = frame.entries[frame.next]
            frame.next += 1
            text = frame.text + layout.piece(entry)
            if level is None or text.find("/", level) < 0:
                self._enter(frames, entry, text)
            elif (
                text != last_folder
                and not _within_bound(frame, layout.piece(entry))
                and self._is_used(frame, entry, text)
            ):
                last_folder = text
                yield Folder(text)

    def _objects(self, frame: _Frame) -> Iterator[ObjectInfo]:
        """The objects of a folder up to its next sub-folder: the inner loop of every long listing."""
        layout, status, scope = self._layout, self._os.stat, current_scope()
        marks, piece, is_piece = layout.folder_marks, layout.piece, not layout.any_key
        entries, text, folder, follow = frame.entries, frame.text, frame.descriptor, self._tree.follow_symlinks
        for index in range(frame.next, len(entries)):
            entry = entries[index]
            if entry[-1] in marks:
                return
            frame.next = index + 1
            if not index % _CHECK_EVERY:
                scope.check()
            try:
                found = status(entry, dir_fd=folder, follow_symlinks=follow)
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise
            if S_ISREG(found.st_mode):
                yield info_of(text + (entry if is_piece else piece(entry)), found)
            if frame.descriptor is None:
                return

    def _next_object(self, frame: _Frame) -> ObjectInfo | None:
        entry = frame.entries[frame.next]
        frame.next += 1
        try:
            found = self._os.stat(
                self._layout.disk_name(entry), dir_fd=frame.descriptor, follow_symlinks=self._tree.follow_symlinks
            )
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        return info_of(frame.text + self._layout.piece(entry), found) if S_ISREG(found.st_mode) else None

    def _first_frame(self, begin: PrefixStart, start_after: str | None) -> list[_Frame]:
        bound = None
        if start_after is not None:
            if start_after.startswith(begin.text):
                bound = start_after[len(begin.text) :]
            elif _order(start_after) > _order(begin.text):
                return []
        try:
            descriptor = self._tree.open_folder(begin.folders)
        except OSError as error:
            if error.errno in ABSENT and not isinstance(error, StorageError):
                return []
            raise
        frame = _Frame("", begin.text, bound, descriptor)
        try:
            if self._tree.follow_symlinks:
                frame.identity = self._identity(descriptor)
            self._load(frame, begin.rest)
        except BaseException:
            self._close(frame)
            raise
        return [frame]

    def _enter(self, frames: list[_Frame], entry: str, text: str) -> None:
        """Go down into a folder; nothing happens if it is gone."""
        parent = frames[-1]
        piece = self._layout.piece(entry)
        bound = parent.bound[len(piece) :] if parent.bound is not None and _within_bound(parent, piece) else None
        name = self._layout.disk_name(entry)
        assert parent.descriptor is not None  # noqa: S101  # the walk opened it again before it looked at the entry
        try:
            descriptor = self._tree.open_subfolder(parent.descriptor, name)
        except OSError as error:
            if error.errno in _GONE:
                return
            raise
        frame = _Frame(name, text, bound, descriptor)
        try:
            if self._tree.follow_symlinks:
                frame.identity = self._identity(descriptor)
                if any(frame.identity == above.identity for above in frames):
                    self._skipped(text, "a symbolic link leads back to a folder that it is in")
                    self._close(frame)
                    return
            self._load(frame, "")
        except BaseException:
            self._close(frame)
            raise
        frames.append(frame)
        if len(frames) > _OPEN_FOLDERS:
            self._close(frames[-1 - _OPEN_FOLDERS])

    def _load(self, frame: _Frame, rest: str) -> None:
        """Read a folder's names and put its cursor behind what ``start_after`` leaves out."""
        assert frame.descriptor is not None  # noqa: S101  # just opened
        folders, files = self._names(frame.descriptor, frame.text)
        layout = self._layout
        frame.entries, foreign = layout.entries(frame.text, rest, folders, files)
        for name in foreign:
            self._skipped(frame.text + name, "the name is not one that this layout writes")
        bound = frame.bound
        if bound is not None:
            cut = bisect_right(frame.entries, _order(bound), key=lambda entry: _order(layout.piece(entry)))
            if (
                cut
                and layout.is_folder(frame.entries[cut - 1])
                and bound.startswith(layout.piece(frame.entries[cut - 1]))
            ):
                cut -= 1
            frame.next = cut

    def _names(self, descriptor: int, text: str) -> tuple[list[str], list[str]]:
        folders: list[str] = []
        files: list[str] = []
        follow = self._tree.follow_symlinks
        with self._os.scandir(descriptor) as found:
            for entry in found:
                if entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif follow and entry.is_symlink() and (kind := _leads_to(entry)):
                    (folders if kind == "folder" else files).append(entry.name)
                else:
                    self._skipped(text + entry.name, "it is a link, a FIFO, a socket or a device, and so no object")
        if PRIVATE in folders:  # our own, or that of a storage whose root lies further down
            folders.remove(PRIVATE)
        return folders, files

    def _is_used(self, frame: _Frame, entry: str, text: str) -> bool:
        """Whether there is an object below a folder: a look at its own files first, which nearly always settles it."""
        assert frame.descriptor is not None  # noqa: S101  # the walk opened it again before it looked at the entry
        try:
            descriptor = self._tree.open_subfolder(frame.descriptor, self._layout.disk_name(entry))
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        try:
            with self._os.scandir(descriptor) as found:
                for each in found:
                    if each.is_file(follow_symlinks=False) and self._layout.entries(text, "", (), (each.name,))[0]:
                        return True
        finally:
            shut(self._os, descriptor)
        return next(self.walk(text, None, level=False), None) is not None

    def _reopen(self, frames: list[_Frame], begin: PrefixStart) -> bool:
        """Open the last few folders of the way again; a way that is gone ends here with all that was left of it."""
        for frame in frames:  # some may be open still if the way broke off before
            self._close(frame)
        keep = len(frames) - _OPEN_FOLDERS // 2
        opened = -1
        try:
            opened = self._tree.open_folder(begin.folders)
            for depth, frame in enumerate(frames):
                if depth:
                    child = self._tree.open_subfolder(opened, frame.name)
                    if depth - 1 < keep:
                        shut(self._os, opened)
                    opened = child
                if depth >= keep:
                    frame.descriptor = opened
        except OSError as error:
            if opened >= 0 and all(frame.descriptor != opened for frame in frames):
                shut(self._os, opened)
            if error.errno not in _GONE:
                raise
            frames[-1].entries = []
            return False
        return True

    def _identity(self, descriptor: int) -> tuple[int, int]:
        found = self._os.fstat(descriptor)
        return (found.st_dev, found.st_ino)

    def _skipped(self, key: str, why: str) -> None:
        message = f"left out of the listing: {key!r}: {why}"
        emit(Event("local.skipped", message, key, {"root": self._tree.root}))

    def _close(self, frame: _Frame) -> None:
        descriptor, frame.descriptor = frame.descriptor, None
        if descriptor is not None:
            shut(self._os, descriptor)


def _leads_to(link: os.DirEntry[str]) -> Literal["folder", "file"] | None:
    try:
        return "folder" if link.is_dir() else "file" if link.is_file() else None
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _within_bound(frame: _Frame, piece: str) -> bool:
    return frame.bound is not None and frame.bound.startswith(piece)


def _order(text: str) -> bytes:
    """Like `sort_key`, for any text that a caller may name, however broken."""
    try:
        return sort_key(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
