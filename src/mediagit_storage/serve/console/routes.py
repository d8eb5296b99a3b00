"""The addresses of the console, and what is read from the storage for each: all of it in threads, within a time limit."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import InvalidKeyError, StorageTimeoutError
from mediagit_storage.events import Event, emit
from mediagit_storage.scope import scope
from mediagit_storage.serve.access import CHALLENGE
from mediagit_storage.serve.answers import retry_after, status_of
from mediagit_storage.serve.console import browsing, status
from mediagit_storage.serve.console.assets import load_assets
from mediagit_storage.serve.console.failing import (
    NO_SUCH_PAGE,
    NOT_LISTED,
    TOKEN_NEEDED,
    Failure,
    failure_of,
    failure_page,
)
from mediagit_storage.serve.console.layout import Frame
from mediagit_storage.serve.console.listing import Page, found_page, listed_page
from mediagit_storage.serve.console.markup import Html
from mediagit_storage.serve.console.names import browse_url
from mediagit_storage.serve.console.replies import asset_reply, html_reply, json_reply
from mediagit_storage.serve.console.seeing import Wanted, see
from mediagit_storage.serve.console.viewing import view_page
from mediagit_storage.serve.context import Context

__all__ = ["routes"]

T = TypeVar("T")

#: Seconds that the storage has for what a page needs, before the page says that it takes too long.
PATIENCE: Final = 20.0
#: A call that does not heed its time limit is waited for this much longer, in seconds.
_GRACE: Final = 1.0
#: The largest body of a request to the console itself, in bytes: a key, percent-encoded.
_FORM_BYTES: Final = 8192
#: How long a signed link works, in seconds.
_LINK_SECONDS: Final = 24 * 3600
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(context: Context, *, patience: float = PATIENCE, clock: Clock = SYSTEM_CLOCK) -> list[BaseRoute]:
    """Every page of the console, below ``/-/``: ``browse``, ``view``, ``health``, ``api`` and ``static``.

    They come last among the gateway's own: whatever else begins so is a page that does not exist.
    """
    console = _Console(context, patience, clock)
    return [
        _Route("/-/browse/", {"GET": console.guarded(console.browse)}),
        _Route("/-/view/", {"GET": console.guarded(console.view)}),
        _Route("/-/health", {"GET": console.guarded(console.health)}, whole=True),
        _Route("/-/api/status", {"GET": console.guarded(console.status)}, whole=True),
        _Route("/-/api/token", {"POST": console.token}, whole=True),
        _Route("/-/api/link", {"POST": console.guarded(console.link)}, whole=True),
        _Route("/-/static/", {"GET": console.static}),
        _Route("/-/", {"GET": console.elsewhere}),
    ]


class _Route(BaseRoute):
    """Everything below a path, or that path alone. Paths are compared as they are: a key may hold a line end."""

    def __init__(self, start: str, endpoints: Mapping[str, Endpoint], *, whole: bool = False) -> None:
        self._start = start
        self._whole = whole
        self._endpoints = {**endpoints, **({"HEAD": endpoints["GET"]} if "GET" in endpoints else {})}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is meant for it."""
        path: str = scope["path"]
        fits = path == self._start if self._whole else path.startswith(self._start)
        return (Match.FULL if scope["type"] == "http" and fits else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            refusal = Response(status_code=405, headers={"Allow": ", ".join(sorted(self._endpoints))})
            await refusal(scope, receive, send)
            return
        answer = await endpoint(Request(scope, receive))
        await answer(scope, receive, send)


class _Console:
    """The endpoints. Those that are `guarded` are for who may list; their errors become pages."""

    def __init__(self, context: Context, patience: float, clock: Clock) -> None:
        self._context = context
        self._patience = patience
        self._clock = clock
        self._assets = load_assets()
        settings = context.settings
        self._frame = Frame(
            place=context.title,
            assets={name: asset.url for name, asset in self._assets.items()},
            writable=settings.writable,
            creates=context.storage.capabilities.if_absent,
            # Where everybody may read, a plain link does the same and for longer.
            signs=settings.signer is not None and settings.reads == "token",
        )

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint for who may list; others, and whoever meets an error, get a page that says so."""

        async def guarded(request: Request) -> Response:
            if not self._context.may_list(request):
                return self._refusal(request)
            try:
                return await endpoint(request)
            except Exception as error:  # noqa: BLE001  # a person sees a page, whatever it is
                return self._failure(request, error)

        return guarded

    def _refusal(self, request: Request) -> Response:
        self._context.gateway_metrics.refused("token")
        if self._context.settings.reads == "token" or self._context.settings.token is not None:
            return self._failed(request, TOKEN_NEEDED, 401, {"WWW-Authenticate": CHALLENGE})
        return self._failed(request, NOT_LISTED, 403)

    def _failure(self, request: Request, error: Exception) -> Response:
        status = status_of(error)
        if status >= 500:
            emit(Event("serve.error", f"GET {_here(request)}: {type(error).__name__}: {error}", None))
        headers = {"Retry-After": str(retry_after(error))} if status == 503 else {}
        return self._failed(request, failure_of(error), status, headers)

    def _failed(
        self, request: Request, failure: Failure, status: int, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Response:
        here = _here(request)
        return self._drawn(lambda frame: failure_page(frame, failure, status, here), status, headers)

    def _drawn(
        self, draw: Callable[[Frame], Html], status: int = 200, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Response:
        """A page, with a nonce that no other answer has."""
        frame = replace(self._frame, nonce=secrets.token_urlsafe(16))
        return html_reply(draw(frame), frame.nonce, status, headers)

    async def _ask(self, function: Callable[[], T]) -> T:
        """What a call of the storage gives, within the time that a page has."""

        def bounded() -> T:
            with scope(self._patience):
                return function()

        try:
            return await asyncio.wait_for(self._context.draw(bounded), self._patience + _GRACE)
        except TimeoutError as error:
            if isinstance(error, StorageTimeoutError):
                raise
            raise StorageTimeoutError("the storage does not answer in time") from None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC)

    # ---- pages

    async def browse(self, request: Request) -> Response:
        """The objects and folders under a prefix, or what a search in it finds."""
        query = _query(request)
        asked = browsing.Request(
            prefix=_key_of(request, "/-/browse/", query.get("prefix")),
            after=query.get("after"),
            text=query.get("q", ""),
            way="contains" if query.get("in") == "contains" else "begins",
        )
        found = await self._ask(lambda: self._found(asked))
        return self._drawn(lambda frame: browsing.browse_page(frame, asked, found, self._now()))

    def _found(self, asked: browsing.Request) -> Page:
        storage = self._context.storage
        if asked.text and asked.way == "contains":
            return found_page(storage, asked.prefix, asked.after, asked.text, now=self._clock.monotonic)
        return listed_page(storage, asked.prefix + asked.text, asked.after)

    async def view(self, request: Request) -> Response:
        """One object."""
        query = _query(request)
        key = _key_of(request, "/-/view/", query.get("key"))
        if not key:
            return RedirectResponse(browse_url(""), 303)
        wanted = Wanted(key, query.get("version") or None, large="large" in query, versions="versions" in query)
        seen = await self._ask(lambda: see(self._context.storage, wanted))
        return self._drawn(lambda frame: view_page(frame, seen, self._now()))

    async def health(self, request: Request) -> Response:
        """Whether the storage answers, and what the gateway has counted."""
        health, counted = await self._context.health(), self._context.metrics()
        return self._drawn(lambda frame: status.health_page(frame, health, counted))

    # ---- for scripts

    async def status(self, request: Request) -> Response:
        """The same as numbers."""
        return json_reply(status.status_of(await self._context.health(), self._context.metrics()))

    async def token(self, request: Request) -> Response:
        """Whether the token that comes with the request lets its holder write.

        Never a 401: a browser would ask for a password in a window of its own.
        """
        accepted = self._context.may_write(request)
        if not accepted:
            self._context.gateway_metrics.refused("token")
        return json_reply({"v": 1, "accepted": accepted})

    async def link(self, request: Request) -> Response:
        """A signed link to an object, for who may list."""
        if not self._frame.signs:
            return self._no_page(request)
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > _FORM_BYTES:
                        return json_reply({"v": 1, "error": "too large"}, 413)
        except TimeoutError:
            return json_reply({"v": 1, "error": "too slow"}, 408)
        key = _texts(bytes(body).decode("ascii", "replace")).get("key", "")
        return json_reply({"v": 1, "url": self._context.signed_link(key, expires=_LINK_SECONDS)})

    async def static(self, request: Request) -> Response:
        """A style or a script."""
        path: str = request.scope["path"]
        asset = self._assets.get(path.rpartition("/")[2])
        return asset_reply(asset) if asset is not None and asset.url == path else self._no_page(request)

    async def elsewhere(self, request: Request) -> Response:
        """The top leads to the list of objects; there is nothing else."""
        return RedirectResponse(browse_url(""), 303) if request.scope["path"] == "/-/" else self._no_page(request)

    def _no_page(self, request: Request) -> Response:
        return self._failed(request, NO_SUCH_PAGE, 404)


def _here(request: Request) -> str:
    """The address of a request, without its host."""
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["raw_path"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _query(request: Request) -> dict[str, str]:
    return _texts(request.scope["query_string"].decode("latin-1"))


def _texts(query: str) -> dict[str, str]:
    """The first value of each name; bytes that are no UTF-8 come as surrogate escapes."""
    try:
        found = parse_qs(query, keep_blank_values=True, errors="surrogateescape", max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _key_of(request: Request, start: str, named: str | None) -> str:
    """The key or prefix that an address names: in its path, or in its query where a browser would change the path.

    Liberal, as whatever is in a storage is to be seen; a lone surrogate is an `InvalidKeyError`.
    """
    raw: bytes = request.scope["raw_path"]
    key = named or unquote_to_bytes(raw[len(start) :]).decode("utf-8", "surrogateescape")
    try:
        key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidKeyError("a key must be valid Unicode") from None
    return key
