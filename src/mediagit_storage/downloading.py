"""Fetching an object into a local file: as one stream or, where that is quicker, as ranges side by side that resume.

All ranges are of one version of the object, or none is used. They are written into an unfinished file of the place
where the object is to land, which gets its name when it is whole; a journal remembers which of them are there.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.errors import (
    CapacityError,
    ChecksumError,
    IntegrityError,
    InvalidKeyError,
    KeyConflictError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    TruncatedError,
    UnsupportedError,
)
from mediagit_storage.events import Event, emit
from mediagit_storage.facets import RangesIgnoredError
from mediagit_storage.fetching import Fetched, FetchLimits, fetch_ranges
from mediagit_storage.hashing import hash_region, verify_kept
from mediagit_storage.journal import Journal, journal_name, state_folder
from mediagit_storage.layers.base import transfer_name
from mediagit_storage.ledger import Ledger, UnfinishedFile
from mediagit_storage.mending import forgotten
from mediagit_storage.progress import Transfer, transfer
from mediagit_storage.scope import current_scope
from mediagit_storage.source import FileRegion
from mediagit_storage.transfer import (
    Durability,
    PartFile,
    kept_event,
    new_part,
    publish,
    refuse_special_file,
    replacing_file,
    resumable_part,
)
from mediagit_storage.types import JSON, ObjectInfo, ReadOptions

__all__ = ["LIMITS", "Download", "FileLanding", "Landing", "PartsDownload", "pinned_to"]

P = TypeVar("P", bound=UnfinishedFile)

_MIB: Final = 1024 * 1024
#: Objects above 16 MiB come in 8 ranges at a time: of 4 MiB, which stays below 100 MiB with what Python itself takes, or
#: of 6 MiB where they take none. More would cost too much when a process is killed: what was on its way comes again.
LIMITS: Final = FetchLimits(threshold=16 * _MIB, part=4 * _MIB, concurrency=8, placed=6 * _MIB)
#: How often an object may change under a download in parts before it is fetched as one stream.
_ATTEMPTS: Final = 3
#: How much of the journal's name is in that of the unfinished file.
_TOKEN: Final = 16
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: What would be the same the next time, or makes what has come worthless.
_FINAL: Final = (
    NotFoundError,
    PreconditionError,
    IntegrityError,
    FileExistsError,
    KeyConflictError,
    InvalidKeyError,
    UnsupportedError,
    LimitExceededError,
    CapacityError,
)


class Landing(ABC, Generic[P]):
    """Where an object lands: the unfinished file that is filled there, and how it becomes what was asked for."""

    #: Whether what is written survives a power cut once it is complete.
    durable: bool

    @property
    @abstractmethod
    def place(self) -> str:
        """What tells this place from every other."""

    @abstractmethod
    def refuse(self) -> None:
        """Raise what can be known before anything travels."""

    @abstractmethod
    def part(self, token: str) -> P | None:
        """The unfinished file of that name, made if missing; None where this run cannot have it."""

    @abstractmethod
    def new_part(self) -> P:
        """An unfinished file that no other run finds."""

    @abstractmethod
    def publish(self, part: P, info: ObjectInfo) -> None:
        """Make a whole file what was asked for, durably if that is asked for too."""


class FileLanding(Landing[PartFile]):
    """A file of the user's own, at a path. The unfinished file is a hidden one beside it."""

    def __init__(self, target: Path, *, durability: Durability = "full", overwrite: bool = True) -> None:
        self.target = target
        self.durability: Durability = durability
        self.overwrite = overwrite
        self.durable = durability != "none"

    @property
    def place(self) -> str:
        """The absolute path; a link in the place of the file is not followed, as it is replaced."""
        return str(self.target.parent.resolve() / self.target.name)

    def refuse(self) -> None:
        """What is no plain file is not replaced, nor anything where nothing is to be overwritten."""
        refuse_special_file(self.target)
        if not self.overwrite and os.path.lexists(self.target):
            raise FileExistsError(f"{self.target} exists already")

    def part(self, token: str) -> PartFile | None:
        """See `resumable_part`."""
        self._refuse_folder()
        return resumable_part(self.target, token)

    def new_part(self) -> PartFile:
        """See `new_part`."""
        self._refuse_folder()
        return new_part(self.target)

    def publish(self, part: PartFile, info: ObjectInfo) -> None:
        """See `publish`."""
        publish(part, self.target, durability=self.durability, overwrite=self.overwrite)

    def _refuse_folder(self) -> None:
        if self.target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.target))


