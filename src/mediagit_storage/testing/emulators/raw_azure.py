"""The plainest client of Azure Storage: one signed request over one connection, to see what a server says, nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from mediagit_storage.http.encoding import format_http_date
from mediagit_storage.testing.emulators.kinds import Api, Running
from mediagit_storage.testing.emulators.raw import Answer, expect, send

__all__ = ["AZURE", "VERSION", "call", "make_container"]

#: A version of the service that every emulator knows.
VERSION: Final = "2021-12-02"
_SIGNED: Final = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip


def call(
    server: Running,
    method: str,
    key: str = "",
    query: Iterable[tuple[str, str]] = (),
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    secret: str | None = None,
    signed: bool = True,
    timeout: float = 30,
) -> Answer:
    """Send one request, signed with the account's key (or another ``secret``). ``key`` starts with the container.

    Raises `OSError` and `http.client.HTTPException` as they come.
    """
    account, pairs = server.access_key, sorted(query)
    path = f"/{account}/{quote(key)}"
    fields = {name.lower(): value for name, value in headers}
    fields |= {"x-ms-version": VERSION, "x-ms-date": format_http_date(datetime.now(UTC))}
    if body or method in {"PUT", "POST"}:
        fields["content-length"] = str(len(body))
    if signed:
        standard = [fields.get(name, "") for name in _SIGNED]
        standard[2] = "" if standard[2] == "0" else standard[2]
        special = "".join(f"{name}:{fields[name]}\n" for name in sorted(fields) if name.startswith("x-ms-"))
        resource = f"/{account}{path}" + "".join(f"\n{name}:{value}" for name, value in pairs)
        text = "\n".join([method, *standard, special + resource])
        digest = hmac.new(base64.b64decode(secret or server.secret_key), text.encode(), hashlib.sha256).digest()
        fields["authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return send(server.host, method, f"{path}?{encoded}" if encoded else path, body or None, fields, timeout=timeout)


def make_container(server: Running, container: str) -> Answer:
    """Make a container."""
    return call(server, "PUT", container, [("restype", "container")])


def _answers(server: Running) -> None:
    expect(call(server, "GET", "", [("comp", "list")], timeout=5), 200)


def _playground(server: Running) -> str:
    expect(make_container(server, "playground"), 201, 409)
    return "az://playground/"


AZURE: Final = Api("azure", _answers, _playground)
