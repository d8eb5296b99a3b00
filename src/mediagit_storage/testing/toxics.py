"""What a bad network or server does to one exchange: each toxic changes the `Plan` that the fault proxy carries out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

__all__ = [
    "Bandwidth",
    "Corrupt",
    "CutAnswer",
    "Fail",
    "FailAfterwards",
    "Hang",
    "Latency",
    "OneByteAtATime",
    "Plan",
    "ResetBefore",
    "ResetWhileSending",
    "Rewrite",
    "SlowClose",
    "SwallowAnswer",
    "Toxic",
    "error_in_ok",
    "truncated_xml",
    "wrong_length",
    "wrong_range",
]

#: An answer as head (with the blank line) and body; what the client gets instead of it.
Alter: TypeAlias = Callable[[bytes, bytes], tuple[bytes, bytes]]

_LENGTH: Final = re.compile(rb"(?i)(\r\ncontent-length: *)(\d+)")


@dataclass(slots=True)
class Plan:
    """How one exchange goes. As it is, everything passes unchanged."""

    #: Seconds before the request goes on.
    delay: float = 0.0
    #: Close the connection with a reset as soon as the request's head is there: nothing goes on.
    reset_before: bool = False
    #: Reset when so many bytes of the request's body have gone on.
    reset_after_sending: int | None = None
    #: Never answer; the connection stays until the client leaves.
    hang: bool = False
    #: Whether the request goes on at all.
    forward: bool = True
    #: What the client gets in the place of any answer.
    answer: bytes | None = None
    #: Drop the answer and close the connection, with a reset or in good order.
    swallow: bool = False
    reset_at_end: bool = False
    #: Send so many bytes of the answer's body, then close.
    cut_answer: int | None = None
    #: The place of the byte in the request's body, or in the answer's, of which one bit turns over on the way.
    corrupt_request: int | None = None
    corrupt_answer: int | None = None
    #: Rewrite a whole answer.
    alter: Alter | None = None
    #: Seconds between the end of the answer and the close of the connection; None keeps it open.
    close_after: float | None = None
    #: So many bytes of head and body, each way, travel one at a time.
    single_bytes: int = 0
    #: Bytes a second, each way; None for as fast as it goes.
    bandwidth: int | None = None


class Toxic(Protocol):
    """Something that goes wrong."""

    def apply(self, plan: Plan) -> None:
        """Change the plan."""
        ...


@dataclass(frozen=True, slots=True)
class Latency:
    """The request goes on after so many seconds."""

    seconds: float

    def apply(self, plan: Plan) -> None:
        """Delay it."""
        plan.delay += self.seconds


@dataclass(frozen=True, slots=True)
class OneByteAtATime:
    """The first ``count`` bytes of head and body travel one by one, each way: no reader may count on whole lines."""

    count: int = 4096

    def apply(self, plan: Plan) -> None:
        """Take them apart."""
        plan.single_bytes = self.count


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """So many bytes a second, each way."""

    bytes_per_second: int

    def apply(self, plan: Plan) -> None:
        """Slow it down."""
        plan.bandwidth = self.bytes_per_second


@dataclass(frozen=True, slots=True)
class ResetBefore:
    """The connection is reset when the request has begun to arrive; the server never hears of it."""

    def apply(self, plan: Plan) -> None:
        """Reset it."""
        plan.reset_before = True


@dataclass(frozen=True, slots=True)
class ResetWhileSending:
    """The connection is reset when ``count`` bytes of the request's body have reached the server.

    A request of no more than that is answered, and its answer dropped.
    """

    count: int = 0

    def apply(self, plan: Plan) -> None:
        """Reset it."""
        plan.reset_after_sending = self.count


@dataclass(frozen=True, slots=True)
class CutAnswer:
    """The answer's body ends after ``count`` bytes: in good order, or by a reset."""

    count: int
    reset: bool = False

    def apply(self, plan: Plan) -> None:
        """Cut it."""
        plan.cut_answer = self.count
        plan.reset_at_end = self.reset


