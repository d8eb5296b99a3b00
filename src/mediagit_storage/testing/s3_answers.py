"""Answers as S3 gives them, for scripted servers, and what to look for in the requests that came."""

from __future__ import annotations

from typing import Final

from mediagit_storage.testing.scripted_server import ScriptedServer, Send, answer

__all__ = ["DATE", "header", "lines", "ok", "refused"]

#: The server's clock, far from every real one: no test may depend on the two being near.
DATE: Final = ("Date", "Sun, 06 Nov 2044 08:49:37 GMT")
_MODIFIED: Final = ("Last-Modified", "Sun, 06 Nov 2044 08:49:37 GMT")


def ok(status: int = 200, body: bytes = b"", *headers: tuple[str, str], etag: str | None = '"e1"') -> Send:
    """A success, with the fields of an object."""
    given = [DATE, _MODIFIED, *headers]
    if etag is not None:
        given.append(("ETag", etag))
    return answer(status, body, given)


def refused(status: int, code: str, message: str = "no", *headers: tuple[str, str]) -> Send:
    """A failure with its document."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>R1</RequestId></Error>".encode()
    return answer(status, body, [DATE, *headers])


def lines(server: ScriptedServer) -> list[str]:
    """Method and path of each request that came."""
    return [each.partition(b"\r\n")[0].decode().removesuffix(" HTTP/1.1") for each in server.received]


def header(request: bytes, name: str) -> str | None:
    """One field of a request, None where it is not there."""
    for line in request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None
