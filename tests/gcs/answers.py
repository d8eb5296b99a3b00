"""What Google Cloud Storage answers, as steps of scripts, and what was asked."""

from __future__ import annotations

import base64
import json

from google_crc32c import value

from mediagit_storage.testing.scripted_server import ScriptedServer, Send, answer

GENERATION = "1795307877217437"


def document(body: object, status: int = 200, *headers: tuple[str, str]) -> Send:
    """A JSON document."""
    data = json.dumps(body).encode()
    return answer(status, data, [("content-type", "application/json"), ("connection", "close"), *headers])


def crc(data: bytes) -> str:
    """The digest as the service writes it."""
    return base64.b64encode(value(data).to_bytes(4, "big")).decode()


def stored(data: bytes, name: str = "k", **more: object) -> Send:
    """The description of an object with these bytes."""
    return document(resource(data, name, **more))


def resource(data: bytes, name: str = "k", **more: object) -> dict[str, object]:
    """The same as data."""
    return {
        "name": name, "generation": GENERATION, "size": str(len(data)), "crc32c": crc(data),
        "timeCreated": "2026-11-22T00:37:57.217378Z", **more,
    }  # fmt: skip


def media(
    data: bytes, *headers: tuple[str, str], status: int = 200, generation: str = GENERATION, digest: str = ""
) -> Send:
    """The bytes of an object."""
    fields = [
        ("x-goog-generation", generation), ("x-goog-hash", f"crc32c={digest or crc(data)}"),
        ("x-goog-stored-content-encoding", "identity"), ("last-modified", "Sun, 22 Nov 2026 00:37:57 GMT"),
        ("connection", "close"), *headers,
    ]  # fmt: skip
    return answer(status, data, fields)


def refused(status: int, reason: str, message: str = "no", *headers: tuple[str, str]) -> Send:
    """A failure in the service's own form."""
    inside = {
        "code": status,
        "message": message,
        "errors": [{"domain": "global", "reason": reason, "message": message}],
    }
    return document({"error": inside}, status, *headers)


def begun(upload: str = "U1") -> Send:
    """A session; its address names another host, as behind proxies."""
    place = f"https://storage.googleapis.com/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id={upload}"
    return answer(200, b"", [("location", place), ("connection", "close")])


def held(count: int) -> Send:
    """How much a session holds."""
    fields = [("range", f"bytes=0-{count - 1}")] if count else []
    return answer(308, b"", [*fields, ("connection", "close")])


def lines(server: ScriptedServer) -> list[str]:
    """Method and target of each request."""
    first = [data.split(b"\r\n", 1)[0] for data in server.received]
    return [line.decode().removesuffix(" HTTP/1.1") for line in first if line.endswith(b" HTTP/1.1")]


def header(request: bytes, name: str) -> str | None:
    """A field of a request."""
    for line in request.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
        key, _, text = line.partition(b":")
        if key.lower() == name.encode():
            return text.strip().decode()
    return None


def body_of(request: bytes) -> bytes:
    """What came after the head."""
    return request.split(b"\r\n\r\n", 1)[1]


def ranges(server: ScriptedServer) -> list[str | None]:
    """The content ranges of all requests."""
    return [header(each, "content-range") for each in server.received]
