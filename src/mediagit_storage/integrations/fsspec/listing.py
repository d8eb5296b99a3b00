"""Folders where there are only keys: what a path lists, and what is known of it, as fsspec wants it told.

A folder is there while a key begins with its name and a ``/``. An object whose key ends with ``/`` (other programs
mark empty folders so) makes its folder be there, and is not listed itself: no path leads to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.closable import closable
from mediagit_storage.errors import BucketNotFoundError, NotFoundError, UnsupportedError
from mediagit_storage.integrations.fsspec.places import Place, Places
from mediagit_storage.keys import parent_prefixes
from mediagit_storage.types import Folder, ObjectInfo

__all__ = [
    "Info",
    "children",
    "file_info",
    "folder_info",
    "info_of",
    "is_folder",
    "known_size",
    "only_type",
    "tree",
    "type_and_size",
]

#: What fsspec calls info: ``name`` (the path), ``size``, ``type``, and what else is known.
Info: TypeAlias = dict[str, object]

#: Makes an info of an object, given what stands in front of its key in paths.
Telling: TypeAlias = Callable[[str, ObjectInfo], Info]

_AN_OBJECT: Final[Info] = {"type": "file"}


def folder_info(path: str) -> Info:
    """A folder."""
    return {"name": path, "size": 0, "type": "directory"}


def file_info(lead: str, info: ObjectInfo) -> Info:
    """An object. ``mtime`` is aware UTC; ``etag``, ``version``, ``content_type`` and ``metadata`` where they are known."""
    told: Info = {"name": lead + info.key, "size": info.size, "type": "file", "mtime": info.modified}
    if info.etag is not None:
        told["etag"] = info.etag
    if info.version is not None:
        told["version"] = info.version
    if info.attributes is not None and info.attributes.content_type is not None:
        told["content_type"] = info.attributes.content_type
    if info.attributes is not None and info.attributes.metadata:
        told["metadata"] = dict(info.attributes.metadata)
    return told


def only_type(_lead: str, _info: ObjectInfo) -> Info:
    """That it is an object: the same small answer for a million of them. Treat it as immutable."""
    return _AN_OBJECT


def type_and_size(_lead: str, info: ObjectInfo) -> Info:
    """That it is an object, and its size if that is known."""
    return {"type": "file", "size": info.size}


def known_size(info: ObjectInfo) -> int:
    """The object's size; an `UnsupportedError` where the storage does not tell it, which is not to be taken for empty."""
    if info.size is None:
        raise UnsupportedError("the storage does not tell how large the object is", operation="stat", key=info.key)
    return info.size


def is_folder(place: Place) -> bool:
    """Whether any key lies below. The root of a storage is a folder, however empty. One request at most."""
    if not place.key:
        return True
    with closing(closable(place.store.list(place.prefix))) as found:
        return next(found, None) is not None


def info_of(place: Place) -> Info:
    """An object, else a folder; one request for the first and two for the second. Raises `NotFoundError`."""
    if not place.key:
        return folder_info(place.path)
    try:
        return file_info(place.lead, place.store.stat(place.key))
    except BucketNotFoundError:
        raise
    except NotFoundError:
        if is_folder(place):
            return folder_info(place.path)
        raise


def children(place: Place, *, exact: bool) -> list[Info] | None:
    """What lies directly in a folder, sorted; None where there is no such folder. ``exact`` as in `Storage.list_dir`."""
    found: list[Info] = []
    anything = not place.key
    for entry in place.store.list_dir(place.prefix, exact=exact):
        anything = True
        if isinstance(entry, ObjectInfo):
            if not entry.key.endswith("/"):
                found.append(file_info(place.lead, entry))
        elif _has_path(entry, place):
            found.append(folder_info(place.lead + entry.prefix.removesuffix("/")))
    return found if anything else None


def tree(
    places: Places,
    path: str,
    *,
    depth: int | None = None,
    withdirs: bool = False,
    exact: bool = False,
    told: Telling = file_info,
) -> dict[str, Info]:
    """Everything below a path, by path, ``depth`` levels deep; the folder itself is among its folders.

    A path that is an object is all there is. Nothing at all is an empty result. Without a depth it is one flat listing.
    All of it is in memory: how much that is for each object says ``told``.
    """
    search = _Search(exact=exact, withdirs=withdirs, told=told)
    found = search.of_roots(places, depth) if _is_top(places, path) else search.below(places.place(path), depth)
    if withdirs and found and path:
        found.setdefault(path, folder_info(path))
    if not found and not _is_top(places, path):
        place = places.place(path)
        if place.key:
            found = _alone(place, withdirs=withdirs)
    return {name: found[name] for name in sorted(found)}


def _is_top(places: Places, path: str) -> bool:
    """Whether a path stands for all storages."""
    return not path and places.roots() is not None


def _alone(place: Place, *, withdirs: bool) -> dict[str, Info]:
    """The object, or the folder with nothing to show in it."""
    try:
        info = info_of(place)
    except BucketNotFoundError:
        raise
    except NotFoundError:
        return {}
    return {place.path: info} if info["type"] == "file" or withdirs else {}


class _Search(NamedTuple):
    """What to look for."""

    exact: bool
    withdirs: bool
    told: Telling

    def of_roots(self, places: Places, depth: int | None) -> dict[str, Info]:
        """In every storage."""
        found: dict[str, Info] = {}
        for name in places.roots() or ():
            if self.withdirs:
                found[name] = folder_info(name)
            if depth is None or depth > 1:
                found.update(self.below(places.place(name), None if depth is None else depth - 1))
        return found

    def below(self, place: Place, depth: int | None) -> dict[str, Info]:
        """In one folder."""
        if depth is None:
            return self._flat(place)
        found: dict[str, Info] = {}
        for info in children(place, exact=self.exact) or ():
            name = str(info["name"])
            folder = info["type"] == "directory"
            if not folder:
                # An object has the name before a folder of that name.
                found[name] = info
            elif self.withdirs:
                found.setdefault(name, info)
            if folder and depth > 1:
                inner = self.below(place._replace(key=name.removeprefix(place.lead)), depth - 1)
                found = {**inner, **found}
        return found

    def _flat(self, place: Place) -> dict[str, Info]:
        found: dict[str, Info] = {}
        for info in place.store.list(place.prefix, exact=self.exact):
            if self.withdirs:
                for folder in _folders_between(info.key, len(place.prefix)):
                    found.setdefault(place.lead + folder, folder_info(place.lead + folder))
            if not info.key.endswith("/"):
                # An object has the name before a folder of that name.
                found[place.lead + info.key] = self.told(place.lead, info)
        return found


def _folders_between(key: str, start: int) -> Iterator[str]:
    """The folders above a key and below the first ``start`` characters, but those that no path leads to."""
    folders = [*parent_prefixes(key), key] if key.endswith("/") else parent_prefixes(key)
    for folder in folders:
        name = folder.removesuffix("/")
        if len(folder) > start and name and not name.endswith("/"):
            yield name


def _has_path(folder: Folder, place: Place) -> bool:
    """Not a folder without a name: of a path, what is empty at the end is cut off."""
    return folder.prefix != f"{place.prefix}/"
