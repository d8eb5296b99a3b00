"""Styles and scripts: files of this package, read once, named by what is in them so that browsers may keep them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

__all__ = ["Asset", "load_assets"]

_TYPES: Final[Mapping[str, str]] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "health.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "theme.js": "text/javascript; charset=utf-8",
    "upload.js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. ``url`` changes with its content, or with that of any other: scripts import each other by bare names."""

    name: str
    data: bytes
    content_type: str
    etag: str
    url: str


def load_assets() -> Mapping[str, Asset]:
    """All of them by name."""
    folder = files(__package__) / "static"
    contents = {name: (folder / name).read_bytes() for name in _TYPES}
    release = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    return {
        name: Asset(name, data, _TYPES[name], f'"{release}"', f"/-/static/{release}/{name}")
        for name, data in contents.items()
    }
