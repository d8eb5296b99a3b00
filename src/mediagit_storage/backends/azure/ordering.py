"""Listings in the order of the keys' UTF-8 bytes, from a server that sorts by UTF-16 or by UTF-8. Pure functions.

The two orders differ only where one key goes on with a character beyond U+FFFF and another one, after the same
beginning, with one of U+E000 to U+FFFF: UTF-16 has the former first, UTF-8 the latter. So keys with such a character are
held back until the listing leaves what stands before it, which comes out right whichever order the server has. What is
held are the names of one group of that kind at a time; all others pass at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from mediagit_storage.errors import IntegrityError

__all__ = ["in_order"]

T = TypeVar("T")

_BEYOND: Final = re.compile("[\U00010000-\U0010ffff]").search


def in_order(items: Iterator[T], name: Callable[[T], str]) -> Iterator[T]:
    """The items sorted by the code points (and so by the UTF-8 bytes) of their names; equal names stay together.

    Raises `IntegrityError` where they come in another order than those two: whoever compares two listings would
    delete what is only misplaced.
    """
    last = ""
    for item in _held_back(items, name):
        key = name(item)
        if key < last:
            raise IntegrityError(
                "this account lists keys in an order of its own, as one with a hierarchical namespace does;"
                " open the storage with ordered=false"
            )
        last = key
        yield item


def _held_back(items: Iterator[T], name: Callable[[T], str]) -> Iterator[T]:
    # The innermost group last: what stands before its names' first character of that kind, and the group's items.
    groups: list[tuple[str, list[T]]] = []
    for item in items:
        key = name(item)
        while groups and not key.startswith(groups[-1][0]):
            yield from sorted(groups.pop()[1], key=name)
        found = _BEYOND(key)
        if found is None:
            yield item
            continue
        before = key[: found.start()]
        if not groups or groups[-1][0] != before:
            groups.append((before, []))
        groups[-1][1].append(item)
    while groups:
        yield from sorted(groups.pop()[1], key=name)
