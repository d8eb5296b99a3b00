"""What is there, as fsspec asks for it: the half of the filesystem that lists and looks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from glob import has_magic
from typing import Literal

from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from mediagit_storage.closable import closable
from mediagit_storage.errors import (
    BucketNotFoundError,
    InvalidKeyError,
    NotFoundError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.integrations.fsspec.instances import Instances
from mediagit_storage.integrations.fsspec.listing import (
    Info,
    children,
    file_info,
    folder_info,
    info_of,
    only_type,
    tree,
    type_and_size,
)
from mediagit_storage.integrations.fsspec.pairs import Pairs
from mediagit_storage.integrations.fsspec.places import Place, Places
from mediagit_storage.types import PresignMethod

__all__ = ["Browsing"]


class Browsing(AbstractFileSystem, metaclass=Instances):  # type: ignore[misc]
    """Look at what is stored. Folders are what keys begin with; nothing is remembered between calls."""

    _extra_tokenize_attributes = ("surroundings",)
    _places: Places

    def _place(self, path: str) -> Place:
        """Where a path leads, an object or a folder; a `ConfigError` for one that names no storage."""
        return self._places.place(self._strip_protocol(path))

    def _object(self, path: str) -> Place:
        """Where the path of an object leads: not to the root of a storage."""
        place = self._place(path)
        if not place.key:
            raise InvalidKeyError("the path names a storage and no object in it", key=path)
        return place

    # ---- what is there

    def info(self, path: str) -> Info:
        """``name``, ``size``, ``type`` and what else is known of an object, else of a folder.

        An object wins where both have the name. Raises `NotFoundError`.
        """
        path = self._strip_protocol(path)
        return folder_info("") if not path else info_of(self._place(path))

    def exists(self, path: str) -> bool:
        """Whether there is such an object or folder. False only for a proven absence: everything else raises."""
        return self._kind(path) is not None

    def isfile(self, path: str) -> bool:
        """Whether there is such an object; like `exists`. One request."""
        if not self._strip_protocol(path):
            return False
        place = self._place(path)
        return bool(place.key) and place.store.exists(place.key)

    def isdir(self, path: str) -> bool:
        """Whether it is a folder and not an object; like `exists`."""
        return self._kind(path) == "directory"

    def _kind(self, path: str) -> object:
        try:
            return self.info(path)["type"]
        except BucketNotFoundError:
            raise
        except NotFoundError:
            return None

    def ls(self, path: str, detail: bool = True, exact: bool | None = None) -> list[Info] | list[str]:
        """What lies directly in a folder, sorted; of an object, itself. Raises `NotFoundError`.

        With ``detail`` sizes are exact, also where only the objects themselves know them (through compress and encrypt).
        """
        path = self._strip_protocol(path)
        found = self._listing(path, exact=detail if exact is None else exact)
        return found if detail else [str(each["name"]) for each in found]

    def _listing(self, path: str, *, exact: bool) -> list[Info]:
        names = self._places.roots() if not path else None
        if names is not None:
            return [folder_info(name) for name in names]
        place = self._place(path)
        below = children(place, exact=exact)
        return [file_info(place.lead, place.store.stat(place.key))] if below is None else below

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        exact: bool | None = None,
        brief: bool = False,
    ) -> dict[str, Info] | list[str]:
        """Every object below a path, in one listing where no depth is given; sizes as `ls` has them.

        In memory, whole. ``brief`` tells of each object only that it is one, which takes much less.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        brief = brief or not detail
        exact = not brief if exact is None else exact
        told = only_type if brief else file_info
        found = tree(self._places, path, depth=maxdepth, withdirs=withdirs, exact=exact, told=told)
        return found if detail else list(found)

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: Literal["omit", "raise"] | Callable[[Exception], object] = "omit",
        detail: bool = False,
        exact: bool | None = None,
    ) -> Iterator[tuple[str, list[str] | dict[str, Info], list[str] | dict[str, Info]]]:
        """Folder by folder, as `os.walk`: its path, the folders and the objects in it; sizes as `ls` has them.

        ``on_error="omit"`` leaves out what is not there, and raises where it cannot be known what is there: a tree with
        holes looks like a smaller one. A function gets every error instead.
        """
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        path = self._strip_protocol(path)
        try:
            listing = self._listing(path, exact=detail if exact is None else exact)
        except (StorageError, OSError) as error:
            if callable(on_error):
                on_error(error)
            elif on_error == "raise" or not isinstance(error, NotFoundError) or isinstance(error, BucketNotFoundError):
                raise
            return
        folders, files = _parted(path, listing)
        shown = (folders, files) if detail else (list(folders), list(files))
        if topdown:
            yield path, *shown
        if maxdepth is None or maxdepth > 1:
            deeper = None if maxdepth is None else maxdepth - 1
            for name in [*shown[0]]:
                inner = f"{path}/{name}" if path else name
                yield from self.walk(inner, deeper, topdown, on_error, detail, exact)
        if not topdown:
            yield path, *shown

    def glob(self, path: str, maxdepth: int | None = None, detail: bool = False) -> dict[str, Info] | list[str]:
        """The objects and folders whose paths match a pattern; sizes as `ls` has them."""
        looking = {"brief": True} if has_magic(path) and not detail else {}
        found: dict[str, Info] | list[str] = super().glob(path, maxdepth=maxdepth, detail=detail, **looking)
        return found

    def expand_path(
        self,
        path: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
    ) -> list[str]:
        """The paths that patterns and folders stand for; see `Pairs.named`."""
        plan = Pairs(self._places, self)
        return plan.named(path, recursive=recursive, maxdepth=maxdepth, folders=recursive, literally=assume_literal)

    def du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False
    ) -> int | dict[str, int]:
        """Bytes of all objects below a path, or of each; from a listing, exact through compress and encrypt."""
        path = self._strip_protocol(path)
        found = tree(self._places, path, depth=maxdepth, withdirs=withdirs, exact=True, told=type_and_size)
        sizes = {name: _number(info["size"]) for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def modified(self, path: str) -> datetime:
        """When the object was stored, aware UTC."""
        place = self._object(path)
        found = place.store.stat(place.key).modified
        if found is None:
            raise UnsupportedError("this storage tells no times", operation="stat", key=place.key)
        return found

    def created(self, path: str) -> datetime:
        """The same as `modified`: an object is not changed, only replaced."""
        return self.modified(path)

    def sign(self, path: str, expiration: float = 3600, method: PresignMethod = "GET") -> str:
        """A URL that lets its holder get (put, delete) the object for ``expiration`` seconds. No network I/O."""
        place = self._object(path)
        return place.store.presign(place.key, method=method, expires=expiration)

    # ---- folders that there are not

    def mkdir(self, path: str, create_parents: bool = True) -> None:
        """Nothing: a folder is there with its first object. Buckets are made by ``mgs mb``."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing, as `mkdir`."""

    def rmdir(self, path: str) -> None:
        """Remove what marks an empty folder, if anything does. One with objects in it is an `OSError` (not empty)."""
        place = self._object(path)
        with closing(closable(place.store.list(place.prefix))) as found:
            keys = [each.key for each, _ in zip(found, range(2), strict=False)]
        if any(key != place.prefix for key in keys):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), place.path)
        if keys:
            place.store.delete(place.prefix)


def _parted(path: str, listing: Iterable[Info]) -> tuple[dict[str, Info], dict[str, Info]]:
    """The folders and the objects of a listing, by name; an object that was itself listed has none."""
    folders: dict[str, Info] = {}
    files: dict[str, Info] = {}
    for info in listing:
        name = str(info["name"])
        if info["type"] == "directory":
            folders[name.rpartition("/")[2]] = info
        else:
            files["" if name == path else name.rpartition("/")[2]] = info
    return folders, files


def _number(size: object) -> int:
    return size if isinstance(size, int) else 0
