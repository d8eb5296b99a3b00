"""One request as data, before it is signed: what backends make, and what `client` signs, sends and repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from mediagit_storage.http.request import BodySink, BodySource
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Traits

__all__ = ["PLAIN", "Call", "Condition", "Fields", "Query", "Subject"]

#: Header fields as (lower-case name, value) pairs.
Fields: TypeAlias = list[tuple[str, str]]

#: Query parameters, unencoded.
Query: TypeAlias = Sequence[tuple[str, str]]

#: What a request is about: decides what a 404 without a vendor's code means.
Subject = Literal["object", "bucket"]

#: The condition that a request carried: decides what a 412 means.
Condition = Literal["absent", "match", "none-match"]

PLAIN: Final = Traits()


class Call(NamedTuple):
    """One request. ``path`` is encoded and begins with ``/``; ``query`` is encoded, and sorted where the signer needs it.

    ``code_of`` finds a vendor's code in an answer whose success has to be looked into, too; None leaves successes as
    they are and failures to the client's own. The rest is as in `Request`.
    """

    method: str
    path: str
    query: str = ""
    fields: Fields = []
    body: bytes | BodySource | None = None
    traits: Traits = PLAIN
    code_of: Callable[[Response], str | None] | None = None
    idle_timeout: float | None = None
    max_body: int | None = None
    fresh_connection: bool = False
    expect_continue: bool = False
    sink: BodySink | None = None
