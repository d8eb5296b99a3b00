"""What is known of encrypted objects whose header was read: kept for a while, so that the next range costs one request.

An entry is good for one version of an object, by its ETag. It holds the object's key in memory, and no plain bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.layers.encrypt.payload import Payload

__all__ = ["Opened", "OpenedObjects"]

#: Objects that are remembered, of less than a kilobyte each.
_MOST: Final = 4096


class Opened(NamedTuple):
    """An object whose header was opened. ``plain`` is its size, proven by its last chunk where ``proven`` says so."""

    header: int
    stored: int
    plain: int
    payload: Payload
    etag: str | None
    proven: bool = False


class OpenedObjects:
    """The objects that were opened last, by key and the version that was asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._entries: OrderedDict[tuple[str, str | None], Opened] = OrderedDict()

    def get(self, key: str, version: str | None) -> Opened | None:
        """What was last known of an object. It may have been replaced since: pin what is read by its ETag."""
        with self._lock.mine():
            found = self._entries.get((key, version))
            if found is not None:
                self._entries.move_to_end((key, version))
            return found

    def put(self, key: str, version: str | None, opened: Opened) -> None:
        """Remember an object whose size is proven and that can be told from its successors; others are not kept."""
        if not opened.proven or opened.etag is None:
            return
        with self._lock.mine():
            self._entries[key, version] = opened
            self._entries.move_to_end((key, version))
            while len(self._entries) > _MOST:
                self._entries.popitem(last=False)

    def forget(self, key: str, version: str | None) -> None:
        """It is not so any more."""
        with self._lock.mine():
            self._entries.pop((key, version), None)
