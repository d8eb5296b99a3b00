"""What a gateway answers: the status for each error, and the headers of objects. Pure functions."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from mediagit_storage import errors
from mediagit_storage.attributes import guess_content_type
from mediagit_storage.http.encoding import format_http_date
from mediagit_storage.serve.conditions import entity_tag
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = ["SANDBOX", "STATUSES", "Header", "object_headers", "reason", "retry_after", "status_of"]

Header = tuple[bytes, bytes]

#: From an error to a status; the first row that fits counts, so relatives stand before their parents.
STATUSES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.BucketNotFoundError, 502),
    (errors.NotFoundError, 404),
    (errors.AlreadyExistsError, 412),
    (errors.PreconditionError, 412),
    # It is the gateway that was refused, with its own credentials: nothing that the client could change.
    (errors.AccessError, 502),
    (errors.InvalidKeyError, 400),
    (errors.InvalidRangeError, 416),
    (errors.ConfigError, 500),
    (errors.UnsupportedError, 501),
    (errors.KeyConflictError, 409),
    (errors.IntegrityError, 502),
    (errors.StorageTimeoutError, 504),
    (errors.UnavailableError, 503),
    (errors.CapacityError, 507),
    (errors.LimitExceededError, 413),
    (errors.CancelledError, 503),
    (errors.StorageError, 502),
    (errors.ClosedError, 503),
)

#: No script, form, plug-in or frame of what is stored ever runs with the rights of the gateway's own pages.
SANDBOX: Final = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline';"
    " frame-ancestors 'self'"
)
_FIXED: Final[tuple[Header, ...]] = (
    (b"accept-ranges", b"bytes"),
    (b"content-security-policy", SANDBOX.encode()),
)
#: What h11, and every other server, takes as the value of a header.
_VALUE: Final = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")


def status_of(error: BaseException) -> int:
    """The status that tells of an error; 500 for what nobody expected."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def retry_after(error: BaseException) -> int:
    """How many seconds a client may be asked to wait: what the storage asks for, else one."""
    asked = error.retry_after if isinstance(error, errors.UnavailableError) else None
    return max(1, min(3600, round(asked or 1)))


def reason(status: int) -> str:
    """The words of a status, in lower case: all that a client is told of an error."""
    return HTTPStatus(status).phrase.lower()


def object_headers(
    info: ObjectInfo, key: str, *, exact: bool, cache_control: str | None, private: bool, disposition: str | None
) -> list[Header]:
    """The headers of an object, whole or in part; those of its length are added to them.

    ``private`` keeps it out of caches that others use, whatever the object says. A header that the storage holds in a form
    that HTTP cannot carry is left out.
    """
    held = info.attributes or Attributes()
    kind = held.content_type or _guessed(key)
    kept = "private, no-cache" if private else held.cache_control or cache_control
    fields = (
        (b"content-type", kind),
        (b"etag", entity_tag(info, exact=exact)),
        (b"last-modified", None if info.modified is None else format_http_date(info.modified)),
        (b"cache-control", kept),
        (b"content-encoding", held.content_encoding),
        (b"content-disposition", disposition or held.content_disposition),
    )
    found = [*_FIXED]
    for name, text in fields:
        if text and (value := _carried(text)) is not None:
            found.append((name, value))
        elif name == b"content-type":
            # Without a type clients would guess one from the content.
            found.append((name, b"application/octet-stream"))
    return found


def _guessed(key: str) -> str:
    kind = guess_content_type(key) or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _carried(text: str) -> bytes | None:
    value = text.strip().encode("utf-8", "surrogateescape")
    return value if _VALUE.fullmatch(value) else None
