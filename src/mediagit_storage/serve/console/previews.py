"""What of an object a page can show. Pure functions: they decide by type and size, and read nothing.

Only what a browser shows without running anything is shown as itself: pictures in ``<img>`` (there an SVG runs no
script either), sound and video. Text, whatever it says it is (HTML, scripts, Markdown), is shown as escaped text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from mediagit_storage.attributes import guess_content_type
from mediagit_storage.types import ObjectInfo

__all__ = ["LARGEST_PICTURE", "LARGEST_THUMBNAIL", "TEXT_BYTES", "Kind", "content_type_of", "kind_of", "text_of"]

#: How much of a text is shown, in bytes.
TEXT_BYTES: Final = 256 * 1024
#: The largest picture that is shown without being asked for, in bytes.
LARGEST_PICTURE: Final = 32 * 1024 * 1024
#: The largest picture that stands beside its name in a listing, in bytes.
LARGEST_THUMBNAIL: Final = 1024 * 1024


class Kind(StrEnum):
    """How an object is shown."""

    PICTURE = "picture"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    DOCUMENT = "document"
    ARCHIVE = "archive"
    OTHER = "other"


_PICTURES: Final = frozenset(
    f"image/{name}" for name in ("png", "jpeg", "gif", "webp", "avif", "svg+xml", "bmp", "x-icon", "vnd.microsoft.icon")
)
_TEXTS: Final = frozenset(
    f"application/{name}"
    for name in (
        "json",
        "javascript",
        "xml",
        "x-sh",
        "x-yaml",
        "yaml",
        "toml",
        "sql",
        "x-ndjson",
        "jsonl",
        "rtf",
        "xhtml+xml",
    )
)
_ARCHIVES: Final = frozenset(
    f"application/{name}"
    for name in ("zip", "gzip", "x-tar", "x-bzip2", "x-xz", "zstd", "x-7z-compressed", "vnd.rar", "x-compress")
)
_CONTROLS: Final = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
#: Endings that are text here, whatever the machine's own table of types makes of them.
_TEXT_ENDINGS: Final = (
    ".md", ".markdown", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".log", ".jsonl", ".ndjson", ".rs", ".go",
    ".ts", ".tsx", ".srt", ".vtt", ".tex", ".sql", ".sh", ".lock", ".env",
)  # fmt: skip


def content_type_of(info: ObjectInfo) -> str | None:
    """What the object says it is, else what its name suggests; lower case, without parameters."""
    said = info.attributes.content_type if info.attributes else None
    if said is None or said in {"application/octet-stream", "binary/octet-stream"}:
        said = guess_content_type(info.key) or said
    return said.partition(";")[0].strip().lower() if said else None


def kind_of(info: ObjectInfo) -> Kind:
    """How this object is shown. One that is stored encoded (gzip) is shown as no text: its bytes are none."""
    type_ = content_type_of(info) or ""
    kind = next((kind for kind, fits in _KINDS if fits(type_)), Kind.OTHER)
    ending = info.key.lower().endswith(_TEXT_ENDINGS)
    if kind is not Kind.TEXT and not ending:
        return kind
    encoding = info.attributes.content_encoding if info.attributes else None
    return Kind.TEXT if encoding in {None, "", "identity"} else Kind.OTHER


#: The first that fits counts.
_KINDS: Final[tuple[tuple[Kind, Callable[[str], bool]], ...]] = (
    (Kind.PICTURE, _PICTURES.__contains__),
    (Kind.VIDEO, lambda type_: type_.startswith("video/")),
    (Kind.AUDIO, lambda type_: type_.startswith("audio/")),
    (Kind.DOCUMENT, "application/pdf".__eq__),
    (Kind.ARCHIVE, _ARCHIVES.__contains__),
    (Kind.TEXT, lambda type_: type_.startswith("text/") or type_ in _TEXTS or type_.endswith(("+json", "+xml"))),
)


def text_of(data: bytes, *, cut: bool, sure: bool) -> str | None:
    """The text in these first bytes of an object; None where they are no text (they hold a NUL).

    A character that the end cuts in two is left out (``cut``). Bytes that are no UTF-8 become replacement characters; where
    it is not ``sure`` that this is a text, they and control characters show that it is none.
    """
    if b"\0" in data:
        return None
    data = data[: _whole_characters(data)] if cut else data
    try:
        text = data.decode("utf-8-sig", "replace" if sure else "strict")
    except UnicodeDecodeError:
        return None
    return text if sure or not _CONTROLS.search(text) else None


def _whole_characters(data: bytes) -> int:
    """Where the last whole character of UTF-8 ends, at most three bytes before the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return len(data)
        if byte >= 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < width else len(data)
    return len(data)
