"""From an answer that is no success to an error: what the tables of the backends have in common. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from mediagit_storage import conditions
from mediagit_storage.errors import (
    AlreadyExistsError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
    StorageError,
)
from mediagit_storage.http.call import Condition
from mediagit_storage.http.xml import parse_records

__all__ = [
    "CURRENT",
    "OTHER",
    "TAKEN",
    "UNKNOWN",
    "Row",
    "error_fields",
    "excerpt",
    "failed_condition",
    "said",
    "under",
]

#: How much of an error's body is read at all, in bytes.
_MAX_BODY: Final = 256 * 1024
#: How much of a page of a proxy is shown, in characters, and read for that, in bytes.
_EXCERPT: Final = 200
_HEAD: Final = 4096


class Row(NamedTuple):
    """What a code or status becomes, and what the reader should do."""

    kind: type[StorageError]
    advice: str


#: What failed conditions become.
CURRENT: Final = Row(NotModifiedError, conditions.CURRENT)
OTHER: Final = Row(PreconditionError, conditions.OTHER)
TAKEN: Final = Row(AlreadyExistsError, "an object is there already")
_MISSING: Final = Row(PreconditionError, "the object that the condition names is not there")
#: For what is in no table.
UNKNOWN: Final = Row(StorageError, "see the provider's documentation")


_FAILED: Final[Mapping[int, Condition]] = {304: "none-match", 412: "match"}


def failed_condition(status: int) -> Condition | None:
    """The condition of a read that an answer's status says has failed; None for other statuses."""
    return _FAILED.get(status)


def under(condition: Condition | None, row: Row) -> Row:
    """The row for a request that carried ``condition``.

    An absent object under "match" is a `PreconditionError`: it is not the one that the condition names.
    """
    if row.kind is PreconditionError and condition == "absent":
        return TAKEN
    if row.kind is PreconditionError and condition == "none-match":
        return CURRENT
    if row.kind is NotFoundError and condition == "match":
        return _MISSING
    return row


def said(status: int, code: str, message: str, request_id: str) -> str:
    """What the server says, in one line; ``code``, ``message`` and ``request_id`` may be empty."""
    message = message.rstrip(". ")
    named = code or f"HTTP {status}"
    request = f" [request {request_id}]" if request_id else ""
    return f"the server answered {named}{request}" if message in {"", code} else f"{message} ({named}){request}"


def error_fields(body: bytes) -> Mapping[str, str]:
    """The fields of an error in XML, as S3 and Azure write it; none for a body of another kind.

    Never raises: where the document is cut off, its code usually stands near the front.
    """
    if not body:
        return {}
    try:
        document = parse_records(body[:_MAX_BODY], limit=_MAX_BODY)
    except StorageError:
        found = re.search(r"<Code>([A-Za-z0-9._-]{1,100})</Code>", _text(body))
        return {"Code": found[1]} if found else {}
    if document.root == "Error":
        return document.fields
    # Some servers wrap it: <ErrorResponse><Error><Code>.
    return {name.removeprefix("Error/"): text for name, text in document.fields.items() if name.startswith("Error/")}


def excerpt(body: bytes) -> str:
    """The beginning of a page for people, without its tags; nothing of a document with a code."""
    text = _text(body)
    return "" if "<Code>" in text else re.sub(r"<[^>]*>", " ", text)[:_EXCERPT]


def _text(body: bytes) -> str:
    return body[:_HEAD].decode("utf-8", "replace")
