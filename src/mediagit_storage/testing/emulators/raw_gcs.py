"""The plainest client of Google Cloud Storage: one request over one connection, to see what a server says and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlencode

from mediagit_storage.testing.emulators.kinds import Api, Running
from mediagit_storage.testing.emulators.raw import Answer, expect, send
from mediagit_storage.types import JSON

__all__ = ["GCS", "call", "make_bucket", "object_path", "upload"]


def call(
    server: Running,
    method: str,
    path: str,
    query: Iterable[tuple[str, str]] = (),
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    timeout: float = 30,
) -> Answer:
    """Send one request; ``path`` is encoded. Raises `OSError` and `http.client.HTTPException` as they come."""
    text = urlencode([*query], quote_via=quote)
    return send(server.host, method, f"{path}?{text}" if text else path, body, dict(headers), timeout=timeout)


def object_path(bucket: str, key: str) -> str:
    """The path of an object."""
    return f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}"


def upload(server: Running, bucket: str, key: str, body: bytes = b"1") -> Answer:
    """Store an object in one request, without anything else about it."""
    asked = [("uploadType", "media"), ("name", key)]
    return call(server, "POST", f"/upload/storage/v1/b/{bucket}/o", asked, body=body)


def make_bucket(server: Running, bucket: str, more: Mapping[str, JSON] = MappingProxyType({})) -> Answer:
    """Make a bucket; ``more`` is what else it is to be."""
    document = json.dumps({"name": bucket, **more}).encode()
    return call(server, "POST", "/storage/v1/b", [("project", "p")], [("content-type", "application/json")], document)


def _answers(server: Running) -> None:
    expect(call(server, "GET", "/storage/v1/b", [("project", "p")], timeout=5), 200)


def _playground(server: Running) -> str:
    expect(make_bucket(server, "playground"), 200, 409)
    return "gs://playground/"


GCS: Final = Api("gcs", _answers, _playground)
