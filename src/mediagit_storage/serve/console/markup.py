"""HTML as values: text is escaped unless it was built here, so that nothing stored can become markup. Pure functions.

There are no templates to forget an escape in. Names of elements and attributes are written in code, never taken from
data; every other string passes through `escaped`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

__all__ = ["Html", "Part", "Values", "document", "element", "escaped", "joined"]

#: What an element holds: text to be escaped, HTML that stays as it is, or nothing.
Part: TypeAlias = "str | Html | None"
#: Attributes: True is a bare name, False and None leave the attribute out.
Values: TypeAlias = Mapping[str, "str | int | bool | None"]

_NO_VALUES: Final[Values] = MappingProxyType({})
#: Elements that hold nothing and have no end.
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Html(str):
    """Text that is HTML already. Only this module makes it."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """The text as it stands, whatever is in it: in an element or in a quoted attribute.

    What no UTF-8 can hold (a lone surrogate) becomes a question mark.
    """
    if isinstance(text, Html):
        return text
    return Html(html.escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True))


def joined(parts: Iterable[Part]) -> Html:
    """Parts one after the other."""
    return Html("".join(escaped(part) for part in parts if part is not None))


def document(*parts: Part) -> Html:
    """A whole page: its head and its body."""
    return Html(f"<!doctype html>\n{element('html', {'lang': 'en'}, *parts)}")


def element(name: str, values: Values = _NO_VALUES, /, *parts: Part) -> Html:
    """One element with its attributes and what it holds.

    >>> element("a", {"href": "/x?y&z", "download": True}, "<b>")
    '<a href="/x?y&amp;z" download>&lt;b&gt;</a>'
    """
    written = "".join(
        f" {key}" if value is True else f' {key}="{escaped(str(value))}"'
        for key, value in values.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{joined(parts)}</{name}>")
