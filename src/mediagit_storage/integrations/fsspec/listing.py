"""Folders where there are only keys: what a path lists, and what is known of it, as fsspec wants it told.

A folder is there while a key begins with its name and a ``/``. An object whose key ends with ``/`` (other programs
mark empty folders so) makes its folder be there, and is not listed itself: no path leads to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TypeAlias

from mediagit_storage.closable import closable
from mediagit_storage.errors import BucketNotFoundError, NotFoundError
from mediagit_storage.integrations.fsspec.places import Place, Places
from mediagit_storage.keys import parent_prefixes
from mediagit_storage.types import Folder, ObjectInfo

__all__ = ["Info", "children", "file_info", "folder_info", "info_of", "is_folder", "tree"]

#: What fsspec calls info: ``name`` (the path), ``size``, ``type``, and what else is known.
Info: TypeAlias = dict[str, object]


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
    places: Places, path: str, *, depth: int | None = None, withdirs: bool = False, exact: bool = False
) -> dict[str, Info]:
    """Everything below a path, by path, ``depth`` levels deep; the folder itself is among its folders.

    A path that is an object is all there is. Nothing at all is an empty result. Without a depth it is one flat listing.
    """
    found = _of_roots(places, depth, exact=exact) if _is_top(places, path) else _below(places.place(path), depth, exact)
    if not withdirs:
        found = {name: info for name, info in found.items() if info["type"] != "directory"}
    elif found and path:
        found.setdefault(path, folder_info(path))
    if not found and not _is_top(places, path):
        place = places.place(path)
        if place.key:
            found = _alone(place, withdirs=withdirs)
    return dict(sorted(found.items()))


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


def _of_roots(places: Places, depth: int | None, *, exact: bool) -> dict[str, Info]:
    found: dict[str, Info] = {}
    for name in places.roots() or ():
        found[name] = folder_info(name)
        if depth is None or depth > 1:
            found.update(_below(places.place(name), None if depth is None else depth - 1, exact))
    return found


def _below(place: Place, depth: int | None, exact: bool) -> dict[str, Info]:  # of this module only
    if depth is None:
        return _flat(place, exact=exact)
    found: dict[str, Info] = {}
    for info in children(place, exact=exact) or ():
        name = str(info["name"])
        # An object has the name before a folder of that name.
        found.setdefault(name, info)
        if depth > 1 and info["type"] == "directory":
            inner = place._replace(key=name.removeprefix(place.lead))
            found = {**_below(inner, depth - 1, exact), **found}
    return found


def _flat(place: Place, *, exact: bool) -> dict[str, Info]:
    found: dict[str, Info] = {}
    for info in place.store.list(place.prefix, exact=exact):
        for folder in _folders_between(info.key, len(place.prefix)):
            found.setdefault(place.lead + folder, folder_info(place.lead + folder))
        if not info.key.endswith("/"):
            # An object has the name before a folder of that name.
            found[place.lead + info.key] = file_info(place.lead, info)
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
