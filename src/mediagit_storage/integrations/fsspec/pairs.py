"""Which files a copy of many means: fsspec's own rules, asked for the pairs instead of being let to work them off.

What `AbstractFileSystem.copy`, `get` and `put` make of globs, folders, trailing slashes and depths is intricate, and held
by fsspec's tests. `Pairs` lets them run with methods that only write down what they are called with.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from glob import has_magic
from typing import NamedTuple, Protocol

from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from mediagit_storage.errors import ConfigError
from mediagit_storage.integrations.fsspec.listing import Info, tree
from mediagit_storage.integrations.fsspec.places import Places

__all__ = ["Looking", "Pair", "Pairs", "literal"]


class Pair(NamedTuple):
    """One file and where it goes; ``size`` is its size or what it takes in the storage, None where nobody has looked."""

    source: str
    target: str
    size: int | None = None


class Looking(Protocol):
    """What is asked of the filesystem."""

    def isdir(self, path: str) -> bool:
        """Whether a path is a folder."""
        ...

    def isfile(self, path: str) -> bool:
        """Whether a path is an object."""
        ...


class Pairs(AbstractFileSystem):  # type: ignore[misc]
    """Write down what a copy within the filesystem, out of it (`get`) or into it (`put`) would do.

    ``pairs`` are the files in the order of fsspec; ``folders`` those targets that are folders of a `get`.
    """

    protocol = "mgs"
    cachable = False

    def __init__(self, places: Places, fs: Looking) -> None:
        super().__init__()
        self._places = places
        self._fs = fs
        self._known: dict[str, Info] = {}
        self.pairs: list[Pair] = []
        self.folders: list[str] = []

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False
    ) -> dict[str, Info] | list[str]:
        """As the filesystem does it, without asking for exact sizes."""
        found = tree(self._places, self._strip_protocol(path), depth=maxdepth, withdirs=withdirs)
        self._known.update(found)
        return dict(found) if detail else list(found)

    def info(self, path: str) -> Info:
        """What a listing has told already."""
        return self._known[path]

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return path in self._known or self._fs.isfile(path) or self._fs.isdir(path)

    def isdir(self, path: str) -> bool:
        """Whether it is a folder: asked of the filesystem where no listing told."""
        known = self._known.get(path)
        return self._fs.isdir(path) if known is None else known["type"] == "directory"

    def listed_as_folder(self, path: str) -> bool:
        """Whether a listing has shown a folder of this name."""
        return path in self._known and self._known[path]["type"] == "directory"

    def expand_path(
        self,
        path: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
    ) -> list[str]:
        """As fsspec does it, but that a key is never taken for a pattern: see `literal`."""
        return literal(super().expand_path, self._fs, path, recursive, maxdepth, assume_literal)

    def cp_file(self, path1: str, path2: str) -> None:
        """Write down one copy."""
        self._note(path1, path2)

    def get_file(self, rpath: str, lpath: str, callback: object = None) -> None:
        """Write down one download."""
        self._note(rpath, lpath)

    def put_file(self, lpath: str, rpath: str, callback: object = None) -> None:
        """Write down one upload. A folder of this machine has nothing that could be stored."""
        if not os.path.isdir(lpath):  # noqa: PTH112  # fsspec's paths are text
            self.pairs.append(Pair(lpath, self._strip_protocol(rpath), os.stat(lpath).st_size))  # noqa: PTH116

    def _note(self, source: str, target: str) -> None:
        path = self._strip_protocol(source)
        known = self._known.get(path)
        if known is not None and known["type"] == "directory":
            self.folders.append(target)
            return
        size = None if known is None else known["size"]
        self.pairs.append(Pair(path, target, size if isinstance(size, int) else None))


def literal(
    expand: Callable[..., list[str]],
    fs: Looking,
    path: str | list[str],
    recursive: bool,
    maxdepth: int | None,
    assume_literal: bool,
) -> list[str]:
    """What fsspec's ``expand`` makes of paths, but that one with ``*``, ``?`` or ``[`` in it which is an object means that.

    A key may hold any of them, and nobody who hands on a name from a listing means others: ``rm`` least of all.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else [*path]
    objects = {each for each in paths if not assume_literal and _is_object(each, fs)}
    others = [each for each in paths if each not in objects]
    # Older versions of fsspec know no word for it, and then nobody says it.
    literally = (True,) if assume_literal else ()
    found = set(expand(others, recursive, maxdepth, *literally)) if others else set[str]()
    return sorted(found | {str(Pairs._strip_protocol(each)) for each in objects})  # noqa: SLF001  # its hook


def _is_object(path: str, fs: Looking) -> bool:
    """Whether a path that looks like a pattern is an object."""
    try:
        return has_magic(path) and fs.isfile(path)
    except ConfigError:  # its first segment is a pattern, and no profile
        return False
