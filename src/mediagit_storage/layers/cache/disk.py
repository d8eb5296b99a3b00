"""The disk tier: small files in a folder, shared by processes, bounded, in order of their last use.

Layout: ``entries/XX/...`` holds the files (see `entries` for their form), ``new/`` the one that is being written, and
``usage`` says how much there is. Whoever adds a file holds a lock on ``usage``, counts the file there first, writes it
under ``new/`` and renames it into its place. A process that dies in between leaves a count that is too high and perhaps
a file under ``new/``: the next one that runs out of room counts anew and clears that away. A file's modification time
is that of its last use, so the least used go first. Readers take no lock.

Nothing in here raises for trouble with the disk: what cannot be read is not there, what cannot be written is not kept.
An event tells of it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.clock import Clock
from mediagit_storage.events import Event, emit
from mediagit_storage.journal import lock_file, private_folder
from mediagit_storage.layers.cache.entries import FRAME, framed

__all__ = ["DiskFiles", "DiskTier", "DiskUsage"]

#: How long nothing is written after the disk refused something, in seconds.
_REST: Final = 10.0
#: How often, and for how many seconds each, a lock that another process holds is waited for. Then a file is not kept,
#: and none is for ``_LOCK_REST`` seconds: one process that stands still must not slow down every read of the others.
_LOCK_TRIES, _LOCK_PAUSE, _LOCK_REST = 25, 0.004, 1.0
#: Running out of room frees so much of it at once that looking through the folder is worth it.
_FILLED_AFTERWARDS: Final = 0.9
_LEDGER: Final = struct.Struct("<4sQQQQQ")
_LEDGER_MAGIC: Final = b"MGU1"


class DiskUsage(NamedTuple):
    """``bytes`` and ``entries`` of files; lookups that found one or not, files that made room, damaged files, ever."""

    bytes: int = 0
    entries: int = 0
    hits: int = 0
    evictions: int = 0
    heals: int = 0


class _File(NamedTuple):
    used: int
    size: int
    path: str


class DiskFiles:
    """The operating system as the disk tier needs it: the seam where tests make calls fail."""

    def open(self, path: str, flags: int) -> int:
        """A descriptor; never through a link, never one that children inherit."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)

    def read(self, descriptor: int, count: int) -> bytes:
        """Up to ``count`` bytes."""
        return os.read(descriptor, count)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """How many bytes were written."""
        return os.write(descriptor, data)

    def replace(self, source: str, target: str) -> None:
        """Rename."""
        os.replace(source, target)  # noqa: PTH105  # a Path for each file would cost more than the call


