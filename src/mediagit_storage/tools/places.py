"""Whether two places are one, or one lies inside the other: across different ways to name the same storage."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.layers.base import Layer
from mediagit_storage.storage import Storage
from mediagit_storage.tools.shortcuts import bare
from mediagit_storage.types import JSON

__all__ = [
    "Location",
    "is_on_this_machine",
    "lasting_location",
    "lasting_view",
    "layers_at",
    "location_of",
    "refuse_inside",
    "same_service",
]


_S3: Final = ("bucket", "endpoint", "service", "account", "region")
_WEBDAV: Final = ("url", "username")
#: The options that say where the objects are, by the type of the storage; all others say how they are reached. Of a type
#: that is not here, all of them count.
_WHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": _S3,
    "minio": _S3,
    "b2": _S3,
    "spaces": _S3,
    "gs": ("bucket", "endpoint", "emulator_host"),
    "az": ("container", "account", "endpoint", "endpoint_suffix", "service", "connection_string"),
    "dav": _WEBDAV,
    "davs": _WEBDAV,
}


#: The types that speak S3, each with the service that it is where nothing else is said; and the name of one that nobody knows.
_S3_SERVICES: Final = {"s3": "aws", "minio": "minio", "b2": "b2", "spaces": "spaces"}
_UNKNOWN: Final = "generic"
#: What the endpoints of Amazon end with.
_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")

#: Layers that show the very same objects as what is below them.
_UNSEEN: Final = frozenset({"prefix", "throttle"})


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
    return Location(json.dumps([info.type, _where(info.type, options)], sort_keys=True), lead + key)


def _where(kind: str, options: Mapping[str, JSON]) -> dict[str, JSON]:
    names = _WHERE.get(kind)
    found = dict(options) if names is None else {name: options[name] for name in names if name in options}
    if names is _S3 and ("endpoint" in found or (kind == "s3" and "service" not in found)):
        # Where an endpoint is named, and at Amazon, a bucket is the same one whatever region is said.
        found.pop("region", None)
    return found


def is_on_this_machine(backend: StorageBackend) -> bool:
    """Whether it is a folder of this machine's file system, wherever that is mounted from."""
    try:
        return backend.connection_info().type == "file"
    except (ConfigError, UnsupportedError):
        return False


def same_service(source: Storage, target: Storage) -> bool:
    """Whether both are of one service, and not only of one protocol: then storage classes have the same names there."""
    return _service(source) == _service(target)


def _service(store: Storage) -> JSON:
    backend: StorageBackend = store.backend
    while isinstance(backend, Layer):
        backend = backend.inner
    try:
        info = backend.connection_info()
    except (ConfigError, UnsupportedError):
        return type(backend).__qualname__
    service = _S3_SERVICES.get(info.type)
    if service is None:
        return info.type
    endpoint = info.config.get("endpoint")
    named = info.config.get("service")
    if named is None and info.type == "s3" and isinstance(endpoint, str) and not _is_amazon(endpoint):
        named = _UNKNOWN
    # Nobody knows what two unknown servers have in common.
    return [named or service, endpoint if named == _UNKNOWN else None]


def _is_amazon(endpoint: str) -> bool:
    try:
        host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname or ""
    except ValueError:
        return False
    return host.rstrip(".").endswith(_AMAZON)


def layers_at(store: Storage) -> Sequence[JSON]:
    """The layers through which a storage is seen, outermost first, each with its options.

    Without those that change only keys, or only how quickly something is seen. Two storages at one location show the same bytes only where these are equal, too.
    """
    try:
        layers = store.connection_info().config.get("layers", [])
    except UnsupportedError:
        return []
    stack = layers if isinstance(layers, list) else []
    return [each for each in stack if not (isinstance(each, dict) and each.get("layer") in _UNSEEN)]


def lasting_view(store: Storage, key: str) -> str | None:
    """A text for what is seen at a location, layers included; None where `lasting_location` has none."""
    place = lasting_location(store, key)
    return None if place is None else json.dumps([*place, layers_at(store)], sort_keys=True)


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
