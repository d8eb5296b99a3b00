"""Whether two storages share a place: for layers over several, which must not meet one's objects in another."""

from __future__ import annotations

from pathlib import Path

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.types import JSON, ConnectionInfo

__all__ = ["opened_by", "overlap"]


def overlap(one: StorageBackend, other: StorageBackend) -> bool:
    """Whether a key of one may be an object of the other. Makes no request, but looks at local folders.

    Folders are compared by where they lead to, whatever links lie between. Other storages are told apart by how they are
    opened: two ways to one bucket, with other names of its endpoint for example, are not seen to be one.
    """
    if one is other:
        return True
    first, second = opened_by(one), opened_by(other)
    if first is None or second is None or first.type != second.type:
        return False
    if first.type == "file":
        own, others = _folder(first), _folder(second)
        return _holds(own, others) or _holds(others, own)
    shorter, longer = sorted((f"{each.description.rstrip('/')}/" for each in (one, other)), key=len)
    return _without_layers(first) == _without_layers(second) and longer.startswith(shorter)


def opened_by(backend: StorageBackend) -> ConnectionInfo | None:
    """How to open a storage again; None where nobody else can."""
    try:
        return backend.connection_info()
    except UnsupportedError:
        return None


def _without_layers(info: ConnectionInfo) -> dict[str, JSON]:
    return {name: value for name, value in info.config.items() if name != "layers"}


def _folder(info: ConnectionInfo) -> Path:
    """The folder, with the prefixes in it, without links: also of one that is not there yet."""
    layers = info.config.get("layers")
    inside = ""
    for layer in reversed(layers) if isinstance(layers, list) else ():
        prefix = layer.get("prefix") if isinstance(layer, dict) else None
        inside += prefix if isinstance(prefix, str) else ""
    return Path(f"{info.config['path']}/{inside}").resolve()


def _holds(outer: Path, inner: Path) -> bool:
    """Whether a folder is the other or holds it: by their names, or by what the file system says (other mounts)."""
    parents = (inner, *inner.parents)
    identity = _identity(outer)
    return outer in parents or (identity is not None and identity in map(_identity, parents))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
