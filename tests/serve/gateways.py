"""A gateway on a free port of this machine, in a thread of its own, and a client that says what it likes."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from mediagit_storage.secrets import Secret
from mediagit_storage.serve.app import Gateway, build
from mediagit_storage.serve.running import Listener, ListenOptions
from mediagit_storage.serve.settings import Access, ServeSettings
from mediagit_storage.storage import Storage

TOKEN = "a token that nobody guesses"
SECRET = Secret("a secret that signs links, and is long enough")
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Answer(NamedTuple):
    """What came back; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Served:
    """A gateway that runs, and ways to talk to it."""

    def __init__(self, gateway: Gateway, listener: Listener, storage: Storage, log: list[Access]) -> None:
        self.gateway = gateway
        self.storage = storage
        self.port = listener.port
        self.url = listener.url
        self.log = log

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request over a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())

    def get(self, path: str, **headers: str) -> Answer:
        """A GET; ``if_match=...`` is the header ``if-match``."""
        return self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def raw(self, request: bytes) -> bytes:
        """All that comes back for bytes of any kind, until the gateway closes or has nothing more to say."""
        with self.connect() as connection:
            connection.sendall(request)
            return received(connection)

    def status_of(self, request: bytes) -> int:
        """The status of the first answer to bytes of any kind."""
        with self.connect() as connection:
            connection.sendall(request)
            line = b""
            while b"\r\n" not in line:
                piece = connection.recv(65536)
                assert piece, "closed without an answer"
                line += piece
            return int(line.split(b" ", 2)[1])

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


def received(connection: socket.socket) -> bytes:
    """Everything until the end; a reset is an end, too."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    waiting = threading.Event()
    for _ in range(6000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it never came")


def _warm(pool: ThreadPoolExecutor, count: int) -> None:
    """Start the threads now: those that are started by a test would be taken for its leftovers."""
    barrier = threading.Barrier(count)
    for future in [pool.submit(barrier.wait) for _ in range(count)]:
        future.result()


@contextlib.contextmanager
def serving(storage: Storage, *, options: Mapping[str, object] | None = None, **settings: object) -> Iterator[Served]:
    """A gateway over ``storage`` with these settings, while inside."""
    log: list[Access] = []
    given = {"console": False, "access_log": log.append, "uploads": 8, **settings}
    gateway = build(storage, ServeSettings(**given), CollectorRegistry())
    workers = gateway.context.workers
    for pool in (workers._readers, workers._uploads, workers._pages, workers._probes):
        pool._max_workers = min(pool._max_workers, 8)
        _warm(pool, pool._max_workers)
    with Listener(gateway, ListenOptions(**{"port": 0, "drain": 1, **(options or {})})) as listener:
        yield Served(gateway, listener, storage, log)
