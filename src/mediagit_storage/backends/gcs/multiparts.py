"""Many calls in one request: ``multipart/mixed`` of whole HTTP messages ("Send batch requests"). Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.call import Fields

__all__ = ["BATCH_PATH", "MAX_CALLS", "Inner", "batch_body", "parse_batch"]

#: Where such requests go.
BATCH_PATH: Final = "/batch/storage/v1"
#: The most calls that one request takes.
MAX_CALLS: Final = 100
_BOUNDARY: Final = re.compile(r'multipart/mixed;.*?boundary="?([!-~]{1,80}?)"?(?:;|$)', re.IGNORECASE)
_NUMBER: Final = re.compile(rb"content-id:\s*<?response-\D*([0-9]{1,5})>?", re.IGNORECASE)
_STATUS: Final = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})")


class Inner(NamedTuple):
    """The answer to one call: ``number`` is its place in the request."""

    number: int
    status: int
    body: bytes


def batch_body(calls: Sequence[tuple[str, str]], boundary: str, fields: Fields) -> bytes:
    """One request of many: each a method and a target, with ``fields`` of its own (its credentials are the outer ones)."""
    pieces: list[str] = []
    shared = "".join(f"{name}: {value}\r\n" for name, value in fields)
    for number, (method, target) in enumerate(calls):
        pieces.append(
            f"--{boundary}\r\ncontent-type: application/http\r\ncontent-id: <call-{number}>\r\n\r\n"
            f"{method} {target} HTTP/1.1\r\n{shared}\r\n\r\n"
        )
    pieces.append(f"--{boundary}--\r\n")
    return "".join(pieces).encode()


def parse_batch(content_type: str | None, body: bytes) -> list[Inner]:
    """The answers, in the server's order. Raises `IntegrityError` for what cannot be read, or has no end."""
    found = _BOUNDARY.search(content_type or "")
    if found is None:
        raise IntegrityError("the server's answer to many calls has no boundary")
    mark = b"--" + found[1].encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise IntegrityError("the server's answer to many calls is cut off")
    return [_inner(piece) for piece in pieces[1:-1]]


def _inner(piece: bytes) -> Inner:
    head, _, message = piece.partition(b"\r\n\r\n")
    number = _NUMBER.search(head)
    status = _STATUS.match(message.lstrip())
    if number is None or status is None:
        raise IntegrityError("the server's answer to many calls holds one that cannot be read")
    return Inner(int(number[1]), int(status[1]), message.partition(b"\r\n\r\n")[2].strip())
