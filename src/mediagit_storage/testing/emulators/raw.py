"""The plainest HTTP client: one request over one connection, to see with what a server says and nothing else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass

from mediagit_storage.testing.emulators.kinds import NotReadyError
from mediagit_storage.types import JSON

__all__ = ["Answer", "expect", "send"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's code as S3 and Azure give it, empty without one."""
        inside = self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
        return self.headers.get("x-ms-error-code", inside)

    @property
    def json(self) -> dict[str, JSON]:
        """The body's document; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def send(
    host: str, method: str, target: str, body: bytes | None, fields: Mapping[str, str], *, timeout: float
) -> Answer:
    """Send one request; ``target`` is the encoded path with its query, ``timeout`` seconds.

    Raises `OSError` and `http.client.HTTPException` as they come.
    """
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        connection.request(method, target, body, dict(fields))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def expect(answer: Answer, *statuses: int) -> None:
    """Raise `NotReadyError` for an answer of another status."""
    if answer.status not in statuses:
        raise NotReadyError(f"{answer.status} {answer.body[:200]!r}")
