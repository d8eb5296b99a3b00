"""The page about one object: what it looks like, all that is known of it, and what can be done with it. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mediagit_storage.serve.console.browsing import crumbs
from mediagit_storage.serve.console.layout import Frame, dialog, icon, page
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
from mediagit_storage.serve.console.previews import LARGEST_PICTURE, TEXT_BYTES, Kind, content_type_of, kind_of
from mediagit_storage.text import human_bytes, plural, printable
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = ["Seen", "Versions", "view_page"]


@dataclass(frozen=True, slots=True)
class Versions:
    """The newest versions of an object. ``more`` are not in it; ``problem`` says why there are none to show."""

    infos: Sequence[ObjectInfo] = ()
    more: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read for the page: the object, the beginning of its ``text`` where it is one, and more where asked for.

    ``problem`` says why it could not be read; ``tag`` is its ETag as HTTP has it, ``pinned`` tells that a delete
    can be held to it; ``version`` is the one that was asked for by name; ``large`` shows a picture of any size; ``keeps_versions`` tells that the storage has some.
    """

    info: ObjectInfo
    text: str | None = None
    problem: str | None = None
    tag: str | None = None
    pinned: bool = False
    version: str | None = None
    large: bool = False
    keeps_versions: bool = False
    versions: Versions | None = None


def view_page(frame: Frame, seen: Seen, now: datetime) -> Html:
    """The whole page."""
    info = seen.info
    name = info.key[len(folder_of(info.key)) :]
    kind = "" if kind_of(info) is Kind.OTHER else f"{kind_of(info).value.capitalize()} · "
    about = element("p", {"class": "about"}, f"{kind}{size_text(info.size)} · changed ", moment(info.modified, now))
    head = element(
        "div",
        {"class": "head"},
        element("div", {"class": "titles"}, element("h1", {}, shown(name)), about),
        element("div", {"class": "actions"}, *_actions(frame, seen)),
    )
    return page(
        frame,
        name,
        "objects",
        crumbs(folder_of(info.key), frame.place),
        _old(seen),
        head,
        element("div", {"class": "object"}, element("div", {}, _preview(seen), _versions(seen, now)), _details(seen)),
        _deletion(info) if frame.writable else None,
    )


def _bytes_url(seen: Seen) -> str | None:
    """Where the bytes are to be had: of the current version only, and not under every name."""
    return object_url(seen.info.key) if seen.version is None else None


def _actions(frame: Frame, seen: Seen) -> list[Part]:
    url, key = _bytes_url(seen), seen.info.key
    copies = _copying("Copy key", "copy", {"data-copy": key}) if key.isprintable() else None
    if url is None:
        return [copies]
    deletes: Values = {
        "type": "button",
        "class": "button danger scripted",
        "id": "delete",
        "data-url": url,
        "data-etag": seen.tag if seen.pinned else None,
        "data-back": browse_url(folder_of(key)),
    }
    return [
        element("a", {"href": url, "class": "button primary", "download": True}, icon("down"), "Download"),
        copies,
        _copying("Copy link", "link", {"data-copy-url": url}),
        _copying("Copy link for 24 hours", "link", {"data-sign": key}) if frame.signs else None,
        element("button", deletes, icon("bin"), "Delete") if frame.writable else None,
    ]


def _copying(text: str, sign: str, values: Mapping[str, str]) -> Html:
    return element("button", {"type": "button", "class": "button scripted", **values}, icon(sign), text)


def _old(seen: Seen) -> Html | None:
    """That this is one version among others."""
    if seen.version is None:
        return None
    now = element("a", {"href": view_url(seen.info.key)}, "Show the current one")
    return element(
        "p", {"class": "note"}, "This is the version ", element("code", {}, printable(seen.version)), ". ", now
    )


# ---- what it looks like


def _preview(seen: Seen) -> Html:
    kind, url = kind_of(seen.info), _bytes_url(seen)
    if seen.text is not None:
        return _text(seen, seen.text)
    if seen.info.size == 0:
        return _no_preview(kind, "This object is empty.")
    if seen.problem is not None or url is None:
        return _no_preview(kind, seen.problem or (_UNREACHABLE if seen.version is None else _OLD))
    shows = _SHOWS.get(kind)
    return shows(seen, url) if shows is not None else _no_preview(kind, _NO_PREVIEWS.get(kind, _NO_PREVIEW))


def _picture(seen: Seen, url: str) -> Html:
    info = seen.info
    if not seen.large and (info.size or 0) > LARGEST_PICTURE:
        anyway = element("a", {"class": "button", "href": view_url(info.key, {"large": "1"})}, "Show it anyway")
        return _no_preview(Kind.PICTURE, f"This picture is large: {size_text(info.size)}.", anyway)
    name = printable(info.key.rpartition("/")[2])
    return _stage("picture", element("img", {"src": url, "alt": f"Picture: {name}", "decoding": "async"}))


def _video(_: Seen, url: str) -> Html:
    values: Values = {"src": url, "controls": True, "preload": "metadata", "playsinline": True}
    return _stage("video", element("video", values))


def _audio(_: Seen, url: str) -> Html:
    return _stage("audio", icon("audio"), element("audio", {"src": url, "controls": True, "preload": "metadata"}))


