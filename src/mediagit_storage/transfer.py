"""Local files to and from a storage: a file that is watched while it is sent, a file that appears only when whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple

from mediagit_storage.events import Event, emit
from mediagit_storage.journal import Journal, ResumePoint, journal_name, lock_file, state_folder
from mediagit_storage.source import CHUNK, FileRegion, FileSource, FileState, Source, changed_file
from mediagit_storage.types import JSON, Attributes, BytesLike, PutOptions

__all__ = [
    "Durability",
    "LocalFileSource",
    "PartFile",
    "RegionSource",
    "kept_event",
    "new_part",
    "part_name",
    "publish",
    "refuse_special_file",
    "replacing_file",
    "resumable_part",
    "resume_point",
]

#: ``full`` syncs every file, ``batch`` a batch of them once at its end, ``none`` leaves it to the operating system.
Durability = Literal["full", "batch", "none"]

_BUFFER: Final = 1024 * 1024
#: What a file name leaves for the name of the target, in bytes: 255 are the usual limit.
_NAME_BYTES: Final = 200
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class LocalFileSource(FileSource):
    """A local file to be stored. `IntegrityError`, and so no object, if it changes while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._fileno = file.fileno()
        # The times of a pipe or a device move while it is read, and say nothing about what came.
        self._before = FileState.of(self._fileno) if stat.S_ISREG(os.fstat(self._fileno).st_mode) else None

    def chunks(self) -> Iterator[BytesLike]:
        """The file's content; at its end the file must be as it was when it was opened."""
        yield from super().chunks()
        self.finished()

    def identity(self) -> list[JSON]:
        """What tells this content of this file from any other that the same path may have had or will have.

        The time of the last change of its inode is in it: that one cannot be set back.
        """
        return _identity(self._fileno)


class RegionSource(Source):
    """A part of an open file to be stored, read by position. `IntegrityError`, and so no object, if the file changes.

    The file stays open until the put is over, and is closed by whoever opened it.
    """

    rewindable = True

    def __init__(self, region: FileRegion) -> None:
        self._region = region
        self._before = FileState.of(region.descriptor)
        self.size = region.size

    def chunks(self) -> Iterator[BytesLike]:
        """The bytes in pieces of `CHUNK`; at their end the file must be as it was."""
        for offset in range(0, self._region.size, CHUNK):
            yield self._region.read(min(CHUNK, self._region.size - offset), offset)
        self.finished()

    def region(self) -> FileRegion:
        """The part of the file itself."""
        return self._region

    def finished(self) -> None:
        """Compares size and time of change with those of before."""
        if FileState.of(self._region.descriptor) != self._before:
            raise changed_file()

    def identity(self) -> list[JSON]:
        """What tells these bytes from any others."""
        return [*_identity(self._region.descriptor), self._region.offset, self._region.size]


def _identity(descriptor: int) -> list[JSON]:
    status = os.fstat(descriptor)
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


@contextmanager
def resume_point(
    source: LocalFileSource | RegionSource, place: str, storage: str, key: str, options: PutOptions
) -> Iterator[ResumePoint]:
    """The memory of the upload of ``source`` to ``key`` in what ``storage`` describes; forgotten on a clean exit.

    ``place`` tells the source from others, whatever it holds. An upload that breaks off and can be gone on with is
    told of by the event ``transfer.kept``.
    """
    name = journal_name("upload", storage, key, place)
    about: dict[str, JSON] = {"file": source.identity(), "options": _fingerprint(options)}
    with Journal(state_folder(), name) as journal:
        try:
            yield ResumePoint(journal, about)
        except BaseException:
            if journal.exists():
                emit(kept_event(key))
            raise
        journal.clear()


def kept_event(key: str) -> Event:
    """What tells that a transfer broke off and is gone on with when the same call is made again."""
    return Event("transfer.kept", "the same call goes on where this transfer stopped", key)


