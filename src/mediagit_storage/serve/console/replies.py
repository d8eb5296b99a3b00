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

__all__ = ["asset_reply", "html_reply", "json_reply", "policy"]

#: What is no page runs nothing and shows nothing.
_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
_SAFE: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _NOTHING,
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


def policy(nonce: str) -> str:
    """What a page may do: scripts and styles need its own ``nonce``, since the same origin also gives out what is stored.

    Pictures, media and requests are the gateway's own; nothing is inline, and no worker is ever started.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "img-src 'self'",
            "media-src 'self'",
            "connect-src 'self'",
            "worker-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def html_reply(page: Html, nonce: str, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    """A page, which names ``nonce`` on its scripts and styles."""
    every = {**_SAFE, "Content-Security-Policy": policy(nonce), "Cache-Control": _UNKEPT, **headers}
    return Response(page.encode(), status, every, "text/html; charset=utf-8")


def json_reply(value: Mapping[str, JSON], status: int = 200) -> Response:
    """An answer for a script."""
    return Response(msgspec.json.encode(value), status, {**_SAFE, "Cache-Control": "no-store"}, "application/json")


def asset_reply(asset: Asset) -> Response:
    """A file of the console. Its address tells its content, so it may be kept for a year."""
    headers = {**_SAFE, "Cache-Control": "public, max-age=31536000, immutable", "ETag": asset.etag}
    return Response(asset.data, 200, headers, asset.content_type)
