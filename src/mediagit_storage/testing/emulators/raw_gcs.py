"""The plainest client of Google Cloud Storage: one request over one connection, to see what a server says and nothing else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlencode

from mediagit_storage.testing.emulators.kinds import Api, NotReadyError, Running
from mediagit_storage.types import JSON

__all__ = ["GCS", "Answer", "call", "make_bucket", "object_path", "upload"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, JSON]:
        """The body's document; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


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
    connection = http.client.HTTPConnection(server.host, timeout=timeout)
    try:
        connection.request(method, f"{path}?{text}" if text else path, body, dict(headers))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


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
    answer = call(server, "GET", "/storage/v1/b", [("project", "p")], timeout=5)
    if answer.status != 200:
        raise NotReadyError(f"{answer.status} {answer.body[:200]!r}")


def _playground(server: Running) -> str:
    answer = make_bucket(server, "playground")
    if answer.status not in {200, 409}:
        raise NotReadyError(f"{answer.status} {answer.body[:200]!r}")
    return "gs://playground/"


GCS: Final = Api("gcs", _answers, _playground)
