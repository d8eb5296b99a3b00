"""A folder of a storage as the tools look at it: its objects by the names that they have inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mediagit_storage.storage import Storage
from mediagit_storage.tools.plan import Found
from mediagit_storage.tools.selecting import is_marker, nothing_there

__all__ = ["Side"]


class Side(NamedTuple):
    """A folder of a storage: every key that begins with ``prefix``, which ends with ``/`` or is empty."""

    store: Storage
    prefix: str = ""

    def listed(self) -> Iterator[Found]:
        """What is in it, by name; objects that only mark a folder are left out."""
        start = len(self.prefix)
        return (Found(info.key[start:], info) for info in self.store.list(self.prefix) if not is_marker(info))

    def required(self) -> Iterator[Found]:
        """The same, and a `NotFoundError` where there is nothing, unless it is a whole storage."""
        found = False
        for each in self.listed():
            found = True
            yield each
        if not found and self.prefix:
            raise nothing_there(self.store, self.prefix)
