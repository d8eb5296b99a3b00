"""When a redirect may be followed: to the same server only, with the same method, and only when asked. Pure.

A redirect to another host would hand that host the request's credentials and its body. It is returned as an answer
instead; what to make of it (a bucket's other region, say) is for the backend to decide.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin

from mediagit_storage.http.network import same_origin
from mediagit_storage.http.request import Request

__all__ = ["redirected"]

#: Statuses that keep method and body. 301, 302 and 303 let a client change them, so nobody can rely on either.
_KEEPING: Final = frozenset({307, 308})
_METHODS: Final = frozenset({"GET", "HEAD", "PUT"})


def redirected(request: Request, status: int, location: str | None) -> Request | None:
    """The request to send instead, None when the answer is to be taken as it is.

    Raises `ConfigError` for a location on the same server that is no proper URL.
    """
    if status not in _KEEPING or request.method not in _METHODS or not location or not request.rewindable:
        return None
    url = urljoin(request.url, location).partition("#")[0]
    if not url.startswith(("http://", "https://")) or not same_origin(url, request.url):
        return None
    return request.moved_to(url)
