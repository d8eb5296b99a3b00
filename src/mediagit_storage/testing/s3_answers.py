"""Answers as S3 gives them, for scripted servers, and what to look for in the requests that came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

from mediagit_storage.testing.scripted_server import Conversation, Receive, ScriptedServer, Send, answer

__all__ = ["DATE", "Refuses", "header", "lines", "ok", "refused"]

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


@dataclass(frozen=True)
class Refuses:
    """A step that takes one request and refuses it, as S3 does: with a document, but to a HEAD without a word.

    ``more`` are further elements of the document. ``ahead`` is how far the server's clock is, from this machine's.
    """

    status: int
    code: str
    message: str
    headers: Sequence[tuple[str, str]] = ()
    more: str = ""
    ahead: timedelta = timedelta(0)

    def play(self, conversation: Conversation) -> None:
        """Take it, and refuse it."""
        Receive().play(conversation)
        date = ("Date", format_datetime(datetime.now(UTC) + self.ahead, usegmt=True))
        document = (
            f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>{self.more}"
            "<RequestId>R1</RequestId></Error>"
        )
        silent = conversation.server.received[-1].startswith(b"HEAD ")
        answer(self.status, b"" if silent else document.encode(), [date, *self.headers]).play(conversation)


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
