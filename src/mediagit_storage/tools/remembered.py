"""Which pairs of objects were equal when last looked at, so that the next sync need not read them again.

A small SQLite database for each pair of places, in the user's state folder: a name, and a hash of the two ETags under
which the contents were equal. That stays true for ever: an object that changed has another ETag, and is looked at anew.
The memory is never needed: whatever is missing or damaged is as if it had not been remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from mediagit_storage.events import Event, emit
from mediagit_storage.journal import journal_name, private_folder, state_folder
from mediagit_storage.tools.key_ranges import KeyRange
from mediagit_storage.tools.places import lasting_view
from mediagit_storage.tools.sides import Side
from mediagit_storage.types import ObjectInfo

__all__ = ["Memory", "Remembered", "evidence", "remembered_between", "settled"]

#: What is kept of a pair, in bytes: two different pairs do not share it by accident.
_DIGEST: Final = 16
#: What may be lost with the process: so many new pairs, the work on so many bytes, and so many seconds.
_GROUP: Final = 5_000
_GROUP_BYTES: Final = 256 * 1024 * 1024
_GROUP_SECONDS: Final = 5.0
#: A file may be written to twice within one tick of the clock that its ETag is made of.
_TICK: Final = timedelta(seconds=2)
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS pairs (name TEXT PRIMARY KEY, evidence BLOB NOT NULL) WITHOUT ROWID"
#: Changes with the meaning of what is in it: a file of another format is thrown away.
_FORMAT: Final = 1


def evidence(name: str, source: ObjectInfo, target: ObjectInfo) -> bytes | None:
    """What identifies the contents of a pair; None where one of the two has no ETag."""
    if not source.etag or not target.etag:
        return None
    text = json.dumps([name, source.etag, target.etag]).encode("ascii")
    return hashlib.blake2b(text, digest_size=_DIGEST).digest()


def settled(info: ObjectInfo, now: datetime | None = None) -> bool:
    """Whether an object was last written long enough ago for its ETag to stand for its bytes."""
    moment = datetime.now(UTC) if now is None else now
    return info.modified is not None and moment - info.modified >= _TICK


def remembered_between(kind: str, source: Side, target: Side) -> Remembered:
    """The memory of this user for two folders and one ``kind`` of facts; one that keeps nothing where none could last."""
    ours, theirs = (lasting_view(side.store, side.prefix) for side in (source, target))
    folder = state_folder()
    if ours is None or theirs is None or folder is None:
        return Remembered(None, ("", ""))
    return Remembered(folder.with_name(kind), (ours, theirs))


class Memory(Protocol):
    """What is known of pairs, and what is found out about them. Thread-safe."""

    def known(self, name: str, proof: bytes | None) -> bool:
        """Whether the contents under this name were equal with the same ETags."""
        ...

    def add(self, name: str, proof: bytes, size: int = 0) -> None:
        """The contents under this name, of ``size`` bytes, are equal under that proof."""
        ...


class Remembered:
    """The memory of one pair of places. Thread-safe; close it, which keeps what was added.

    With ``folder`` None nothing is remembered. ``names`` of the two places are written down as a hash only.
    """

    def __init__(
        self, folder: Path | None, names: tuple[str, str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = None if folder is None else folder / f"{journal_name('sync', *names)}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._broken = folder is None
        self._renewed = False
        self._waiting: dict[str, bytes] = {}
        self._waiting_bytes = 0
        self._monotonic = monotonic
        self._written = monotonic()
        self._lock = threading.Lock()

    def known(self, name: str, proof: bytes | None) -> bool:
        """Whether the contents under this name were equal with the same ETags."""
        with self._lock:
            connection = self._opened(make=False)
            if connection is None or proof is None:
                return False
            try:
                row = connection.execute("SELECT evidence FROM pairs WHERE name = ?", (_stored(name),)).fetchone()
            except sqlite3.Error as error:
                self._failed(error)
                return False
            return row is not None and row[0] == proof

    def add(self, name: str, proof: bytes, size: int = 0) -> None:
        """The contents under this name, of ``size`` bytes, are equal under that proof. Written down before long."""
        with self._lock:
            if self._broken:
                return
            self._waiting[_stored(name)] = proof
            self._waiting_bytes += size
            if (
                len(self._waiting) >= _GROUP
                or self._waiting_bytes >= _GROUP_BYTES
                or self._monotonic() - self._written >= _GROUP_SECONDS
            ):
                self._write()

    def proofs(self, within: KeyRange, most: int) -> tuple[list[bytes], KeyRange]:
        """The proofs of a range, at most so many, and the part of the range of which they are all.

        A proof is about one name, and can be looked up without it. A name that is no UTF-8 may lie in another range here:
        what is under it is then compared again.
        """
        with self._lock:
            self._write()
            rows = self._selected(within, most + 1)
        whole = len(rows) <= most or not within.holds(rows[most - 1][0])
        return [bytes(proof) for _, proof in rows[:most]], within if whole else KeyRange(
            within.after, rows[most - 1][0]
        )

    def _selected(self, within: KeyRange, most: int) -> list[tuple[str, bytes]]:
        connection = self._opened(make=False)
        if connection is None:
            return []
        wanted = [("name > ?", within.after), ("name <= ?", within.until)]
        terms = [term for term, name in wanted if name is not None]
        names = [_stored(name) for _, name in wanted if name is not None]
        clause = f"WHERE {' AND '.join(terms)}" if terms else ""
        try:
            return connection.execute(
                f"SELECT name, evidence FROM pairs {clause} ORDER BY name LIMIT ?",  # noqa: S608  # constants
                (*names, most),
            ).fetchall()
        except sqlite3.Error as error:
            self._failed(error)
            return []

    def close(self) -> None:
        """Keep what was added. Idempotent."""
        with self._lock:
            self._write()
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._broken = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        while self._waiting and (connection := self._opened(make=True)) is not None:
            try:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?)", self._waiting.items())
                break
            except sqlite3.Error as error:
                self._failed(error)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._written = self._monotonic()

    def _opened(self, *, make: bool) -> sqlite3.Connection | None:
        """The database; None where it cannot be used, or where there is none yet and nothing to ``make`` one for."""
        if self._connection is None and not self._broken and self._path is not None and (make or self._path.exists()):
            try:
                private_folder(self._path.parent)
                self._connection = _connected(self._path)
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        return self._connection

    def _failed(self, error: sqlite3.Error) -> None:
        """Begin anew where a page of the file is damaged, once; give up otherwise."""
        if not _is_damage(error) or self._renewed or self._path is None:
            self._give_up(error)
            return
        self._renewed = True
        self._disconnect()
        try:
            _unlink(self._path)
        except OSError as failure:
            self._give_up(failure)

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        emit(Event("sync.no-memory", f"what is equal cannot be remembered for the next sync: {error}"))
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, and not a full disk or somebody who holds it."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def _connected(path: Path) -> sqlite3.Connection:
    """The database, made anew where it is damaged or of another format."""
    try:
        return _prepared(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        _unlink(path)
        return _prepared(path)


def _prepared(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level="IMMEDIATE", check_same_thread=False)
    try:
        # Losing it costs time and nothing else, so nothing waits for the disk; a torn file is seen and made anew.
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"):
            connection.execute(statement)
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        _check_format(found)
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_format(found: int) -> None:
    if found not in {0, _FORMAT}:
        raise sqlite3.DatabaseError("it is of another format")


def _unlink(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _stored(name: str) -> str:
    # Names that are no UTF-8 come from local files only; SQLite wants text that can be encoded.
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