#: What a browser shows as itself, given the address of the bytes.
_SHOWS: Final[Mapping[Kind, Callable[[Seen, str], Html]]] = {
    Kind.PICTURE: _picture,
    Kind.VIDEO: _video,
    Kind.AUDIO: _audio,
}
_NO_PREVIEWS: Final[Mapping[Kind, str]] = {
    Kind.DOCUMENT: "Documents are not opened here: they can hold programs. Download it to read it.",
    Kind.ARCHIVE: "Archives are not opened here. Download it to see what is in it.",
}
_NO_PREVIEW: Final = "There is no preview of this kind of object."
_OLD: Final = "Old versions are shown as text only. The command  mgs get --version  fetches this one."
_UNREACHABLE: Final = "A browser cannot ask for this name. The command  mgs get  fetches the object."


def _stage(kind: str, *content: Part) -> Html:
    return element("figure", {"class": f"stage {kind}"}, *content)


def _no_preview(kind: Kind, why: str, *more: Part) -> Html:
    return element("div", {"class": "stage empty"}, icon(kind), element("p", {}, why), *more)


def _text(seen: Seen, text: str) -> Html:
    size = seen.info.size
    cut = size is None or size > TEXT_BYTES
    note = f"The first {human_bytes(TEXT_BYTES)} of {size_text(size)}. Download it to see the rest." if cut else None
    values = {"class": "content", "tabindex": "0", "role": "region", "aria-label": "Content as text"}
    parts = element("pre", values, element("code", {}, text))
    return element("div", {"class": "stage words"}, parts, element("p", {"class": "note"}, note) if note else None)


# ---- all that is known


def _details(seen: Seen) -> Html:
    rows = [
        element("div", {}, element("dt", {}, name), element("dd", {}, value))
        for name, value in _known(seen.info, seen.tag)
        if value is not None
    ]
    return element(
        "section", {"class": "details", "aria-label": "Details"}, element("h2", {}, "Details"), element("dl", {}, *rows)
    )


def _known(info: ObjectInfo, tag: str | None) -> list[tuple[str, Part]]:
    size = None if info.size is None else plural(info.size, "byte")
    stored = None if info.stored_size in {None, info.size} else plural(info.stored_size, "byte")
    changed = None if info.modified is None else f"{info.modified:%Y-%m-%d %H:%M:%S} UTC"
    return [
        ("Key", shown(info.key)),
        ("Size", size),
        ("Stored as", stored),
        ("Changed", changed),
        *_described(info.attributes or _NO_ATTRIBUTES, content_type_of(info)),
        ("ETag", _code(tag)),
        ("Version", _code(info.version)),
        ("Checksum", _code(None if info.checksum is None else str(info.checksum))),
    ]


_NO_ATTRIBUTES: Final = Attributes()


def _described(known: Attributes, type_: str | None) -> list[tuple[str, Part]]:
    """What an object says about itself. A type that only its name suggests is told as such."""
    guess = f"{type_} (by its name)" if type_ else None
    texts = [
        ("Type", known.content_type or guess),
        ("Cache-Control", known.cache_control),
        ("Encoding", known.content_encoding),
        ("Disposition", known.content_disposition),
        ("Storage class", known.storage_class),
    ]
    return [
        *((name, None if text is None else shown(text)) for name, text in texts),
        ("Metadata", _pairs(known.metadata)),
        ("Tags", _pairs(known.tags)),
    ]


def _code(text: str | None) -> Html | None:
    return None if text is None else element("code", {}, printable(text))


def _pairs(pairs: Mapping[str, str]) -> Html | None:
    if not pairs:
        return None
    items = [
        element("li", {}, element("code", {}, printable(name)), " ", shown(value)) for name, value in pairs.items()
    ]
    return element("ul", {"class": "pairs"}, *items)


# ---- versions


def _versions(seen: Seen, now: datetime) -> Html | None:
    if not seen.keeps_versions:
        return None
    key = seen.info.key
    if seen.versions is None:
        link = element(
            "a",
            {"class": "button", "href": view_url(key, {"version": seen.version, "versions": "1"}) + "#versions"},
            "Show versions",
        )
        return element("section", {"class": "versions", "id": "versions"}, link)
    content: list[Part] = [element("h2", {}, "Versions")]
    if seen.versions.problem is not None:
        content.append(element("p", {"class": "note"}, seen.versions.problem))
    if seen.versions.infos:
        content.append(element("ol", {}, *(_version(info, now) for info in seen.versions.infos)))
    if seen.versions.more:
        content.append(
            element("p", {"class": "note"}, "Older ones are not shown here; the command  mgs versions  lists all.")
        )
    return element("section", {"class": "versions", "id": "versions"}, *content)


def _version(info: ObjectInfo, now: datetime) -> Html:
    name = element("code", {}, printable(info.version or "current"))
    if info.deleted:
        return element("li", {}, name, element("span", {}, "deleted"), moment(info.modified, now))
    link = element("a", {"href": view_url(info.key, {"version": info.version})}, name) if info.version else name
    return element("li", {}, link, element("span", {}, size_text(info.size)), moment(info.modified, now))


def _deletion(info: ObjectInfo) -> Html:
    return dialog(
        "deletion",
        "Delete this object?",
        element("p", {}, shown(info.key), " will be gone for everybody."),
        element(
            "form",
            {"method": "dialog", "class": "ends"},
            element("button", {"type": "submit", "class": "button", "value": "", "autofocus": True}, "Keep it"),
            element("button", {"type": "submit", "class": "button danger", "value": "yes"}, "Delete"),
        ),
    )
