"""The values that pass between a user, `Storage`, the layers and the backends.

They hold data and no behaviour beyond checking themselves; option types are immutable and have a default for
everything, so a backend is handed one object per call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from mediagit_storage.errors import ConfigError, PreconditionError

__all__ = [
    "JSON",
    "Attributes",
    "ByteRange",
    "BytesLike",
    "Checksum",
    "ConnectionInfo",
    "CopyOptions",
    "DeleteOptions",
    "Entry",
    "Finding",
    "FindingLevel",
    "Folder",
    "ListOptions",
    "ObjectInfo",
    "Outcome",
    "PendingUpload",
    "PresignMethod",
    "PresignOptions",
    "PutOptions",
    "ReadOptions",
    "ResumeState",
    "Retention",
]

BytesLike: TypeAlias = bytes | bytearray | memoryview
JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
PresignMethod = Literal["GET", "PUT", "DELETE"]

V_co = TypeVar("V_co", covariant=True)
_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})
_NO_NAMES: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an object says about itself besides its bytes.

    ``metadata`` and ``tags`` are free text to text; names of metadata are matched without regard to case by most
    providers, and names starting with ``mgs-`` are reserved. A backend refuses what it cannot keep.
    """

    content_type: str | None = None
    cache_control: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    storage_class: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: _EMPTY)

    def __reduce__(self) -> tuple[object, ...]:
        values = (self.content_type, self.cache_control, self.content_encoding, self.content_disposition)
        return (Attributes, (*values, dict(self.metadata), self.storage_class, dict(self.tags)))

    def named(self) -> frozenset[str]:
        """The names of the fields that hold something: what a backend has to be able to keep."""
        texts = (self.content_type, self.cache_control, self.content_encoding, self.content_disposition)
        if not any((*texts, self.metadata, self.storage_class, self.tags)):
            return _NO_NAMES
        return frozenset(name for name in self.__slots__ if getattr(self, name))


class ByteRange(NamedTuple):
    """The part of an object that is asked for: ``suffix`` alone, or ``offset`` with an optional ``length``.

    Nothing given means the whole object, however empty. How edges behave is promise 10 of `backend`.
    """

    offset: int | None = None
    length: int | None = None
    suffix: int | None = None


WHOLE: Final = ByteRange()


class Checksum(NamedTuple):
    """A declared digest: ``algorithm`` is md5, sha256, crc32c, crc64nvme or blake3; ``digest`` the raw bytes."""

    algorithm: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest.hex()}"


class Retention(NamedTuple):
    """Until when an object version must not be deleted, and whether even administrators may not (compliance)."""

    mode: Literal["governance", "compliance"]
    until: datetime


@dataclass(slots=True)
class ObjectInfo:
    """What is known about one object. None means "not fetched by this call". Treat it as immutable.

    ``size`` is the plain size in bytes, ``stored_size`` what the provider stores; ``modified`` is aware UTC; ``etag``
    is an opaque token for conditions; ``version`` names one version where the storage keeps several. In a listing of
    versions a deletion mark has ``deleted`` set. ``checksum`` is the digest of the content that the checksum layer
    keeps with the object: told by puts and `stat`, and by reads that compared it.
    """

    key: str
    size: int | None = None
    stored_size: int | None = None
    modified: datetime | None = None
    etag: str | None = None
    version: str | None = None
    attributes: Attributes | None = None
    deleted: bool = False
    checksum: Checksum | None = None


@dataclass(slots=True)
class Folder:
    """A common prefix in a one-level listing: ``prefix`` ends with ``/``; at least one key starts with it."""

    prefix: str


Entry: TypeAlias = ObjectInfo | Folder


class ResumeState(Protocol):
    """A small memory that outlives the process, for one upload of one file to one key with the same options.

    A backend that can continue uploads saves what it needs (the id of a multipart upload, the size of its parts; no
    secret) before it sends the first part, and asks for it first the next time. None of these methods raises. While it
    has answered, no other process is at the same upload.
    """

    def load(self) -> Mapping[str, JSON] | None:
        """What was saved for this very file, unchanged since, with the same options; None to start afresh."""
        ...

    def abandoned(self) -> Mapping[str, JSON] | None:
        """What was saved for an earlier state of the file, or with other options: an upload to be aborted, or None."""
        ...

    def save(self, state: Mapping[str, JSON], /) -> bool:
        """Keep ``state``. False where it cannot be kept: an upload that breaks off is then aborted, not left."""
        ...

    def clear(self) -> None:
        """Forget: the upload is complete or aborted."""
        ...


