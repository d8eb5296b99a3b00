"""The page that lists a folder, and the one that searches in it. Pure functions from a page of entries to HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mediagit_storage.serve.console.layout import Frame, dialog, icon, page
from mediagit_storage.serve.console.listing import SCAN_KEYS, Page
from mediagit_storage.serve.console.markup import Html, Part, Values, element
from mediagit_storage.serve.console.names import (
    browse_url,
    folder_of,
    moment,
    object_url,
    shown,
    size_text,
    view_url,
)
from mediagit_storage.serve.console.previews import LARGEST_THUMBNAIL, Kind, kind_of
from mediagit_storage.serve.links import object_path
from mediagit_storage.text import plural, printable
from mediagit_storage.types import Entry, Folder, ObjectInfo

__all__ = ["Request", "Way", "browse_page", "crumbs"]

#: How a search looks: at how names in this folder begin, or for a text anywhere in them, also in folders below.
Way = Literal["begins", "contains"]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: the ``prefix`` of the folder, the entry to go on behind, and the ``text`` to search for."""

    prefix: str
    after: str | None = None
    text: str = ""
    way: Way = "begins"

    def query(self, after: str | None) -> dict[str, str | None]:
        """The same search, going on behind ``after``."""
        return {"q": self.text, "in": self.way if self.text else None, "after": after}


def crumbs(folder: str, place: str) -> Html:
    """Where something is: a link for the storage and for each folder down to ``folder``."""
    ends = [index + 1 for index, character in enumerate(folder) if character == "/"]
    steps = [
        ("", place),
        *((folder[:end], folder[start : end - 1] or "/") for start, end in zip([0, *ends], ends, strict=False)),
    ]
    links = [element("li", {}, element("a", {"href": browse_url(prefix)}, shown(name))) for prefix, name in steps]
    return element("nav", {"class": "crumbs", "aria-label": "Folders above"}, element("ol", {}, *links))


def browse_page(frame: Frame, request: Request, found: Page, now: datetime) -> Html:
    """The whole page. It lists what ``found`` holds, and says how to get at the rest."""
    uploads = frame.writable and _takes_uploads(request.prefix)
    title = request.prefix.rstrip("/").rpartition("/")[2] or request.prefix or frame.place
    head = element(
        "div",
        {"class": "head"},
        element("div", {"class": "titles"}, element("h1", {}, shown(title)), element("p", {"class": "about"}, _about(request, found))),
        element("div", {"class": "actions"}, _upload_button() if uploads else None),
    )  # fmt: skip
    return page(
        frame,
        title,
        "objects",
        crumbs(folder_of(request.prefix), frame.place) if request.prefix else None,
        head,
        _search(request),
        _uploads(frame, request.prefix) if uploads else None,
        _entries(request, found, now) if found.entries else _nothing(request, uploads=uploads),
        _more(request, found),
        _conflict() if uploads else None,
        script="upload.js" if uploads else None,
    )


def _takes_uploads(prefix: str) -> bool:
    """Whether it is a folder in which a browser can name an object: it would resolve dots, and store elsewhere."""
    return (not prefix or prefix.endswith("/")) and object_url(f"{prefix}x") is not None


def _about(request: Request, found: Page) -> str:
    if request.text:
        looked = f" among {plural(found.looked, 'name')}, folders below included" if request.way == "contains" else ""
        return f"{len(found.entries):,} found{looked}{' on this page' if found.after or request.after else ''}"
    folders = sum(isinstance(entry, Folder) for entry in found.entries)
    objects = len(found.entries) - folders
    parts = [plural(n, word) for n, word in ((folders, "folder"), (objects, "object")) if n]
    more = " on this page, sorted by name" if found.after or request.after else ""
    return (", ".join(parts) or "Empty") + more


def _search(request: Request) -> Html:
    def way(value: Way, text: str) -> Html:
        chosen: Values = {"type": "radio", "name": "in", "value": value, "checked": request.way == value}
        return element("label", {}, element("input", chosen), element("span", {}, text))

    field: Values = {
        "type": "search",
        "name": "q",
        "id": "search",
        "value": request.text,
        "placeholder": "Search in this folder",
        "aria-label": "Search in this folder",
        "autocomplete": "off",
        "spellcheck": "false",
        "maxlength": 1024,
        "aria-keyshortcuts": "/",
    }
    ways = element(
        "fieldset",
        {"class": "ways"},
        element("legend", {"class": "unseen"}, "How to search"),
        way("begins", "Begins with"),
        way("contains", "Contains"),
    )
    return element(
        "form",
        {"class": "search", "role": "search", "action": browse_url(request.prefix), "method": "get"},
        _kept_prefix(request.prefix),
        element("span", {"class": "field"}, icon("search"), element("input", field)),
        ways,
        element("button", {"type": "submit", "class": "button"}, "Search"),
        element("a", {"class": "button quiet", "href": browse_url(request.prefix)}, "Clear") if request.text else None,
    )


def _kept_prefix(prefix: str) -> Html | None:
    """A form drops the query of its own address, where a prefix with dots stands."""
    if "?" not in browse_url(prefix):
        return None
    return element("input", {"type": "hidden", "name": "prefix", "value": prefix})


