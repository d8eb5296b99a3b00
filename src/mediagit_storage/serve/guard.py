"""Connections of clients, watched: who sends no request, takes no answer or is one too many is let go.

The server below (uvicorn) reads requests and writes answers, and waits for its clients as long as they like. A `Guard`
stands between it and the event loop, and sees when bytes come and when they pile up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mediagit_storage.serve.corked import CorkedTransport
from mediagit_storage.serve.metrics import GatewayMetrics

__all__ = ["Guard", "Guards", "Limits"]

#: How often connections are looked at, in seconds.
_ROUND: Final = 1.0
#: Bytes a second that a client has to take at least.
_SLOWEST: Final = 1024


class Limits:
    """How many connections at once, and the seconds a client has: for the head of a request, and to take what waits."""

    def __init__(self, connections: int, head: float, idle: float) -> None:
        self.connections = connections
        self.head = head
        self.idle = idle


class Guards:
    """All connections of a listener. One look at them now and then costs less than a timer for each."""

    def __init__(self, limits: Limits, metrics: GatewayMetrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.open: set[Guard] = set()

    async def watch(self) -> None:
        """Look after them until this is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_ROUND)
            now = loop.time()
            for guard in [*self.open]:
                guard.look(now)

    def make_room(self) -> bool:
        """Whether one more connection may come: where there are too many, the one that has idled longest goes."""
        if len(self.open) < self.limits.connections:
            return True
        idle = [guard for guard in self.open if guard.idle_since is not None]
        self.metrics.refused("connections")
        if not idle:
            return False
        oldest = min(idle, key=lambda guard: guard.idle_since or 0.0)
        oldest.abort()
        # The loop tells of its end only later, and there may come many more before.
        self.open.discard(oldest)
        return True


class Guard(asyncio.Protocol):
    """One connection: hands everything on to ``inner``, the server's own protocol."""

    def __init__(self, guards: Guards, inner: Callable[[Guard], asyncio.Protocol]) -> None:
        self._guards = guards
        self._inner = inner(self)
        self._transport: CorkedTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._requests = 0
        self._admitted = False
        self._callback: Callable[[], None] | None = None
        #: When it began to wait for a request, to send an answer that nobody takes, and to close; None when it does not.
        self.idle_since: float | None = None
        self._head_since: float | None = None
        self._stuck_since: float | None = None
        self._closing_since: float | None = None
        self._waiting = 0
        self.lost = False

    # ---- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come; one too many is turned away unheard."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a gateway listens to streams")
        self._transport = CorkedTransport(transport)
        self.idle_since = self._head_since = self._loop.time()
        if not self._guards.make_room():
            transport.abort()
            return
        self._admitted = True
        self._guards.open.add(self)
        self._guards.metrics.connected(1)
        self._inner.connection_made(self._transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if not self._admitted:
            return
        if not self._requests and self._head_since is None:
            self._head_since = self._loop.time()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends nothing more."""
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        """What was sent piles up: the client is slow."""
        self._stuck_since = self._loop.time()
        self._waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client has taken it."""
        self._stuck_since = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, however it ended."""
        if not self._admitted:
            return
        self.lost = True
        self._guards.open.discard(self)
        self._guards.metrics.connected(-1)
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
        self._inner.connection_lost(exc)

    # ---- what the gateway tells and asks

    def begin(self) -> None:
        """A request has come whole, but for its body."""
        self._requests += 1
        self.idle_since = self._head_since = None

    def end(self) -> None:
        """Its answer is over. What the client still sends of the request must not take long."""
        self._requests -= 1
        self.release()
        if not self._requests:
            self.idle_since = self._loop.time()

    def hold(self) -> None:
        """Keep what is written until `release`."""
        if self._transport is not None:
            self._transport.hold()

    def release(self) -> None:
        """Write what was held."""
        if self._transport is not None and not self.lost:
            self._transport.release()

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """Call this when the client leaves; None for nothing any more."""
        self._callback = callback
        if callback is not None and self.lost:
            callback()

    def abort(self) -> None:
        """Break the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, now: float) -> None:
        """Let go of a client that takes too long."""
        if self._transport is None:
            return
        if self._transport.is_closing() and self._closing_since is None:
            self._closing_since = now
        limits = self._guards.limits
        if self._stuck_since is not None and now - self._stuck_since > limits.idle:
            taken = self._waiting - self._transport.get_write_buffer_size()
            if taken >= _SLOWEST * limits.idle:
                self._stuck_since, self._waiting = now, self._waiting - taken
        for since, most, reason in (
            (self._head_since, limits.head, "slow_head"),
            (self._stuck_since, limits.idle, "slow_reader"),
            (self._closing_since, limits.idle, "slow_close"),
        ):
            if since is not None and now - since > most:
                self._guards.metrics.refused(reason)
                self.abort()
                return
