"""One request and its answer, over ASGI: what came, what was sent, and what becomes of a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Final, Protocol, cast

from mediagit_storage.serve.answers import Header, reason

__all__ = [
    "CONNECTION",
    "ClientGoneError",
    "ClientSlowError",
    "Connection",
    "Exchange",
    "Message",
    "Receive",
    "Scope",
    "Send",
]

Message = MutableMapping[str, object]
Scope = MutableMapping[str, object]


class Receive(Protocol):
    """ASGI's ``receive``."""

    async def __call__(self) -> Message:
        """The next event of the client."""
        ...


class Send(Protocol):
    """ASGI's ``send``."""

    async def __call__(self, message: Message, /) -> None:
        """Send an event to the client."""
        ...


class Connection(Protocol):
    """What the listener knows of the connection of a request, where there is a listener of ours."""

    lost: bool

    def begin(self) -> None:
        """A request has come whole, but for its body."""
        ...

    def end(self) -> None:
        """Its answer is over."""
        ...

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """Call this when the client leaves; None for nothing any more."""
        ...

    def hold(self) -> None:
        """Keep what is written until `release`."""
        ...

    def release(self) -> None:
        """Write what was held."""
        ...

    def abort(self) -> None:
        """Break the connection off, so that nobody takes what was sent for the whole."""
        ...


#: Where a scope's ``state`` holds its connection.
CONNECTION: Final = "mediagit_storage.connection"

#: The head of an answer leaves together with the first piece of its body, where that is no larger.
_JOINED: Final = 64 * 1024
_TEXT: Final[Header] = (b"content-type", b"text/plain; charset=utf-8")
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
#: On every answer: no guessing of types, and no link with its signature in a Referer.
_ALWAYS: Final[tuple[Header, ...]] = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class ClientGoneError(Exception):
    """The client has left: nobody hears an answer."""


class ClientSlowError(Exception):
    """The client did not send anything for too long."""


class Exchange:
    """One request. ``status`` is 0 until the answer has begun; ``sent`` and ``received`` count the bytes of bodies."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.method = str(scope["method"])
        self.path = cast("bytes", scope.get("raw_path") or b"").decode("latin-1")
        self.query = cast("bytes", scope["query_string"]).decode("latin-1")
        self.headers = _joined(cast("Iterable[tuple[bytes, bytes]]", scope["headers"]))
        self.status = 0
        self.complete = False
        self.sent = 0
        self.received = 0
        self.route = "objects"
        state = scope.get("state")
        self.connection: Connection | None = state.get(CONNECTION) if isinstance(state, Mapping) else None
        self.extra: list[Header] = []
        self._receive = receive
        self._send = send
        self._listened = False

    async def start(self, status: int, headers: Iterable[Header]) -> None:
        """Begin the answer."""
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers]})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        """A piece of the answer's body; ``more`` false ends it. Waits for a slow client. Raises `ClientGoneError`."""
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def plain(self, status: int, text: str | None = None, headers: Iterable[Header] = ()) -> None:
        """A whole answer of one line of text, by default the words of the status."""
        line = b"" if status in {204, 304} else f"{text or reason(status)}\n".encode()
        about = [_TEXT, (b"content-length", str(len(line)).encode())] if line else []
        await self.start(status, [*about, _NO_STORE, *headers])
        await self.body(line)

    async def piece(self, patience: float) -> tuple[bytes, bool]:
        """Bytes of the request's body, and whether more may come. Raises `ClientGoneError`, `ClientSlowError`."""
        try:
            async with asyncio.timeout(patience):
                message = await self.receive()
        except TimeoutError:
            raise ClientSlowError from None
        if message["type"] != "http.request":
            raise ClientGoneError
        return cast("bytes", message.get("body", b"")), bool(message.get("more_body", False))

    async def receive(self) -> Message:
        """The next event of the client, as ASGI has it, counted."""
        self._listened = True
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(cast("bytes", message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """An event to the client, as ASGI has it, counted; the headers that every answer has are added."""
        if message["type"] == "http.response.start":
            given = [*cast("Iterable[Header]", message.get("headers", ()))]
            names = {name.lower() for name, _ in given}
            more = [each for each in (*_ALWAYS, *self.extra) if each[0] not in names]
            message = {**message, "headers": [*given, *more]}
            self.status = cast("int", message["status"])
            if "expect" in self.headers and not self._listened:
                # It will not send its body now: what it sends next would be taken for it.
                message["headers"] = [*given, *more, (b"connection", b"close")]
            if self.connection is not None:
                self.connection.hold()
        elif message["type"] == "http.response.body":
            body = cast("bytes", message.get("body", b""))
            self.sent += 0 if self.method == "HEAD" else len(body)
            self.complete = not message.get("more_body", False)
            if self.connection is not None and len(body) > _JOINED:
                self.connection.release()
        try:
            await self._send(message)
        except OSError:
            raise ClientGoneError from None
        if self.connection is not None and message["type"] != "http.response.start":
            self.connection.release()
            if self.connection.lost and not self.complete:
                raise ClientGoneError


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; what came several times is joined, as RFC 9110 has it for lists."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
