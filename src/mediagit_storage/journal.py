"""What an unfinished transfer remembers on disk, so that the same call goes on where it stopped.

One small JSON document for each transfer, in a folder of the user's own (`state_folder`). It is replaced as a whole,
carries a digest of itself, and whatever is torn, foreign or of another file or object reads as nothing: the transfer
then starts afresh. It holds no secret and no content. Nothing in here ever fails a transfer: where the folder cannot
be used an event says so, and the transfer cannot be resumed.

Of two processes (or threads) that do the same transfer at once, one holds the journal; the other does its work without
one, as if resuming had been switched off.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from mediagit_storage.events import Event, emit
from mediagit_storage.types import JSON

__all__ = ["Journal", "Remembered", "ResumePoint", "journal_name", "lock_file", "private_folder", "state_folder"]

_FORMAT: Final = 1
#: What nobody came back to for this long is swept, in seconds.
_KEPT: Final = 7 * 24 * 3600
#: A journal is small: whatever is larger is none, in bytes.
_LARGEST: Final = 4 * 1024 * 1024
_NAME_LENGTH: Final = 40


class Remembered(NamedTuple):
    """``about`` says what was transferred (it has to match exactly), ``state`` how far it had come."""

    about: Mapping[str, JSON]
    state: Mapping[str, JSON]


def state_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where journals live: under ``MGS_STATE_DIR``, else ``XDG_STATE_HOME``, else the home folder; None without any."""
    variables = os.environ if environ is None else environ
    own = variables.get("MGS_STATE_DIR", "")
    if own:
        return Path(own).absolute() / "transfers"
    base = variables.get("XDG_STATE_HOME", "")
    # The specification of that variable says to ignore a relative path.
    if base.startswith("/"):
        return Path(base) / "mediagit-storage" / "transfers"
    home = variables.get("HOME", "")
    return Path(home) / ".local" / "state" / "mediagit-storage" / "transfers" if home.startswith("/") else None


def journal_name(*parts: str) -> str:
    """A file name for the transfer that these texts tell apart from every other."""
    text = json.dumps(parts).encode("ascii")
    return hashlib.sha256(text).hexdigest()[:_NAME_LENGTH]