@dataclass(frozen=True)
class Download:
    """One download to a file. ``resume`` False neither uses nor leaves anything of an unfinished run."""

    backend: StorageBackend
    key: str
    landing: FileLanding
    version: str | None = None
    resume: bool = True

    def run(self) -> ObjectInfo:
        """Fetch it. A crash, a cancelled scope or a lost connection leaves what came so far for the next run.

        Whatever cannot be continued leaves nothing: an object that is gone, wrong bytes. A disk that fills up meanwhile
        gets its space back; one that is too full from the start costs nothing.
        """
        if not self.backend.capabilities.parallel_reads:
            with self._stream() as body:
                return self._whole(body)
        parts = PartsDownload(self.backend, self.key, self.landing, self.version)
        with parts.journal() as journal:
            if not self.resume:
                parts.forget(journal)
            info = parts.unfinished(journal)
            if info is None:
                with self._stream() as body:
                    info = body.info
                    if pinned_to(self.backend, info, self.version) is None:
                        return self._whole(body)
            found = parts.run(info, journal, resume=self.resume)
            if found is None:
                parts.forget(journal)
                with self._stream() as body:
                    return self._whole(body)
            return found

    def _stream(self) -> Body:
        return self.backend.stream(self.key, ReadOptions(version=self.version))

    def _whole(self, body: Body) -> ObjectInfo:
        landing = self.landing
        landing.refuse()
        scope = current_scope()
        with (
            transfer(f"get {self.key}", body.length) as report,
            replacing_file(landing.target, durability=landing.durability, overwrite=landing.overwrite) as file,
        ):
            for chunk in body:
                scope.check()
                file.write(chunk)
                report.advance(len(chunk))
        return body.info


def pinned_to(backend: StorageBackend, info: ObjectInfo, version: str | None = None) -> ReadOptions | None:
    """How to read ranges of this very object; None where that is impossible or not worth it."""
    capabilities = backend.capabilities
    if not capabilities.parallel_reads or info.size is None or info.size <= LIMITS.threshold:
        return None
    etag = info.etag if capabilities.read_conditions else None
    if version is None and etag is None and capabilities.versions:
        version = info.version
    return None if etag is None and version is None else ReadOptions(version=version, if_match=etag)


