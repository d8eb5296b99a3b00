"""Events: things worth knowing that are no error and no result (a skipped file, a retry, a swept leftover).

``with on_event(callback): ...`` receives those of the calls inside; each also goes to the standard library's logger
``mediagit_storage`` at DEBUG level. Messages name keys escaped and never hold a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["Event", "EventCallback", "Overhearing", "emit", "on_event", "overhear", "stop_overhearing"]

logger: Final = logging.getLogger("mediagit_storage")
_NO_FIELDS: Final[Mapping[str, str | int | float | bool | None]] = MappingProxyType({})


class Event(NamedTuple):
    """One thing that happened: a dotted ``kind`` for programs, a ``message`` for people, the key it concerns."""

    kind: str
    message: str
    key: str | None = None
    fields: Mapping[str, str | int | float | bool | None] = _NO_FIELDS


EventCallback = Callable[[Event], None]
Overhearing = Token[Callable[[Event], None] | None]

_callback: ContextVar[EventCallback | None] = ContextVar("mediagit_storage_events", default=None)


@contextmanager
def on_event(callback: EventCallback) -> Iterator[None]:
    """Hand every event of the calls inside to ``callback`` (workers inherit it; it may run in several threads)."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


def overhear(callback: EventCallback) -> Overhearing:
    """Hand events to ``callback`` as well, before whoever listens already, until `stop_overhearing` in the same context.

    For what is in between: `on_event` takes the place of an outer listener, and costs more. ``callback`` never raises.
    """
    outer = _callback.get()
    if outer is None:
        return _callback.set(callback)

    def both(event: Event) -> None:
        callback(event)
        outer(event)

    return _callback.set(both)


def stop_overhearing(token: Overhearing) -> None:
    """Undo the `overhear` that returned ``token``."""
    _callback.reset(token)


def emit(event: Event) -> None:
    """Tell whoever listens. An exception in a listener is logged and goes no further."""
    logger.debug("%s: %s", event.kind, event.message)
    callback = _callback.get()
    if callback is None:
        return
    try:
        callback(event)
    except Exception:
        logger.exception("an event listener failed on %s", event.kind)
