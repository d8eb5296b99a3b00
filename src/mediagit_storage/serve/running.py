"""Running a gateway on a port, by uvicorn: in this thread until a signal comes, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mediagit_storage.ending import uninterrupted
from mediagit_storage.errors import ConfigError
from mediagit_storage.scope import scope
from mediagit_storage.serve.app import Gateway
from mediagit_storage.serve.exchange import CONNECTION
from mediagit_storage.serve.guard import Guard, Guards, Limits

if TYPE_CHECKING:
    from uvicorn.server import ServerState

__all__ = ["ListenOptions", "Listener", "is_loopback", "room_for"]

#: The longest head of a request, in bytes: a key, escaped, takes three kilobytes at most.
_HEAD_BYTES: Final = 16 * 1024
#: Descriptors that are not those of clients and of what they read.
_OWN_DESCRIPTORS: Final = 128
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Where to listen, and how patiently.

    ===============  ===============================================================================================
    ``host``         a name or address of this machine
    ``port``         0 for any that is free
    ``connections``  of clients at once, as far as the system has descriptors (the process's limit is raised); one more takes
                     the place of the one that has idled longest
    ``head``         seconds that a client has for the head of its request
    ``idle``         seconds that a client has to take what waits for it; the slowest reader gets about 1 KB/s
    ``keep_alive``   seconds that a connection waits for another request
    ``drain``        seconds that requests have to end when the gateway is to stop
    ===============  ===============================================================================================
    """

    host: str = "127.0.0.1"
    port: int = 8080
    connections: int = 2000
    head: float = 20.0
    idle: float = 60.0
    keep_alive: int = 15
    drain: int = 10


class _Server(uvicorn.Server):
    """uvicorn's, which tells when it has started, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `Listener` does it, where it is asked to."""
        yield


class Listener:
    """A gateway that listens. The port is bound, and `url` known, when this is made; `run` answers.

    ``with Listener(gateway) as listener:`` runs it in a thread of its own meanwhile. Raises `ConfigError` where it cannot
    listen.
    """

    def __init__(self, gateway: Gateway, options: ListenOptions | None = None) -> None:
        self._gateway = gateway
        self._options = options or ListenOptions()
        self._socket = _bound(self._options.host, self._options.port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens to."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The address, as a URL without a path."""
        host = self._options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self, *, signals: bool = False, started: Callable[[], None] | None = None) -> int | None:
        """Answer until `stop` is called; with ``signals`` (in the main thread) also until SIGINT or SIGTERM comes.

        Requests that are under way then may end within ``drain`` seconds; a second signal breaks them off. ``started`` is
        called when clients are answered. Returns the signal that ended it, None without one.
        """
        with scope() as inside:
            try:
                return asyncio.run(self._serve(started or (lambda: None), signals=signals))
            finally:
                # What hangs in the storage must not hold up the end.
                inside.cancel()
                self._socket.close()
                self._gateway.close()

    def stop(self) -> None:
        """End `run`, from any thread."""
        loop, server = self._loop, self._server
        if loop is not None and server is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(_leave, server)

    def __enter__(self) -> Self:
        try:
            uninterrupted(self._begin)
        except BaseException:
            # Nobody leaves what was not entered.
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            uninterrupted(self._thread.join)

    def _begin(self) -> None:
        context = copy_context()
        thread = threading.Thread(target=lambda: context.run(self._run_threaded), name="mgs-serve-loop")
        thread.start()
        self._thread = thread
        self._ready.wait()

    def _run_threaded(self) -> None:
        try:
            self.run(started=self._ready.set)
        finally:
            self._ready.set()

    async def _serve(self, started: Callable[[], None], *, signals: bool) -> int | None:
        options, received = self._options, list[int]()
        limits = Limits(room_for(options.connections), options.head, options.idle)
        guards = Guards(limits, self._gateway.context.gateway_metrics)
        config = uvicorn.Config(
            self._gateway,
            http=cast("type[asyncio.Protocol]", _protocols(guards)),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=options.keep_alive,
            timeout_graceful_shutdown=options.drain,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        server = _Server(config, started)
        self._loop, self._server = asyncio.get_running_loop(), server
        watching = asyncio.ensure_future(guards.watch())
        if signals:
            for number in _SIGNALS:
                self._loop.add_signal_handler(number, _received, server, received, number)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            watching.cancel()
            if signals:
                for number in _SIGNALS:
                    self._loop.remove_signal_handler(number)
        return received[0] if received else None


def room_for(connections: int) -> int:
    """How many of so many connections this process has descriptors for, a file open for each of them.

    Raises the process's own limit as far as the system lets it.
    """
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # where a sandbox does not let it be asked for
        return connections
    needed = 2 * connections + _OWN_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
            soft = possible
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, (soft - _OWN_DESCRIPTORS) // 2))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return all(str(address[0]).startswith("127.") or address[0] == "::1" for *_, address in _addresses(host, 0))


def _received(server: uvicorn.Server, received: list[int], number: int) -> None:
    received.append(number)
    if server.should_exit:
        server.force_exit = True
    server.should_exit = True


def _leave(server: uvicorn.Server) -> None:
    server.should_exit = True


def _protocols(guards: Guards) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection, as uvicorn calls it."""

    def make(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: Mapping[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        return Guard(
            guards,
            lambda guard: H11Protocol(config, server_state, {**app_state, CONNECTION: guard}, _loop),
        )

    return make


def _addresses(
    host: str, port: int
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # type: ignore[return-value]
    except OSError as error:
        raise ConfigError(f"{host} is no address of this machine: {error.strerror}") from None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = _addresses(host, port)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} of {host} is in use: choose another one with --port") from None
        raise ConfigError(f"port {port} of {host} cannot be listened to: {error.strerror}") from None
    return made
