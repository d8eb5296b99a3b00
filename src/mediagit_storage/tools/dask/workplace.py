"""What one run has on each worker: its storages, opened once, and a way to stop what is going on."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from typing import TypeVar

from distributed import Worker, WorkerPlugin, get_worker

from mediagit_storage import __version__
from mediagit_storage.errors import ConfigError, StorageError
from mediagit_storage.scope import Scope, scope
from mediagit_storage.tools.dask.tasks import Task
from mediagit_storage.tools.dask.witnesses import Witness, check_seen
from mediagit_storage.tools.sides import Side

__all__ = ["Workplace", "perform"]

A = TypeVar("A")

#: States of a task that nobody wants any more, while it may still run.
_UNWANTED = frozenset({"cancelled", "released", "forgotten", "error"})


class Workplace(WorkerPlugin):
    """The place of a run on a worker. Storages travel as `places`, their pickle, so without literal secrets.

    They are opened for the first task, and the worker has to see `witnesses` of each side then.
    """

    def __init__(self, name: str, places: bytes) -> None:
        self.name = name
        self._places = places

    def setup(self, worker: Worker) -> None:
        """The worker begins to take part. What runs before it keep open is closed: a client that was killed ends none."""
        self._address = worker.address
        self._lock = threading.Lock()
        self._sides: Sequence[Side] | None = None
        self._running: dict[object, Scope] = {}
        for other in [*worker.plugins.values()]:
            if isinstance(other, Workplace) and other is not self:
                other.rest()

    def rest(self) -> None:
        """Close what is open, if no task runs: the next one opens it again."""
        # Who has the lock is about to begin, and the worker itself must not wait for that.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._running or not self._sides:
                return
            sides, self._sides = self._sides, None
        finally:
            self._lock.release()
        for side in sides:
            side.store.close()

    def teardown(self, worker: Worker) -> None:
        """The run is over, or the worker is: what is still going on is cancelled, and closes what it has open."""
        # First, so that nobody holds the lock for long.
        for each in [*self._running.values()]:
            each.cancel()
        with self._lock:
            sides, self._sides = self._sides, ()
        for side in sides or ():
            side.store.close()

    def _stop_unwanted(self, key: object, start: object, finish: object, **_: object) -> None:
        """A task that was cancelled, or whose program is gone, stops in the middle of its transfers."""
        running = self._running.get(key)
        if finish in _UNWANTED and start == "executing" and running is not None:
            running.cancel()

    #: What Dask calls when a task changes its state.
    transition = _stop_unwanted

    def run(self, key: object, task: Task[A], witnesses: Sequence[Witness]) -> A:
        """Do one task, in the thread that asks."""
        with scope() as inside:
            self._running[key] = inside
            try:
                sides = self._opened(witnesses)
                return task(sides, lambda: check_seen(sides[:1], witnesses, self._address))
            except Exception:
                # What a storage says that was closed meanwhile is not what happened.
                inside.check()
                raise
            finally:
                self._running.pop(key, None)

    def _opened(self, witnesses: Sequence[Witness]) -> Sequence[Side]:
        with self._lock:
            if self._sides is None:
                self._sides = self._checked(pickle.loads(self._places), witnesses)  # noqa: S301  # by Dask's connection
            return self._sides

    def _checked(self, sides: Sequence[Side], witnesses: Sequence[Witness]) -> Sequence[Side]:
        try:
            check_seen(sides, witnesses, self._address)
        except BaseException:
            for side in sides:
                side.store.close()
            raise
        return sides


def perform(version: str, run: str, key: str, task: Task[A], witnesses: Sequence[Witness]) -> A:
    """Do one task of a run on this worker; a `ConfigError` where it has another version than who gives out the work."""
    worker = get_worker()
    if version != __version__:
        raise ConfigError(
            f"the worker {worker.address} has version {__version__} of mediagit-storage, and this is {version}: install the"
            " same one everywhere"
        )
    workplace = worker.plugins.get(run)
    if not isinstance(workplace, Workplace):
        raise StorageError(f"the worker {worker.address} does not know the run any more")
    return workplace.run(key, task, witnesses)
