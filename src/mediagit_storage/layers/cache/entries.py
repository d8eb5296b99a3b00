"""What is kept of an object, and under which name. Pure functions.

The content of a head's file is a JSON list, that of a chunk's is the bytes; `frames` has what stands before both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.types import ObjectInfo

__all__ = [
    "ChunkId",
    "Head",
    "Moment",
    "Name",
    "disk_name",
    "gone",
    "head_from_json",
    "head_of",
    "head_to_json",
    "token_of",
]

#: What a head is kept under: the key for its current object, key and version for a version.
Name: TypeAlias = str | tuple[str, str]
#: What a chunk is kept under: key, token of the body, and number of the chunk. No two bodies share one.
ChunkId: TypeAlias = tuple[str, str, int]

#: An object that was not modified for so long has an ETag that no later body gets: nanoseconds.
_SETTLED: Final = 60_000_000_000


class Moment(NamedTuple):
    """When something was asked or ended: its place among all of this process, and the wall clock (ns since 1970).

    The order decides between what this process did itself, whatever happens to its clock. Time is for what others did.
    """

    order: int
    time: int


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of one object: ``info`` without attributes, and the ``token`` that its chunks are kept under.

    ``token`` None says that nothing of this object may be kept. ``checked`` is when the request began that last proved
    this object to be the current one (nanoseconds since 1970); 0 is a hint that proves nothing. ``order`` is the place of
    that request in this process; 0 where the head came from the folder. ``first`` is the id of the chunk that a small
    object consists of.
    """

    info: ObjectInfo
    size: int
    token: str | None
    checked: int
    first: ChunkId
    order: int = 0

    def proven(self, moment: Moment) -> Head:
        """The same, proven to be current by a request that began then."""
        return Head(self.info, self.size, self.token, moment.time, self.first, moment.order)

    def hint(self) -> Head:
        """The same, proving nothing."""
        return Head(self.info, self.size, self.token, 0, self.first, self.order)

    @property
    def is_gone(self) -> bool:
        """Whether this is no object, but a mark that nothing older is believed (`gone`)."""
        return self.info.size is None


def token_of(info: ObjectInfo, version: str | None, *, exact: bool, checked: int) -> str | None:
    """What tells this body from every other one of its key; None where nothing does for sure.

    A weak ETag does not promise equal bytes. One that is not ``exact`` (`Capabilities.exact_etags`) may be given to another
    body that is written in the same moment: it counts when the object had been left alone for a minute at ``checked``. A
    version, where one was asked for, never changes.
    """
    if info.etag and not info.etag.startswith("W/") and (exact or _settled(info.modified, checked)):
        return f"e{info.etag}"
    return None if version is None else f"v{version}"


def head_of(info: ObjectInfo, version: str | None, began: Moment, *, exact: bool) -> Head | None:
    """The head of an object that a request showed; None where the storage did not tell its size."""
    if info.size is None:
        return None
    token = token_of(info, version, exact=exact, checked=began.time)
    return _head(info, info.size, token, began.time, began.order)


def gone(key: str, moment: Moment) -> Head:
    """A mark in the place of a head: what was known before ``moment`` is believed no more."""
    return Head(ObjectInfo(key), 0, None, moment.time, (key, "", 0), moment.order)


def _head(info: ObjectInfo, size: int, token: str | None, checked: int, order: int) -> Head:
    known = ObjectInfo(info.key, info.size, info.stored_size, info.modified, info.etag, info.version)
    return Head(known, size, token, checked, (info.key, token or "", 0), order)


def _settled(modified: datetime | None, checked: int) -> bool:
    return modified is not None and checked - int(modified.timestamp() * 1_000_000_000) > _SETTLED


def disk_name(identity: str, *parts: str | int) -> str:
    """The name of a file: 64 hexadecimal digits, of the storage's identity and what the file holds of it."""
    text = json.dumps([identity, *parts])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def head_to_json(name: Name, head: Head) -> bytes:
    """The content of a head's file."""
    key, version = (name, None) if isinstance(name, str) else name
    info = head.info
    modified = None if info.modified is None else info.modified.isoformat()
    fields = [key, version, info.size, info.stored_size, modified, info.etag, info.version, head.checked, head.token]
    return json.dumps(fields).encode("ascii")


def head_from_json(name: Name, content: bytes) -> Head | None:
    """Undo `head_to_json`; None for what is of another name or shape."""
    try:
        key, version, size, stored_size, modified, etag, own_version, checked, token = json.loads(content)
        when = None if modified is None else datetime.fromisoformat(modified)
    except (ValueError, TypeError):
        return None
    if (key if version is None else (key, version)) != name:
        return None
    if size is None:
        return gone(key, Moment(0, checked))
    return _head(ObjectInfo(key, size, stored_size, when, etag, own_version), size, token, checked, 0)
