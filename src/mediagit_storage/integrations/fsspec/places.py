"""Which storage a path leads to, and which key in it. Storages are opened when they are first needed.

The threads of a process share what they open: fsspec makes a filesystem for each of them.
"""

from __future__ import annotations

import json
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.config import CONFIG_VARIABLE, load_profiles
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.keys import KeyRules
from mediagit_storage.opening import LayerSpec, open_storage
from mediagit_storage.options import OptionValue
from mediagit_storage.secrets import REDACTED
from mediagit_storage.storage import Storage
from mediagit_storage.types import JSON, ConnectionInfo

__all__ = ["Opened", "Place", "Places", "ProfilePlaces", "StoragePlaces", "connection_of", "open_url", "working_folder"]


class Place(NamedTuple):
    """A storage, a key in it (empty for its root), and what stands in front of its keys in paths: `media/`, or nothing."""

    store: Storage
    key: str
    lead: str

    @property
    def path(self) -> str:
        """The path that leads here."""
        return self.lead + self.key if self.key else self.lead.removesuffix("/")

    @property
    def prefix(self) -> str:
        """What the keys below this folder begin with."""
        return f"{self.key}/" if self.key else ""


class Opened:
    """A storage that is closed when nobody holds this any more."""

    def __init__(self, store: Storage) -> None:
        self.store = store
        weakref.finalize(self, store.close).atexit = False


class Places(ABC):
    """Where the paths of one filesystem lead."""

    @abstractmethod
    def place(self, path: str) -> Place:
        """The place of a path; a `ConfigError` for one that names no storage."""

    @abstractmethod
    def roots(self) -> Sequence[str] | None:
        """The first segments that there are, where each of them is a storage; else None."""

    @abstractmethod
    def connection(self) -> Mapping[str, JSON] | None:
        """What opens all of it again in another process, without secrets; None where no text does."""

    @abstractmethod
    def description(self) -> str:
        """Where it is, without secrets."""


#: What is open in this process, by what names it; an entry goes with its last user.
_OPEN: Final[weakref.WeakValueDictionary[str, Opened]] = weakref.WeakValueDictionary()


def _shared(name: Sequence[object], opening: Callable[[], Storage]) -> Opened:
    """What is open under this name, else newly opened. Of two threads that come at once one may open it for itself."""
    text = json.dumps(name, sort_keys=True)
    found = _OPEN.get(text)
    if found is None:
        found = _OPEN.setdefault(text, Opened(opening()))
    return found


class StoragePlaces(Places):
    """One storage: paths are keys."""

    def __init__(self, opened: Opened | Storage) -> None:
        # Not closed with the filesystem where it is somebody else's.
        self._opened = opened
        self._store = opened.store if isinstance(opened, Opened) else opened

    @property
    def store(self) -> Storage:
        """The storage."""
        return self._store

    def place(self, path: str) -> Place:
        """The key that the path is."""
        return Place(self._store, path, "")

    def roots(self) -> Sequence[str] | None:
        """None."""
        return None

    def connection(self) -> Mapping[str, JSON] | None:
        """The storage's connection info, where it leads back to the same storage."""
        return connection_of(self._store)

    def description(self) -> str:
        """The storage's own."""
        return self._store.description


class ProfilePlaces(Places):
    """Every profile of the user's: the first segment of a path names one."""

    def __init__(self, keys: KeyRules) -> None:
        self._keys: KeyRules = keys
        self._opened: dict[tuple[str | None, str], Opened] = {}

    def place(self, path: str) -> Place:
        """The key in a profile; an unknown profile is a `ConfigError` that lists the known ones."""
        name, _, key = path.partition("/")
        if not name:
            raise ConfigError("the path names no profile: mgs://PROFILE/key, or open the filesystem with root=...")
        return Place(self._open(name).store, key, f"{name}/")

    def roots(self) -> Sequence[str] | None:
        """The names of the profiles."""
        return sorted(load_profiles().by_name)

    def connection(self) -> Mapping[str, JSON] | None:
        """Empty: another process has its profiles."""
        return {}

    def description(self) -> str:
        """``mgs://``, for all profiles."""
        return "mgs://"

    def _open(self, name: str) -> Opened:
        # Instances live as long as the process, and the variable may be set after the first was made.
        file = os.environ.get(CONFIG_VARIABLE)
        found = self._opened.get((file, name))
        if found is None:
            load_profiles().get(name)  # what is not a profile's name could be that of a file
            found = _shared(["profile", file, name, self._keys], lambda: open_storage(f"{name}:", keys=self._keys))
            self._opened[file, name] = found
        return found


def open_url(
    target: str | os.PathLike[str] | ConnectionInfo,
    *,
    options: Mapping[str, OptionValue],
    layers: Sequence[LayerSpec],
    keys: KeyRules,
    pickle_secrets: bool,
) -> Opened:
    """What a URL, path, profile or connection info names; shared in this process where text tells all about it."""

    def opening() -> Storage:
        return open_storage(target, options=options, layers=layers, keys=keys, pickle_secrets=pickle_secrets)

    if options or layers:
        return Opened(opening())
    named = target.to_json() if isinstance(target, ConnectionInfo) else os.fspath(target)
    return _shared(["root", named, os.environ.get(CONFIG_VARIABLE), working_folder(), keys, pickle_secrets], opening)


def working_folder() -> str:
    """The folder that relative paths begin at; empty when it was removed."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


def connection_of(store: Storage) -> Mapping[str, JSON] | None:
    """The connection info as JSON; None where it leaves out a secret, or the storage lives in this process only."""
    try:
        found = store.connection_info().to_json()
    except UnsupportedError:
        return None
    return None if f'"{REDACTED}"' in json.dumps(found) else found
