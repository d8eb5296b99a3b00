"""What the replicas of a mirror may lack: written down before the primary is changed, and struck out when they follow.

A row says of one replica that it may not have what the primary has under one key. It is there before the first step of
a change, so that a process that dies at any moment leaves a row for whatever it left undone. A row with a process in it
is work under way; one without is a change that the replica missed. The file is an SQLite database in the user's folder
of state, shared by all processes that open the same mirror. Rows are written before a step and outlive the process;
those of missed changes are synced to the disk and outlive the machine.

A mirror with a member in memory, or without a folder to write to, has its rows in memory; a child of a fork begins with
everything behind there. Where a file fails (its disk is full, say) an event tells of it, and everything is taken to be
behind: an empty file beside it says so to every process of the machine, until that can be written into it as a row.
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

from mediagit_storage.errors import UnavailableError
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
    """The rows of one change: for each replica and key the number of its row, 0 where it could not be written.

    ``earlier`` are those of changes that had ended before this one began: what it sees at its end makes up for them alone.
    """

    rows: dict[tuple[int, str], int]
    earlier: dict[tuple[int, str], tuple[int, ...]]


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

    Thread-safe, works after a fork. Its file stops no work, with one exception: where replicas are ``believed`` (reads fail
    over to them) and it can nowhere be written that they are behind, `begin` is an `UnavailableError`.
    """

    def __init__(self, place: Path | None, names: Sequence[str], *, believed: bool = False) -> None:
        self._place = place
        self._names = tuple(names)
        self._believed = believed
        self._markers = {name: _marker(place, name) for name in names} if place else {}
        self._connection: _Connection | None = None
        self._opening = ForkSafeLock()
        # A connection that was opened before a fork must not be used, nor even be closed, in the child.
        self._left: list[_Connection] = []
        self._process = os.getpid()
        #: The replicas of which something could not be written down; a row for everything is still to be written.
        self._lost: set[str] = set()
        self._told = False

    def begin(self, replicas: Sequence[int], keys: Sequence[str], deleting: Collection[str] = ()) -> Ticket:
        """Before the primary is changed: one row for each replica and key. ``deleting`` are those that may be gone then."""
        pairs = [(replica, key) for replica in replicas for key in keys]

        def insert(database: sqlite3.Connection) -> Ticket:
            own, ticket = self._open().name, Ticket({}, {})
            for pair in pairs:
                place = (self._name(pair[0]), _blob(pair[1]))
                found = database.execute(
                    "select id, process from behind where replica = ? and key = ?", place
                ).fetchall()
                ticket.earlier[pair] = tuple(row for row, process in found if _nobodys(process, own))
                ticket.rows[pair] = (
                    database.execute(
                        "insert into behind (replica, key, process, deleting) values (?, ?, ?, ?)",
                        (*place, own, pair[1] in deleting),
                    ).lastrowid
                    or 0
                )
            return ticket

        unwritten = Ticket(dict.fromkeys(pairs, 0), {})
        ticket = self._do(insert, unwritten)
        if ticket is unwritten and not self._lose(replicas) and self._believed:
            raise UnavailableError(
                f"what replicas miss cannot be remembered in {self._place}, and reads fail over to them; nothing was changed:"
                " let this folder be written to, name another one (state), or do without failover"
            )
        return ticket

    def done(self, ticket: Ticket, replicas: Sequence[int] | None = None) -> None:
        """These replicas (all unless told) have what the primary has; what they missed of the keys before is made up for."""
        chosen = [place for place in ticket.rows if replicas is None or place[0] in replicas]
        self._strike([row for place in chosen for row in (ticket.rows[place], *ticket.earlier.get(place, ()))])

    def undone(self, ticket: Ticket) -> None:
        """Nothing was changed: the rows of this change alone go."""
        self._strike([*ticket.rows.values()])

    def missed(self, ticket: Ticket, replicas: Sequence[int]) -> None:
        """These replicas did not follow, or it is not known: kept until they do, also through a power cut.

        One row is left for what a replica missed of a key before and now.
        """
        places = [place for place in ticket.rows if place[0] in replicas]

        def keep(database: sqlite3.Connection) -> bool:
            for place in places:
                row = ticket.rows[place]
                if not database.execute("update behind set process = null where id = ?", (row,)).rowcount:
                    self._insert(database, place[0], place[1])
                    continue
                for each in ticket.earlier.get(place, ()):
                    database.execute(
                        "update behind set deleting = 1 where id = ? and exists (select 1 from behind where id = ? and deleting)",
                        (row, each),
                    )
                    database.execute("delete from behind where id = ?", (each,))
            for replica in {place[0] for place in places}:
                self._bound(database, replica)
            return True

        if places and not self._do(keep, otherwise=False, synced=True):
            self._lose(replicas)

    def is_behind(self, replica: int, key: str) -> bool:
        """Whether the replica may lack the last change of the key, as far as anybody wrote down."""
        query = "select 1 from behind where replica = ? and (key = ? or key is null) limit 1"
        place = (self._name(replica), _blob(key))
        return self._do(lambda database: database.execute(query, place).fetchone() is not None, otherwise=True)

    def count(self, replica: int) -> tuple[int, bool]:
        """Of how many keys that is so, and whether it is of all."""
        query = "select count(distinct key), count(*) > count(key) from behind where replica = ?"

        def ask(database: sqlite3.Connection) -> tuple[int, bool]:
            [(count, everything)] = database.execute(query, (self._name(replica),))
            return count, bool(everything)

        return self._do(ask, (0, True))

    def left(self, replica: int) -> list[Behind]:
        """The rows that no living process works on; one for every key where nobody can tell."""

        def ask(database: sqlite3.Connection) -> list[Behind]:
            query, own = (
                "select id, key, deleting, process from behind where replica = ? order by key, id",
                self._open().name,
            )
            return [
                Behind(row, replica, None if key is None else _text(key), bool(deleting))
                for row, key, deleting, process in database.execute(query, (self._name(replica),))
                if _nobodys(process, own)
            ]

        return self._do(ask, [Behind(0, replica, None, deleting=False)])

    def forget(self, rows: Sequence[Behind]) -> None:
        """The replicas were put in step."""
        self._strike([row.id for row in rows])

    def narrow(self, replica: int, rows: Sequence[Behind], keys: Sequence[str]) -> None:
        """The replica was put in step but for these keys: they take the place of the rows, in one step."""

        def exchange(database: sqlite3.Connection) -> None:
            for key in keys:
                self._insert(database, replica, key)
            database.executemany("delete from behind where id = ?", [(row.id,) for row in rows])
            self._bound(database, replica)

        self._do(exchange, None, synced=True)

    def forgotten(self) -> None:
        """This is a copy of one whose rows were in memory, and are not in here: everything is behind."""
        if self._place is None:
            self._lost.update(self._names)

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
            self._admit()
            with self._transaction(synced=synced) as database:
                result = work(database)
        except (sqlite3.Error, OSError) as error:
            self._tell(str(error))
            return otherwise
        self._told = False
        return result

    def _strike(self, rows: Sequence[int]) -> None:
        written = [(row,) for row in rows if row]

        def remove(database: sqlite3.Connection) -> None:
            database.executemany("delete from behind where id = ?", written)

        if written:
            self._do(remove, None)

    def _insert(self, database: sqlite3.Connection, replica: int, key: str) -> None:
        database.execute("insert into behind (replica, key) values (?, ?)", (self._name(replica), _blob(key)))

    def _bound(self, database: sqlite3.Connection, replica: int) -> None:
        """Too many rows become one for everything, but for those of work under way."""
        name, own = self._name(replica), self._open().name
        [(count,)] = database.execute("select count(*) from behind where replica = ?", (name,))
        if count <= MOST_ROWS:
            return
        processes = database.execute("select distinct process from behind where replica = ?", (name,)).fetchall()
        for (process,) in processes:
            if _nobodys(process, own):
                database.execute("delete from behind where replica = ? and process is ?", (name, process))
        database.execute("insert into behind (replica) values (?)", (name,))

    def _lose(self, replicas: Sequence[int]) -> bool:
        """Take these replicas to be behind with everything; whether all who have to know of it are told."""
        names = {self._name(each) for each in replicas}
        self._lost |= names
        if self._place is None:
            return True
        try:
            private_folder(self._place.parent)
            for name in names:
                _write_marker(self._markers[name])
        except OSError:
            return False
        return True

    def _admit(self) -> None:
        """Write down that everything is behind where it is so because something else could not be written down."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.forgotten()
        lost = [name for name in self._names if name in self._lost or (self._place and self._markers[name].exists())]
        if not lost:
            return
        with self._transaction(synced=True) as database:
            for name in lost:
                # A new number: a repair that has seen the old one forgets no more than that.
                database.execute("delete from behind where replica = ? and key is null", (name,))
                database.execute("insert into behind (replica) values (?)", (name,))
        for name in lost:
            if self._place:
                self._markers[name].unlink(missing_ok=True)
            self._lost.discard(name)

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

    def _tell(self, why: str) -> None:
        if self._told:
            return
        self._told = True
        message = f"what replicas miss cannot be remembered in {self._place}: {why}; repair the whole mirror later"
        logger.warning("mirror: %s", message)
        emit(Event("mirror.no-journal", message))


def _marker(place: Path, name: str) -> Path:
    return place.with_name(f"{place.stem}-{journal_name('everything', name)}.behind")


def _write_marker(place: Path) -> None:
    """An empty file, which is there also after a power cut."""
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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


def _nobodys(process: str | None, own: str | None) -> bool:
    """Whether nobody works on a row with this process in it: none is named, or it has died."""
    if process is None or process == own:
        return process is None
    return _process(int(process.partition(":")[0])) != process
