"""A body that is pulled by its reader: nothing moves while nobody asks, so a slow reader slows the server down."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Final, Self

from mediagit_storage.errors import ClosedError, ConnectionLostError
from mediagit_storage.events import details_wanted
from mediagit_storage.http.attempts import tell_attempt
from mediagit_storage.http.driver import SoloDriver
from mediagit_storage.http.exchange import ERROR_BODY, Exchange, Progress, tell
from mediagit_storage.http.headers import Headers, final_head, head_is_complete
from mediagit_storage.http.network import Route
from mediagit_storage.http.pool import DriverPool
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.scope import current_scope

__all__ = ["StreamingResponse"]

#: How many of libcurl's pieces of 16 KiB are handed out together at most, when they are here already: few enough for the
#: processor's cache. Readers in several threads would wait for each other 16 times as often otherwise.
_TOGETHER: Final = 16


class StreamingResponse:
    """An answer whose body is still to come: iterate over its pieces, once, then (or earlier) `close`.

    It owns a connection, which is freed when the body ends, on `close` and when the object is collected; once all of the
    body has come it serves the next request, whether the end was asked for or not. It may move between threads but two
    must not read at once (a `RuntimeError`). The pieces are complete when the iteration ends without an error: their
    length is the one announced. Pauses of the reader count towards no time limit.
    """

    def __init__(
        self,
        pool: DriverPool[SoloDriver[Exchange]],
        driver: SoloDriver[Exchange],
        request: Request,
        route: Route,
        progress: Progress | None,
    ) -> None:
        self._pool = pool
        self._generation = pool.generation
        self._driver = driver
        self._exchange = exchange = driver.carrier()
        self._request = request
        self._route = route
        self._progress = progress
        self._pieces: deque[bytes] = deque()
        self._running = 1
        self._closing = False
        self._lock = threading.Lock()
        #: Connections that the request went out on.
        self.attempts = 0
        #: Bytes of the body handed out so far.
        self.received = 0
        #: Whether the body of an error broke off, once it was read.
        self.cut = False
        self.status = 0
        self.headers = Headers(())
        self._free = weakref.finalize(self, _free, pool, driver, exchange, self._generation)
        self._free.atexit = False

    def open(self) -> Self:
        """Send the request and wait for the answer's head."""
        exchange, driver = self._exchange, self._driver
        try:
            # The callbacks know the containers, never this object: it can be collected while a transfer is on.
            exchange.begin(self._request, self._route, self._pieces.append)
            driver.begin(exchange.curl)
            self._running = driver.start()
            self._drive(lambda: head_is_complete(exchange.lines))
            self.attempts = exchange.sent
            if self._running or self._pieces:
                lines, _ = final_head(exchange.lines)
                self.status, self.headers = exchange.status, exchange.headers(lines)
                exchange.check_framing(self.status, lines)
            else:
                # Over already: the body is empty, or there is an error to raise.
                answer = self._end()
                self.status, self.headers = answer.status, answer.headers
        except BaseException as error:
            self._release(error)
            raise
        return self

    @property
    def request(self) -> Request:
        """What this answers."""
        return self._request

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        # libcurl hands over 16 KiB at a time, so what is here already must come fast.
        if self._pieces:
            return self._take()
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("two threads read one stream at once")
        try:
            return self._next()
        except StopIteration:
            raise
        except BaseException as error:
            self._release(error)
            raise
        finally:
            self._lock.release()

    def read_error(self) -> bytes:
        """The first 64 KiB of the body, for an answer of status 400 and above; then the stream is closed."""
        found, size = [], 0
        with self:
            for piece in self:
                found.append(piece)
                size += len(piece)
                if size >= ERROR_BODY:
                    break
        return b"".join(found)[:ERROR_BODY]

    def close(self) -> None:
        """Free the connection at once; idempotent. A reader in another thread is woken with a `ClosedError`."""
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                self._release(clean=self._is_over())
            finally:
                self._lock.release()
        else:
            self._driver.waker.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StreamingResponse {self.status}, {self.received:,} bytes read, of {self.request.shown_url}>"

    # ---- the rest is called with the lock held, or before anybody else knows the object

    def _next(self) -> bytes:
        while not self._pieces:
            if not self._free.alive:
                raise StopIteration
            self._check_usable()
            if not self._running:
                self._end()
                raise StopIteration
            self._drive(self._pieces.__len__)
        return self._take()

    def _take(self) -> bytes:
        pieces = self._pieces
        piece = b"".join([pieces.popleft() for _ in range(min(len(pieces), _TOGETHER))])
        self.received += len(piece)
        if self._progress is not None:
            tell(self._progress, len(piece))
        return piece

    def _check_usable(self) -> None:
        if self._generation != self._pool.generation:
            raise ConnectionLostError("this stream was opened before a fork; only the parent can read it")
        if self._closing:
            raise ClosedError("the stream was closed")

    def _drive(self, done: Callable[[], int]) -> None:
        """Let the transfer run until ``done`` or its end."""
        scope, exchange, driver = current_scope(), self._exchange, self._driver
        exchange.start_clock(time.monotonic(), scope.remaining(), total=False)
        with nullcontext() if scope.endless else scope.on_cancel(driver.waker.wake):
            while self._running and not done():
                self._check_usable()
                now = time.monotonic()
                exchange.check(scope, now)
                self._running = driver.step(exchange.patience.wait(now))

    def _end(self) -> Response:
        """The transfer is over: raise what went wrong with it, else give the connection back."""
        code, message = self._driver.outcome()
        self._exchange.received = self.received
        answer = self._exchange.finish(code, message)
        self.cut = answer.cut
        self._release(clean=True)
        return answer

    def _is_over(self) -> bool:
        """Whether the transfer has ended well, although nobody asked for its end: who knows the length need not."""
        if self._running or not self._free.alive or self._generation != self._pool.generation:
            return False
        return self._driver.outcome()[0] == 0

    def _release(self, error: BaseException | None = None, *, clean: bool = False) -> None:
        self._pieces.clear()
        if self._free.detach() is not None:
            if self._generation == self._pool.generation and details_wanted():
                tell_attempt(self._exchange, error)
            _free(self._pool, self._driver, self._exchange, self._generation, clean=clean)


def _free(
    pool: DriverPool[SoloDriver[Exchange]],
    driver: SoloDriver[Exchange],
    exchange: Exchange,
    generation: int,
    *,
    clean: bool = False,
) -> None:
    if generation != pool.generation:
        return
    driver.end(exchange, sent=exchange.sent > 0)
    if clean:
        pool.give_back(driver, generation)
    else:
        pool.discard(driver, generation)
