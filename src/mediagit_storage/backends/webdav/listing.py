"""Sorted, lazy listings: a walk from folder to folder, those that come next being asked for side by side beforehand.

A folder's name is sorted with its ``/``: everything below it comes exactly there. Memory is bounded by the largest
folder, times those that are read ahead. What goes away while it is being listed is skipped.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final, Generic, TypeAlias, TypeVar

from mediagit_storage.backends.webdav.addressing import is_unholdable
from mediagit_storage.backends.webdav.client import DavClient
from mediagit_storage.backends.webdav.folders import Child, FolderReader, Level
from mediagit_storage.backends.webdav.reading import info_of
from mediagit_storage.backends.webdav.temporary import APART, parse_temporary
from mediagit_storage.ending import Pool
from mediagit_storage.keys import sort_key
from mediagit_storage.scope import context_inside, current_scope, inner_scope
from mediagit_storage.types import Entry, Folder, ListOptions, ObjectInfo, PendingUpload

__all__ = ["DavLister"]

T = TypeVar("T")

# Within the class `list` is the method.
_List: TypeAlias = list

#: The scope is asked once in so many objects.
_CHECK_EVERY: Final = 128


class _Ahead(Generic[T]):
    """Answers a question about folders, and begins with those that are said to come next. For one thread."""

    def __init__(self, ask: Callable[[str], T], concurrency: int) -> None:
        self._ask = ask
        self._concurrency = concurrency
        self._begun: dict[str, Future[T]] = {}
        self._inside = inner_scope()
        self._threads: Pool | None = None

    def answer(self, folder: str, following: Iterator[str]) -> T:
        """About ``folder``; meanwhile about some of ``following``, of which no more is taken than is begun."""
        own = self._begun.pop(folder, None)
        if own is None:
            own = self._begin(folder) if self._threads is not None else None
        for each in following:
            if len(self._begun) >= self._concurrency - 1:
                break
            if each not in self._begun:
                self._begun[each] = self._begin(each)
        return self._ask(folder) if own is None else own.result()

    def _begin(self, folder: str) -> Future[T]:
        if self._threads is None:
            # A listing of one folder needs none.
            self._threads = Pool(self._concurrency, thread_name_prefix="mgs-webdav-list")
        return self._threads.submit(context_inside(self._inside).run, self._ask, folder)

    def close(self) -> None:
        """Stop what travels and wait for it."""
        if self._threads is not None:
            self._inside.cancel()
            self._threads.shutdown(wait=True, cancel_futures=True)


class _Frame:
    """A folder on the way: what is in it, and what comes next."""

    __slots__ = ("_places", "children", "folder", "next")

    def __init__(self, folder: str, children: list[Child], begin: int = 0) -> None:
        self.folder = folder
        self.children = children
        self.next = begin
        # Looked at again and again, while there may be a million files between two of them.
        self._places = [place for place, child in enumerate(children) if child.resource.folder]

    def folders(self) -> Iterator[str]:
        """The folders in it that are still to come."""
        for index in range(bisect_left(self._places, self.next), len(self._places)):
            yield self.folder + self.children[self._places[index]].name


class DavLister:
    """Lists one storage."""

    def __init__(self, client: DavClient, *, concurrency: int) -> None:
        self._client = client
        self._folders = FolderReader(client)
        self._concurrency = concurrency

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All objects under a prefix."""
        begin = self._begin(prefix, options.start_after)
        if begin is None:
            return
        ahead = _Ahead(self._folders.read, self._concurrency)
        try:
            yield from self._walk([begin], options.start_after, ahead)
        finally:
            ahead.close()

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level. A folder is shown when an object is found in it."""
        after = options.start_after
        frame = self._begin(prefix, after)
        if frame is None:
            return
        # What lies within a folder that is itself left out starts behind it.
        bound = None if after is None else sort_key_of(after)
        scope = current_scope()
        ahead = _Ahead(self._folders.is_used, self._concurrency)
        try:
            while frame.next < len(frame.children):
                scope.check()
                child = frame.children[frame.next]
                frame.next += 1
                name = frame.folder + child.name
                if bound is not None and sort_key(name) <= bound:
                    continue
                if not child.resource.folder:
                    yield info_of(name, child.resource)
                elif ahead.answer(name, frame.folders()):
                    yield Folder(name)
        finally:
            ahead.close()

    def _begin(self, prefix: str, start_after: str | None) -> _Frame | None:
        """The folder that a prefix leads to, with what begins with the rest of it; None where there is nothing."""
        folder, slash, rest = prefix.rpartition("/")
        folder += slash
        if folder and is_unholdable(folder[:-1]):
            self._client.prove_base()
            return None
        level = self._folders.read(folder)
        if level is None:
            self._client.prove_base()
            return None
        children = level.children
        if rest:
            children = [child for child in children if child.name.startswith(rest)]
        return _Frame(folder, children, _cut(folder, children, start_after))

    def _walk(
        self, frames: _List[_Frame], start_after: str | None, ahead: _Ahead[Level | None]
    ) -> Iterator[ObjectInfo]:
        scope = current_scope()
        count = 0
        while frames:
            frame = frames[-1]
            if frame.next >= len(frame.children):
                frames.pop()
                continue
            child = frame.children[frame.next]
            frame.next += 1
            name = frame.folder + child.name
            if not child.resource.folder:
                if not count % _CHECK_EVERY:
                    scope.check()
                count += 1
                yield info_of(name, child.resource)
                continue
            scope.check()
            level = ahead.answer(name, _upcoming(frames))
            if level is not None:
                frames.append(_Frame(name, level.children, _cut(name, level.children, start_after)))

    # ---- unfinished uploads

    def uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Unfinished uploads whose object's key begins with a prefix: every folder there is looked into."""
        folder, slash, _ = prefix.rpartition("/")
        folder += slash
        if folder and is_unholdable(folder[:-1]):
            return
        ahead = _Ahead(self._folders.read, self._concurrency)
        try:
            yield from self._uploads([folder], prefix, ahead)
        finally:
            ahead.close()

    def _uploads(self, waiting: _List[str], prefix: str, ahead: _Ahead[Level | None]) -> Iterator[PendingUpload]:
        scope = current_scope()
        first = True
        while waiting:
            scope.check()
            folder = waiting.pop()
            level = ahead.answer(folder, iter(waiting[::-1][: self._concurrency]))
            if level is None:
                if first:
                    self._client.prove_base()
                continue
            first = False
            found = [*self._in_folder(folder, level)]
            found.sort(key=lambda upload: (sort_key(upload.key), upload.started))
            yield from (each for each in found if each.key.startswith(prefix))
            inner = [folder + child.name for child in level.children if child.resource.folder]
            waiting += reversed([each for each in inner if each.startswith(prefix) or prefix.startswith(each)])

    def _in_folder(self, folder: str, level: Level) -> Iterator[PendingUpload]:
        for child in level.hidden:
            if child.name == APART:
                apart = self._folders.read(folder + APART)
                within = [] if apart is None else [(folder + APART, each) for each in apart.hidden]
            else:
                within = [(folder, child)]
            for place, each in within:
                upload = _pending(folder, place, each)
                if upload is not None:
                    yield upload


def _pending(around: str, folder: str, child: Child) -> PendingUpload | None:
    parsed = parse_temporary(child.name.removesuffix("/"))
    if parsed is None:
        return None
    key = around + parsed.name + ("/" if child.resource.folder else "")
    return PendingUpload(key, folder + child.name, parsed.started, child.resource.size, child.resource.modified)


def _upcoming(frames: list[_Frame]) -> Iterator[str]:
    """The folders that the walk comes to after the present one, as far as they are known."""
    for frame in reversed(frames):
        yield from frame.folders()


def _cut(folder: str, children: list[Child], start_after: str | None) -> int:
    """Where to begin in a folder: behind ``start_after``, but within the folder that it leads into."""
    if start_after is None:
        return 0
    if not start_after.startswith(folder):
        return len(children) if sort_key_of(start_after) > sort_key_of(folder) else 0
    rest = start_after[len(folder) :]
    cut = bisect_right(children, sort_key_of(rest), key=lambda child: sort_key(child.name))
    if cut and children[cut - 1].resource.folder and rest.startswith(children[cut - 1].name):
        cut -= 1
    return cut


def sort_key_of(text: str) -> bytes:
    """Like `sort_key`, for any text that a caller may name, however broken."""
    try:
        return sort_key(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
