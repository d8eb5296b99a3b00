"""The disk tier: small files in a folder, shared by processes, bounded, in order of their last use.

Layout: ``entries/XX/...`` holds the files (see `frames` for their form), ``new/`` the one that is being written, and
``usage`` says how much there is. Whoever adds a file holds a lock on ``usage``, counts the file there first, writes it
under ``new/`` and renames it into its place. A process that dies in between leaves a count that is too high and perhaps
a file under ``new/``: the next one that runs out of room counts anew and clears that away. A file's time of access is set
to that of its last use, to the minute, so the least used go first. Readers take no lock.

Nothing in here raises for trouble with the disk: what cannot be read is not there, what cannot be written is not kept.
An event tells of it once.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.clock import Clock
from mediagit_storage.layers.cache.files import DiskFiles, make_folder, remove_file, seen_below, seen_in
from mediagit_storage.layers.cache.frames import FRAME, Verdict, framed, judged
from mediagit_storage.layers.cache.ledger import Ledger
from mediagit_storage.layers.cache.proofs import Identity, Proofs, identity_of
from mediagit_storage.layers.cache.usage import DiskUsage, load_usage, save_usage

__all__ = ["DiskTier"]

#: Running out of room frees so much of it at once that looking through the folder is worth it.
_FILLED_AFTERWARDS: Final = 0.9
#: A file is not marked as used again so soon after its last use, in nanoseconds: the order of use need not be finer, and
#: a mark makes every process prove the file anew.
_MARKED: Final = 60_000_000_000


class _Found(NamedTuple):
    """``content`` is what a file holds, where ``verdict`` says that it is right."""

    verdict: Verdict
    content: bytes | None = None


class DiskTier:
    """Files by name within ``max_bytes`` and ``max_entries``, whatever number of processes adds some. Thread-safe.

    No file holds more than ``largest`` bytes of content; a longer one is damaged.
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
        self._ledger = Ledger(folder, clock)
        self._entries = self._ledger.entries
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._largest = max_bytes if largest is None else largest
        self._clock = clock
        self._files = files or DiskFiles()
        self._proofs = Proofs()
        self._unrecorded = [0, 0, 0]
        self.hits = 0
        self.evictions = 0
        self.heals = 0

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._ledger.folder

    def reset(self) -> None:
        """Locks that nobody holds, and a folder that nobody has looked at: what a forked child begins with."""
        self._ledger.reset()
        self._proofs.reset()

    # ---- reading

    def read(self, name: str) -> bytes | None:
        """The content of a file, proven to be what was written, and now the last used one; None where it is not there.

        The checksum is computed once for each file and process (`proofs`), and where its use is marked. A damaged file is
        removed. No lock, and four to seven calls of the operating system.
        """
        if not self._ledger.usable():
            return None
        path = self._path(name)
        try:
            descriptor = self._files.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._ledger.trouble(error)
            return None
        try:
            # Before the bytes are read: what others write at the same moment is then seen, or judged.
            found = self._found(descriptor, name, self._mark_used(descriptor, name))
        except OSError as error:
            self._ledger.trouble(error)
            return None
        finally:
            os.close(descriptor)
        if found.verdict == "wrong":
            self.heals += 1
            self._unlink(path)
        elif found.content is not None:
            self.hits += 1
        return found.content

    def has(self, name: str) -> bool:
        """Whether there is such a file; it may be damaged all the same."""
        return self._ledger.usable() and os.access(self._path(name), os.R_OK)

    def touch(self, name: str) -> bool:
        """Make a file one of those that were used within the last minute; whether it is there."""
        if not self._ledger.usable():
            return False
        try:
            descriptor = self._files.open(self._path(name), os.O_RDONLY)
        except OSError:
            return False
        try:
            self._mark_used(descriptor, name)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    # ---- writing

    def write(self, name: str, content: bytes, *, over: Callable[[bytes], bool] | None = None) -> bool:
        """Keep a file, and remove those that were not used for longest where it needs their room.

        It is there as a whole or not at all. One that is larger than all room, or comes while another process holds the
        lock for long, is not kept: False. What is there already under this name is left alone where ``over`` of its
        content is false; nobody else writes in between.
        """
        size = FRAME + len(content)
        if size > self._max_bytes or len(content) > self._largest or not self._max_entries or self._ledger.rests():
            return False
        try:
            with self._ledger.locked(insist=False) as ledger:
                if ledger is None:
                    return False
                if over is None or self._is_over(name, over):
                    self._add(ledger, self._path(name), framed(name, content), content)
        except OSError as error:
            self._ledger.refused(error)
            return False
        return True

    def remove(self, name: str) -> bool:
        """Have no such file; whether one was removed. What it took stays counted until somebody counts anew."""
        return self._ledger.usable() and self._unlink(self._path(name))

    # ---- the whole of it

    def usage(self) -> DiskUsage:
        """What is in the folder now, counted, and what happened to it so far. Raises `OSError`."""
        files = [*seen_below(self._entries)]
        with self._ledger.locked() as ledger:
            known = DiskUsage() if ledger is None else load_usage(ledger) or DiskUsage()
        return known._replace(bytes=sum(each.size for each in files), entries=len(files))

    def clear(self) -> DiskUsage:
        """Remove every file, and tell how much that was. Raises `OSError`, also while others hold the lock for long."""
        with self._ledger.locked() as ledger:
            if ledger is None:
                raise BlockingIOError(0, "other processes are writing to it all the time")
            files = [*seen_below(self._entries), *seen_in(self._ledger.new)]
            for each in files:
                remove_file(each.path)
            save_usage(ledger, DiskUsage())
        return DiskUsage(sum(each.size for each in files), len(files))

    def record(self) -> None:
        """Add what was counted here since the last time to what the folder remembers of itself, if there is one."""
        if not os.access(self._entries, os.F_OK):
            return
        with contextlib.suppress(OSError), self._ledger.locked() as ledger:
            known = None if ledger is None else load_usage(ledger)
            if ledger is not None and known is not None:
                save_usage(ledger, self._with_counts(known))

    # ---- inside

    def _path(self, name: str) -> str:
        return f"{self._entries}/{name[:2]}/{name[2:]}"

    def _found(self, descriptor: int, name: str, identity: Identity) -> _Found:
        """What an open file holds. It is summed only where this process has not proven this very file before."""
        length = identity.size - FRAME
        if not 0 <= length <= self._largest:
            return _Found("wrong")
        proven = self._proofs.holds(name, identity)
        frame = None if proven else self._files.read_all(descriptor, FRAME, 0)
        content = self._files.read_all(descriptor, length, FRAME) if length else b""
        if content is None:
            return _Found("wrong")
        if frame is None:
            return _Found("right", content) if proven else _Found("wrong")
        verdict = judged(frame, name, content)
        if verdict != "right":
            return _Found(verdict)
        self._proofs.add(name, identity)
        return _Found(verdict, content)

    def _is_over(self, name: str, over: Callable[[bytes], bool]) -> bool:
        try:
            descriptor = self._files.open(self._path(name), os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            content = self._found(descriptor, name, identity_of(os.fstat(descriptor))).content
        finally:
            os.close(descriptor)
        return content is None or over(content)

    def _mark_used(self, descriptor: int, name: str) -> Identity:
        """Note the use of an open file, if the last one was not just now, and give its identity afterwards.

        What was noted is to be proven anew: `os.utime` sets both times, so what others wrote a moment before it would
        look as old as the bytes that were proven.
        """
        status = os.fstat(descriptor)
        now = self._clock.now_ns()
        if 0 <= now - status.st_atime_ns < _MARKED:
            return identity_of(status)
        # The folder may be readable only: the order of use then stays as it is, and the proof good.
        with contextlib.suppress(OSError):
            os.utime(descriptor, ns=(now, status.st_mtime_ns))
            self._proofs.drop(name)
            status = os.fstat(descriptor)
        return identity_of(status)

    def _add(self, ledger: int, path: str, frame: bytes, content: bytes) -> None:
        size = len(frame) + len(content)
        known = load_usage(ledger)
        if known is None or not self._fits(known, size):
            known = self._make_room(size)
        old = self._size(path)
        counted = self._with_counts(known)
        more = counted._replace(
            bytes=counted.bytes + size - (old or 0), entries=counted.entries + (1 if old is None else 0)
        )
        # Counted before it is there: a process that dies here leaves a count that is too high, never one too low.
        save_usage(ledger, more._replace(bytes=counted.bytes + size))
        try:
            self._place(path, (frame, content))
        except BaseException:
            save_usage(ledger, counted)
            raise
        save_usage(ledger, more)

    def _fits(self, known: DiskUsage, size: int) -> bool:
        return known.bytes + size <= self._max_bytes and known.entries + 1 <= self._max_entries

    def _make_room(self, size: int) -> DiskUsage:
        """Count what is there and remove the least used, so that ``size`` bytes fit, and more soon after."""
        for each in seen_in(self._ledger.new):
            self._unlink(each.path)
        files = sorted(seen_below(self._entries))
        total, count = sum(each.size for each in files), len(files)
        most = min(int(self._max_bytes * _FILLED_AFTERWARDS), self._max_bytes - size)
        most_entries = min(int(self._max_entries * _FILLED_AFTERWARDS), self._max_entries - 1)
        if total + size <= self._max_bytes and count < self._max_entries:
            most, most_entries = total, count
        for each in files:
            if total <= most and count <= most_entries:
                break
            remove_file(each.path)
            total, count = total - each.size, count - 1
            self.evictions += 1
        return DiskUsage(total, count)

    def _place(self, path: str, parts: tuple[bytes, bytes]) -> None:
        temporary = f"{self._ledger.new}/{secrets.token_hex(8)}"
        make_folder(self._ledger.new)
        descriptor = self._files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                for part in parts:
                    self._files.write_all(descriptor, part)
            finally:
                os.close(descriptor)
            make_folder(path.rpartition("/")[0])
            self._files.replace(temporary, path)
        except BaseException:
            self._unlink(temporary)
            raise

    def _size(self, path: str) -> int | None:
        try:
            return os.stat(path).st_size  # noqa: PTH116  # as above
        except FileNotFoundError:
            return None

    def _with_counts(self, known: DiskUsage) -> DiskUsage:
        """``known`` with what happened in this process since the last time."""
        now = [self.hits, self.evictions, self.heals]
        hits, evictions, heals = (new - old for new, old in zip(now, self._unrecorded, strict=True))
        self._unrecorded = now
        return known._replace(hits=known.hits + hits, evictions=known.evictions + evictions, heals=known.heals + heals)

    def _unlink(self, path: str) -> bool:
        try:
            return remove_file(path)
        except OSError:
            return False
