"""Starting servers, for one block of code or shared by all processes of a test run."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from mediagit_storage.testing.emulators.installing import default_cache, why_missing
from mediagit_storage.testing.emulators.kinds import Order, Running, Server
from mediagit_storage.testing.emulators.servers import SERVERS

__all__ = ["EmulatorError", "MissingError", "running", "shared"]


class EmulatorError(Exception):
    """A server did not start; the text has the end of its log."""


class MissingError(EmulatorError):
    """A server is not installed; the text says what to do."""


@contextmanager
def running(name: str, *, cache: Path | None = None, data: Path | None = None) -> Iterator[Running]:
    """The server ``name``, started for the block, on a free port of 127.0.0.1, with new keys and nothing in it.

    It ends with the block or with this process, however that ends. ``data`` keeps its data in a folder; otherwise they
    go with it. Raises `MissingError` where it is not installed and `EmulatorError` when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="mgs-lease-") as folder:
        place = Path(folder)
        lease = _leased(place / "lease")
        try:
            keeper = _keeper(SERVERS[name], place, place / "lease", cache or default_cache(), data=data)
        except BaseException:
            lease.close()
            raise
        with keeper:
            try:
                yield _read(place / f"{name}.json")
            finally:
                lease.close()
                keeper.wait()


@contextmanager
def shared(name: str, place: Path, *, cache: Path | None = None) -> Iterator[Running]:
    """The server ``name``, one for all processes that name the same folder ``place``.

    The first starts it, the others join, and it ends when the last has left or died; then its log is in ``place`` too.
    Raises as `running` does.
    """
    place.mkdir(parents=True, exist_ok=True)
    keeper: subprocess.Popen[str] | None = None
    with (place / f"{name}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        joined = _join(name, place)
        if joined is None:
            path = place / f"{name}-{uuid.uuid4().hex}.lease"
            lease = _leased(path)
            try:
                keeper = _keeper(SERVERS[name], place, path, cache or default_cache(), logs=place)
            except BaseException:
                lease.close()
                raise
            (place / f"{name}.lease").write_text(str(path))
            joined = lease, _read(place / f"{name}.json")
    lease, found = joined
    try:
        yield found
    finally:
        lease.close()
        if keeper is not None:
            _leave(keeper)


def _leave(keeper: subprocess.Popen[str]) -> None:
    """Others may still need it; then it stays behind and ends with them."""
    try:
        keeper.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        # No longer this process's business, and nothing to warn about when it is forgotten.
        keeper.returncode = 0


def _join(name: str, place: Path) -> tuple[IO[str], Running] | None:
    """A share in the server that runs already, None when there is none."""
    try:
        lease = _leased(Path((place / f"{name}.lease").read_text()))
    except (FileNotFoundError, BlockingIOError):
        return None
    try:
        # Read while the lease is held: from here on the keeper cannot stop it.
        return lease, _read(place / f"{name}.json")
    except FileNotFoundError:
        lease.close()
        return None


def _leased(path: Path) -> IO[str]:
    """A share of the lease. Raises `BlockingIOError` when its keeper is about to stop."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def _read(path: Path) -> Running:
    return Running(**json.loads(path.read_text()))


def _keeper(
    server: Server, place: Path, lease: Path, cache: Path, *, data: Path | None = None, logs: Path | None = None
) -> subprocess.Popen[str]:
    """Start the server through a keeper of its own and wait until it is ready."""
    if (reason := why_missing(server, cache)) is not None:
        raise MissingError(reason)
    order = Order(
        server=server.name,
        programs=str(cache.absolute() / server.name),
        lease=str(lease),
        state=str(place / f"{server.name}.json"),
        logs=None if logs is None else str(logs),
        data=None if data is None else str(data.absolute()),
    )
    keeper = subprocess.Popen(
        [sys.executable, "-m", "mediagit_storage.testing.emulators.keeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C is for those who use the server; they release it.
        start_new_session=True,
    )
    said = ""
    try:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        with keeper.stdin:
            json.dump(asdict(order), keeper.stdin)
        with keeper.stdout:
            said = keeper.stdout.readline()
    finally:
        # Also when Ctrl-C interrupts the wait.
        if said != "ready\n":
            keeper.terminate()
            keeper.wait()
    if said != "ready\n":
        raise EmulatorError(json.loads(said) if said else f"{server.title}: its keeper ended without a word")
    return keeper
