"""Which files a copy of many means: fsspec's own rules, asked for the pairs instead of being let to work them off.

What `AbstractFileSystem.copy`, `get` and `put` make of globs, folders, trailing slashes and depths is intricate, and held
by fsspec's tests. `Pairs` lets them run with methods that only write down what they are called with.

They run on other spellings of the paths (`_hidden`). All begin with the same segment, since fsspec's rules go wrong for
paths without a folder; and a path that is to be taken as it is shows them no character of a pattern.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from glob import has_magic
from typing import Final, NamedTuple, Protocol

from fsspec.implementations.local import LocalFileSystem, make_path_posix  # type: ignore[import-untyped]
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from mediagit_storage.errors import ConfigError, InvalidKeyError, NotFoundError, StorageError
from mediagit_storage.integrations.fsspec.listing import Info, tree, type_and_size
from mediagit_storage.integrations.fsspec.places import Places

__all__ = ["Looking", "Pair", "Pairs"]

# Lone surrogates: no key has any, since none can be written in UTF-8, and Python's names of files use others.
_ROOT: Final = "\ud800"
_HIDDEN: Final = str.maketrans("*?[", "\ud801\ud802\ud803")
_SHOWN: Final = str.maketrans("\ud801\ud802\ud803", "*?[")


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

    ``pairs`` are the files in the order of fsspec; ``folders`` those targets that are folders of a `get`. Refused, as an
    `InvalidKeyError`, is what would lose one of two files: two sources with one target, and a target that is a source.
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

    # ---- what is asked for

    def named(
        self,
        path: str | list[str],
        *,
        recursive: bool = False,
        maxdepth: int | None = None,
        folders: bool = False,
        literally: bool = False,
    ) -> list[str]:
        """The paths that patterns and, with ``recursive``, folders stand for. Raises `NotFoundError` where there is none.

        A path with ``*``, ``?`` or ``[`` in it that is an object means that, and with ``folders`` one that is a folder:
        nobody who hands on a name from a listing means others, ``rm`` least of all.
        """
        text = _text(path)
        paths = [text] if isinstance(text, str) else text
        spelled = [_hidden(each, literally=literally or self._is_there(each, folders=folders)) for each in paths]
        with _told(path):
            return sorted(_shown(each) for each in self.expand_path(spelled, recursive=recursive, maxdepth=maxdepth))

    def copy(
        self, path1: str | list[str], path2: str | list[str], recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        """Write down a copy within the filesystem."""
        path1, path2 = _even(path1, path2)
        with _told(path1):
            super().copy(
                self._sources(path1, recursive),
                _targets(path2),
                recursive=recursive,
                maxdepth=maxdepth,
                on_error="raise",
            )
        self._require_one_for_each()
        sources = {each.source for each in self.pairs}
        for each in self.pairs:
            if each.target in sources and each.target != each.source:
                raise InvalidKeyError(
                    "it would be overwritten, and is to be copied itself: take two steps", key=each.target
                )

    def get(
        self, rpath: str | list[str], lpath: str | list[str], recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        """Write down a copy to this machine."""
        rpath, lpath = _even(rpath, lpath)
        with _told(rpath):
            super().get(self._sources(rpath, recursive), lpath, recursive=recursive, maxdepth=maxdepth)
        self._require_one_for_each(os.path.normpath)

    def put(
        self, lpath: str | list[str], rpath: str | list[str], recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        """Write down a copy from this machine."""
        lpath, rpath = _even(lpath, rpath)
        if isinstance(rpath, str):
            lpath = self._put_literally(lpath, rpath, recursive=recursive, maxdepth=maxdepth)
        if lpath:
            super().put(lpath, _targets(rpath), recursive=recursive, maxdepth=maxdepth)
        self._require_one_for_each()

    def _put_literally(
        self, lpath: str | list[str], rpath: str, *, recursive: bool, maxdepth: int | None
    ) -> str | list[str]:
        """Write down what fsspec would take for a pattern and is a file or folder; return the rest."""
        names = [lpath] if isinstance(lpath, str) else lpath
        within = not isinstance(lpath, str) or rpath.endswith("/") or self._fs.isdir(rpath)
        target = self._strip_protocol(rpath)
        for name in names:
            if not has_magic(name) or not os.path.lexists(name):
                continue
            path = make_path_posix(name)
            base = path.rstrip("/")
            into = within and not path.endswith("/")
            inside = "/".join(filter(None, [target, *([os.path.basename(base)] if into else [])]))  # noqa: PTH119
            found = LocalFileSystem().find(base, maxdepth=maxdepth) if os.path.isdir(base) and recursive else [base]  # noqa: PTH112
            for each in found:
                below = inside + each[len(base) :]
                self.put_file(each, below if inside else below.removeprefix("/"))
        others = [name for name in names if not has_magic(name) or not os.path.lexists(name)]
        return others if not isinstance(lpath, str) else lpath if others else []

    def _sources(self, path: str | list[str], recursive: bool) -> str | list[str]:
        if isinstance(path, str):
            return _hidden(path, literally=self._is_there(path, folders=recursive))
        return [_hidden(each, literally=self._is_there(each, folders=recursive)) for each in path]

    def _is_there(self, path: str, *, folders: bool) -> bool:
        """Whether a path that looks like a pattern is an object, or a folder."""
        try:
            return has_magic(path) and (self._fs.isfile(path) or (folders and self._fs.isdir(path)))
        except ConfigError:  # its first segment is a pattern, and no profile
            return False

    def _require_one_for_each(self, spelling: Callable[[str], str] = str) -> None:
        targets: dict[str, str] = {}
        for source, target, _ in self.pairs:
            other = targets.setdefault(spelling(target), source)
            if other != source:
                raise InvalidKeyError(f"this and {other!r} would both become {target!r}", key=source)

    # ---- what fsspec's code asks and tells, in its spelling

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False
    ) -> dict[str, Info] | list[str]:
        """As the filesystem does it, without asking for exact sizes."""
        path = self._strip_protocol(path)
        real = _shown(path)
        found = tree(self._places, real, depth=maxdepth, withdirs=withdirs, told=type_and_size)
        self._known.update(found)
        literally = real != path.removeprefix(_ROOT).removeprefix("/")
        named = {_hidden(name, literally=literally): info for name, info in found.items()}
        return named if detail else list(named)

    def info(self, path: str) -> Info:
        """What a listing has told already."""
        return self._known[_shown(path)]

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        path = _shown(path)
        return path in self._known or self._fs.isfile(path) or self._fs.isdir(path)

    def isdir(self, path: str) -> bool:
        """Whether it is a folder: asked of the filesystem where no listing told."""
        path = _shown(path)
        known = self._known.get(path)
        return self._fs.isdir(path) if known is None else known["type"] == "directory"

    def listed_as_folder(self, path: str) -> bool:
        """Whether a listing has shown a folder of this name."""
        return path in self._known and self._known[path]["type"] == "directory"

    def cp_file(self, path1: str, path2: str) -> None:
        """Write down one copy."""
        self._note(path1, self._strip_protocol(_shown(path2)))

    def get_file(self, rpath: str, lpath: str, callback: object = None) -> None:
        """Write down one download."""
        self._note(rpath, lpath.translate(_SHOWN))

    def put_file(self, lpath: str, rpath: str, callback: object = None) -> None:
        """Write down one upload. A folder of this machine has nothing that could be stored."""
        if not os.path.isdir(lpath):  # noqa: PTH112  # fsspec's paths are text
            self.pairs.append(Pair(lpath, self._strip_protocol(_shown(rpath)), os.stat(lpath).st_size))  # noqa: PTH116

    def _note(self, source: str, target: str) -> None:
        path = self._strip_protocol(_shown(source))
        known = self._known.get(path)
        if (known is not None and known["type"] == "directory") or not path or not self._places.place(path).key:
            self.folders.append(target)
            return
        size = None if known is None else known["size"]
        self.pairs.append(Pair(path, target, size if isinstance(size, int) else None))


def _hidden(path: str, *, literally: bool = False) -> str:
    """The path as fsspec's code gets to see it. A slash at its end stays, and the root has one."""
    real = str(Pairs._strip_protocol(path))  # noqa: SLF001  # its hook
    slash = "/" if real and str(path).endswith("/") else ""
    return f"{_ROOT}/{real.translate(_HIDDEN) if literally else real}{slash}"


def _shown(path: str) -> str:
    """The path that `_hidden` has hidden; any other is itself."""
    return path.removeprefix(_ROOT).removeprefix("/").translate(_SHOWN) if path.startswith(_ROOT) else path


def _targets(path: str | list[str]) -> str | list[str]:
    return _hidden(path) if isinstance(path, str) else [_hidden(each) for each in path]


def _even(sources: str | list[str], targets: str | list[str]) -> tuple[str | list[str], str | list[str]]:
    """Both as text. Two lists of different lengths are a `ValueError`: fsspec's code would leave out the rest."""
    here, there = _text(sources), _text(targets)
    if isinstance(here, list) and isinstance(there, list) and len(here) != len(there):
        raise ValueError("two lists of paths belong together one by one, and these are not of the same length")
    return here, there


def _text(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> str | list[str]:
    return os.fspath(paths) if isinstance(paths, str | os.PathLike) else [os.fspath(each) for each in paths]


@contextmanager
def _told(path: str | list[str]) -> Iterator[None]:
    """What fsspec's code raises, in the caller's spelling."""
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError:
        raise NotFoundError("nothing is there", key=path if isinstance(path, str) else None) from None
    except ValueError as error:
        if str(error).isprintable():
            raise
        raise InvalidKeyError(str(error).translate(_SHOWN).replace(f"{_ROOT}/", "")) from None
