"""What a folder of this machine has and a listing leaves out: whoever deletes what was not listed has to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.events import Event, overhear, stop_overhearing
from mediagit_storage.keys import sort_key
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.tools.sides import Side

__all__ = ["Unlisted"]

#: Names that may be kept before those are forgotten that lie behind.
_MANY = 10_000


class Unlisted:
    """The names of links, FIFOs and the like in a folder, as its listing comes upon them; nothing of other storages.

    ``follow_symlinks`` makes objects of links, so those are none of these.
    """

    def __init__(self, side: Side) -> None:
        backend: StorageBackend = side.store.backend
        self._prefix = side.prefix
        while isinstance(backend, Layer):
            if isinstance(backend, PrefixLayer):
                self._prefix = backend.prefix + self._prefix
            backend = backend.inner
        self._root = _root_of(backend)
        self._names: set[str] = set()
        self._bound = _MANY

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Around whatever asks the listing for more; whoever listens already hears it, too."""
        if self._root is None:
            yield
            return
        token = overhear(self._hear)
        try:
            yield
        finally:
            stop_overhearing(token)

    def holds(self, name: str) -> bool:
        """Whether one of them lies under this name, or on the way to it. Names are asked for in the order of listings."""
        if not self._names:
            return False
        if len(self._names) > self._bound:
            self._forget(name)
        parts = name.split("/")
        return any("/".join(parts[:length]) in self._names for length in range(1, len(parts) + 1))

    def _hear(self, event: Event) -> None:
        key = event.key
        if event.kind == "local.skipped" and key is not None and event.fields.get("root") == self._root:
            # A folder that leads back to itself has its slash.
            name = key.removesuffix("/")
            if name.startswith(self._prefix):
                self._names.add(name[len(self._prefix) :])

    def _forget(self, name: str) -> None:
        """Let those go whose own name, and all below it, lies behind ``name``."""
        reached = sort_key(name)
        self._names = {each for each in self._names if _end(each) > reached}
        self._bound = max(_MANY, 2 * len(self._names))


def _root_of(backend: StorageBackend) -> str | None:
    try:
        info = backend.connection_info()
    except (ConfigError, UnsupportedError):
        return None
    path = info.config.get("path")
    return path if info.type == "file" and isinstance(path, str) else None


def _end(name: str) -> bytes:
    """What comes behind everything below a name. On the disk there are names that are no text."""
    return name.encode("utf-8", "surrogatepass") + b"0"
