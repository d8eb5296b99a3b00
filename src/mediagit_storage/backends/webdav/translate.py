"""From an answer of a WebDAV server to this library's errors: one table of statuses, each row saying what to do.

WebDAV has no codes of its own, and pages for people in the place of messages; only a short text, or the message of an
error document as SabreDAV writes it, is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mediagit_storage.backends.webdav.auth import WRONG
from mediagit_storage.errors import (
    BucketNotFoundError,
    CapacityError,
    ConfigError,
    InvalidKeyError,
    InvalidRangeError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.call import Condition, Subject
from mediagit_storage.http.redact import redact_text
from mediagit_storage.http.refusals import CURRENT, OTHER, Row, under
from mediagit_storage.http.response import Response
from mediagit_storage.http.xml import parse_records

__all__ = ["STATUSES", "missing_base", "row_of", "translate"]

#: How much of what a server says is shown, in characters.
_MAX_MESSAGE: Final = 300
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


_LATER: Final = "try again later"
_ELSEWHERE: Final = Row(ConfigError, "the server sends elsewhere; open the URL that it names")
_MISSING_BASE: Final = "the folder that the URL names is not there; create it with `mgs mb`, or check the URL"

STATUSES: Final[Mapping[int, Row]] = {
    301: _ELSEWHERE,
    302: _ELSEWHERE,
    303: _ELSEWHERE,
    304: CURRENT,
    307: _ELSEWHERE,
    308: _ELSEWHERE,
    400: Row(StorageError, "the server refused the request"),
    401: Row(UnauthenticatedError, WRONG),
    403: Row(PermissionDeniedError, "this user may not do that here"),
    404: Row(NotFoundError, "the object is not there"),
    405: Row(UnsupportedError, "the server does not do that here; check that the URL is that of a WebDAV folder"),
    407: Row(ConfigError, "the proxy on the way wants credentials"),
    408: Row(StorageTimeoutError, "the request came too slowly; try again"),
    409: Row(UnavailableError, "a folder on the way was removed meanwhile; try again"),
    410: Row(NotFoundError, "the object is gone"),
    411: Row(UnsupportedError, "the server wants to know the size beforehand; open the storage with chunked=false"),
    412: OTHER,
    413: Row(LimitExceededError, "the server takes no object of this size; raise its limit"),
    414: Row(InvalidKeyError, "the server takes no key of this length"),
    415: Row(UnsupportedError, "the server does not take such a body"),
    416: Row(InvalidRangeError, "the range is not inside the object"),
    423: Row(UnavailableError, "somebody has locked it, or is writing it now; try again"),
    424: Row(StorageError, "something that this depends on failed"),
    428: Row(UnsupportedError, "the server wants every write to carry a condition"),
    429: Row(ThrottledError, "the server asks for fewer requests; try again later"),
    431: Row(LimitExceededError, "the server takes no header fields of this length"),
    451: Row(PermissionDeniedError, "the server may not hand it out"),
    500: Row(UnavailableError, _LATER),
    501: Row(UnsupportedError, "the server cannot do that"),
    502: Row(UnavailableError, _LATER),
    503: Row(UnavailableError, _LATER),
    504: Row(StorageTimeoutError, _LATER),
    505: Row(UnsupportedError, "the server does not speak HTTP/1.1"),
    507: Row(CapacityError, "the server's disk or the quota is full; free some space"),
    508: Row(StorageError, "the server's folders lead in a circle"),
    509: Row(ThrottledError, "the bandwidth that the server grants is used up; try again later"),
    511: Row(ConfigError, "the network wants a log-in before it lets anything through"),
}

#: A server behind another one that ends TLS takes its own address for somebody else's.
_OTHER_HOST: Final = "the server takes the target for another server's; open the storage with destination=path"


def row_of(status: int) -> Row:
    """The row for a status; one that is in no row is as its hundred, and never "not found"."""
    if status in STATUSES:
        return STATUSES[status]
    return STATUSES[500] if 500 <= status <= 599 else Row(StorageError, "see the server's documentation")


def translate(response: Response, *, subject: Subject = "object", condition: Condition | None = None) -> StorageError:
    """The error to raise for a failed answer; ``condition`` is what the request asked for."""
    status = response.status
    row = row_of(status)
    if row.kind is NotFoundError and subject == "bucket":
        return missing_base()
    row = under(condition, row)
    if row is _ELSEWHERE:
        location = response.headers.get("location")
        row = Row(row.kind, f"{row.advice}: {redact_text(location[:_MAX_MESSAGE])}" if location else row.advice)
    elif status in {400, 502} and response.request.method in {"COPY", "MOVE"}:
        row = Row(row.kind, f"{row.advice}, or {_OTHER_HOST}")
    said = _said(response)
    text = f"HTTP {status} to {response.request.method}{f' ({said})' if said else ''}: {row.advice}"
    return row.kind(_CONTROL.sub(" ", text))


def missing_base() -> BucketNotFoundError:
    """The error for a storage whose folder is not there."""
    return BucketNotFoundError(_MISSING_BASE)


def _said(response: Response) -> str:
    """What the server says in words, if it is short."""
    kind = (response.headers.get("content-type") or "").lower()
    body = response.body
    if not body or len(body) > 64 * 1024:
        return ""
    if "xml" in kind and "html" not in kind:
        try:
            text = parse_records(body).fields.get("message", "")
        except StorageError:
            return ""
    elif kind.startswith("text/plain"):
        text = body.decode("utf-8", "replace")
    else:
        return ""
    text = " ".join(text.split())
    return redact_text(text) if len(text) <= _MAX_MESSAGE else ""
