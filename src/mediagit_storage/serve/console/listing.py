"""One page of a listing, in memory that does not grow with the folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from mediagit_storage.closable import closable
from mediagit_storage.storage import Storage
from mediagit_storage.types import Entry, Folder, ObjectInfo

__all__ = ["PAGE", "SCAN_KEYS", "SCAN_SECONDS", "Page", "found_page", "listed_page", "name_of", "versions_of"]

#: Entries on a page.
PAGE: Final = 200
#: Names that one search looks at, at most.
SCAN_KEYS: Final = 20_000
#: Seconds that one search takes, at most (and at least one name).
SCAN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in order. ``after`` is where the next page begins, None at the end; ``looked`` are names looked at.

    ``stopped`` tells a search that gave up before it had found a page of names or reached the end.
    """

    entries: Sequence[Entry]
    after: str | None
    looked: int
    stopped: bool = False


def name_of(entry: Entry) -> str:
    """What an entry of a listing is called: its key, or its prefix."""
    return entry.prefix if isinstance(entry, Folder) else entry.key


def listed_page(storage: Storage, prefix: str, after: str | None, limit: int = PAGE) -> Page:
    """The first ``limit`` folders and objects under ``prefix`` behind ``after``; one listing, left when it is enough."""
    entries: list[Entry] = []
    with closing(closable(storage.list_dir(prefix, start_after=after))) as listing:
        for entry in listing:
            if len(entries) == limit:
                return Page(entries, name_of(entries[-1]), limit)
            entries.append(entry)
    return Page(entries, None, len(entries))


def found_page(
    storage: Storage,
    prefix: str,
    after: str | None,
    text: str,
    *,
    now: Callable[[], float],
    limit: int = PAGE,
    most: int = SCAN_KEYS,
    seconds: float = SCAN_SECONDS,
) -> Page:
    """Objects under ``prefix``, also in folders below, with ``text`` in what follows it; upper and lower case are one.

    It looks at no more than ``most`` names and goes on for no longer than ``seconds`` (``now`` is a monotonic clock).
    """
    wanted = text.casefold()
    found: list[Entry] = []
    looked, end = 0, now() + seconds
    with closing(closable(storage.list(prefix, start_after=after))) as listing:
        for info in listing:
            looked += 1
            if wanted in info.key[len(prefix) :].casefold():
                found.append(info)
            if len(found) == limit:
                return Page(found, info.key, looked)
            if looked == most or now() >= end:
                return Page(found, info.key, looked, stopped=True)
    return Page(found, None, looked)


def versions_of(storage: Storage, key: str, limit: int) -> tuple[Sequence[ObjectInfo], bool]:
    """The newest ``limit`` versions of an object, and whether there are more."""
    found: list[ObjectInfo] = []
    with closing(closable(storage.list(key, versions=True))) as listing:
        # A key sorts before every longer one that begins with it.
        for info in itertools.takewhile(lambda each: each.key == key, listing):
            if len(found) == limit:
                return found, True
            found.append(info)
    return found, False