def _entries(request: Request, found: Page, now: datetime) -> Html:
    titles = [("name", "Name"), ("size", "Size"), ("time", "Changed")]
    headings = [element("th", {"scope": "col", "class": name}, text) for name, text in titles]
    # A search goes below folders, so its names are shown as from here.
    rows = [_row(entry, request.prefix, now) for entry in found.entries]
    caption = element("caption", {"class": "unseen"}, "Folders and objects, sorted by name")
    return element(
        "table",
        {"class": "entries", "id": "entries"},
        caption,
        element("thead", {}, element("tr", {}, *headings)),
        element("tbody", {}, *rows),
    )


def _row(entry: Entry, prefix: str, now: datetime) -> Html:
    size: Part = None
    time: Part = None
    if isinstance(entry, Folder):
        name, url, kind, sign = entry.prefix, browse_url(entry.prefix), "folder", icon("folder")
    else:
        name, url, kind, sign = entry.key, view_url(entry.key), str(kind_of(entry)), _sign(entry)
        size, time = size_text(entry.size), moment(entry.modified, now)
    text = shown(name[len(prefix) :] or "(this folder's own mark)")
    link = element("a", {"href": url, "class": "entry"}, element("span", {"class": f"sign {kind}"}, sign), text)
    return element(
        "tr",
        {},
        element("th", {"scope": "row", "class": "name"}, link),
        element("td", {"class": "size"}, size),
        element("td", {"class": "time"}, time),
    )


def _sign(info: ObjectInfo) -> Html:
    """A small picture of a picture that is small itself, else a drawing of its kind."""
    kind = kind_of(info)
    small = info.size is not None and 0 < info.size <= LARGEST_THUMBNAIL
    url = object_url(info.key) if kind is Kind.PICTURE and small else None
    if url is None:
        return icon(kind)
    values: Values = {"src": url, "alt": "", "loading": "lazy", "decoding": "async", "width": 36, "height": 36}
    return element("img", values)


def _more(request: Request, found: Page) -> Html | None:
    parts: list[Part] = []
    if found.stopped:
        so_far = shown(found.after or "")
        parts.append(
            element(
                "p",
                {},
                f"The search stopped after {plural(found.looked, 'name')} (at most {SCAN_KEYS:,} at a time), at ",
                so_far,
            )
        )
    if found.after is not None:
        url = browse_url(request.prefix, request.query(found.after))
        parts.append(
            element(
                "a",
                {"class": "button", "href": url, "id": "more", "rel": "next"},
                "Search on" if found.stopped else "Show more",
            )
        )
    if request.after is not None:
        url = browse_url(request.prefix, request.query(None))
        parts.append(element("a", {"class": "button quiet", "href": url}, "Back to the start"))
    return element("div", {"class": "more"}, *parts) if parts else None


def _nothing(request: Request, *, uploads: bool) -> Html:
    if request.text:
        what, why = (
            f"Nothing found for “{printable(request.text)}”",
            "Try fewer letters, or search for names that contain them.",
        )
    elif request.after:
        what, why = "Nothing more", "The list ends here."
    elif request.prefix:
        what, why = (
            "Nothing in this folder",
            "No key begins with this name. A folder is there as long as something is in it.",
        )
    else:
        what, why = "Nothing stored yet", "Objects appear here as soon as something is put into the storage."
    drop = " Drop files here to store them." if uploads and not request.text else ""
    return element("div", {"class": "empty"}, icon("empty"), element("h2", {}, what), element("p", {}, why + drop))


def _upload_button() -> Html:
    return element(
        "span",
        {"class": "scripted"},
        element("input", {"type": "file", "multiple": True, "id": "files", "class": "unseen", "tabindex": "-1", "aria-hidden": "true"}),
        element("button", {"type": "button", "class": "button primary", "id": "upload"}, icon("up"), "Upload"),
    )  # fmt: skip


def _uploads(frame: Frame, prefix: str) -> Html:
    """Where uploads are told of; scripts find there what the keys of uploads begin with."""
    values: Values = {
        "class": "uploads",
        "id": "uploads",
        "data-to": object_path(prefix),
        "data-creates": "yes" if frame.creates else "no",
        "hidden": True,
        "aria-label": "Uploads",
    }
    return element("section", values, element("h2", {}, "Uploads"), element("ul", {}))


def _conflict() -> Html:
    every = element(
        "label",
        {"class": "check"},
        element("input", {"type": "checkbox", "id": "conflict-all"}),
        " Do so for all that follow",
    )
    buttons = [
        element(
            "button", {"type": "submit", "class": "button", "value": "keep", "autofocus": True}, "Keep what is there"
        ),
        element("button", {"type": "submit", "class": "button danger", "value": "replace"}, "Replace it"),
    ]
    return dialog(
        "conflict",
        "There is one already",
        element("p", {"id": "conflict-what"}),
        element("form", {"method": "dialog"}, every, element("div", {"class": "ends"}, *buttons)),
    )
