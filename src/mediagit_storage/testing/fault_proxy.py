"""A proxy on loopback between a client and a real server that spoils chosen exchanges.

::

    with FaultProxy(server.host, [Fault(SwallowAnswer(), matches=is_method("PUT"))]) as proxy:
        ...                                       # a client that talks to proxy.host
    # leaving raises for a fault that never came: the test would have tested nothing

It knows enough of HTTP/1.1 to tell one request from the next. What a fault does is in `mediagit_storage.testing.toxics`.
Requests pass unchanged, with the Host that the client sent, so that signatures hold. Each goes over a connection of
its own to the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mediagit_storage.testing.exchange import (
    BLANK,
    PATIENCE,
    OverError,
    Peer,
    RequestHead,
    drain,
    pass_answer,
    pass_body,
)
from mediagit_storage.testing.toxics import Plan, Toxic

__all__ = ["Fault", "FaultProxy", "RequestHead", "Storm", "is_method"]


@dataclass(slots=True)
class Fault:
    """Spoils the ``nth`` request (from 1) that ``matches``, and the ``times - 1`` after it."""

    toxic: Toxic
    nth: int = 1
    times: int = 1
    matches: Callable[[RequestHead], bool] = lambda _: True
    seen: int = field(default=0, init=False)
    used: int = field(default=0, init=False)

    def strikes(self, request: RequestHead) -> bool:
        """Count the request if it is one of those meant, and say whether it is to be spoilt."""
        if not self.matches(request):
            return False
        self.seen += 1
        strikes = self.nth <= self.seen < self.nth + self.times
        self.used += strikes
        return strikes


@dataclass(slots=True)
class Storm:
    """Spoils about ``rate`` of all requests, each by one of ``toxics``, but never one more than ``in_a_row`` times.

    The choice depends on ``seed``, the request and how often it came: the same for the same run of requests.
    """

    toxics: Sequence[Toxic]
    seed: int = 0
    rate: float = 0.3
    in_a_row: int = 2
    matches: Callable[[RequestHead], bool] = lambda _: True
    used: Counter[str] = field(default_factory=Counter)
    _came: Counter[str] = field(default_factory=Counter)
    _row: Counter[str] = field(default_factory=Counter)

    def choose(self, request: RequestHead) -> Toxic | None:
        """What this request suffers."""
        if not self.matches(request):
            return None
        # Ids that the server makes up would make every run another one.
        name = re.sub(r"uploadId=[^&]*", "", f"{request.method} {request.target}")
        self._came[name] += 1
        digest = hashlib.sha256(f"{self.seed} {self._came[name]} {name}".encode()).digest()
        if self._row[name] >= self.in_a_row or int.from_bytes(digest[:4], "big") >= self.rate * 2**32:
            self._row[name] = 0
            return None
        self._row[name] += 1
        toxic = self.toxics[int.from_bytes(digest[4:8], "big") % len(self.toxics)]
        self.used[type(toxic).__name__] += 1
        return toxic


def is_method(*methods: str, having: str = "") -> Callable[[RequestHead], bool]:
    """Matches these methods, with ``having`` somewhere in path or query."""
    return lambda request: request.method in methods and having in request.target


class FaultProxy:
    """Listens on a free port of 127.0.0.1 while it is entered, and passes everything on to ``target`` (host:port).

    ``always`` spoils every exchange, ``faults`` chosen ones (all that strike at once), ``storm`` some at random. What
    was asked for is in ``requests``. Leaving waits for its threads, and raises `AssertionError` for unused faults.
    """

    def __init__(
        self,
        target: str,
        faults: Sequence[Fault] = (),
        *,
        always: Sequence[Toxic] = (),
        storm: Storm | None = None,
    ) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.faults = list(faults)
        self.always = list(always)
        self.storm = storm
        self.requests: list[RequestHead] = []
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"http://{self.host}"

    def verify_all_used(self) -> None:
        """Raise `AssertionError` for a fault that never struck, or a storm that spoilt nothing."""
        unused = [fault for fault in self.faults if not fault.used]
        if unused:
            raise AssertionError(f"faults that never struck: {unused}")
        if self.storm is not None and not self.storm.used:
            raise AssertionError("the storm never struck")

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        # Ends the accept() that another thread waits in.
        with contextlib.suppress(OSError), socket.create_connection(self._socket.getsockname(), timeout=5):
            pass
        with self._guard:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(10)
        self._socket.close()
        if error is None:
            if self._failures:
                raise self._failures[0]
            self.verify_all_used()

    # ---- connections

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True, name="fault-proxy")
        with self._guard:
            self._threads = [each for each in self._threads if each.is_alive() or each.ident is None]
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            connection, _ = self._socket.accept()
            if self._stopping.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, connection)

    @contextlib.contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[Peer]:
        with self._guard:
            self._open.add(connection)
        try:
            yield Peer(connection, self._stopping)
        finally:
            with self._guard:
                self._open.discard(connection)
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._kept(connection) as client:
                try:
                    while (head := client.read_until(BLANK)).endswith(BLANK):
                        self._exchange(client, head)
                except OverError as over:
                    if over.reset:
                        # An option of the socket: on close drop what is queued, and answer with RST.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # a peer that went away: what faults are made to provoke
        except Exception as failure:  # noqa: BLE001  # raised when the proxy is left
            self._failures.append(failure)

    # ---- one exchange

    def _plan(self, request: RequestHead) -> Plan:
        plan = Plan()
        with self._guard:
            self.requests.append(request)
            # Every fault counts every request, so that "the second" means the same whatever else is there.
            toxics = [*self.always, *[fault.toxic for fault in self.faults if fault.strikes(request)]]
            if self.storm is not None and (chosen := self.storm.choose(request)) is not None:
                toxics.append(chosen)
        for toxic in toxics:
            toxic.apply(plan)
        return plan

    def _exchange(self, client: Peer, head: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        request = RequestHead(method, target, head)
        plan = self._plan(request)
        if self._stopping.wait(plan.delay):
            raise OverError
        if plan.reset_before:
            raise OverError(reset=True)
        while plan.hang:
            if not client.read():
                raise OverError
        if plan.forward:
            with self._kept(socket.create_connection(self._target, timeout=PATIENCE)) as server:
                server.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.send(head, plan)
                whole = pass_body(request, client, server, plan)
                pass_answer(request, client, server, plan)
        else:
            whole = request.value("content-length") in {None, "0"} and request.value("transfer-encoding") is None
        if plan.answer is not None:
            client.send(plan.answer, plan)
        if not whole:
            # The rest of the request is still on its way and would be taken for the next one.
            drain(client)
            raise OverError
        if plan.close_after is not None:
            self._stopping.wait(plan.close_after)
            raise OverError
