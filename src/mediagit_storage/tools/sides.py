"""A folder of a storage as the tools look at it: its objects by the names that they have inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mediagit_storage.storage import Storage
from mediagit_storage.tools.key_ranges import EVERYTHING, KeyRange
from mediagit_storage.tools.plan import Found, sort_key
from mediagit_storage.tools.selecting import is_marker, nothing_there

__all__ = ["Side"]


class Side(NamedTuple):
    """A folder of a storage: every key that begins with ``prefix``, which ends with ``/`` or is empty.

    Of it only the names ``within`` a range are looked at.
    """

    store: Storage
    prefix: str = ""
    within: KeyRange = EVERYTHING

    def listed(self) -> Iterator[Found]:
        """What is in it, by name; objects that only mark a folder are left out."""
        start, after = len(self.prefix), self.within.after
        first = None if after is None else sort_key(after)
        listing = self.store.list(self.prefix, start_after=None if after is None else self.prefix + after)
        for info in listing:
            name = info.key[start:]
            if self.within.ends_before(name):
                return
            if first is not None and sort_key(name) <= first:
                # There are servers that begin at the beginning, whatever they are told.
                continue
            if not is_marker(info):
                yield Found(name, info)

    def required(self) -> Iterator[Found]:
        """The same, and a `NotFoundError` where there is nothing, unless it is a whole storage, or a range of its names."""
        found = False
        for each in self.listed():
            found = True
            yield each
        if not found and self.prefix and self.within == EVERYTHING:
            raise nothing_there(self.store, self.prefix)