@dataclass(frozen=True)
class PartsDownload(Generic[P]):
    """The ranges of one large object into one place."""

    backend: StorageBackend
    key: str
    landing: Landing[P]
    version: str | None = None

    def journal(self) -> Journal:
        """What remembers this download. To be closed."""
        return Journal(state_folder(), self._name())

    def unfinished(self, journal: Journal) -> ObjectInfo | None:
        """The object as it is now, where an earlier run left something of it."""
        if not journal.exists():
            return None
        try:
            return self.backend.stat(self.key, self.version)
        except NotFoundError:
            self.forget(journal)
            raise

    def forget(self, journal: Journal) -> None:
        """Remove what an earlier run left, unless it is running."""
        if not journal.exists() or not journal.usable():
            return
        part = self.landing.part(self._name()[:_TOKEN])
        if part is not None:
            part.remove()
            part.close()
        journal.clear()

    def run(self, info: ObjectInfo, journal: Journal, *, resume: bool = True) -> ObjectInfo | None:
        """Fetch the object that ``info`` tells of, or the one that is there by now; what is told of that is returned.

        None where it cannot be read in ranges, or changes all the time. What breaks off and is gone on with by the
        same call is told of by the event ``transfer.kept``. Where all of it came and has the wrong digest, what layers
        of the stack keep of the object is forgotten; if there was anything, all of it is fetched once more.
        """
        for _ in range(_ATTEMPTS):
            pinned = pinned_to(self.backend, info, self.version)
            if pinned is None:
                return None
            try:
                return self._mended(info, pinned, journal if resume else None)
            except PreconditionError:
                emit(Event("transfer.changed", "the object changed while it was fetched: starting afresh", self.key))
                info = self.backend.stat(self.key, self.version)
            except RangesIgnoredError:
                emit(Event("transfer.no-ranges", "ranges are answered with the whole: fetching one stream", self.key))
                return None
        return None

    def _name(self) -> str:
        return journal_name("download", transfer_name(self.backend), self.key, self.version or "", self.landing.place)

    def _mended(self, info: ObjectInfo, pinned: ReadOptions, journal: Journal | None) -> ObjectInfo:
        """Fetch all of it; once more where it was wrong as a whole and a layer had kept something of it."""
        try:
            return self._in_parts(info, pinned, journal)
        except _WrongWholeError as wrong:
            if not forgotten(self.backend, self.key, pinned.version):
                raise ChecksumError(wrong.message) from None
        emit(Event("transfer.damaged", "what a layer had kept of it was wrong: starting afresh", self.key))
        try:
            return self._in_parts(info, pinned, journal)
        except _WrongWholeError as wrong:
            raise ChecksumError(wrong.message) from None

    def _in_parts(self, info: ObjectInfo, pinned: ReadOptions, journal: Journal | None) -> ObjectInfo:
        self.landing.refuse()
        size = info.size or 0
        part, kept = self._open_part(journal)
        about: Mapping[str, JSON] = {"size": size, "etag": pinned.if_match, "version": pinned.version}
        try:
            ledger = Ledger(kept, about, part, size, sync=self.landing.durable)
            try:
                with transfer(f"get {self.key}", size) as report:
                    with ledger:
                        self._fill(part, ledger, report, Fetched(self.key, pinned, size, part.descriptor))
                    self.landing.publish(part, info)
            except BaseException as error:
                if _hopeless(error) or not ledger.worth_keeping:
                    part.remove()
                    ledger.forget()
                else:
                    emit(kept_event(self.key))
                raise
            ledger.forget()
        finally:
            part.close()
        return info

    def _fill(self, part: P, ledger: Ledger, report: Transfer, wanted: Fetched) -> None:
        report.advance(ledger.held)
        _require_space(part, wanted.size - ledger.held)
        with closing(fetch_ranges(self.backend, wanted, ledger.done, LIMITS, report)) as finished:
            for start, length in finished:
                ledger.add(start, length)
        found = os.fstat(part.descriptor).st_size
        if ledger.held != wanted.size or found != wanted.size:
            raise IntegrityError(f"{found:,} bytes came where the object has {wanted.size:,}")
        self._verify(part, wanted)

    def _verify(self, part: P, wanted: Fetched) -> None:
        """Compare what lies there, of this run and of earlier ones, with the digest that the storage keeps."""
        checksum = self.backend.content_checksum(self.key, wanted.pinned)
        if checksum is not None:
            region = FileRegion(part.descriptor, 0, wanted.size)
            try:
                verify_kept(checksum, hash_region(region, 0, wanted.size, checksum.algorithm))
            except ChecksumError as error:
                raise _WrongWholeError(error.message) from error

    def _open_part(self, journal: Journal | None) -> tuple[P, Journal | None]:
        """The file to fill, and the journal if this run can be resumed."""
        if journal is not None and journal.usable():
            part = self.landing.part(self._name()[:_TOKEN])
            if part is not None:
                return part, journal
            why = "the unfinished file is in use, or not ours"
            emit(Event("transfer.no-journal", f"this transfer cannot be resumed if it breaks off: {why}", self.key))
        return self.landing.new_part(), None


class _WrongWholeError(ChecksumError):
    """All of it came, and it is not what the storage keeps the digest of. Does not leave this module."""


class _NoRoomError(OSError):
    """Known before anything was fetched: what an earlier run left may stay."""


def _require_space(part: UnfinishedFile, count: int) -> None:
    """Refuse at once what cannot fit, instead of after hours."""
    found = os.fstatvfs(part.descriptor)
    free = found.f_bavail * found.f_frsize
    # Some file systems that others serve say that they have no blocks at all.
    if found.f_blocks and free < count:
        where = part.leftover()
        raise _NoRoomError(
            errno.ENOSPC,
            f"there is no room for {count:,} more bytes ({free:,} are free)",
            None if where is None else str(where),
        )


def _hopeless(error: BaseException) -> bool:
    """Whether the next run would gain nothing from what is there, or the space is wanted back."""
    # A range that came too short was not counted; the others are good.
    if isinstance(error, TruncatedError):
        return False
    if isinstance(error, _FINAL):
        return True
    return isinstance(error, OSError) and error.errno in _FULL and not isinstance(error, _NoRoomError)
