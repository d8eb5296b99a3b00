"""What a user means by a key: one object, a folder with everything in it, or a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from mediagit_storage.errors import BucketNotFoundError, ConfigError, NotFoundError
from mediagit_storage.events import Event, emit
from mediagit_storage.storage import Storage
from mediagit_storage.tools.filters import compile_glob, fixed_prefix, is_glob
from mediagit_storage.types import ObjectInfo

__all__ = [
    "NothingThereError",
    "Selected",
    "Selection",
    "find_object",
    "in_folder",
    "in_the_way",
    "is_marker",
    "nothing_there",
    "select",
]


class NothingThereError(NotFoundError):
    """Neither an object nor a folder of this name."""


class Selected(NamedTuple):
    """One object, and its ``name`` relative to the folder that was chosen (its last segment for a single object).

    Empty for an object that has the folder's own name, which some storages can hold beside the folder.
    """

    info: ObjectInfo
    name: str


class Selection(NamedTuple):
    """What a key means. ``base`` is the folder's own name, empty where only its contents are meant."""

    kind: Literal["object", "folder", "glob"]
    base: str
    items: Iterator[Selected]


def select(store: Storage, key: str, *, recursive: bool = False) -> Selection:
    """Find out what ``key`` means in ``store``: an object of exactly that name, else a pattern, else a folder.

    A key that is empty or ends with ``/`` means the contents of a folder. A folder named without ``/`` needs
    ``recursive`` (`ConfigError`). Nothing there is a `NotFoundError`: a `NothingThereError` where a folder or pattern
    was meant, raised when the items are iterated over. Requests: one look at the object, and the listing.
    """
    if not key or key.endswith("/"):
        return Selection("folder", "", _contents(store, key))
    info = find_object(store, key)
    base = key.rpartition("/")[2]
    if info is not None and not recursive:
        return Selection("object", base, iter([Selected(info, base)]))
    if info is None and is_glob(key):
        return Selection("glob", "", _matching(store, key, recursive=recursive))
    first = next(iter(store.list(f"{key}/")), None)
    if info is None and first is None:
        missing = nothing_there(store, key)
        raise missing if recursive else NotFoundError(missing.message, key=key, store=store.description)
    if first is None and info is not None:
        return Selection("object", base, iter([Selected(info, base)]))
    if not recursive:
        raise ConfigError(f"{key!r} is a folder: add -r, or write {key + '/'!r} to mean its contents")
    # A key and keys below it, side by side: only some storages can hold both.
    return Selection("folder", base, _contents(store, f"{key}/", info))


def find_object(store: Storage, key: str) -> ObjectInfo | None:
    """The object of exactly this key, or None if it is proven to be absent. One request."""
    try:
        return store.stat(key)
    except BucketNotFoundError:
        raise
    except NotFoundError:
        return None


def in_the_way(store: Storage, key: str) -> str | None:
    """The object because of which there can be none of this key: it lies where a folder would have to be, or below the key.

    None where there is none. One request for each folder of the key, and a listing.
    """
    parts = key.split("/")
    for length in range(1, len(parts)):
        folder = "/".join(parts[:length])
        if find_object(store, folder) is not None:
            return folder
    first = next(iter(store.list(f"{key}/")), None)
    return None if first is None else first.key


def in_folder(store: Storage, key: str, *, start_after: str | None = None, exact: bool = False) -> Iterator[ObjectInfo]:
    """The object ``key`` and everything in the folder ``key``; everything for an empty key. In order, after ``start_after``."""
    if key and not key.endswith("/"):
        info = find_object(store, key) if start_after is None else None
        if info is not None:
            yield info
        key = f"{key}/"
    yield from store.list(key, start_after=start_after, exact=exact)


def nothing_there(store: Storage, key: str) -> NothingThereError:
    """The error that says so."""
    return NothingThereError("there is no object and no folder of this name", key=key, store=store.description)


def is_marker(info: ObjectInfo) -> bool:
    """Whether an object only marks a folder (``photos/``, empty), as some tools leave behind.

    Where a layer hides the size in listings, only what stores no bytes at all is one.
    """
    return info.key.endswith("/") and (info.stored_size if info.size is None else info.size) == 0


def _contents(store: Storage, prefix: str, itself: ObjectInfo | None = None) -> Iterator[Selected]:
    found = itself is not None or not prefix
    if itself is not None:
        yield Selected(itself, "")
    for info in store.list(prefix):
        found = True
        if is_marker(info):
            emit(Event("folder-marker", f"left out {info.key!r}: it is empty and only marks a folder", info.key))
            continue
        yield Selected(info, info.key[len(prefix) :])
    if not found:
        raise nothing_there(store, prefix)


def _matching(store: Storage, pattern: str, *, recursive: bool) -> Iterator[Selected]:
    expression = compile_glob(f"{pattern}/**" if recursive else pattern)
    alone = compile_glob(pattern)
    prefix = fixed_prefix(pattern)
    folder = len(prefix.rpartition("/")[0]) + 1 if "/" in prefix else 0
    found = False
    for info in store.list(prefix):
        if (alone.fullmatch(info.key) or expression.fullmatch(info.key)) and not is_marker(info):
            found = True
            yield Selected(info, info.key[folder:])
    if not found:
        raise NothingThereError("nothing matches this pattern", key=pattern, store=store.description)
