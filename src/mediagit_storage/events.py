"""Events: things worth knowing that are no error and no result (a skipped file, a retry, a swept leftover).

``with on_event(callback): ...`` receives those of the calls inside; each also goes to the standard library's logger
``mediagit_storage`` at DEBUG level. Messages name keys escaped and never hold a secret.

Some are details, of which there are many (each request over HTTP): they are made only for who asks for ``details``, and
for a logger that is at DEBUG.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = [
    "HTTP_ATTEMPT",
    "Event",
    "EventCallback",
    "Listener",
    "Overhearing",
    "acting_as",
    "current_actor",
    "current_listener",
    "details_wanted",
    "emit",
    "on_event",
    "overhear",
    "stop_overhearing",
]

logger: Final = logging.getLogger("mediagit_storage")

#: The kind of the detail that tells of one request over HTTP (`http.attempts`).
HTTP_ATTEMPT: Final = "http.attempt"

_NO_FIELDS: Final[Mapping[str, str | int | float | bool | None]] = MappingProxyType({})


class Event(NamedTuple):
    """One thing that happened: a dotted ``kind`` for programs, a ``message`` for people, the key it concerns.

    ``detail`` marks what only those hear who ask for details.
    """

    kind: str
    message: str
    key: str | None = None
    fields: Mapping[str, str | int | float | bool | None] = _NO_FIELDS
    detail: bool = False


EventCallback = Callable[[Event], None]


class Listener(NamedTuple):
    """Who receives events, and whether details too."""

    callback: EventCallback
    details: bool


Overhearing = Token[Listener | None]

_listener: ContextVar[Listener | None] = ContextVar("mediagit_storage_events", default=None)


@contextmanager
def on_event(callback: EventCallback, *, details: bool = False) -> Iterator[None]:
    """Hand every event of the calls inside to ``callback`` (workers inherit it; it may run in several threads)."""
    token = _listener.set(Listener(callback, details))
    try:
        yield
    finally:
        _listener.reset(token)


def overhear(callback: EventCallback, *, details: bool = False) -> Overhearing:
    """Hand events to ``callback`` as well, before whoever listens already, until `stop_overhearing` in the same context.

    For what is in between: `on_event` takes the place of an outer listener, and costs more. ``callback`` never raises.
    """
    outer = _listener.get()
    if outer is None:
        return _listener.set(Listener(callback, details))

    def both(event: Event) -> None:
        if details or not event.detail:
            callback(event)
        if outer.details or not event.detail:
            outer.callback(event)

    return _listener.set(Listener(both, details or outer.details))


def stop_overhearing(token: Overhearing) -> None:
    """Undo the `overhear` that returned ``token``."""
    _listener.reset(token)


def current_listener() -> Listener | None:
    """Who receives the events of the current context, or None."""
    return _listener.get()


_actor: ContextVar[str | None] = ContextVar("mediagit_storage_actor", default=None)


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Name who acts in the calls inside, for a program that works for many: the audit log says it. Workers inherit it."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> str | None:
    """Whom the innermost `acting_as` names; None outside of all."""
    return _actor.get()


def details_wanted() -> bool:
    """Whether anybody would hear an event that is a detail: ask before making one."""
    listener = _listener.get()
    return (listener is not None and listener.details) or logger.isEnabledFor(logging.DEBUG)


def emit(event: Event) -> None:
    """Tell whoever listens. An exception in a listener is logged and goes no further."""
    logger.debug("%s: %s", event.kind, event.message)
    listener = _listener.get()
    if listener is None or (event.detail and not listener.details):
        return
    try:
        listener.callback(event)
    except Exception:
        logger.exception("an event listener failed on %s", event.kind)
