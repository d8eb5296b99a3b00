"""The folder of the disk tier: whether it may be used, and the lock that those hold who add or count files in it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mediagit_storage.clock import Clock
from mediagit_storage.events import Event, emit
from mediagit_storage.journal import lock_file, private_folder
from mediagit_storage.layers.cache.files import make_folder

__all__ = ["Ledger"]

#: How long nothing is written after the disk refused something, in seconds.
_REST: Final = 10.0
#: How often, and for how many seconds each, a lock that another process holds is waited for. Then a file is not kept,
#: and none is for ``_LOCK_REST`` seconds: one process that stands still must not slow down every read of the others.
_LOCK_TRIES, _LOCK_PAUSE, _LOCK_REST = 25, 0.004, 1.0


class Ledger:
    """One folder, which processes share. ``entries`` and ``new`` are the paths of the folders in it. Thread-safe.

    A folder that others may write to is not used at all: that is looked at once in each process, before anything in it is.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.entries = str(folder / "entries")
        self.new = str(folder / "new")
        self._clock = clock
        self._told = False
        self._resting_until = 0.0
        self.reset()

    def reset(self) -> None:
        """A lock that nobody holds, and a folder that nobody has looked at: what a forked child begins with."""
        self._mutex = threading.Lock()
        self._trusted = False

    def usable(self) -> bool:
        """Whether there is a folder to look into, of this user alone."""
        if self._trusted:
            return True
        if self.rests() or not os.access(self.entries, os.F_OK):
            return False
        try:
            self._trust()
        except OSError as error:
            self.refused(error)
        return self._trusted

    def rests(self) -> bool:
        """Whether nothing is to be written for a while."""
        return self._clock.monotonic() < self._resting_until

    def refused(self, error: OSError) -> None:
        """The disk refused to do something: rest for a while, and tell of it."""
        self._rest(_REST)
        self.trouble(error)

    def trouble(self, error: OSError) -> None:
        """Tell of it, once: reads go on without the disk."""
        if self._told:
            return
        self._told = True
        why = error.strerror or type(error).__name__
        emit(Event("cache.disk", f"the cache in {self.folder} cannot be used ({why}): reads go on without it"))

    @contextmanager
    def locked(self, *, insist: bool = True) -> Iterator[int | None]:
        """The file ``usage``, open and locked; None where that took too long. Raises `OSError`.

        Who does not ``insist`` makes all others give up for a while where it took too long.
        """
        with self._mutex:
            # A thread that waited for the mutex need not find out again what the one before it has.
            descriptor = None if self.rests() and not insist else self._open()
            if descriptor is None and not insist and not self.rests():
                self._rest(_LOCK_REST)
            try:
                yield descriptor
            finally:
                if descriptor is not None:
                    # Closing alone would leave the lock to a child that was forked meanwhile.
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                    os.close(descriptor)

    def _rest(self, seconds: float) -> None:
        self._resting_until = self._clock.monotonic() + seconds

    def _trust(self) -> None:
        """Look whether others may write to what is there. `OSError` where they may."""
        for folder in (str(self.folder), self.entries, self.new):
            if os.access(folder, os.F_OK):
                private_folder(Path(folder))
        self._trusted = True

    def _open(self) -> int | None:
        if not os.access(self.entries, os.F_OK):
            private_folder(self.folder)
            make_folder(self.entries)
            self._trusted = False
        if not self._trusted:
            self._trust()
        for _ in range(_LOCK_TRIES):
            descriptor = lock_file(self.folder / "usage")
            if descriptor is not None:
                return descriptor
            self._clock.sleep(_LOCK_PAUSE)
        return None
