"""One HTTP/1.1 exchange passed on between two sockets: what the fault proxy is made of."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mediagit_storage.testing.toxics import Plan

__all__ = ["BLANK", "PATIENCE", "OverError", "Peer", "RequestHead", "drain", "pass_answer", "pass_body"]

#: What ends a head.
BLANK: Final = b"\r\n\r\n"
#: How long a silent peer is waited for, in seconds.
PATIENCE: Final = 60.0
_BLOCK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a client asked for: ``target`` is path and query as they travelled."""

    method: str
    target: str
    raw: bytes = field(repr=False)

    def value(self, name: str) -> str | None:
        """A header's value, None without it."""
        found = re.search(rb"(?i)\r\n" + re.escape(name.encode()) + rb": *([^\r]*)", self.raw)
        return None if found is None else found[1].decode("latin-1")


class OverError(Exception):
    """The exchange is over and its connection is to be closed."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class Peer:
    """One end of a conversation: what was read too many is kept."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self.connection = connection
        self._stopping = stopping
        self._buffer = b""

    def readable(self, patience: float = PATIENCE) -> bool:
        """Whether something came within ``patience`` seconds. Ends the exchange when the proxy stops."""
        if self._buffer:
            return True
        deadline = time.monotonic() + patience
        while not select.select([self.connection], [], [], 0.05)[0]:
            if self._stopping.is_set():
                raise OverError
            if time.monotonic() > deadline:
                return False
        return True

    def read(self, most: int = _BLOCK) -> bytes:
        """Some bytes; empty at the end."""
        if self._buffer:
            taken, self._buffer = self._buffer[:most], self._buffer[most:]
            return taken
        return self.connection.recv(most) if self.readable() else b""

    def read_until(self, mark: bytes) -> bytes:
        """All up to and with ``mark``; less, when the end comes before."""
        found = b""
        while mark not in found:
            data = self.read()
            if not data:
                return found
            found += data
        end = found.index(mark) + len(mark)
        self.put_back(found[end:])
        return found[:end]

    def put_back(self, data: bytes) -> None:
        """What was read too many; it is read again first."""
        self._buffer = data + self._buffer

    def send(self, data: bytes, plan: Plan, *, singly: int | None = None) -> None:
        """Send at the pace of the plan; ``singly`` bytes of it one by one."""
        count = min(len(data), plan.single_bytes if singly is None else singly)
        for place in range(count):
            self.connection.sendall(data[place : place + 1])
        rest = memoryview(data)[count:]
        if plan.bandwidth is None:
            self.connection.sendall(rest)
            return
        step = max(1, plan.bandwidth // 50)
        for start in range(0, len(rest), step):
            self.connection.sendall(rest[start : start + step])
            if self._stopping.wait(step / plan.bandwidth):
                raise OverError


def drain(client: Peer) -> None:
    """Take what a client still sends for a moment: closing on unread bytes would destroy the answer on its way."""
    with contextlib.suppress(OSError):
        client.connection.shutdown(socket.SHUT_WR)
        while client.readable(1.0) and client.read():
            pass


def pass_body(request: RequestHead, client: Peer, server: Peer, plan: Plan) -> bool:
    """Pass the request's body on. False when the server answered before it had all of it."""
    length = int(request.value("content-length") or 0)
    chunked = (request.value("transfer-encoding") or "").lower() == "chunked"
    if (length or chunked) and "100-continue" in (request.value("expect") or "") and not _consent(client, server):
        return False
    singly, sent, tail = plan.single_bytes, 0, b""
    while sent < length or (chunked and not tail.endswith(b"0\r\n\r\n")):
        if plan.reset_after_sending is not None and sent >= plan.reset_after_sending:
            raise OverError(reset=True)
        if select.select([server.connection], [], [], 0)[0]:
            return False
        most = _BLOCK if chunked else length - sent
        if plan.reset_after_sending is not None:
            most = min(most, max(1, plan.reset_after_sending - sent))
        data = client.read(min(most, _BLOCK))
        if not data:
            raise OverError
        server.send(_corrupted(data, sent, plan.corrupt_request), plan, singly=singly)
        singly = max(0, singly - len(data))
        sent += len(data)
        tail = (tail + data)[-5:]
    if plan.reset_after_sending is not None:
        # The server has all of it. It is let finish first: an act of unknown time would be no fault of a network.
        plan.swallow = plan.reset_at_end = True
    return True


def _consent(client: Peer, server: Peer) -> bool:
    """Wait as a client does for the server's word to send the body, and pass it on; False when it refuses."""
    if not server.readable(1.0):
        return True
    head = server.read_until(BLANK)
    if not head.startswith(b"HTTP/1.1 100"):
        server.put_back(head)
        return False
    client.connection.sendall(head)
    return True


def pass_answer(request: RequestHead, client: Peer, server: Peer, plan: Plan) -> None:
    """Pass the answer on as planned."""
    head = server.read_until(BLANK)
    while head.startswith(b"HTTP/1.1 1"):
        head = server.read_until(BLANK)
    if not head.endswith(BLANK):
        raise OverError(reset=True)
    pieces, ends = _answer_body(request, head, server)
    if plan.swallow or plan.answer is not None:
        for _ in pieces:
            pass
        if plan.swallow:
            raise OverError(reset=plan.reset_at_end)
        return
    if plan.alter is not None:
        _send_altered(client, plan, *plan.alter(head, _dechunked(head, b"".join(pieces))))
        return
    client.send(head, plan)
    _send_body(client, plan, pieces)
    if ends:
        raise OverError


def _send_altered(client: Peer, plan: Plan, head: bytes, body: bytes) -> None:
    client.send(head, plan)
    client.send(body, plan)
    announced = RequestHead("", "", head).value("content-length")
    if announced is not None and int(announced) != len(body):
        raise OverError


def _send_body(client: Peer, plan: Plan, pieces: Iterator[bytes]) -> None:
    sent, singly = 0, plan.single_bytes
    for piece in pieces:
        data = piece if plan.cut_answer is None else piece[: plan.cut_answer - sent]
        client.send(_corrupted(data, sent, plan.corrupt_answer), plan, singly=singly)
        singly = max(0, singly - len(data))
        sent += len(data)
        if plan.cut_answer is not None and sent >= plan.cut_answer:
            raise OverError(reset=plan.reset_at_end)
    if plan.cut_answer is not None:
        raise OverError(reset=plan.reset_at_end)


def _corrupted(data: bytes, start: int, place: int | None) -> bytes:
    """``data``, the first of which is byte ``start`` of the body, with a bit of byte ``place`` turned over."""
    if place is None or not start <= place < start + len(data):
        return data
    at = place - start
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _answer_body(request: RequestHead, head: bytes, server: Peer) -> tuple[Iterator[bytes], bool]:
    """The pieces of the answer's body as they travel, and whether only the end of the connection ends it."""
    answer = RequestHead("", "", head)
    status = int(head.split(b" ", 2)[1])
    if request.method == "HEAD" or status in {204, 304}:
        return iter(()), False
    if (answer.value("transfer-encoding") or "").lower() == "chunked":
        return _chunks(server), False
    length = answer.value("content-length")
    return (_counted(server, int(length)), False) if length is not None else (iter(server.read, b""), True)


def _counted(server: Peer, length: int) -> Iterator[bytes]:
    while length:
        data = server.read(min(length, _BLOCK))
        if not data:
            raise OverError
        length -= len(data)
        yield data


def _chunks(server: Peer) -> Iterator[bytes]:
    while True:
        line = server.read_until(b"\r\n")
        if not line:
            raise OverError
        size = int(line.split(b";")[0], 16)
        if not size:
            yield line + server.read_until(b"\r\n")
            return
        yield line + b"".join(_counted(server, size + 2))


def _dechunked(head: bytes, body: bytes) -> bytes:
    if (RequestHead("", "", head).value("transfer-encoding") or "").lower() != "chunked":
        return body
    plain = b""
    while body:
        line, _, rest = body.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        plain += rest[:size]
        body = rest[size + 2 :] if size else b""
    return plain
