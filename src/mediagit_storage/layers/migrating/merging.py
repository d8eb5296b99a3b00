"""Two sorted listings as one, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from mediagit_storage.keys import sort_key
from mediagit_storage.layers.base import closing_with
from mediagit_storage.types import Entry, Folder

__all__ = ["merged"]

E = TypeVar("E", bound=Entry)


def merged(new: Iterator[E], old: Iterator[E], of_new: Callable[[E], E], of_old: Callable[[E], E]) -> Iterator[E]:
    """The entries of both in their order, once each: where both have a name, that of ``new`` comes.

    ``of_new`` and ``of_old`` make what is told of an entry. One entry of each listing is held.
    """
    return closing_with(new, closing_with(old, _merge(new, old, of_new, of_old)))


def _merge(new: Iterator[E], old: Iterator[E], of_new: Callable[[E], E], of_old: Callable[[E], E]) -> Iterator[E]:
    ours, theirs = next(new, None), next(old, None)
    while ours is not None and theirs is not None:
        our_name, their_name = _sorted_as(ours), _sorted_as(theirs)
        # The next one is asked for when this one was taken: nobody waits for an entry that is not wanted yet.
        if our_name <= their_name:
            yield of_new(ours)
            ours = next(new, None)
        else:
            yield of_old(theirs)
        if our_name >= their_name:
            theirs = next(old, None)
    while ours is not None:
        yield of_new(ours)
        ours = next(new, None)
    while theirs is not None:
        yield of_old(theirs)
        theirs = next(old, None)


def _sorted_as(entry: Entry) -> bytes:
    return sort_key(entry.prefix if isinstance(entry, Folder) else entry.key)
