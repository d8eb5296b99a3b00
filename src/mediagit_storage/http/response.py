"""An answer as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import Request

__all__ = ["BODYLESS", "Response", "is_framed"]

#: Statuses whose answers have no body, whatever their headers say.
BODYLESS: Final = frozenset({204, 304})


class Response:
    """A complete answer in memory.

    ``attempts`` is the number of connections the request was sent over: above 1, libcurl found the first one dead and
    sent the request again by itself, so the server may have acted on it twice. ``cut`` is set on answers of status 400
    and above whose body was too long or broke off: the status stands, the body is only for people. ``placed`` bytes
    went to the request's sink, and not here; None where it took nothing of this answer.
    """

    __slots__ = ("attempts", "cut", "headers", "pieces", "placed", "request", "status")

    def __init__(
        self,
        request: Request,
        status: int,
        headers: Headers,
        pieces: list[bytes],
        *,
        attempts: int = 1,
        cut: bool = False,
        placed: int | None = None,
    ) -> None:
        self.request = request
        self.status = status
        self.headers = headers
        #: The body as it came; `body` joins them.
        self.pieces = pieces
        self.attempts = attempts
        self.cut = cut
        self.placed = placed

    @property
    def body(self) -> bytes:
        """The body, as it was sent."""
        if len(self.pieces) != 1:
            self.pieces[:] = [b"".join(self.pieces)]
        return self.pieces[0]

    def __repr__(self) -> str:
        size = sum(len(piece) for piece in self.pieces)
        return f"<Response {self.status}, {size:,} bytes, of {self.request.method} {self.request.shown_url}>"


def is_framed(method: str, status: int, length: int, head: Sequence[bytes]) -> bool:
    """Whether the end of a body can be told from a lost connection: it has a length or chunks, or there is no body."""
    if length >= 0 or method == "HEAD" or status in BODYLESS:
        return True
    return (Headers(head).get("transfer-encoding") or "").lower().endswith("chunked")
