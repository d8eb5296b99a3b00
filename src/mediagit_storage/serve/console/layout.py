"""What every page has: head, top bar, the place it speaks of, help. Works without scripts, which only add to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mediagit_storage.serve.console.markup import Html, Part, Values, document, element, escaped
from mediagit_storage.serve.console.names import browse_url
from mediagit_storage.text import printable

__all__ = ["Frame", "Section", "dialog", "icon", "page"]

Section = Literal["objects", "health"]

#: Drawn for this console in a square of 20, in lines that take the colour of the text.
_ICONS: Final[Mapping[str, str]] = {
    "folder": "M2.5 5.5a1.5 1.5 0 0 1 1.5-1.5h3.2l1.8 2h7a1.5 1.5 0 0 1 1.5 1.5v7a1.5 1.5 0 0 1-1.5 1.5h-12a1.5 1.5 0 0 1-1.5-1.5z",
    "picture": "M3.5 3.5h13v13h-13zM3.5 13.5l3.8-4 3.4 3.5 2.3-2.2 3.5 3.4M13 7.3h.01",
    "video": "M2.5 5h10.5v10h-10.5zM13 8.8l4.5-2.6v7.6l-4.5-2.6",
    "audio": "M7.5 14.5v-10l8-1.5v10M7.5 14.5a2 2 0 1 1-4 0 2 2 0 0 1 4 0zM15.5 13a2 2 0 1 1-4 0 2 2 0 0 1 4 0z",
    "text": "M5 2.5h7l3.5 3.5v11.5h-10.5zM11.5 2.5v4h4M7.5 10h5.5M7.5 13.2h5.5",
    "document": "M5 2.5h7l3.5 3.5v11.5h-10.5zM11.5 2.5v4h4M7.5 14.5h3",
    "archive": "M3.5 3h13v4h-13zM4.5 7v10h11v-10M8 10.5h4",
    "other": "M5 2.5h7l3.5 3.5v11.5h-10.5zM11.5 2.5v4h4",
    "up": "M10 16v-12M5 9l5-5 5 5",
    "down": "M10 4v12M5 11l5 5 5-5M3.5 17.5h13",
    "search": "M9 15a6 6 0 1 1 0-12 6 6 0 0 1 0 12zM13.4 13.4l4.1 4.1",
    "theme": "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
    "help": "M7.4 7.6a2.6 2.6 0 1 1 3.9 2.2c-.8.5-1.3 1-1.3 2M10 14.6h.01M17.5 10a7.5 7.5 0 1 1-15 0 7.5 7.5 0 0 1 15 0z",
    "copy": "M7 7h9.5v9.5h-9.5zM13 7v-3.500h-9.500v9.500h3.500",
    "link": "M8.5 11.500a3 3 0 0 0 4.300 0l3-3a3 3 0 0 0-4.300-4.300l-1 1M11.500 8.500a3 3 0 0 0-4.300 0l-3 3a3 3 0 0 0 4.300 4.300l1-1",
    "bin": "M3.500 5.500h13M8 5.500v-2.500h4v2.500M5 5.500l.8 11.500h8.400l.8-11.500M8.500 8.500v5.500M11.500 8.500v5.500",
    "broken": "M2.500 15.500l7.500-12.500 7.500 12.500zM10 8v4M10 13.800h.01",
    "empty": "M3 11l2.500-6.500h9l2.500 6.500v5.500h-14zM3 11h4l1 2h4l1-2h4",
}  # fmt: skip

_KEYS: Final = (
    ("↑ ↓", "move through a list (also j and k)"),
    ("Enter", "open what is marked"),
    ("← or u", "up to the folder above"),
    ("/", "search in this folder"),
    ("?", "this help"),
    ("Esc", "close a dialog"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What pages have in common: the storage's ``place``, and the URLs of assets by name.

    ``writable`` offers uploads and deletes, ``creates`` tells that the storage can refuse to write over what is there,
    ``signs`` offers signed links. ``nonce`` is new for every answer: nothing runs that does not name it.
    """

    place: str
    assets: Mapping[str, str]
    writable: bool = False
    creates: bool = False
    signs: bool = False
    nonce: str = ""


def icon(name: str) -> Html:
    """A small drawing beside words that say the same; hidden from screen readers."""
    drawing = element("path", {"d": _ICONS[name]})
    return element("svg", {"class": "icon", "viewBox": "0 0 20 20", "aria-hidden": "true"}, drawing)


