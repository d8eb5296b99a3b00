"""Whether a worker sees the storages that are meant: a path, or a name, can mean another one on another machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

from mediagit_storage.errors import ConfigError, NotFoundError
from mediagit_storage.tools.sides import Side

__all__ = ["ElsewhereError", "Witness", "check_seen", "missing", "sides_seen", "witnesses_of"]

#: Objects of each side of which a worker has to see one: some may go while a run lasts.
_WITNESSES: Final = 5


class ElsewhereError(ConfigError):
    """A worker sees another storage under the same name."""


class Witness(NamedTuple):
    """An object that was seen in the side of this number. Its time tells two storages apart that hold the same bytes."""

    side: int
    key: str
    etag: str | None
    modified: datetime | None


def witnesses_of(sides: Sequence[Side]) -> Sequence[Witness]:
    """The first few objects of each side. A listing for each, and a request for each object."""
    return [each for number, side in enumerate(sides) for each in _seen_in(number, side)]


def missing(sides: Sequence[Side], witnesses: Sequence[Witness]) -> bool:
    """Whether of some side no witness is to be seen any more, by who has seen them."""
    return any(not _is_seen(number, side, witnesses) for number, side in enumerate(sides))


def sides_seen(witnesses: Sequence[Witness]) -> frozenset[int]:
    """The numbers of the sides in which something was seen."""
    return frozenset(each.side for each in witnesses)


def check_seen(sides: Sequence[Side], witnesses: Sequence[Witness], worker: str) -> None:
    """Raise `ElsewhereError` where a side has witnesses and none of them is seen here, or has none and is not empty here."""
    seen = sides_seen(witnesses)
    for number, side in enumerate(sides):
        if number not in seen and next(side.listed(), None) is not None:
            raise ElsewhereError(
                f"the worker {worker} sees another storage as {side.store.description}: nothing is there on the machine that"
                " started this, and there it is not empty. A folder has to be one that all machines share"
            )
        if not _is_seen(number, side, witnesses):
            raise ElsewhereError(
                f"the worker {worker} sees another storage as {side.store.description}: what is there on the machine that"
                " started this is not there. A folder has to be one that all machines share"
            )


def _seen_in(number: int, side: Side) -> list[Witness]:
    found: list[Witness] = []
    for each in islice(side.listed(), _WITNESSES):
        # It may be deleted right now.
        with suppress(NotFoundError):
            info = side.store.stat(each.info.key)
            found.append(Witness(number, info.key, info.etag, info.modified))
    return found


def _is_seen(number: int, side: Side, witnesses: Sequence[Witness]) -> bool:
    own = [each for each in witnesses if each.side == number]
    return not own or any(_sees(side, each) for each in own)


def _sees(side: Side, witness: Witness) -> bool:
    try:
        info = side.store.stat(witness.key)
    except NotFoundError:
        return False
    return (info.etag, info.modified) == (witness.etag, witness.modified)
