"""The transport: requests go out over libcurl, answers come back. What every HTTP backend stands on.

Three ways: `Transport.send` (one request, the answer in memory), `Transport.stream` (one request, the body pulled by
the reader) and `Transport.send_all` (many requests at once in the caller's own thread). None of them retries, signs or
follows a redirect by itself. Ctrl-C, and the end of the surrounding scope, stop a transfer at once.

`transport`, `driver`, `exchange`, `stream` and `batch` are the only modules that import pycurl.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from mediagit_storage.events import details_wanted
from mediagit_storage.http.attempts import tell_attempt
from mediagit_storage.http.batch import Batch, Member, Sent
from mediagit_storage.http.driver import Driver, SoloDriver, Waker
from mediagit_storage.http.exchange import Exchange, Progress, tell
from mediagit_storage.http.network import Route, TransportOptions, origin_of, route_for
from mediagit_storage.http.pool import DriverPool
from mediagit_storage.http.redirect import redirected
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.stream import StreamingResponse
from mediagit_storage.scope import Scope, current_scope

__all__ = ["Transport"]

_MAX_ROUTES: Final = 1024
_IDLE_BATCHES: Final = 4
#: No time limit is shorter than this, in seconds.
_BRIEF: Final = 0.01


class Transport:
    """Connections to HTTP servers, shared by threads, usable again after a fork. Close it when done."""

    def __init__(self, options: TransportOptions | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self._options = options = options or TransportOptions()
        self._environ = os.environ if environ is None else environ
        self._routes: dict[str, Route] = {}
        # Nearly every request goes where the one before went.
        self._last: tuple[str, Route | None] = ("", None)
        self._pool = DriverPool(options.idle_connections, lambda: SoloDriver(lambda: Exchange(options)))
        # Their drivers hold many connections each, which would be lost on single requests.
        self._batches = DriverPool(_IDLE_BATCHES, lambda: Driver(lambda: Member(options)))
        if not options.verify:
            warnings.warn("certificates are not verified: anybody on the way can read and change", stacklevel=2)

    @property
    def options(self) -> TransportOptions:
        """How this transport was set up."""
        return self._options

    def send(self, request: Request, *, progress: Progress | None = None, follow: int = 0) -> Response:
        """Send one request and return the complete answer, whatever its status.

        ``progress`` is told about the body as it moves. ``follow`` is how many redirects to the same server are followed
        (307 and 308 of GET, HEAD and PUT); all others are answers like any. Raises `ConnectionLostError`, `StorageTimeoutError`,
        `TruncatedError`, `LimitExceededError`, `ConfigError` (certificates, plain http), `CancelledError`; the cause
        of each is a `TransferFault`. What a source, a sink or ``progress`` raises comes back unchanged, and is no fault
        of this transfer.
        """
        response = self._send(request, progress)
        while follow > 0 and 300 <= response.status < 400:
            target = redirected(request, response.status, response.headers.get("location"))
            if target is None:
                break
            target.rewind()
            request, follow = target, follow - 1
            response = self._send(request, progress)
        return response

    def _send(self, request: Request, progress: Progress | None) -> Response:
        pool = self._pool
        generation = pool.generation
        route = self._route(request.url)
        driver = pool.borrow()
        exchange = driver.carrier()
        clean, failure = False, None
        try:
            exchange.begin(request, route)
            driver.begin(exchange.curl)
            scope = current_scope()
            if scope.endless:
                _run(driver, exchange, scope, progress)
            else:
                with scope.on_cancel(driver.waker.wake):
                    _run(driver, exchange, scope, progress)
            code, message = driver.outcome()
            clean = True
            return exchange.finish(code, message)
        except BaseException as error:
            failure = error
            raise
        finally:
            if generation == pool.generation:
                if details_wanted():
                    tell_attempt(exchange, failure)
                driver.end(exchange, sent=exchange.sent > 0)
                if clean:
                    pool.give_back(driver, generation)
                else:
                    pool.discard(driver, generation)

    def stream(self, request: Request, *, progress: Progress | None = None) -> StreamingResponse:
        """Send one request and return its answer once the head is here; the body comes as the reader pulls it.

        ``progress`` is told about each piece that is handed out. Raises like `send`; reading raises the same errors,
        and `TruncatedError` or `ConnectionLostError` after the last good piece of a body that broke off.
        """
        pool = self._pool
        route = self._route(request.url)
        driver = pool.borrow()
        return StreamingResponse(pool, driver, request, route, progress).open()

    def send_all(
        self,
        requests: Iterable[Request | Sent | None],
        *,
        concurrency: int = 16,
        buffer_bytes: int = 64 * 1024 * 1024,
        waker: Waker | None = None,
    ) -> Iterator[Sent]:
        """Send many requests, at most ``concurrency`` at a time, and yield each with its answer or error when it ends.

        All in the calling thread, which only works while it waits for the next result. ``requests`` is asked for more
        whenever there is room; a None from it means "nothing now": it is asked again after the next result, when
        ``waker`` is woken, and every 20 ms. Bodies in memory stay about within ``buffer_bytes``, because all transfers
        but the oldest are held up while more is there. What ``requests`` raises surfaces unchanged; then, and when the
        iterator is closed, all transfers are aborted.
        """
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        batch = Batch(
            self._batches,
            self._route,
            concurrency=concurrency,
            buffer_bytes=buffer_bytes,
            waker=waker,
        )
        return batch.run(iter(requests))

    def close(self) -> None:
        """Close the connections; idempotent. Streams that are open may be read to their end."""
        self._pool.close()
        self._batches.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _route(self, url: str) -> Route:
        prefix, last = self._last
        if last is not None and url.startswith(prefix):
            return last
        origin = origin_of(url)
        route = self._routes.get(origin)
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            route = self._routes[origin] = route_for(origin, self._options, self._environ)
        self._last = (f"{origin}/", route)
        return route


def _run(driver: SoloDriver[Exchange], exchange: Exchange, scope: Scope, progress: Progress | None) -> None:
    """Drive one transfer to its end. Raises when a time limit or the scope ends first."""
    running = driver.start()
    began = now = time.monotonic()
    if scope.endless and progress is None:
        # Most transfers are over before any limit is worth a thought.
        while running and now - began < _BRIEF:
            running = driver.step(_BRIEF)
            now = time.monotonic()
        if not running:
            return
    exchange.start_clock(began, scope.remaining())
    reported = 0
    while running:
        exchange.check(scope, now)
        running = driver.step(exchange.patience.wait(now))
        now = time.monotonic()
        if progress is not None and (moved := exchange.body_moved()) > reported:
            tell(progress, moved - reported)
            reported = moved
