"""What the replicas of a mirror may lack: written down before the primary is changed, and struck out when they follow.

A row says of one replica that it may not have what the primary has under one key. It is there before the first step of
a change, so that a process that dies at any moment leaves a row for whatever it left undone. A row with a process in it
is work under way; one without is a change that the replica missed. The file is an SQLite database in the user's folder
of state, shared by all processes that open the same mirror. Rows are written before a step and outlive the process;
those of missed changes are synced to the disk and outlive the machine.

A mirror with a member in memory, or without a folder to write to, has its rows in memory. Where a file fails (its disk is
full, say) the work goes on, an event tells of it, and every replica is taken to be behind with everything from then on.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from mediagit_storage.events import Event, emit
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.journal import journal_name, private_folder, state_folder

__all__ = ["Behind", "Pending", "Ticket", "pending_place"]

T = TypeVar("T")

logger: Final = logging.getLogger("mediagit_storage")

#: More missed keys than this of one replica are not told apart any more.
MOST_ROWS: Final = 100_000
#: How long one process waits for another that writes, in seconds.
_BUSY: Final = 5.0
_IN_MEMORY: Final = ":memory:"
_SCHEMA: Final = """
create table if not exists behind (
    id integer primary key autoincrement, replica text not null, key blob, process text, deleting integer not null default 0
);
create index if not exists behind_key on behind (replica, key);
"""


class Ticket(NamedTuple):
    """The rows of one change: for each replica and key the number of its row."""

    rows: dict[tuple[int, str], int]


class Behind(NamedTuple):
    """One row: ``key`` None means every key; ``deleting`` that the change was to leave no object there."""

    id: int
    replica: int
    key: str | None
    deleting: bool


def pending_place(primary: str, folder: str | None) -> Path | None:
    """The file for the mirrors of this primary; None where there is no folder for it."""
    transfers = state_folder()
    place = Path(folder).expanduser() if folder is not None else transfers and transfers.parent / "mirrors"
    return place / f"{journal_name('mirror', primary)}.sqlite" if place else None


class _Connection(NamedTuple):
    process: int
    name: str | None
    lock: threading.Lock
    database: sqlite3.Connection


class Pending:
    """The rows of one mirror, whose replicas have these ``names``. Numbers of replicas are places in it, from 1.

    Thread-safe, works after a fork; nothing in here raises because of its file.
    """

    def __init__(self, place: Path | None, names: Sequence[str]) -> None:
        self._place = place
        self._names = tuple(names)
        self._connection: _Connection | None = None
        self._opening = ForkSafeLock()
        # A connection that was opened before a fork must not be used, nor even be closed, in the child.
        self._left: list[_Connection] = []
        self._failed = False

    def begin(self, replicas: Sequence[int], keys: Sequence[str], deleting: Collection[str] = ()) -> Ticket:
        """Before the primary is changed: one row for each replica and key. ``deleting`` are those that may be gone then."""
        pairs = [(replica, key) for replica in replicas for key in keys]

        def insert(database: sqlite3.Connection) -> Ticket:
            process = self._open().name
            rows = {
                (replica, key): database.execute(
                    "insert into behind (replica, key, process, deleting) values (?, ?, ?, ?)",
                    (self._name(replica), _blob(key), process, key in deleting),
                ).lastrowid
                or 0
                for replica, key in pairs
            }
            return Ticket(rows)

        return self._do(insert, Ticket({}))

    def done(self, ticket: Ticket, replicas: Sequence[int] | None = None) -> None:
        """These replicas (all unless told) have what the primary has; what they missed of the keys before is made up for."""
        rows = [(row, *place) for place, row in ticket.rows.items() if replicas is None or place[0] in replicas]

        def remove(database: sqlite3.Connection) -> None:
            for row, replica, key in rows:
                database.execute(
                    "delete from behind where replica = ? and key = ? and (id = ? or (id < ? and process is null))",
                    (self._name(replica), _blob(key), row, row),
                )

        if rows:
            self._do(remove, None)

    def undone(self, ticket: Ticket) -> None:
        """Nothing was changed: the rows of this change alone go."""

        def remove(database: sqlite3.Connection) -> None:
            database.executemany("delete from behind where id = ?", [(row,) for row in ticket.rows.values()])

        self._do(remove, None)

    def missed(self, ticket: Ticket, replicas: Sequence[int]) -> None:
        """These replicas did not follow, or it is not known: kept until they do, also through a power cut."""
        rows = [(row,) for place, row in ticket.rows.items() if place[0] in replicas]

        def keep(database: sqlite3.Connection) -> None:
            database.executemany("update behind set process = null where id = ?", rows)
            for replica in {self._name(each) for each in replicas}:
                [(count,)] = database.execute("select count(*) from behind where replica = ?", (replica,))
                if count > MOST_ROWS:
                    database.execute("delete from behind where replica = ? and process is null", (replica,))
                    database.execute("insert into behind (replica) values (?)", (replica,))

        if rows:
            self._do(keep, None, synced=True)

    def is_behind(self, replica: int, key: str) -> bool:
        """Whether the replica may lack the last change of the key, as far as anybody wrote down."""
        query = "select 1 from behind where replica = ? and (key = ? or key is null) limit 1"
        place = (self._name(replica), _blob(key))
        found = self._do(lambda database: database.execute(query, place).fetchone() is not None, otherwise=False)
        return self._failed or found

    def count(self, replica: int) -> tuple[int, bool]:
        """Of how many keys that is so, and whether it is of all."""
        query = "select count(distinct key), count(*) > count(key) from behind where replica = ?"

        def ask(database: sqlite3.Connection) -> tuple[int, bool]:
            [(count, everything)] = database.execute(query, (self._name(replica),))
            return count, bool(everything)

        count, everything = self._do(ask, (0, False))
        return count, everything or self._failed

    def left(self, replica: int) -> list[Behind]:
        """The rows that no living process works on."""

        def ask(database: sqlite3.Connection) -> list[Behind]:
            query = "select id, key, deleting, process from behind where replica = ? order by key, id"
            return [
                Behind(row, replica, None if key is None else _text(key), bool(deleting))
                for row, key, deleting, process in database.execute(query, (self._name(replica),))
                if process is None or not _alive(process)
            ]

        return self._do(ask, [])

    def forget(self, rows: Sequence[Behind]) -> None:
        """The replicas were put in step."""

        def remove(database: sqlite3.Connection) -> None:
            database.executemany("delete from behind where id = ?", [(row.id,) for row in rows])

        if rows:
            self._do(remove, None)

    def close(self) -> None:
        """Close the file; it is opened again by whoever asks."""
        with self._opening.mine():
            found, self._connection = self._connection, None
        if found is not None and found.process == os.getpid():
            with found.lock:
                found.database.close()

    def _name(self, replica: int) -> str:
        return self._names[replica - 1]

    def _do(self, work: Callable[[sqlite3.Connection], T], otherwise: T, *, synced: bool = False) -> T:
        """``work`` in one transaction; ``otherwise`` where the file has failed."""
        try:
            with self._transaction(synced=synced) as database:
                return work(database)
        except (sqlite3.Error, OSError) as error:
            self._give_up(str(error))
            return otherwise

    @contextmanager
    def _transaction(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        found = self._open()
        with found.lock, found.database as database:
            if synced:
                database.execute("pragma synchronous = full")
            try:
                yield database
                database.commit()
            finally:
                if synced:
                    database.execute("pragma synchronous = normal")

    def _open(self) -> _Connection:
        found = self._connection
        if found is not None and found.process == os.getpid():
            return found
        with self._opening.mine():
            found = self._connection
            if found is not None and found.process == os.getpid():
                return found
            if found is not None:
                self._left.append(found)
            own = os.getpid()
            self._connection = _Connection(own, _process(own), threading.Lock(), self._connect())
            return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._place is None:
            return _prepared(_IN_MEMORY)
        private_folder(self._place.parent)
        return _prepared(str(self._place))

    def _give_up(self, why: str) -> None:
        if self._failed:
            return
        self._failed = True
        message = f"what replicas miss cannot be remembered in {self._place}: {why}; repair the whole mirror later"
        logger.warning("mirror: %s", message)
        emit(Event("mirror.no-journal", message))


def _prepared(place: str) -> sqlite3.Connection:
    # One connection for all threads, each of which takes the lock first.
    database = sqlite3.connect(place, timeout=_BUSY, check_same_thread=False)
    try:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _blob(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def _process(number: int) -> str | None:
    """What a running process is called and, as long as the machine runs, no other; None where there is none."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # somebody else's
    try:
        status = Path(f"/proc/{number}/stat").read_text("ascii", "replace")
    except OSError:
        return str(number)
    # The 22nd field is the time of its start; the second, in brackets, may hold anything.
    return f"{number}:{status.rpartition(')')[2].split()[19]}"


def _alive(process: str) -> bool:
    return _process(int(process.partition(":")[0])) == process