def page(frame: Frame, title: str, section: Section | None, *content: Part, script: str | None = None) -> Html:
    """A whole document. ``title`` is plain text; ``script`` names one more script that this page needs."""
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, " · ".join(dict.fromkeys([printable(title), printable(frame.place)]))),
        element("link", {"rel": "icon", "type": "image/svg+xml", "href": frame.assets["icon.svg"]}),
        element("link", {"rel": "stylesheet", "href": frame.assets["console.css"], "nonce": frame.nonce}),
        # Before the page is drawn, so that it does not flash in the other colours.
        element("script", {"src": frame.assets["theme.js"], "nonce": frame.nonce}),
        *(
            element("script", {"type": "module", "src": frame.assets[name], "nonce": frame.nonce})
            for name in ("console.js", script)
            if name is not None
        ),
    )
    body = element(
        "body",
        {},
        element("a", {"class": "skip", "href": "#main"}, "Skip to the content"),
        _bar(section),
        element("main", {"id": "main", "tabindex": "-1"}, *content),
        _foot(frame),
        element("div", {"id": "said", "class": "toast", "role": "status", "aria-live": "polite"}),
        _help(),
        _token() if frame.writable else None,
    )
    return document(head, body)


def _bar(section: Section | None) -> Html:
    def entry(name: Section, url: str, text: str) -> Html:
        return element("a", {"href": url, "aria-current": "page" if name == section else None}, text)

    mark = element(
        "svg",
        {"class": "mark", "viewBox": "0 0 24 24", "aria-hidden": "true"},
        element("path", {"class": "mark-low", "d": "M3 14.500l9 5 9-5v3l-9 5-9-5z"}),
        element("path", {"class": "mark-high", "d": "M3 8l9-5 9 5v3l-9 5-9-5z"}),
    )
    return element(
        "header",
        {"class": "bar"},
        element("a", {"class": "brand", "href": browse_url("")}, mark, element("span", {}, "mediagit-storage")),
        element("nav", {"aria-label": "Sections"}, entry("objects", browse_url(""), "Objects"), entry("health", "/-/health", "Health")),
        element(
            "div",
            {"class": "tools scripted"},
            _tool("theme", "Change between light and dark"),
            _tool("help", "Keyboard help"),
        ),
    )  # fmt: skip


def _tool(name: str, text: str) -> Html:
    return element(
        "button",
        {"type": "button", "class": "tool", "id": f"{name}-button", "aria-label": text, "title": text},
        icon(name),
    )


def _foot(frame: Frame) -> Html:
    state = "uploads and deletes with a token" if frame.writable else "read only"
    return element(
        "footer", {}, element("span", {"class": "place"}, printable(frame.place)), element("span", {}, state)
    )


def dialog(name: str, title: str, *content: Part) -> Html:
    """A dialog with a heading that names it; scripts open it."""
    heading = element("h2", {"id": f"{name}-title"}, title)
    return element("dialog", {"id": name, "aria-labelledby": f"{name}-title"}, heading, *content)


def _help() -> Html:
    rows = [
        element("div", {}, element("dt", {}, *_key_caps(keys)), element("dd", {}, what)) for keys, what in _KEYS
    ]  # fmt: skip
    close = element("button", {"type": "submit", "class": "button", "value": "", "autofocus": True}, "Close")
    return dialog(
        "help",
        "Keyboard",
        element("dl", {"class": "keys"}, *rows),
        element(
            "label",
            {"class": "check"},
            element("input", {"type": "checkbox", "id": "letters"}),
            " Single letters and signs are keys, too",
        ),
        element("form", {"method": "dialog", "class": "ends"}, close),
    )


def _key_caps(keys: str) -> list[Html]:
    return [escaped(" or ") if word == "or" else element("kbd", {}, word) for word in keys.split(" ")]


def _token() -> Html:
    field: Values = {
        "id": "token-field",
        "type": "password",
        "autocomplete": "off",
        "required": True,
        "spellcheck": "false",
        "aria-describedby": "token-why",
    }
    return dialog(
        "token",
        "Token needed",
        element("p", {"id": "token-why"}, "To change anything, give the token that the gateway was started with. It is kept until you close this tab."),
        element(
            "form",
            {"method": "dialog"},
            element("label", {"for": "token-field"}, "Token"),
            element("input", field),
            element("p", {"class": "problem", "id": "token-problem", "role": "alert"}),
            element(
                "div",
                {"class": "ends"},
                element("button", {"type": "button", "class": "button", "data-close": True}, "Cancel"),
                element("button", {"type": "submit", "class": "button primary", "value": "yes"}, "Continue"),
            ),
        ),
    )  # fmt: skip
