"""A socket server on loopback that plays scripts: what no real server does when one wants to see it.

It is no mock of any storage. Each connection it accepts plays the next script, a list of `Step`; the last script is
played again for every further connection. What clients sent is kept in `ScriptedServer.received`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

__all__ = [
    "Call",
    "Close",
    "Conversation",
    "Drip",
    "Hang",
    "Pause",
    "Receive",
    "ReceiveHead",
    "ReceivePart",
    "Repeat",
    "Reset",
    "ScriptedServer",
    "Send",
    "Step",
    "answer",
]

_BLANK: Final = b"\r\n\r\n"
#: Nothing in a script waits longer than this for its client, in seconds.
_PATIENCE: Final = 30.0


class ClientGoneError(Exception):
    """The client closed its end, or the server is stopping: the script is over."""


class Conversation:
    """One accepted connection, as scripts see it."""

    def __init__(self, connection: socket.socket, server: ScriptedServer) -> None:
        self.connection = connection
        self.server = server
        self._buffer = b""

    def take(self) -> bytes:
        """Some bytes from the client. Raises `ClientGoneError` at their end."""
        if self._buffer:
            taken, self._buffer = self._buffer, b""
            return taken
        self.wait_readable()
        data = self.connection.recv(256 * 1024)
        if not data:
            raise ClientGoneError
        return data

    def put_back(self, data: bytes) -> None:
        """What was taken too many; it is taken again first."""
        self._buffer = data + self._buffer

    def take_exactly(self, count: int) -> bytes:
        """That many bytes."""
        found = bytearray()
        while len(found) < count:
            found += self.take()
        self.put_back(bytes(found[count:]))
        del found[count:]
        return bytes(found)

    def take_until(self, mark: bytes) -> bytes:
        """All up to and with ``mark``."""
        found = b""
        while mark not in found:
            found += self.take()
        end = found.index(mark) + len(mark)
        self.put_back(found[end:])
        return found[:end]

    def wait_readable(self) -> None:
        """Until the client has sent something or gone; `ClientGoneError` when the server stops meanwhile."""
        if isinstance(self.connection, ssl.SSLSocket) and self.connection.pending():
            return
        deadline = time.monotonic() + _PATIENCE
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        while not poller.poll(20):
            if self.server.stopping.is_set() or time.monotonic() > deadline:
                raise ClientGoneError

    def pause(self, seconds: float) -> None:
        """Wait, unless the server stops."""
        if self.server.stopping.wait(seconds):
            raise ClientGoneError


class Step(Protocol):
    """One thing a script does."""

    def play(self, conversation: Conversation) -> None:
        """Do it. `ClientGoneError` ends the script."""
        ...


@dataclass(frozen=True)
class Receive:
    """Take one whole request, body included (by its length or chunks), and keep it."""

    def play(self, conversation: Conversation) -> None:
        """Take it."""
        head = conversation.take_until(_BLANK)
        fields = head.lower()
        if b"\r\ntransfer-encoding: chunked" in fields:
            body = conversation.take_until(b"0\r\n\r\n")
        elif b"\r\ncontent-length:" in fields:
            length = int(fields.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            body = conversation.take_exactly(length)
        else:
            body = b""
        conversation.server.note(head + body)


@dataclass(frozen=True)
class ReceiveHead:
    """Take the head of a request, not its body, and keep it."""

    def play(self, conversation: Conversation) -> None:
        """Take it."""
        conversation.server.note(conversation.take_until(_BLANK))


@dataclass(frozen=True)
class ReceivePart:
    """Take ``count`` bytes, whatever they are."""

    count: int

    def play(self, conversation: Conversation) -> None:
        """Take them."""
        conversation.server.note(conversation.take_exactly(self.count))


@dataclass(frozen=True)
class Send:
    """Send these bytes."""

    data: bytes

    def play(self, conversation: Conversation) -> None:
        """Send them."""
        conversation.connection.sendall(self.data)


@dataclass(frozen=True)
class Drip:
    """Send bytes ``size`` at a time with ``every`` seconds between."""

    data: bytes
    every: float
    size: int = 1

    def play(self, conversation: Conversation) -> None:
        """Send them slowly."""
        for start in range(0, len(self.data), self.size):
            conversation.connection.sendall(self.data[start : start + self.size])
            conversation.pause(self.every)


@dataclass(frozen=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float

    def play(self, conversation: Conversation) -> None:
        """Wait."""
        conversation.pause(self.seconds)


@dataclass(frozen=True)
class Hang:
    """Do nothing until the client goes."""

    def play(self, conversation: Conversation) -> None:
        """Wait for the end of what the client sends."""
        while True:
            conversation.take()


@dataclass(frozen=True)
class Close:
    """Close the connection in good order, as at the end of every script."""

    def play(self, conversation: Conversation) -> None:
        """Close it."""
        raise ClientGoneError


@dataclass(frozen=True)
class Reset:
    """Tear the connection down: the client sees "connection reset by peer"."""

    def play(self, conversation: Conversation) -> None:
        """Reset it."""
        # An option of the socket: on close drop what is queued, and answer with RST.
        conversation.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ClientGoneError


@dataclass(frozen=True)
class Call:
    """Do something else, such as setting an event that a test waits for."""

    function: Callable[[], object]

    def play(self, conversation: Conversation) -> None:
        """Call it."""
        self.function()


@dataclass(frozen=True)
class Repeat:
    """Play these steps over and over, as long as the client stays."""

    steps: Sequence[Step]

    def play(self, conversation: Conversation) -> None:
        """Play them."""
        while True:
            for step in self.steps:
                step.play(conversation)


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    length: int | None = None,
    version: str = "1.1",
) -> Send:
    """A step that sends an answer with a Content-Length: the true one, or ``length`` instead."""
    lines = [f"HTTP/{version} {status} Word", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() in {"content-length", "transfer-encoding"} for name, _ in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return Send("\r\n".join(lines).encode() + _BLANK + body)


@dataclass
class ScriptedServer:
    """Serves on a free port of 127.0.0.1 while it is entered. ``tls`` makes it an https server.

    Leaving waits for its threads. A script that failed with anything but a lost client raises there.
    """

    scripts: Sequence[Sequence[Step]]
    tls: ssl.SSLContext | None = None
    received: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __init__(self, *scripts: Sequence[Step], tls: ssl.SSLContext | None = None) -> None:
        self.scripts = scripts
        self.tls = tls
        self.received = []
        self.stopping = threading.Event()
        #: How many connections were accepted.
        self.connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._failures: list[Exception] = []
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Scheme, address and port."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are being played now."""
        with self._lock:
            return len(self._open)

    def note(self, data: bytes) -> None:
        """Keep what a client sent."""
        with self._lock:
            self.received.append(data)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        # Ends the accept() that another thread waits in.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            pass
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
        self._socket.close()
        if self._failures and error is None:
            raise self._failures[0]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True, name="scripted-server")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            connection, _ = self._socket.accept()
            if self.stopping.is_set() or not self.scripts:
                connection.close()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            with self._lock:
                self._open.add(connection)
            self._start(self._play, connection, script)

    def _play(self, connection: socket.socket, script: Sequence[Step]) -> None:
        talking = connection
        try:
            if self.tls is not None:
                talking = self.tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.add(talking)
            conversation = Conversation(talking, self)
            for step in script:
                step.play(conversation)
        except (ClientGoneError, OSError):
            pass  # what scripts are made to provoke
        except Exception as failure:  # noqa: BLE001  # raised when the server is left
            self._failures.append(failure)
        finally:
            with self._lock:
                self._open -= {connection, talking}
            talking.close()