class DiskTier:
    """Files by name within ``max_bytes`` and ``max_entries``, whatever number of processes adds some. Thread-safe.

    No file holds more than ``largest`` bytes of content; a longer one is damaged. A folder that others may write to is not
    used at all: that is looked at once in each process, before anything in it is.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_entries: int,
        *,
        clock: Clock,
        files: DiskFiles | None = None,
        largest: int | None = None,
    ) -> None:
        self.folder = folder
        self._entries = str(folder / "entries")
        self._new = str(folder / "new")
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._largest = max_bytes if largest is None else largest
        self._clock = clock
        self._files = files or DiskFiles()
        self._told = False
        self._resting_until = 0.0
        self._unrecorded = [0, 0, 0]
        self.hits = 0
        self.evictions = 0
        self.heals = 0
        self.reset()

    def reset(self) -> None:
        """A lock that nobody holds, and a folder that nobody has looked at: what a forked child begins with."""
        self._mutex = threading.Lock()
        self._trusted = False

    def read(self, name: str) -> bytes | None:
        """The content of a file, proven to be what was written, and now the last used one; None where it is not there.

        A damaged file is removed. No lock, and four or five calls of the operating system.
        """
        if not self._usable():
            return None
        path = self._path(name)
        try:
            descriptor = self._files.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._trouble(error)
            return None
        try:
            content = self._content(descriptor, name)
            if content is not None:
                self._touch(descriptor)
        except OSError as error:
            self._trouble(error)
            return None
        finally:
            os.close(descriptor)
        if content is None:
            self.heals += 1
            self._unlink(path)
            return None
        self.hits += 1
        return content

    def has(self, name: str) -> bool:
        """Whether there is such a file; it may be damaged all the same."""
        return self._usable() and os.access(self._path(name), os.R_OK)

    def touch(self, name: str) -> bool:
        """Make a file the last used one; whether it is there."""
        if not self._usable():
            return False
        path = self._path(name)
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except OSError:
            return self.has(name)
        return True

    def write(self, name: str, content: bytes, *, over: Callable[[bytes], bool] | None = None) -> bool:
        """Keep a file, and remove those that were not used for longest where it needs their room.

        It is there as a whole or not at all. One that is larger than all room, or comes while another process holds the
        lock for long, is not kept: False. What is there already under this name is left alone where ``over`` of its
        content is false; nobody else writes in between.
        """
        size = FRAME + len(content)
        if size > self._max_bytes or len(content) > self._largest or not self._max_entries or self._rests():
            return False
        try:
            with self._locked(insist=False) as ledger:
                if ledger is None:
                    return False
                if over is None or self._is_over(name, over):
                    self._add(ledger, self._path(name), framed(name, content), content)
        except OSError as error:
            self._rest(_REST)
            self._trouble(error)
            return False
        return True

    def remove(self, name: str) -> None:
        """Have no such file. What it took stays counted until somebody counts anew."""
        if self._usable():
            self._unlink(self._path(name))

    def usage(self) -> DiskUsage:
        """What is in the folder now, counted, and what happened to it so far. Raises `OSError`."""
        files = [*self._kept()]
        with self._locked() as ledger:
            known = DiskUsage() if ledger is None else _load(ledger) or DiskUsage()
        return known._replace(bytes=sum(each.size for each in files), entries=len(files))

    def clear(self) -> DiskUsage:
        """Remove every file, and tell how much that was. Raises `OSError`, also while others hold the lock for long."""
        with self._locked() as ledger:
            if ledger is None:
                raise BlockingIOError(0, "other processes are writing to it all the time")
            files = [*self._kept(), *self._unfinished()]
            for each in files:
                _remove(each.path)
            _save(ledger, DiskUsage())
        return DiskUsage(sum(each.size for each in files), len(files))

    def record(self) -> None:
        """Add what was counted here since the last time to what the folder remembers of itself, if there is one."""
        if not os.access(self._entries, os.F_OK):
            return
        with contextlib.suppress(OSError), self._locked() as ledger:
            known = None if ledger is None else _load(ledger)
            if ledger is not None and known is not None:
                _save(ledger, self._with_counts(known))

    # ---- inside

    def _rests(self) -> bool:
        return self._clock.monotonic() < self._resting_until

    def _rest(self, seconds: float) -> None:
        self._resting_until = self._clock.monotonic() + seconds

    def _usable(self) -> bool:
        """Whether there is a folder to look into, of this user alone."""
        if self._trusted:
            return True
        if self._rests() or not os.access(self._entries, os.F_OK):
            return False
        try:
            self._trust()
        except OSError as error:
            self._rest(_REST)
            self._trouble(error)
        return self._trusted

    def _trust(self) -> None:
        """Look whether others may write to what is there. `OSError` where they may."""
        for folder in (str(self.folder), self._entries, self._new):
            if os.access(folder, os.F_OK):
                private_folder(Path(folder))
        self._trusted = True

    def _is_over(self, name: str, over: Callable[[bytes], bool]) -> bool:
        try:
            descriptor = self._files.open(self._path(name), os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            content = self._content(descriptor, name)
        finally:
            os.close(descriptor)
        return content is None or over(content)

    def _path(self, name: str) -> str:
        return f"{self._entries}/{name[:2]}/{name[2:]}"

    def _content(self, descriptor: int, name: str) -> bytes | None:
        """What an open file holds; None where it is not whole and right."""
        left = os.fstat(descriptor).st_size - FRAME
        if not 0 <= left <= self._largest:
            return None
        frame = self._files.read(descriptor, FRAME)
        pieces: list[bytes] = []
        while left > 0:
            piece = self._files.read(descriptor, left)
            if not piece:
                return None
            pieces.append(piece)
            left -= len(piece)
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return content if frame == framed(name, content) else None

    def _add(self, ledger: int, path: str, frame: bytes, content: bytes) -> None:
        size = len(frame) + len(content)
        known = _load(ledger)
        if known is None or not self._fits(known, size):
            known = self._make_room(size)
        old = self._size(path)
        counted = self._with_counts(known)
        more = counted._replace(
            bytes=counted.bytes + size - (old or 0), entries=counted.entries + (1 if old is None else 0)
        )
        # Counted before it is there: a process that dies here leaves a count that is too high, never one too low.
        _save(ledger, more._replace(bytes=counted.bytes + size))
        try:
            self._place(path, (frame, content))
        except BaseException:
            _save(ledger, counted)
            raise
        _save(ledger, more)

    def _fits(self, known: DiskUsage, size: int) -> bool:
        return known.bytes + size <= self._max_bytes and known.entries + 1 <= self._max_entries

    def _make_room(self, size: int) -> DiskUsage:
        """Count what is there and remove the least used, so that ``size`` bytes fit, and more soon after."""
        for each in self._unfinished():
            self._unlink(each.path)
        files = sorted(self._kept())
        total, count = sum(each.size for each in files), len(files)
        most = min(int(self._max_bytes * _FILLED_AFTERWARDS), self._max_bytes - size)
        most_entries = min(int(self._max_entries * _FILLED_AFTERWARDS), self._max_entries - 1)
        if total + size <= self._max_bytes and count < self._max_entries:
            most, most_entries = total, count
        for each in files:
            if total <= most and count <= most_entries:
                break
            _remove(each.path)
            total, count = total - each.size, count - 1
            self.evictions += 1
        return DiskUsage(total, count)

    def _place(self, path: str, parts: tuple[bytes, bytes]) -> None:
        temporary = f"{self._new}/{secrets.token_hex(8)}"
        self._make_folder(self._new)
        descriptor = self._files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                for part in parts:
                    self._write_all(descriptor, part)
            finally:
                os.close(descriptor)
            self._make_folder(path.rpartition("/")[0])
            self._files.replace(temporary, path)
        except BaseException:
            self._unlink(temporary)
            raise

    def _write_all(self, descriptor: int, data: bytes) -> None:
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += self._files.write(descriptor, view[written:])

    @contextmanager
    def _locked(self, *, insist: bool = True) -> Iterator[int | None]:
        """The ledger, open and locked; None where that took too long. Raises `OSError`.

        Who does not ``insist`` makes all others give up for a while where it took too long.
        """
        with self._mutex:
            # A thread that waited for the mutex need not find out again what the one before it has.
            descriptor = None if self._rests() and not insist else self._open_ledger()
            if descriptor is None and not insist and not self._rests():
                self._rest(_LOCK_REST)
            try:
                yield descriptor
            finally:
                if descriptor is not None:
                    # Closing alone would leave the lock to a child that was forked meanwhile.
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                    os.close(descriptor)

    def _open_ledger(self) -> int | None:
        if not os.access(self._entries, os.F_OK):
            private_folder(self.folder)
            self._make_folder(self._entries)
            self._trusted = False
        if not self._trusted:
            self._trust()
        for _ in range(_LOCK_TRIES):
            descriptor = lock_file(self.folder / "usage")
            if descriptor is not None:
                return descriptor
            self._clock.sleep(_LOCK_PAUSE)
        return None

    def _make_folder(self, path: str) -> None:
        if not os.access(path, os.F_OK):
            Path(path).mkdir(mode=0o700, exist_ok=True)

    def _with_counts(self, known: DiskUsage) -> DiskUsage:
        """``known`` with what happened in this process since the last time."""
        now = [self.hits, self.evictions, self.heals]
        hits, evictions, heals = (new - old for new, old in zip(now, self._unrecorded, strict=True))
        self._unrecorded = now
        return known._replace(hits=known.hits + hits, evictions=known.evictions + evictions, heals=known.heals + heals)

    def _kept(self) -> Iterator[_File]:
        for shard in _folders(self._entries):
            yield from _files_in(shard)

    def _unfinished(self) -> Iterator[_File]:
        return _files_in(self._new)

    def _size(self, path: str) -> int | None:
        try:
            return os.stat(path).st_size  # noqa: PTH116  # as above
        except FileNotFoundError:
            return None

    def _touch(self, descriptor: int) -> None:
        # The folder may be readable only: the order of use then stays as it is.
        with contextlib.suppress(OSError):
            os.utime(descriptor)

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(OSError):
            _remove(path)

    def _trouble(self, error: OSError) -> None:
        """Tell of it, once: reads go on without the disk."""
        if self._told:
            return
        self._told = True
        why = error.strerror or type(error).__name__
        emit(Event("cache.disk", f"the cache in {self.folder} cannot be used ({why}): reads go on without it"))


def _remove(path: str) -> None:
    """One that is gone already is fine; one that cannot be removed must not be counted as gone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  # a Path for each file would cost more than the call


def _load(ledger: int) -> DiskUsage | None:
    """What the ledger says; None where it was never written, or is damaged."""
    raw = os.pread(ledger, _LEDGER.size + 4, 0)
    if len(raw) != _LEDGER.size + 4 or struct.unpack("<I", raw[-4:])[0] != zlib.crc32(raw[:-4]):
        return None
    magic, *counts = _LEDGER.unpack(raw[:-4])
    return DiskUsage(*counts) if magic == _LEDGER_MAGIC else None


def _save(ledger: int, usage: DiskUsage) -> None:
    raw = _LEDGER.pack(_LEDGER_MAGIC, *(max(0, count) for count in usage))
    os.pwrite(ledger, raw + struct.pack("<I", zlib.crc32(raw)), 0)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [each.path for each in entries if len(each.name) == 2 and each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _files_in(folder: str) -> Iterator[_File]:
    try:
        with os.scandir(folder) as entries:
            for each in entries:
                # Others remove files meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    status = each.stat(follow_symlinks=False)
                    yield _File(status.st_mtime_ns, status.st_size, each.path)
    except FileNotFoundError:
        return