@dataclass(frozen=True, slots=True)
class Corrupt:
    """One bit of the byte at ``place`` turns over on the way: of the request's body, or of the ``answer``'s."""

    place: int
    answer: bool = False

    def apply(self, plan: Plan) -> None:
        """Turn it over."""
        if self.answer:
            plan.corrupt_answer = self.place
        else:
            plan.corrupt_request = self.place


@dataclass(frozen=True, slots=True)
class SwallowAnswer:
    """The server does what it was asked to, and the client never learns it."""

    reset: bool = True

    def apply(self, plan: Plan) -> None:
        """Drop the answer."""
        plan.swallow = True
        plan.reset_at_end = self.reset


@dataclass(frozen=True, slots=True)
class Fail:
    """The client gets an error that the server never sent; the request does not reach it."""

    status: int = 503
    code: str = "SlowDown"
    retry_after: str | None = None

    def apply(self, plan: Plan) -> None:
        """Answer in its place."""
        plan.forward = False
        plan.answer = _failure(self.status, self.code, self.retry_after)
        plan.close_after = 0.0


@dataclass(frozen=True, slots=True)
class FailAfterwards:
    """The server does what it was asked to, and the client is told that it failed."""

    status: int = 500
    code: str = "InternalError"

    def apply(self, plan: Plan) -> None:
        """Lie about it."""
        plan.answer = _failure(self.status, self.code, None)


@dataclass(frozen=True, slots=True)
class Hang:
    """Nobody ever answers."""

    def apply(self, plan: Plan) -> None:
        """Wait."""
        plan.hang = True


@dataclass(frozen=True, slots=True)
class SlowClose:
    """The connection closes so many seconds after a whole answer, without having said that it would."""

    seconds: float = 0.05

    def apply(self, plan: Plan) -> None:
        """Close it."""
        plan.close_after = self.seconds


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The answer arrives rewritten: see `wrong_length`, `wrong_range`, `truncated_xml` and `error_in_ok`."""

    name: str
    alter: Alter = field(repr=False)

    def apply(self, plan: Plan) -> None:
        """Rewrite it."""
        plan.alter = self.alter


def wrong_length(by: int) -> Rewrite:
    """The announced length is off by so many bytes. Too long a promise ends with the connection."""

    def alter(head: bytes, body: bytes) -> tuple[bytes, bytes]:
        return _with_length(head, max(0, len(body) + by)), body

    return Rewrite(f"length {by:+}", alter)


def wrong_range(shift: int = 1) -> Rewrite:
    """The Content-Range of the answer names other bytes than were asked for."""

    def alter(head: bytes, body: bytes) -> tuple[bytes, bytes]:
        def moved(found: re.Match[bytes]) -> bytes:
            return b"%s%d-%d" % (found[1], int(found[2]) + shift, int(found[3]) + shift)

        return re.sub(rb"(?i)(\r\ncontent-range: *bytes )(\d+)-(\d+)", moved, head), body

    return Rewrite(f"range {shift:+}", alter)


def truncated_xml() -> Rewrite:
    """The document in the answer ends half-way, with a length that fits what is left."""

    def alter(head: bytes, body: bytes) -> tuple[bytes, bytes]:
        half = body[: len(body) // 2]
        return _with_length(head, len(half)), half

    return Rewrite("half a document", alter)


def error_in_ok(code: str = "InternalError") -> Rewrite:
    """An error document behind the status 200, as S3 sends it when a long operation fails at its end."""

    def alter(_head: bytes, _body: bytes) -> tuple[bytes, bytes]:
        document = _document(code)
        return _with_length(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n", len(document)), document

    return Rewrite(f"200 with {code}", alter)


def _document(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()


def _failure(status: int, code: str, retry_after: str | None) -> bytes:
    body = _document(code)
    wait = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
    head = f"HTTP/1.1 {status} Injected\r\nContent-Type: application/xml\r\n{wait}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _with_length(head: bytes, length: int) -> bytes:
    """``head`` with that Content-Length and no transfer encoding."""
    plain = re.sub(rb"(?i)\r\ntransfer-encoding:[^\r]*", b"", head)
    if _LENGTH.search(plain):
        return _LENGTH.sub(rb"\g<1>%d" % length, plain)
    return plain[:-2] + b"Content-Length: %d\r\n\r\n" % length
