"""A resumable upload, as the server tells of it: what an answer means, and what a chunk says about itself. No I/O.

Protocol: "Resumable uploads" of the guides of Cloud Storage. Chunks go one after the other; 308 tells how much is held;
an empty request with ``bytes */TOTAL`` asks for that; 404 and 410 say that the session is gone.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mediagit_storage.backends.gcs.names import UPLOAD_BASE
from mediagit_storage.errors import ConfigError, IntegrityError
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.multipart import KIB

__all__ = [
    "CANCELLED",
    "UNIT",
    "Held",
    "Stage",
    "check_chunk_size",
    "chunk_range",
    "question",
    "session_place",
    "stage_of",
]

#: All chunks but the last are multiples of this, in bytes.
UNIT: Final = 256 * KIB
#: How a server confirms that a session was cancelled.
CANCELLED: Final = 499
_MORE: Final = 308
_HELD: Final = re.compile(r"bytes=0-([0-9]{1,19})").fullmatch
_PLACE: Final = re.compile(r"[!-~]+").fullmatch


class Stage(Enum):
    """What an answer of a session means, besides `Held`."""

    COMPLETE = "complete"
    #: It was completed earlier, cancelled, or has expired.
    GONE = "gone"
    #: An error like any.
    FAILED = "failed"


class Held(NamedTuple):
    """The session goes on; so many bytes from the start are held for good."""

    size: int


def check_chunk_size(size: int) -> None:
    """Refuse a size that chunks cannot have."""
    if size < UNIT or size % UNIT:
        raise ConfigError(f"part_size is a multiple of {UNIT:,} bytes (256 KiB), and not {size:,}")


def stage_of(status: int, headers: Headers) -> Stage | Held:
    """What an answer says. Raises `IntegrityError` for a 308 that cannot be read."""
    if status in {200, 201}:
        return Stage.COMPLETE
    if status in {404, 410, CANCELLED}:
        return Stage.GONE
    if status != _MORE:
        return Stage.FAILED
    text = headers.get("range")
    if text is None:
        return Held(0)
    found = _HELD(text.strip())
    if found is None:
        raise IntegrityError(f"the server sent {text[:80]!r} for what it holds of an upload")
    return Held(int(found[1]) + 1)


def chunk_range(start: int, length: int, total: int | None) -> str:
    """What a chunk says about itself; ``total`` is known at the latest with the last one."""
    whole = "*" if total is None else str(total)
    return f"bytes {start}-{start + length - 1}/{whole}" if length else f"bytes */{whole}"


def question(total: int | None) -> str:
    """What an empty request says to ask how much is held."""
    return f"bytes */{'*' if total is None else total}"


def session_place(location: str | None) -> tuple[str, str]:
    """Path and query of a session. It is looked for where it was begun, whatever host its address names: credentials go
    nowhere else, and a proxy stays in between.
    """
    if location is None or not _PLACE(location):
        raise IntegrityError("the server began an upload and did not say where")
    parts = urlsplit(location)
    if (
        not parts.path.startswith((f"{UPLOAD_BASE}/", "/resumable/upload/storage/v1/b/"))
        or "upload_id=" not in parts.query
    ):
        raise IntegrityError("the server began an upload at a place that is none of its own")
    return parts.path, parts.query