def _fingerprint(options: PutOptions) -> str:
    """What has to be the same for an upload to be continued: a provider fixes it when the upload begins."""
    attributes = options.attributes or Attributes()
    metadata, tags = sorted(attributes.metadata.items()), sorted(attributes.tags.items())
    plain = [attributes.content_type, attributes.cache_control, attributes.content_encoding]
    plain += [attributes.content_disposition, attributes.storage_class]
    checksum = None if options.checksum is None else [options.checksum.algorithm, options.checksum.digest.hex()]
    retention = None if options.retention is None else [options.retention.mode, options.retention.until.isoformat()]
    told = [plain, metadata, tags, checksum, retention, options.legal_hold]
    return hashlib.sha256(json.dumps(told).encode("ascii")).hexdigest()


# ---- files that appear when they are whole


@contextmanager
def replacing_file(path: Path, *, durability: Durability = "full", overwrite: bool = True) -> Iterator[IO[bytes]]:
    """A file to write that takes ``path``'s place when the block ends well, and leaves nothing when it does not.

    With ``full`` durability the file and its folder are synced before this returns. ``overwrite=False`` refuses a path
    that exists by then (`FileExistsError`).
    """
    part = new_part(path)
    try:
        with os.fdopen(part.descriptor, "wb", buffering=_BUFFER, closefd=False) as file:
            yield file
        publish(part, path, durability=durability, overwrite=overwrite)
    except BaseException:
        part.remove()
        raise
    finally:
        os.close(part.descriptor)


class PartFile(NamedTuple):
    """An unfinished file that is open for reading and writing. Whoever has it closes the descriptor."""

    path: Path
    descriptor: int

    def remove(self) -> None:
        """Give its space back."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def leftover(self) -> Path:
        """The file that is to go when nobody comes back to it."""
        return self.path.absolute()

    def close(self) -> None:
        """Leave the file as it is."""
        os.close(self.descriptor)


def new_part(target: Path) -> PartFile:
    """A new hidden file beside ``target``. Raises `OSError`."""
    # In the same folder: the rename must not leave the file system.
    path = target.with_name(part_name(target, secrets.token_hex(8)))
    return PartFile(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))


def resumable_part(target: Path, token: str) -> PartFile | None:
    """The hidden file of this name beside ``target``, made if missing, and locked; None where it cannot be had.

    None is for a file that somebody else is writing, or that is not ours alone: whoever planted it could go on
    writing to it later.
    """
    path = target.with_name(part_name(target, token))
    try:
        descriptor = lock_file(path, mode=0o666)
    except OSError:
        return None
    if descriptor is None:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
        os.close(descriptor)
        return None
    return PartFile(path, descriptor)


def part_name(target: Path, token: str) -> str:
    """The name of an unfinished file: hidden, and at most 255 bytes."""
    short = os.fsencode(target.name)[:_NAME_BYTES].decode("utf-8", "ignore")
    return f".{short}.{token}.part"


def publish(part: PartFile, target: Path, *, durability: Durability, overwrite: bool) -> None:
    """Give a whole file its name, durably unless ``durability`` says otherwise."""
    refuse_special_file(target)
    if durability != "none":
        os.fsync(part.descriptor)
    if overwrite:
        part.path.replace(target)
    else:
        _name_new(part.path, target)
    if durability != "none":
        _sync_folder(target.parent)


def refuse_special_file(target: Path) -> None:
    """Raise `FileExistsError` for a device, a pipe or a socket: a rename would put a plain file in its place."""
    try:
        mode = target.lstat().st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise FileExistsError(f"{target} is a device, a pipe or a socket, and is not replaced; write it with `mgs cat`")


def _name_new(temporary: Path, target: Path) -> None:
    """Like a rename that refuses to replace anything, in one step where the file system has links."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise FileExistsError(f"{target} exists already") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists already") from None
        temporary.replace(target)
        return
    temporary.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
