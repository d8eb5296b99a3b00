"""The process between a server and those who use it: it ends the server when the last of them is gone.

Users hold a shared lock on the lease file. The system drops a lock with its process, however that ends, so that
nobody has to clean up after a crash: when the keeper gets the lock for itself, nobody is left. The server in turn
gets a signal from the system should the keeper be killed.

Run as ``python -m mediagit_storage.testing.emulators.keeper`` with an `Order` as JSON on standard input; one line on
standard output says ``ready`` or what went wrong. Then it runs until the lease is free or the server has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

from mediagit_storage.testing.emulators.kinds import (
    Launch,
    NotReadyError,
    Order,
    Place,
    Running,
    Server,
    clean_environment,
)
from mediagit_storage.testing.emulators.servers import SERVERS

__all__ = ["main"]

_PR_SET_PDEATHSIG: Final = 1
#: Starts with new ports: somebody else may take one between the choice and the start.
_ATTEMPTS: Final = 3


class StartError(Exception):
    """The server did not come up; the text is the end of its log."""


class _ServerEnded(Exception):  # noqa: N818  # no error, a turn of events
    """Raised out of the wait for the lease."""


@dataclass(slots=True)
class _Started:
    """A server, its process, and how it was started."""

    server: Server
    launch: Launch
    process: subprocess.Popen[bytes]


def main() -> None:
    """Carry out one order."""
    order = Order(**json.load(sys.stdin))
    with _folder(order) as folder:
        try:
            started = _start(SERVERS[order.server], order, folder)
        except StartError as failure:
            _say(json.dumps(str(failure)))
            sys.exit(1)
        try:
            running = replace(started.launch.becomes, pid=started.process.pid, log=str(folder / "log"))
            # Whole or not at all: others read it as soon as it is there.
            Path(f"{order.state}.new").write_text(json.dumps(asdict(running)))
            Path(f"{order.state}.new").replace(order.state)
            _say("ready")
            _wait(order, started.process)
        finally:
            died = started.process.poll() is not None
            _stop(started)
            Path(order.state).unlink(missing_ok=True)
            if died or order.logs is not None:
                _keep_log(order, folder / "log")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    # Whoever waits for the end of the output shall not wait for the end of the keeper.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def _folder(order: Order) -> Iterator[Path]:
    if order.data is not None:
        Path(order.data).mkdir(parents=True, exist_ok=True)
        yield Path(order.data)
        return
    folder = Path(tempfile.mkdtemp(prefix=f"mgs-{order.server}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(server: Server, order: Order, folder: Path) -> _Started:
    log = folder / "log"
    data = folder / "data"
    data.mkdir(exist_ok=True)
    for _ in range(_ATTEMPTS):
        launch = server.prepare(Place(Path(order.programs), data))
        started = _Started(server, launch, _launch(launch, data, log))
        try:
            if _becomes_ready(server, launch.becomes, started.process):
                return started
        except BaseException:
            _stop(started)
            raise
        _stop(started)
    kept = _keep_log(order, log)
    tail = log.read_text(errors="replace")[-1500:]
    raise StartError(f"{server.title} did not start; its log is {kept}, and ends so:\n{tail}")


def _keep_log(order: Order, log: Path) -> Path:
    kept = Path(order.logs or tempfile.gettempdir()) / f"{order.server}.log"
    shutil.copy(log, kept)
    return kept


def _launch(launch: Launch, data: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  # what `SERVERS` names
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            env=clean_environment(data, launch.environment),
            start_new_session=True,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509  # a keeper has one thread
        )


def _die_with_parent() -> Callable[[], None] | None:
    """What a child runs to be killed when its parent dies; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _becomes_ready(server: Server, running: Running, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + server.patience
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.check_ready(running)
        except (OSError, http.client.HTTPException, NotReadyError):
            time.sleep(0.05)
        else:
            return True
    return False


def _wait(order: Order, process: subprocess.Popen[bytes]) -> None:
    """Until nobody holds the lease, the server has ended, or somebody asks this process to end."""

    def stop(number: int, _: FrameType | None) -> None:
        raise _ServerEnded(number)

    # A thread of its own would have to be woken; a signal wakes the wait by itself.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    with contextlib.suppress(_ServerEnded), Path(order.lease).open("a") as lease:
        if process.poll() is None:
            fcntl.flock(lease, fcntl.LOCK_EX)


def _stop(started: _Started) -> None:
    """End the server and all that it started, and remove what it leaves elsewhere."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _signal_group(started, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.process.wait(started.server.grace)
    _signal_group(started, signal.SIGKILL)
    started.process.wait()
    for path in started.launch.litter:
        Path(path).unlink(missing_ok=True)


def _signal_group(started: _Started, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.process.pid, number)


if __name__ == "__main__":
    main()
