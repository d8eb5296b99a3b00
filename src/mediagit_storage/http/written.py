"""What writes over HTTP have in common: their condition, the token of their object, and when an upload may go on later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from mediagit_storage.errors import CancelledError, NotFoundError, UnavailableError
from mediagit_storage.http.call import Condition
from mediagit_storage.types import JSON, PutOptions, ResumeState

__all__ = ["TOKEN", "condition_of", "own", "remembered"]

T = TypeVar("T")

#: The hidden entry of the metadata by which a write knows its own object again, without the prefix ``mgs-``.
TOKEN: Final = "token"  # noqa: S105  # a name
#: What may go away by itself: an upload whose progress is remembered is then left to be continued.
_INTERRUPTIONS: Final = (UnavailableError, CancelledError, KeyboardInterrupt, SystemExit)


def condition_of(options: PutOptions) -> Condition | None:
    """The condition that a write carries."""
    if options.if_absent:
        return "absent"
    return "match" if options.if_match is not None else None


def own(hidden: Callable[[str], tuple[T, Mapping[str, str]]], key: str, token: str) -> T | None:
    """The object under ``key``, if it is the one that was written with ``token``.

    ``hidden`` looks at an object, and at the library's own entries in its metadata.
    """
    try:
        found, entries = hidden(key)
    except NotFoundError:
        return None
    return found if entries.get(TOKEN) == token else None


@contextmanager
def remembered(
    state: ResumeState | None, saved: Mapping[str, JSON], undo: Callable[[], object], *, kept: bool = False
) -> Iterator[bool]:
    """An upload that goes on later if it is interrupted and could be ``saved``; yields whether another run can find it.

    ``kept`` says that an earlier run has saved it. What ends, well or not, is forgotten; what fails and cannot be gone
    on with is undone before.
    """
    try:
        if state is not None and not kept:
            kept = state.save(saved)
        yield kept
    except BaseException as error:
        if not (kept and isinstance(error, _INTERRUPTIONS)):
            undo()
            if state is not None:
                state.clear()
        raise
    if state is not None:
        state.clear()
