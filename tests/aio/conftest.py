"""What the tests of `AsyncStorage` share."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import trio

from mediagit_storage.backends.s3 import S3Backend, S3Config
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.async_face import running_loop


@pytest.fixture(scope="module")
def loop_thread():
    """An event loop in a thread, for the faces of one module."""
    with running_loop() as loop:
        yield loop


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Run a coroutine function with either library."""
    return asyncio.run if request.param == "asyncio" else _run_trio


def _run_trio(coroutine):
    async def awaited():
        return await coroutine

    return trio.run(awaited)


class HeldServer:
    """Answers a request only when told to, and knows which connections were dropped before.

    Every object holds the last segment of its key. Keys that begin with ``busy`` are answered with 503 at first.
    """

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.dropped = threading.Semaphore(0)
        self.released = threading.Event()
        self.requests: list[str] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="held-server")]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def backend(self, **options) -> S3Backend:
        secret = Secret("secret")
        return S3Backend.from_config(
            S3Config(
                bucket="bucket",
                endpoint=self.url,
                region="us-east-1",
                access_key_id=secret,
                secret_access_key=secret,
                service="generic",
                retry_base=0.001,
                retry_cap=0.001,
                **options,
            )
        )

    def close(self) -> None:
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._connections:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()
        for each in self._connections:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="held-server")
            with self._lock:
                self._connections.append(connection)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as stream:
                while line := stream.readline():
                    self._answer(connection, line.decode(), stream)
        except OSError:
            return

    def _answer(self, connection: socket.socket, line: str, stream) -> None:
        method, path, _ = line.split(" ")
        length = 0
        while (field := stream.readline()) not in {b"\r\n", b""}:
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        stream.read(length)
        # Deletes go by their body.
        name = "held" if method == "POST" else path.rpartition("/")[2]
        with self._lock:
            seen = name in self.requests
            self.requests.append(name)
        self.arrived.release()
        if name.startswith("held") and not self._hold(connection):
            return
        if name.startswith("busy") and not seen:
            connection.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
            return
        body = name.encode() if method in {"GET", "POST"} else b""
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\nETag: "e"\r\nLast-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\n\r\n'
        if method == "PUT":
            head = head.replace(f"Length: {len(name)}", "Length: 0")
        connection.sendall(head.encode() + body)

    def _hold(self, connection: socket.socket) -> bool:
        """Whether the client was still there when the answer was let go."""
        connection.settimeout(0.01)
        try:
            while not self.released.is_set():
                try:
                    if connection.recv(1, socket.MSG_PEEK) == b"":
                        self.dropped.release()
                        return False
                except TimeoutError:
                    continue
        finally:
            connection.settimeout(None)
        return True


@pytest.fixture
def server() -> Iterator[HeldServer]:
    held = HeldServer()
    yield held
    held.close()
