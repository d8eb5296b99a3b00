"""Listings that go on after the last entry that came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from mediagit_storage.errors import StorageError
from mediagit_storage.layers.base import closing_with
from mediagit_storage.layers.retry.trials import Trials
from mediagit_storage.types import Entry, Folder, ListOptions

__all__ = ["resumed"]

E = TypeVar("E", bound=Entry)


class _Place:
    """How far a listing has come: which entries not to hand out again, and where to ask from."""

    def __init__(self, options: ListOptions) -> None:
        self._options = options
        #: How many entries came.
        self.count = 0
        self._before = options.start_after
        self._name: str | None = None
        self._seen: set[str | None] = set()

    def options(self) -> ListOptions:
        """What the rest is asked for with. Versions of one key are asked for again: the last may not have been all."""
        after = self._before if self._options.versions else (self._before if self._name is None else self._name)
        return replace(self._options, start_after=after)

    def is_new(self, entry: Entry) -> bool:
        """Whether this entry did not come before; it is noted."""
        name, version = (entry.prefix, None) if isinstance(entry, Folder) else (entry.key, entry.version)
        if name != self._name:
            if self._name is not None:
                self._before = self._name
            self._name = name
            self._seen = set()
        if version in self._seen:
            return False
        self._seen.add(version)
        self.count += 1
        return True


def resumed(
    begin: Callable[[ListOptions], Iterator[E]],
    options: ListOptions,
    trials: Callable[[], Trials],
    sleep: Callable[[float], None],
) -> Iterator[E]:
    """Every entry once, in order, whatever breaks in between; attempts are counted anew after each entry that came."""
    place = _Place(options)
    attempts: Trials | None = None
    while True:
        before = place.count
        try:
            entries = begin(place.options())
            yield from closing_with(entries, (entry for entry in entries if place.is_new(entry)))
        except StorageError as error:
            if attempts is None or place.count > before:
                attempts = trials()
            delay = attempts.after(error)
            if delay is None:
                raise
            sleep(delay)
            continue
        return
