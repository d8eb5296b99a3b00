"""Where things are: the URL that a storage begins at, the paths of keys, and what the references of answers mean.

A reference (``href``) is only ever compared, never followed: whatever host it names, requests go to the storage's own.
Pure functions.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urljoin

from mediagit_storage.errors import ConfigError, IntegrityError
from mediagit_storage.http.encoding import encode_path, percent_decode
from mediagit_storage.http.endpoint import parse_endpoint

__all__ = ["Base", "base_of", "child_name", "http_url", "is_slashed", "is_unholdable"]

_SCHEMES: Final = {"dav": "http", "davs": "https", "http": "http", "https": "https"}
_NO_SEGMENTS: Final = frozenset({"", ".", ".."})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Base(NamedTuple):
    """The folder that holds all objects. ``path`` is encoded, empty or ``/some/path``; ``segments`` are its names."""

    origin: str
    path: str
    segments: tuple[str, ...]

    def path_of(self, key: str) -> str:
        """The encoded path of a key, or of a folder where that ends with ``/``; that of the base for ``""``."""
        return f"{self.path}/{encode_path(key)}"

    def segments_of(self, folder: str) -> tuple[str, ...]:
        """The names on the way to a folder, which is empty or ends with ``/``."""
        return (*self.segments, *folder.split("/")[:-1])

    @property
    def url(self) -> str:
        """The whole."""
        return self.origin + self.path


def http_url(url: str) -> str:
    """A URL with the scheme that is spoken: ``dav`` is http, ``davs`` https."""
    scheme, separator, rest = url.partition("://")
    spoken = _SCHEMES.get(scheme.lower())
    if not separator or spoken is None:
        raise ConfigError("the URL of a WebDAV storage is https://host/path (or davs://host/path)")
    return f"{spoken}://{rest}"


def base_of(url: str, *, allow_http: bool) -> Base:
    """The parts of a storage's URL. `ConfigError` for credentials, a query, dots, and plain http to other machines."""
    text = http_url(url)
    if "?" in text or "#" in text:
        raise ConfigError("the URL of a WebDAV storage has no query and no fragment; write '#' and '?' as %23 and %3F")
    scheme, _, rest = text.partition("://")
    host, _, path = rest.partition("/")
    endpoint = parse_endpoint(f"{scheme}://{host}", allow_http=allow_http)
    segments = tuple(percent_decode(segment) for segment in path.split("/") if segment)
    if any(segment in _NO_SEGMENTS or "/" in segment or _CONTROL.search(segment) for segment in segments):
        raise ConfigError("the path of a WebDAV storage has no '.', '..', encoded '/' or control character")
    encoded = "".join(f"/{encode_path(segment)}" for segment in segments)
    return Base(endpoint.origin, encoded, segments)


def is_unholdable(key: str) -> bool:
    """Whether no resource can have this key: a path has no NUL, no empty, ``.`` or ``..`` segment, and no file ends so."""
    return "\0" in key or not _NO_SEGMENTS.isdisjoint(key.split("/"))


def child_name(href: str, folder: tuple[str, ...]) -> str | None:
    """The name that a reference gives within ``folder``; ``""`` for the folder itself, None for what lies deeper.

    Decoded exactly once. A name that holds a ``/`` or NUL is returned as it is, for the caller to leave out. Raises
    `IntegrityError` for what lies elsewhere, and for dots.
    """
    text = href.strip()
    relative = False
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in _SCHEMES:
        path = rest.partition("/")[2]
    elif separator and scheme.isalnum():
        raise IntegrityError(f"the server lists {href[:200]!r}, which leads elsewhere")
    elif text.startswith("//"):
        path = text[2:].partition("/")[2]
    else:
        relative = not text.startswith("/")
        path = text
    segments = tuple(percent_decode(segment) for segment in path.split("/") if segment)
    if any(segment in _NO_SEGMENTS for segment in segments):
        raise IntegrityError(f"the server lists {href[:200]!r}, which leads elsewhere")
    if relative:
        segments = (*folder, *segments)
    depth = len(folder)
    if segments[:depth] != folder:
        raise IntegrityError(
            f"the server lists {href[:200]!r}, which is not in the folder that was asked for; the URL has to be the"
            " server's own, not that of something that rewrites paths"
        )
    if len(segments) == depth:
        return ""
    return segments[depth] if len(segments) == depth + 1 else None


def is_slashed(location: str | None, url: str) -> bool:
    """Whether a redirect only adds the ``/`` that the URL of a folder ends with."""
    if not location:
        return False
    path = urljoin(url, location).partition("://")[2].partition("/")[2]
    return percent_decode(path) == percent_decode(url.partition("://")[2].partition("/")[2]) + "/"