class Journal:
    """The memory of one transfer, on disk only once something is written. Thread-safe; close it when done.

    The first `read` or `write` takes the lock; `usable` tells whether that went well. Closing keeps the document for
    the next run; `clear` removes it.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder = folder
        self._name = name
        self._lock: int | None = None
        self._tried = False
        self._mutex = threading.RLock()

    def exists(self) -> bool:
        """Whether an earlier run left a document; nothing is created or locked to find out."""
        return self._folder is not None and os.access(self._document(self._folder), os.F_OK)

    def usable(self) -> bool:
        """Whether this transfer can remember anything: the folder is there, and nobody else does the same now."""
        with self._mutex:
            if not self._tried:
                self._tried = True
                self._lock = self._acquire()
            return self._lock is not None

    def read(self) -> Remembered | None:
        """What the last run wrote; None where there is nothing, or nothing that can be trusted."""
        with self._mutex:
            if self._folder is None or not self.usable():
                return None
            return _parse(_content(self._document(self._folder)))

    def write(self, about: Mapping[str, JSON], state: Mapping[str, JSON], *, leftover: Path | None = None) -> bool:
        """Replace the document; False where it could not be kept.

        ``leftover`` names the unfinished file that belongs to it: it is swept together with the document.
        """
        with self._mutex:
            if self._folder is None or not self.usable():
                return False
            try:
                self._replace(self._folder, _format(about, state, leftover))
            except OSError as error:
                self._give_up(f"it cannot be written ({error.strerror})")
                return False
            return True

    def clear(self) -> None:
        """Forget the transfer: it is complete, or cannot be continued."""
        with self._mutex:
            if self._folder is not None and self.exists() and self.usable():
                with contextlib.suppress(OSError):
                    self._document(self._folder).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock; idempotent, and final."""
        with self._mutex:
            self._tried = True
            if self._folder is not None and self._lock is not None:
                _release(self._folder / f"{self._name}.lock", self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _document(self, folder: Path) -> Path:
        return folder / f"{self._name}.json"

    def _acquire(self) -> int | None:
        if self._folder is None:
            self._tell("transfer.no-journal", "there is no home folder to keep a journal in")
            return None
        try:
            private_folder(self._folder)
            _sweep(self._folder, time.time() - _KEPT)
            lock = lock_file(self._folder / f"{self._name}.lock")
        except OSError as error:
            self._tell("transfer.no-journal", f"{self._folder} cannot be used ({error.strerror})")
            return None
        if lock is None:
            self._tell("transfer.busy", "the same transfer is going on elsewhere")
        return lock

    def _give_up(self, why: str) -> None:
        """A document that is out of date is worse than none."""
        self._tell("transfer.no-journal", why)
        self.clear()
        self.close()

    def _tell(self, kind: str, why: str) -> None:
        emit(Event(kind, f"this transfer cannot be resumed if it breaks off: {why}"))

    def _replace(self, folder: Path, content: bytes) -> None:
        # The lock is held: nobody else writes to this name.
        temporary = folder / f"{self._name}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
        temporary.replace(self._document(folder))


class ResumePoint:
    """A journal bound to one content (``about``): what a backend is handed as `ResumeState`."""

    def __init__(self, journal: Journal, about: Mapping[str, JSON]) -> None:
        self._journal = journal
        self._about = dict(about)

    def load(self) -> Mapping[str, JSON] | None:
        """What was saved for this very content."""
        found = self._journal.read()
        return found.state if found is not None and found.about == self._about else None

    def abandoned(self) -> Mapping[str, JSON] | None:
        """What was saved for another content in its place, which will never be continued."""
        found = self._journal.read()
        return found.state if found is not None and found.about != self._about else None

    def save(self, state: Mapping[str, JSON]) -> bool:
        """Keep ``state`` for the next run; False where that is impossible."""
        return self._journal.write(self._about, state)

    def clear(self) -> None:
        """Forget."""
        self._journal.clear()


def lock_file(path: Path, *, mode: int = 0o600) -> int | None:
    """The descriptor of the locked file ``path``, made if it is missing; None while somebody else holds it.

    The file is the one that has this name when the lock is had: never one that was renamed or removed meanwhile.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(path: Path, lock: int) -> None:
    # Removed while it is held: whoever opened it meanwhile sees that it has lost its name, and makes a new one.
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(lock)


def private_folder(folder: Path) -> None:
    """Make a folder that only this user may use. `OSError` where that fails, or where others may write to one there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(0, "others may write to it")


def _format(about: Mapping[str, JSON], state: Mapping[str, JSON], leftover: Path | None) -> bytes:
    body = {"about": dict(about), "state": dict(state), "leftover": None if leftover is None else str(leftover)}
    return json.dumps({"format": _FORMAT, "digest": _digest(body), **body}).encode("ascii")


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()


def _content(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError:
        return b""
    return content if len(content) <= _LARGEST else b""


def _body(content: bytes) -> dict[str, JSON] | None:
    """The document without its wrapping, proven to be whole."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.pop("format", None) != _FORMAT:
        return None
    digest = document.pop("digest", None)
    return document if digest == _digest(document) else None


def _parse(content: bytes) -> Remembered | None:
    body = _body(content)
    if body is None:
        return None
    about, state = body.get("about"), body.get("state")
    return Remembered(about, state) if isinstance(about, dict) and isinstance(state, dict) else None


# ---- sweeping what nobody came back to


def _sweep(folder: Path, before: float) -> None:
    """Remove what was last written before that moment and is in nobody's hands, with the unfinished files it names."""
    with os.scandir(folder) as entries:
        old = [each.name for each in entries if each.is_file(follow_symlinks=False) and each.stat().st_mtime < before]
    for name in sorted({Path(each).stem for each in old if Path(each).suffix in {".json", ".lock", ".tmp"}}):
        with contextlib.suppress(OSError):
            _sweep_one(folder, name, before)


def _sweep_one(folder: Path, name: str, before: float) -> None:
    lock = lock_file(folder / f"{name}.lock")
    if lock is None:
        return
    try:
        document = folder / f"{name}.json"
        if document.exists() and document.stat().st_mtime >= before:
            return
        leftover = (_body(_content(document)) or {}).get("leftover")
        if isinstance(leftover, str):
            _remove_leftover(Path(leftover), before)
        document.unlink(missing_ok=True)
        (folder / f"{name}.tmp").unlink(missing_ok=True)
    finally:
        _release(folder / f"{name}.lock", lock)


def _remove_leftover(path: Path, before: float) -> None:
    if not (path.is_absolute() and path.name.startswith(".") and path.name.endswith(".part")):
        return
    with contextlib.suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_mtime < before:
            path.unlink()
            emit(Event("transfer.swept", "an unfinished download that nobody came back to was removed"))
