"""The gateway as an ASGI application: which request goes where, who is let in, and what becomes of errors."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from mediagit_storage.errors import StorageError, UnavailableError
from mediagit_storage.events import Event, emit
from mediagit_storage.layers.base import find_layer
from mediagit_storage.layers.observe import MetricsHook, ObserveConfig, ObserveLayer
from mediagit_storage.serve import console
from mediagit_storage.serve.access import (
    CHALLENGE,
    Gate,
    embedding,
    host_allowed,
    is_foreign,
    may_read,
    may_write,
)
from mediagit_storage.serve.answers import Header, reason, retry_after, status_of
from mediagit_storage.serve.context import Context
from mediagit_storage.serve.exchange import ClientGoneError, ClientSlowError, Exchange, Receive, Scope, Send
from mediagit_storage.serve.health import HealthProbe
from mediagit_storage.serve.links import OBJECTS, disposition_of
from mediagit_storage.serve.metrics import GatewayMetrics
from mediagit_storage.serve.reading import read_object
from mediagit_storage.serve.service import service_routes
from mediagit_storage.serve.settings import Access, ServeSettings
from mediagit_storage.serve.targets import BadTargetError, key_in, shown_target
from mediagit_storage.serve.workers import Workers
from mediagit_storage.serve.writing import BadRequestError, NoLengthError, delete_object, put_object
from mediagit_storage.storage import Storage

__all__ = ["Gateway", "build"]

#: Everything below it is ours, but for `OBJECTS`.
_SERVICE: Final = "/-/"
_ROOT_ROUTES: Final = frozenset({"/metrics", "/healthz", "/readyz"})
#: Answered also when everything else waits: whoever looks after the gateway must be able to see it.
_ALWAYS: Final = frozenset({*_ROOT_ROUTES, "/-/metrics", "/-/healthz", "/-/readyz"})
_BROWSE: Final = "/-/browse/"
#: The longest head of a request in bytes, without the names in it, and in lines.
_HEAD_BYTES: Final = 16 * 1024
_HEAD_LINES: Final = 100
_READ: Final = "GET, HEAD, OPTIONS"
_WRITE: Final = "GET, HEAD, PUT, DELETE, OPTIONS"


def build(storage: Storage, settings: ServeSettings, registry: CollectorRegistry | None = None) -> Gateway:
    """A gateway over ``storage``, which stays the caller's, to be closed after it. One event loop may run it.

    What it counts goes to ``registry``, by default that of prometheus_client.
    """
    metrics = GatewayMetrics(registry)
    workers = Workers(settings.uploads)
    health = HealthProbe(storage.backend, workers, metrics, timeout=settings.probe_timeout, age=settings.probe_age)
    return Gateway(Context(_counted(storage, metrics), settings, workers, metrics, health))


class Gateway:
    """An ASGI application. Its own event loop's lifespan ends its threads; without one, `close` does."""

    def __init__(self, context: Context) -> None:
        self.context = context
        routes = service_routes(context)
        if context.settings.console:
            routes += console.routes(context)
        self._service = Starlette(routes=routes)
        # A slash too many is no page; its redirect would name whatever host the client says.
        self._service.router.redirect_slashes = False
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._exchange(Exchange(scope, receive, send))

    def close(self) -> None:
        """End the threads."""
        self.context.workers.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _exchange(self, exchange: Exchange) -> None:
        """Count a request, answer it, and tell of it."""
        metrics, connection = self.context.gateway_metrics, exchange.connection
        began = time.monotonic()
        metrics.began()
        if connection is not None:
            connection.begin()
        try:
            await self._guarded(exchange)
        finally:
            if connection is not None:
                connection.end()
            seconds = time.monotonic() - began
            metrics.ended(
                exchange.route,
                exchange.method,
                exchange.status,
                seconds=seconds,
                sent=exchange.sent,
                received=exchange.received,
            )
            self._tell(exchange, seconds)

    async def _guarded(self, exchange: Exchange) -> None:
        """Answer, whatever happens: an error that comes too late to be told breaks the connection off."""
        try:
            await self._route(exchange)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001  # the client is told by a status, and the log by an event
            await self._failed(exchange, error)
        except asyncio.CancelledError:
            await _break_off(exchange)
            raise

    async def _failed(self, exchange: Exchange, error: Exception) -> None:
        if exchange.connection is not None and exchange.connection.lost:
            return  # what was under way for a client that has left was cancelled
        status, text = _told(error)
        if status >= 500:
            emit(Event("serve.error", f"{exchange.method} {exchange.path}: {type(error).__name__}: {error}", None))
        if exchange.status:
            await _break_off(exchange)
            return
        more = [(b"retry-after", str(retry_after(error)).encode())] if isinstance(error, UnavailableError) else []
        try:
            await exchange.plain(status, text, more)
        except ClientGoneError:
            return

    async def _route(self, exchange: Exchange) -> None:
        path, settings = exchange.path, self.context.settings
        fault = _fault_of(exchange)
        if fault is not None:
            exchange.route = "refused"
            self.context.gateway_metrics.refused("head")
            # What follows on the connection may be meant as something else by whoever sent it.
            await exchange.plain(fault, headers=[(b"connection", b"close")])
            return
        if not path.startswith("/"):
            raise BadTargetError("the target is no path")
        if not host_allowed(settings, exchange.headers.get("host", "")):
            exchange.route = "refused"
            await exchange.plain(421, "this gateway does not go by that name")
        elif self.context.gateway_metrics.in_flight > settings.concurrency and path not in _ALWAYS:
            exchange.route = "refused"
            self.context.gateway_metrics.refused("concurrency")
            await exchange.plain(503, headers=[(b"retry-after", b"1")])
        elif path.startswith(OBJECTS):
            await self._object(exchange, key_in(path[len(OBJECTS) :]))
        elif path.startswith(_SERVICE) or (settings.root_routes and path in _ROOT_ROUTES):
            exchange.route = "service"
            await self._service(exchange.scope, exchange.receive, exchange.send)
        elif path == "/":
            exchange.route = "service"
            await self._front(exchange)
        else:
            await self._object(exchange, key_in(path[1:]))

    async def _front(self, exchange: Exchange) -> None:
        if exchange.method not in {"GET", "HEAD"}:
            await exchange.plain(405, headers=[(b"allow", b"GET, HEAD")])
        elif self.context.settings.console:
            await exchange.plain(307, headers=[(b"location", _BROWSE.encode())])
        else:
            await exchange.plain(404)

    async def _object(self, exchange: Exchange, key: str) -> None:
        """A request for an object: what may be done, by whom, and then it is done."""
        context, method = self.context, exchange.method
        linked = "mgs-signature=" in exchange.query
        exchange.extra = [*self._shared_with(exchange), embedding(context.settings, linked=linked)]
        if "service-worker" in exchange.headers:
            # It would see, and answer, whatever is asked of the gateway from then on.
            await exchange.plain(403, "no object is a service worker")
            return
        if method == "OPTIONS":
            await exchange.plain(204, headers=self._preflight())
            return
        if method not in {"GET", "HEAD"} and (context.read_only or method not in {"PUT", "DELETE"}):
            await exchange.plain(405, headers=[(b"allow", self._allowed())])
            return
        if not await self._let_in(exchange, linked=linked):
            return
        if method in {"GET", "HEAD"}:
            await read_object(context, exchange, key, disposition_of(exchange.query) if linked else None)
        elif method == "DELETE":
            await delete_object(context, exchange, key)
        elif self._uploads >= context.settings.uploads:
            context.gateway_metrics.refused("uploads")
            await exchange.plain(503, headers=[(b"retry-after", b"1")])
        else:
            self._uploads += 1
            try:
                await put_object(context, exchange, key)
            finally:
                self._uploads -= 1

    async def _let_in(self, exchange: Exchange, *, linked: bool) -> bool:
        """Whether the client may do it; else it is told so. A link is enough by itself, and a wrong one is never."""
        settings = self.context.settings
        if linked:
            signer = settings.signer
            if signer is not None and signer.allows(exchange.method, exchange.path, exchange.query):
                return True
            self.context.gateway_metrics.refused("link")
            await exchange.plain(403, "the link is wrong, or has expired")
            return False
        gate = Gate.of(exchange.scope)
        reads = exchange.method in {"GET", "HEAD"}
        if may_read(settings, gate) if reads else may_write(settings, gate):
            return True
        self.context.gateway_metrics.refused("token")
        if not reads and is_foreign(settings, gate):
            await exchange.plain(403, "pages of other sites may not write here")
        else:
            await exchange.plain(401, headers=[(b"www-authenticate", CHALLENGE.encode())])
        return False

    def _shared_with(self, exchange: Exchange) -> list[Header]:
        """What lets the scripts of another site read the answer, where that was asked for."""
        cors = self.context.settings.cors
        origin = exchange.headers.get("origin")
        if not cors:
            return []
        vary = (b"vary", b"origin")
        if origin is None or not (origin in cors or "*" in cors):
            return [vary]
        shown = b"etag, content-range, content-length, accept-ranges, content-disposition, last-modified"
        allowed = b"*" if origin not in cors else origin.encode("latin-1")
        return [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", shown), vary]

    def _preflight(self) -> list[Header]:
        allowed = self._allowed()
        if not self.context.settings.cors:
            return [(b"allow", allowed)]
        asked = b"authorization, range, content-md5, content-type, content-encoding, content-disposition, cache-control"
        conditions = b"if-match, if-none-match, if-range, if-modified-since, if-unmodified-since"
        return [
            (b"allow", allowed),
            (b"access-control-allow-methods", allowed),
            (b"access-control-allow-headers", asked + b", " + conditions),
            (b"access-control-max-age", b"600"),
        ]

    def _allowed(self) -> bytes:
        return (_READ if self.context.read_only else _WRITE).encode()

    def _tell(self, exchange: Exchange, seconds: float) -> None:
        """The access log, for those who listen."""
        log = self.context.settings.access_log
        if log is None:
            return
        client = exchange.scope.get("client")
        access = Access(
            client=str(client[0]) if isinstance(client, tuple | list) and client else "",
            method=exchange.method,
            target=shown_target(exchange.path, exchange.query),
            status=exchange.status,
            sent=exchange.sent,
            received=exchange.received,
            seconds=seconds,
            agent=exchange.headers.get("user-agent", ""),
        )
        log(access)


def _fault_of(exchange: Exchange) -> int | None:
    """The status for a head that the server below lets pass and nobody should."""
    if exchange.scope.get("http_version") not in {"1.0", "1.1", "2"}:
        return 505
    chunked = "transfer-encoding" in exchange.headers
    if chunked and ("content-length" in exchange.headers or exchange.scope.get("http_version") == "1.0"):
        return 400
    if sum(map(len, exchange.headers.values())) > _HEAD_BYTES or len(exchange.headers) > _HEAD_LINES:
        return 431
    return None


async def _break_off(exchange: Exchange) -> None:
    """End a connection whose answer cannot be completed, so that nobody takes it for complete."""
    if exchange.connection is None or exchange.complete:
        if not exchange.complete and exchange.status:
            raise ConnectionAbortedError("the answer broke off")
        return
    exchange.connection.abort()
    # The server learns of it in the next round of the loop, and then it does not take the end for a mistake.
    await asyncio.sleep(0)


def _told(error: Exception) -> tuple[int, str]:
    """The status of an error and what the client reads of it: never the storage's own words."""
    if isinstance(error, BadTargetError | BadRequestError):
        return 400, str(error)
    if isinstance(error, ClientSlowError | NoLengthError):
        code = 408 if isinstance(error, ClientSlowError) else 411
        return code, reason(code)
    status = status_of(error) if isinstance(error, StorageError | RuntimeError) else 500
    return status, reason(status)


def _counted(storage: Storage, metrics: GatewayMetrics) -> Storage:
    """The storage with its operations counted, unless a layer of its own does that already."""
    layer = find_layer(storage.backend, ObserveLayer)
    if layer is not None and isinstance(layer.config, ObserveConfig) and layer.config.metrics:
        return storage
    return storage.with_layer(lambda backend: ObserveLayer(backend, [MetricsHook(metrics.registry)]))
