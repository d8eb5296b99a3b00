"""Answers with the headers that every page of the console has. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from starlette.responses import Response

from mediagit_storage.serve.console.assets import Asset
from mediagit_storage.serve.console.markup import Html
from mediagit_storage.types import JSON

__all__ = ["POLICY", "asset_reply", "html_reply", "json_reply"]

#: Pages take what is theirs from the gateway itself and run no script or style that stands in them.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_SAFE: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
#: Pages tell of what is stored now, and perhaps only to one person.
_UNKEPT: Final = "private, no-cache"


def html_reply(page: Html, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    """A page."""
    every = {**_SAFE, "Cache-Control": _UNKEPT, **headers}
    return Response(page.encode(), status, every, "text/html; charset=utf-8")


def json_reply(value: Mapping[str, JSON], status: int = 200) -> Response:
    """An answer for a script."""
    return Response(msgspec.json.encode(value), status, {**_SAFE, "Cache-Control": "no-store"}, "application/json")


def asset_reply(asset: Asset) -> Response:
    """A file of the console. Its address tells its content, so it may be kept for a year."""
    headers = {**_SAFE, "Cache-Control": "public, max-age=31536000, immutable", "ETag": asset.etag}
    return Response(asset.data, 200, headers, asset.content_type)
