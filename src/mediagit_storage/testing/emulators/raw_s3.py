"""The plainest S3 client: one signed request over one connection, to see with what a server says and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from mediagit_storage.http.encoding import encode_path, encode_query
from mediagit_storage.http.sigv4 import UNSIGNED, Credentials, Signer
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.emulators.kinds import Api, Running
from mediagit_storage.testing.emulators.raw import Answer, expect, send

__all__ = ["S3", "call", "stores"]


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
    """Send one request, signed with the server's own keys (or another ``secret``). ``key`` starts with the bucket.

    Raises `OSError` and `http.client.HTTPException` as they come.
    """
    path, text, given = f"/{encode_path(key)}", encode_query(query), list(headers)
    keys = Credentials(server.access_key, Secret(secret or server.secret_key))
    signer = Signer(keys, region=server.region, host=server.host)
    payload = sha256(body).hexdigest() if body else UNSIGNED
    if signed:
        given += signer.sign(method, path, text, [*given], payload=payload, now=int(time.time()))
    return send(server.host, method, f"{path}?{text}" if text else path, body or None, dict(given), timeout=timeout)


def stores(server: Running) -> None:
    """Ready when it has taken an object: some list their buckets long before they can store anything."""
    expect(call(server, "PUT", "ready-probe", timeout=5), 200, 409)
    expect(call(server, "PUT", "ready-probe/object", body=b"ready", timeout=5), 200)
    expect(call(server, "DELETE", "ready-probe/object", timeout=5), 204)
    expect(call(server, "DELETE", "ready-probe", timeout=5), 204)


def _answers(server: Running) -> None:
    expect(call(server, "GET", timeout=5), 200)


def _playground(server: Running) -> str:
    expect(call(server, "PUT", "playground"), 200, 409)
    return "s3://playground/"


S3: Final = Api("s3", _answers, _playground)
