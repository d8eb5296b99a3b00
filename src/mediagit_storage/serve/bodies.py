"""Bodies of objects on their way to a client: read in threads, piece by piece, as fast as the client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.errors import PreconditionError, TruncatedError
from mediagit_storage.scope import Scope, context_inside, inner_scope
from mediagit_storage.serve.exchange import Exchange
from mediagit_storage.serve.workers import Workers
from mediagit_storage.types import ReadOptions

__all__ = ["Opened", "Reading", "open_body", "piece_size"]

T = TypeVar("T")

#: What is read and sent at a time, in bytes: large pieces cost less, and many readers share memory.
_LARGEST: Final = 1024 * 1024
_SMALLEST: Final = 64 * 1024
_SHARED: Final = 16 * 1024 * 1024


class Opened(NamedTuple):
    """A body, and its first piece, which came with it. Without ``more`` that is all, and the body is closed."""

    body: Body
    pieces: Iterator[bytes]
    first: bytes
    more: bool


class Reading:
    """The storage's work for one request, which ends when the client leaves: what is under way is then cancelled."""

    def __init__(self, exchange: Exchange, workers: Workers) -> None:
        self._scope: Scope = inner_scope()
        self._context = context_inside(self._scope)
        self._exchange = exchange
        self._workers = workers
        self._opened: Opened | None = None
        if exchange.connection is not None:
            exchange.connection.on_lost(self._scope.cancel)

    async def run(self, function: Callable[[], T]) -> T:
        """What a call of the storage returns or raises; it is cancelled, and waited for, when this is."""
        return await self._ended(self._workers.begin(self._context, function))

    async def _ended(self, call: Future[T]) -> T:
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            await self._abandon(call)
            raise

    async def _abandon(self, call: Future[T]) -> None:
        """Cancel a call and wait for its end: until then the body is its own."""
        self._scope.cancel()
        if not call.cancel():
            ended = asyncio.wrap_future(call)
            await asyncio.wait({ended})
            if not ended.cancelled():
                ended.exception()  # looked at, so that nobody is told that it was not

    async def open(self, function: Callable[[], Opened]) -> Opened:
        """Open a body, which `close` closes."""
        call = self._workers.begin(self._context, function)
        try:
            self._opened = await self._ended(call)
        except asyncio.CancelledError:
            if call.done() and not call.cancelled() and call.exception() is None:
                call.result().body.close()
            raise
        return self._opened

    async def send(self, opened: Opened, *, last: bool = True) -> None:
        """Send a body to its end. One piece is read ahead while the client takes the one before.

        The last piece goes when the storage has said that all is well: layers tell of damage at the end.
        """
        piece, total = opened.first, 0
        while opened.more:
            total += len(piece)
            following = self._workers.begin(self._context, lambda: next(opened.pieces, b""))
            if total >= opened.body.length:
                if await self._ended(following) or total > opened.body.length:
                    raise TruncatedError("the body is longer than it was said to be")
                break
            try:
                await self._exchange.body(piece, more=True)
            except BaseException:
                await self._abandon(following)
                raise
            piece = await self._ended(following)
            if not piece:
                raise TruncatedError("the body is shorter than it was said to be")
        await self._exchange.body(piece, more=not last)
        await self.close_body()

    async def close_body(self) -> None:
        """Free what the body holds. A body that lies behind a slow storage is closed in a thread."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            if opened.more:
                await self._workers.run(opened.body.close)

    async def close(self) -> None:
        """Stop what is under way and free what it held."""
        if self._exchange.connection is not None:
            self._exchange.connection.on_lost(None)
        if self._opened is not None:
            self._scope.cancel()
            await asyncio.shield(self.close_body())


def open_body(backend: StorageBackend, key: str, options: ReadOptions, etag: str | None, *, size: int) -> Opened:
    """Open a read and its first piece of at most ``size`` bytes. Raises like `StorageBackend.stream`; `PreconditionError` where ``etag`` differs."""
    body = backend.stream(key, options)
    try:
        _require(body, etag)
        pieces = _pieces(body, size)
        first = next(pieces, b"")
        more = len(first) != body.length or next(pieces, None) is not None
    except BaseException:
        body.close()
        raise
    if not more:
        body.close()
    return Opened(body, pieces, first, more)


def _require(body: Body, etag: str | None) -> None:
    if etag is not None and body.info.etag != etag:
        raise PreconditionError("the object was changed meanwhile")


def piece_size(readers: int) -> int:
    """How many bytes each of so many requests may take in at a time."""
    return min(_LARGEST, max(_SMALLEST, _SHARED // max(1, readers)))


def _pieces(body: Body, size: int) -> Iterator[bytes]:
    """The body in pieces of about ``size`` bytes. What lies in a file of this machine is read from there."""
    if not body.length:
        return
    region = body.region()
    if region is None:
        yield from _sliced(body, size)
        return
    for offset in range(0, region.size, size):
        yield region.read(min(size, region.size - offset), offset)


def _sliced(body: Body, size: int) -> Iterator[bytes]:
    """The pieces as the storage gives them, the larger ones cut, and none of them empty."""
    for piece in body:
        if len(piece) > size:
            yield from (piece[start : start + size] for start in range(0, len(piece), size))
        elif piece:
            yield piece
