"""A small server of objects over HTTP, for the example in docs/guides/add-a-backend.md: it keeps them in memory.

============================  ======================================================================================
``PUT /o/KEY``                stores; ``If-None-Match: *``, ``If-Match`` and ``Content-MD5`` are honoured; 201
``GET /o/KEY``, ``HEAD``      200, or 206 for a ``Range``; ``If-Match``, ``If-None-Match``; ETag and Content-MD5 of all
``DELETE /o/KEY``             204, and 404 where there is none
``GET /list?prefix&after``    a page of JSON, sorted by the keys' UTF-8: ``{"objects": [...], "more": false}``
============================  ======================================================================================

A failure says why in the field ``x-shelf-error``. What arrives broken is not stored.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from mediagit_storage.http.encoding import format_http_date

__all__ = ["shelf"]

#: Objects on a page of a listing.
_PAGE: Final = 1000
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class _Object(NamedTuple):
    data: bytes
    etag: str
    modified: str
    md5: str


class _Server(ThreadingHTTPServer):
    """Objects, and the connections that are open: they are cut at the end, so that no thread stays behind."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, _Object] = {}
        self.lock = threading.Lock()
        self.numbers = count(1)
        self.connections: set[socket.socket] = set()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Serve a connection in a thread of its own."""
        if isinstance(request, socket.socket):
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """A connection has ended."""
        if isinstance(request, socket.socket):
            self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may break off whenever they like."""

    def cut(self) -> None:
        """End the connections that are left."""
        for each in [*self.connections]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name above
        """Nobody reads it."""

    @property
    def _key(self) -> str:
        return unquote(self.path.removeprefix("/o/"), errors="surrogateescape")

    def _answer(self, status: int, fields: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(fields or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, error: str, fields: dict[str, str] | None = None) -> None:
        self._answer(status, {"x-shelf-error": error, **(fields or {})})

    def _fails(self, found: _Object | None) -> bool:
        """Whether a condition of the request is not met."""
        wanted, unwanted = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if wanted is not None and (found is None or wanted != found.etag):
            return True
        return unwanted is not None and found is not None and unwanted in {"*", found.etag}

    # ---- objects

    def do_PUT(self) -> None:
        """Store what arrived whole."""
        data = self._body()
        if data is None:
            self.close_connection = True
            return
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if self.headers.get("Content-MD5", digest) != digest:
            self._refuse(400, "BadDigest")
            return
        with self.server.lock:
            refused = self._fails(self.server.objects.get(self._key))
            new = _Object(data, f'"{next(self.server.numbers)}"', format_http_date(datetime.now(UTC)), digest)
            if not refused:
                self.server.objects[self._key] = new
        if refused:
            self._refuse(412, "ConditionFailed")
        else:
            self._answer(201, {"ETag": new.etag, "Last-Modified": new.modified})

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding") != "chunked":
            length = int(self.headers.get("Content-Length", "0"))
            data = self.rfile.read(length)
            return data if len(data) == length else None
        pieces = []
        while size := int(self.rfile.readline() or b"-1", 16):
            piece = self.rfile.read(size + 2) if size > 0 else b""
            if not piece.endswith(b"\r\n"):
                return None
            pieces.append(piece[:-2])
        return b"".join(pieces) if self.rfile.readline() == b"\r\n" else None

    def do_GET(self) -> None:
        """An object, a part of one, or a page of the listing."""
        if not self.path.startswith("/o/"):
            self._list()
            return
        found = self.server.objects.get(self._key)
        if found is None:
            self._refuse(404, "NoSuchObject")
        elif self._fails(found):
            self._refuse(412 if "If-Match" in self.headers else 304, "ConditionFailed")
        else:
            self._send(found)

    do_HEAD = do_GET  # noqa: N815  # a name of http.server

    def _send(self, found: _Object) -> None:
        fields = {"ETag": found.etag, "Last-Modified": found.modified}
        asked, size = _RANGE.fullmatch(self.headers.get("Range", "")), len(found.data)
        if asked is None or self.command == "HEAD":
            fields |= {"Content-MD5": found.md5, "Content-Length": str(size)}
            self._answer(200, fields, found.data)
            return
        start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
        end = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
        if start > end:
            self._refuse(416, "NoSuchRange", {"Content-Range": f"bytes */{size}"})
            return
        self._answer(206, {**fields, "Content-Range": f"bytes {start}-{end}/{size}"}, found.data[start : end + 1])

    def do_DELETE(self) -> None:
        """Remove one."""
        with self.server.lock:
            found = self.server.objects.pop(self._key, None)
        if found is None:
            self._refuse(404, "NoSuchObject")
        else:
            self._answer(204)

    def _list(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True, errors="surrogateescape")
        prefix, after = (query.get(name, [""])[0].encode(errors="surrogateescape") for name in ("prefix", "after"))
        with self.server.lock:
            objects = {key.encode(errors="surrogateescape"): each for key, each in self.server.objects.items()}
        keys = sorted(key for key in objects if key.startswith(prefix) and key > after)
        shown = [
            {
                "key": key.decode(errors="surrogateescape"),
                "size": len(objects[key].data),
                "etag": objects[key].etag,
                "modified": objects[key].modified,
            }
            for key in keys[:_PAGE]
        ]
        body = json.dumps({"objects": shown, "more": len(keys) > _PAGE}).encode()
        self._answer(200, {"Content-Type": "application/json"}, body)


@contextmanager
def shelf() -> Iterator[str]:
    """A server of its own for the block; its URL, ``http://127.0.0.1:PORT``."""
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="shelf")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.cut()
        server.server_close()
