"""Keys as people see them and as links name them. Pure functions.

A name can hold anything: markup, characters that turn the direction of text around, line ends, bytes that are no
UTF-8. What does not print is shown escaped and marked; what stands beside it keeps its own direction.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import quote, urlencode

from mediagit_storage.serve.console.markup import Html, element, joined
from mediagit_storage.serve.links import OBJECTS, object_path
from mediagit_storage.serve.targets import BadTargetError, key_in
from mediagit_storage.text import human_bytes, printable

__all__ = [
    "UNKNOWN",
    "Query",
    "browse_url",
    "folder_of",
    "moment",
    "object_url",
    "shown",
    "size_text",
    "view_url",
]

#: What stands where nothing is known: an en dash.
UNKNOWN: Final = "\u2013"

#: What follows the question mark.
Query: TypeAlias = "Mapping[str, str | None]"

_NO_QUERY: Final[Query] = MappingProxyType({})
#: Path segments that a browser resolves by itself, also when they are percent-encoded.
_DOTS: Final = frozenset({".", ".."})


def shown(name: str) -> Html:
    """A name for an element: isolated, and with everything that does not print escaped in a marked span."""
    runs = itertools.groupby(name, str.isprintable)
    parts = [
        text if prints else element("span", {"class": "escape"}, printable(text))
        for prints, text in ((prints, "".join(run)) for prints, run in runs)
    ]
    return element("bdi", {"class": "name"}, joined(parts))


def browse_url(prefix: str, query: Query = _NO_QUERY) -> str:
    """The page that lists the keys which start with ``prefix``."""
    return _page("/-/browse/", "prefix", prefix, query)


def view_url(key: str, query: Query = _NO_QUERY) -> str:
    """The page about one object."""
    return _page("/-/view/", "key", key, query)


def object_url(key: str) -> str | None:
    """Where the gateway gives out the bytes of an object. None for a key that no browser can ask it for."""
    path = object_path(key)
    try:
        key_in(path[len(OBJECTS) :])
    except BadTargetError:
        return None
    return path


def _page(start: str, name: str, key: str, query: Query) -> str:
    """A key that a browser would resolve goes into the query; values that are empty are left out of it."""
    given = {name: value for name, value in query.items() if value}
    if not _DOTS.isdisjoint(key.split("/")):
        return f"{start}?{urlencode({name: key, **given}, errors='surrogateescape')}"
    return f"{start}{quote(key, safe='/', errors='surrogateescape')}{'?' + urlencode(given, errors='surrogateescape') if given else ''}"


def folder_of(key: str) -> str:
    """The prefix of the folder that a key or a folder is in: up to its last slash but for one at the end."""
    cut = key[:-1].rfind("/")
    return key[: cut + 1]


def size_text(size: int | None) -> str:
    """A size for people; a dash where it is not known."""
    return UNKNOWN if size is None else human_bytes(size)


def moment(when: datetime | None, now: datetime) -> Html:
    """A time as people say it, with the exact one in UTC behind it."""
    if when is None:
        return element("span", {}, UNKNOWN)
    exact = when.astimezone(UTC)
    values = {"datetime": exact.isoformat(timespec="seconds"), "title": f"{exact:%Y-%m-%d %H:%M:%S} UTC"}
    return element("time", values, _ago(exact, now.astimezone(UTC)))


def _ago(when: datetime, now: datetime) -> str:
    age = now - when
    if age < timedelta(0) or age >= timedelta(days=7):
        return f"{when.day} {when:%b %Y}"
    if age < timedelta(minutes=1):
        return "just now"
    if age < timedelta(hours=1):
        return f"{age // timedelta(minutes=1)} min ago"
    if age < timedelta(days=1):
        return f"{age // timedelta(hours=1)} h ago"
    return "yesterday" if age < timedelta(days=2) else f"{age.days} days ago"
