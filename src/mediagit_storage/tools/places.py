"""Whether two places are one, or one lies inside the other: across different ways to name the same storage."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.storage import Storage
from mediagit_storage.tools.shortcuts import bare

__all__ = ["Location", "lasting_location", "location_of", "refuse_inside"]


class Location(NamedTuple):
    """Where keys really are: ``storage`` tells storages apart, ``path`` is the whole key or path within it."""

    storage: str
    path: str

    def holds(self, other: Location) -> bool:
        """Whether ``other`` is this place or lies below it."""
        folder = f"{self.path.rstrip('/')}/" if self.path else ""
        return self.storage == other.storage and f"{other.path.rstrip('/')}/".startswith(folder)

    def meets(self, other: Location) -> bool:
        """Whether some key could start with both paths, taken as text."""
        both = self.path.startswith(other.path) or other.path.startswith(self.path)
        return self.storage == other.storage and both


def location_of(store: Storage, key: str) -> Location:
    """The location of a key or folder. Local folders are resolved, so that links and ``..`` do not hide it."""
    try:
        info = store.connection_info()
    except UnsupportedError:
        # What cannot be opened a second time has one backend only.
        own = bare(store)
        return Location(str(id(own.backend)), own.prefix + key)
    options = dict(info.config)
    layers = options.pop("layers", [])
    lead = ""
    for layer in reversed(layers) if isinstance(layers, list) else ():
        prefix = layer.get("prefix") if isinstance(layer, dict) else None
        lead += prefix if isinstance(prefix, str) else ""
    if info.type == "file" and isinstance(path := options.get("path"), str):
        # However it is opened: the same file is the same file.
        return Location("file", f"{os.path.realpath(path).rstrip('/')}/{lead}{key}")
    return Location(json.dumps([info.type, options], sort_keys=True), lead + key)


def lasting_location(store: Storage, key: str) -> Location | None:
    """The location, if a later run of a program could find the same objects there; None for what ends with this one."""
    try:
        lasting = store.connection_info().type != "memory"
    except (ConfigError, UnsupportedError):
        return None
    return location_of(store, key) if lasting else None


def refuse_inside(source: Location, target: Location) -> None:
    """Refuse to copy a folder into itself: the copy would be copied again. Raises `ConfigError`."""
    if source.holds(target):
        what = "onto itself" if target.holds(source) else "into itself"
        raise ConfigError(f"a folder cannot be copied or moved {what}: {source.path or 'the whole storage'!r}")
