"""Fetching an object into a local file: as one stream or, where that is quicker, as ranges side by side that resume.

All ranges are of one version of the object, or none is used. They are written into a hidden file beside the target,
which gets the target's name when it is whole; a journal remembers which of them are there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mediagit_storage.backend import Body, StorageBackend
from mediagit_storage.errors import IntegrityError, NotFoundError, PreconditionError, TruncatedError
from mediagit_storage.events import Event, emit
from mediagit_storage.fetching import Fetched, FetchLimits, fetch_ranges
from mediagit_storage.journal import Journal, journal_name, state_folder
from mediagit_storage.ledger import Ledger, missing_ranges
from mediagit_storage.progress import Transfer, transfer
from mediagit_storage.scope import current_scope
from mediagit_storage.transfer import (
    Durability,
    PartFile,
    new_part,
    publish,
    refuse_special_file,
    replacing_file,
    resumable_part,
)
from mediagit_storage.types import JSON, ObjectInfo, ReadOptions

__all__ = ["LIMITS", "Download"]

#: Objects above 16 MiB come in 8 ranges of 5 MiB at a time: with what Python itself takes, that stays below 100 MiB.
LIMITS: Final = FetchLimits(threshold=16 * 1024 * 1024, part=5 * 1024 * 1024, concurrency=8)
#: How often an object may change under a download in parts before it is fetched as one stream.
_ATTEMPTS: Final = 3
#: How much of the journal's name is in that of the unfinished file.
_TOKEN: Final = 16
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class Download:
    """One download. ``resume`` False neither uses nor leaves anything of an unfinished run."""

    backend: StorageBackend
    key: str
    target: Path
    version: str | None = None
    overwrite: bool = True
    durability: Durability = "full"
    resume: bool = True

    def run(self) -> ObjectInfo:
        """Fetch it. A crash, a cancelled scope or a lost connection leaves what came so far for the next run.

        Whatever cannot be continued leaves nothing: an object that is gone, wrong bytes. A disk that fills up meanwhile
        gets its space back; one that is too full from the start costs nothing.
        """
        if not self.backend.capabilities.parallel_reads:
            with self._stream() as body:
                return self._whole(body)
        with Journal(state_folder(), self._name()) as journal:
            if not self.resume:
                self._forget(journal)
            info = self._unfinished(journal)
            if info is None:
                with self._stream() as body:
                    info = body.info
                    if self._pinned(info) is None:
                        return self._whole(body)
            return self._run_in_parts(info, journal)

    def _run_in_parts(self, info: ObjectInfo, journal: Journal) -> ObjectInfo:
        for _ in range(_ATTEMPTS):
            pinned = self._pinned(info)
            if pinned is None:
                break
            try:
                return self._in_parts(info, pinned, journal if self.resume else None)
            except PreconditionError:
                emit(Event("transfer.changed", "the object changed while it was fetched: starting afresh", self.key))
                info = self.backend.stat(self.key, self.version)
        self._forget(journal)
        with self._stream() as body:
            return self._whole(body)

    def _unfinished(self, journal: Journal) -> ObjectInfo | None:
        """The object as it is now, where an earlier run left something of it."""
        if not journal.exists():
            return None
        try:
            return self.backend.stat(self.key, self.version)
        except NotFoundError:
            self._forget(journal)
            raise

    def _forget(self, journal: Journal) -> None:
        """Remove what an earlier run left, unless it is running."""
        if not journal.exists() or not journal.usable():
            return
        part = resumable_part(self.target, self._name()[:_TOKEN])
        if part is not None:
            part.remove()
            os.close(part.descriptor)
        journal.clear()

    # ---- one stream

    def _stream(self) -> Body:
        return self.backend.stream(self.key, ReadOptions(version=self.version))

    def _whole(self, body: Body) -> ObjectInfo:
        self._refuse_existing()
        scope = current_scope()
        with (
            transfer(f"get {self.key}", body.length) as report,
            replacing_file(self.target, durability=self.durability, overwrite=self.overwrite) as file,
        ):
            for chunk in body:
                scope.check()
                file.write(chunk)
                report.advance(len(chunk))
        return body.info

    # ---- in parts

    def _name(self) -> str:
        # The stack of layers belongs to it: what is below a layer may be other bytes under the same key.
        where = self.target.parent.resolve() / self.target.name
        return journal_name("download", repr(self.backend), self.key, self.version or "", str(where))

    def _pinned(self, info: ObjectInfo) -> ReadOptions | None:
        """How to read ranges of this very object; None where that is impossible or not worth it."""
        capabilities = self.backend.capabilities
        if not capabilities.parallel_reads or info.size is None or info.size <= LIMITS.threshold:
            return None
        etag = info.etag if capabilities.read_conditions else None
        version = self.version
        if version is None and etag is None and capabilities.versions:
            version = info.version
        return None if etag is None and version is None else ReadOptions(version=version, if_match=etag)

    def _in_parts(self, info: ObjectInfo, pinned: ReadOptions, journal: Journal | None) -> ObjectInfo:
        self._refuse_existing()
        if self.target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.target))
        size = info.size or 0
        part, kept = self._open_part(journal)
        about: Mapping[str, JSON] = {"size": size, "etag": pinned.if_match, "version": pinned.version}
        try:
            ledger = Ledger(kept, about, part, size, sync=self.durability != "none")
            try:
                with transfer(f"get {self.key}", size) as report:
                    with ledger:
                        self._fill(part, ledger, report, Fetched(self.key, pinned, size, part.descriptor))
                    publish(part, self.target, durability=self.durability, overwrite=self.overwrite)
            except BaseException as error:
                if _hopeless(error) or not ledger.worth_keeping:
                    part.remove()
                    ledger.forget()
                raise
            ledger.forget()
        finally:
            os.close(part.descriptor)
        return info

    def _fill(self, part: PartFile, ledger: Ledger, report: Transfer, wanted: Fetched) -> None:
        report.advance(ledger.held)
        _require_space(part, wanted.size - ledger.held)
        missing = missing_ranges(ledger.done, wanted.size, LIMITS.part)
        with closing(fetch_ranges(self.backend, wanted, missing, LIMITS, report)) as finished:
            for start, length in finished:
                ledger.add(start, length)
        found = os.fstat(part.descriptor).st_size
        if ledger.held != wanted.size or found != wanted.size:
            raise IntegrityError(f"{found:,} bytes came where the object has {wanted.size:,}")

    def _open_part(self, journal: Journal | None) -> tuple[PartFile, Journal | None]:
        """The file to fill, and the journal if this run can be resumed."""
        if journal is not None and journal.usable():
            part = resumable_part(self.target, self._name()[:_TOKEN])
            if part is not None:
                return part, journal
            why = "the unfinished file beside the target is in use, or not ours"
            emit(Event("transfer.no-journal", f"this transfer cannot be resumed if it breaks off: {why}", self.key))
        return new_part(self.target), None

    def _refuse_existing(self) -> None:
        refuse_special_file(self.target)
        if not self.overwrite and os.path.lexists(self.target):
            raise FileExistsError(f"{self.target} exists already")


class _NoRoomError(OSError):
    """Known before anything was fetched: what an earlier run left may stay."""


def _require_space(part: PartFile, count: int) -> None:
    """Refuse at once what cannot fit, instead of after hours."""
    found = os.fstatvfs(part.descriptor)
    free = found.f_bavail * found.f_frsize
    # Some file systems that others serve say that they have no blocks at all.
    if found.f_blocks and free < count:
        raise _NoRoomError(
            errno.ENOSPC, f"there is no room for {count:,} more bytes ({free:,} are free)", str(part.path)
        )


def _hopeless(error: BaseException) -> bool:
    """Whether the next run would gain nothing from what is there, or the space is wanted back."""
    # A range that came too short was not counted; the others are good.
    if isinstance(error, TruncatedError):
        return False
    if isinstance(error, NotFoundError | PreconditionError | IntegrityError | FileExistsError):
        return True
    return isinstance(error, OSError) and error.errno in _FULL and not isinstance(error, _NoRoomError)