@dataclass(frozen=True, slots=True)
class PutOptions:
    """How to write: see `Storage.put` for each. ``if_match`` and ``if_absent`` exclude each other.

    ``late_attributes`` is asked once the source is read to its end and before the commit, and wins over
    ``attributes``; only where `Capabilities.late_metadata` says so.

    ``resume`` lets a backend with `Capabilities.resumable_uploads` continue an upload that was broken off; others
    ignore it. It speaks of the bytes of the source, so a layer that changes bytes passes None on.
    """

    attributes: Attributes | None = None
    if_absent: bool = False
    if_match: str | None = None
    checksum: Checksum | None = None
    retention: Retention | None = None
    legal_hold: bool = False
    late_attributes: Callable[[], Attributes] | None = None
    resume: ResumeState | None = None


#: The options of a write that asks for nothing: one object, so that it is known without being compared.
PLAIN_PUT: Final = PutOptions()


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What to read: the range, the version, and conditions on the ETag.

    ``attributes`` asks for `ObjectInfo.attributes` with the read. Without it they may come too, or be None.
    """

    range: ByteRange = WHOLE
    version: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    attributes: bool = False


@dataclass(frozen=True, slots=True)
class ListOptions:
    """``start_after`` is exclusive and need not exist. ``versions`` lists every version, newest first for a key.

    ``exact`` asks layers to resolve plain sizes that the provider's listing does not show.
    """

    start_after: str | None = None
    versions: bool = False
    exact: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``missing_ok=False`` makes an absent object a `NotFoundError`."""

    version: str | None = None
    if_match: str | None = None
    missing_ok: bool = True


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """``attributes`` None keeps the source's; ``version`` names the source's version.

    ``if_match`` is the ETag that the source must have (`PreconditionError`), for layers that looked at it before. Where
    the storage copies on condition this is atomic; else the source is compared when the copy begins.
    """

    attributes: Attributes | None = None
    if_absent: bool = False
    version: str | None = None
    if_match: str | None = None

    def require(self, etag: str | None) -> None:
        """Raise `PreconditionError` unless a source with this ETag may be copied."""
        if self.if_match is not None and self.if_match != etag:
            raise PreconditionError("the source is not the object that was looked at")


@dataclass(frozen=True, slots=True)
class PresignOptions:
    """A link that lets its holder do one thing for a while, made without network I/O."""

    method: PresignMethod = "GET"
    expires: timedelta = timedelta(hours=1)
    content_type: str | None = None
    response: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


class Outcome(NamedTuple, Generic[V_co]):
    """What became of one item of a batch: ``value`` when it worked, else ``error``; unpacks as a triple."""

    key: str
    value: V_co | None
    error: Exception | None


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that was begun and neither completed nor aborted; it costs space until somebody aborts it.

    ``size`` is how many bytes have arrived, ``active`` when the last of them did; None where nobody asked, or the
    storage does not tell.
    """

    key: str
    id: str
    started: datetime
    size: int | None = None
    active: datetime | None = None


class FindingLevel(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `Storage.check`: what was looked at, how it is, and what to do about it (empty when all is well)."""

    name: str
    level: FindingLevel
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class ConnectionInfo:
    """How to open a storage again: JSON-serialisable, without secrets, equal after a round trip.

    ``type`` is the registered scheme; ``config`` holds its options, where a secret is a reference
    (``{"env": ...}`` or ``{"file": ...}``). Equality ignores what secrets resolve to: references never do.
    """

    type: str
    config: Mapping[str, JSON] = field(default_factory=dict)

    def to_json(self) -> dict[str, JSON]:
        """``{"type": ..., "config": {...}}``."""
        return {"type": self.type, "config": dict(self.config)}

    @classmethod
    def from_json(cls, document: Mapping[str, JSON] | JSON) -> ConnectionInfo:
        """Undo `to_json`. A document of another shape is a `ConfigError`."""
        fields = dict(document) if isinstance(document, Mapping) else {}
        kind, config = fields.get("type"), fields.get("config")
        if not isinstance(kind, str) or not isinstance(config, dict) or set(fields) != {"type", "config"}:
            raise ConfigError('connection info is {"type": "SCHEME", "config": {...}}')
        return cls(kind, config)

    def __hash__(self) -> int:
        return hash((self.type, tuple(sorted(self.config))))
