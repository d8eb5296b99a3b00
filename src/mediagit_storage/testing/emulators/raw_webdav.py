"""The plainest WebDAV client: one request over one connection, to see with what a server says and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from mediagit_storage.http.encoding import encode_path
from mediagit_storage.testing.emulators.kinds import Api, Running
from mediagit_storage.testing.emulators.raw import Answer, expect, send

__all__ = ["WEBDAV", "call", "url_of"]


def url_of(server: Running, path: str) -> str:
    """The URL of something on a server; ``path`` has no ``/`` at its start and is encoded here."""
    return f"{server.url}/{encode_path(path)}"


def call(
    server: Running,
    method: str,
    path: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    password: str | None = None,
    timeout: float = 30,
) -> Answer:
    """Send one request with Basic credentials, the server's own or another ``password``.

    Raises `OSError` and `http.client.HTTPException` as they come.
    """
    fields = dict(headers)
    if server.access_key:
        pair = f"{server.access_key}:{password or server.secret_key}".encode()
        fields["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    target = urlsplit(url_of(server, path)).path
    return send(server.host, method, target, body if body or method == "PUT" else None, fields, timeout=timeout)


def _answers(server: Running) -> None:
    expect(call(server, "PROPFIND", headers=[("Depth", "0")], timeout=5), 207)


def _playground(server: Running) -> str:
    call(server, "MKCOL", "playground/")
    return f"dav://{server.url.partition('://')[2]}/playground"


WEBDAV: Final = Api("webdav", _answers, _playground)
