"""One run on a cluster: tasks out, answers back, and nothing left behind on the workers."""

from __future__ import annotations

import pickle
import queue
import secrets
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Generic, NamedTuple, TypeVar

from distributed import Future, KilledWorker
from distributed.client import FutureCancelledError

from mediagit_storage import __version__
from mediagit_storage.errors import CancelledError, ConfigError, StorageError
from mediagit_storage.scope import current_scope
from mediagit_storage.tools.dask.cluster import UNREACHED, Cluster
from mediagit_storage.tools.dask.tasks import Task
from mediagit_storage.tools.dask.witnesses import ElsewhereError, Witness, missing, sides_seen, witnesses_of
from mediagit_storage.tools.dask.workplace import Workplace, perform
from mediagit_storage.tools.sides import Side

__all__ = ["Job", "Running", "running"]

A = TypeVar("A")
T = TypeVar("T")

#: Seconds between two looks at whether the scheduler is still there.
_LOOK: Final = 1.0
#: Looks that find it gone before it is believed, and looks that find no worker before nobody waits for one any more.
_GONE: Final = 10
_ALONE: Final = 300


class Job(NamedTuple, Generic[T, A]):
    """A task, and what who gave it wants to know when it is done."""

    about: T
    task: Task[A]


class Running:
    """Gives tasks to workers, more of them than there are, and tells of each when it is done."""

    def __init__(self, cluster: Cluster, name: str, sides: Sequence[Side]) -> None:
        self._cluster = cluster
        self._name = name
        self._sides = sides
        self._witnesses = witnesses_of(sides)
        self._count = 0
        self._met: set[str] = set()

    def knows(self, side: int) -> bool:
        """Whether workers can see that the side of this number is the right one: something was in it."""
        return any(each.side == side for each in self._witnesses)

    def at_once(self) -> int:
        """How many tasks run at once now, of all workers together. One request."""
        threads = self._cluster.threads()
        self._met.update(threads)
        return sum(threads.values())

    def has_lost_workers(self) -> bool:
        """Whether a worker has gone since this began, so that others may have found done what it had to do. One request."""
        return not self._met <= self._cluster.threads().keys()

    def done(
        self, jobs: Iterator[Job[T, A]], rest: Callable[[T, A, bool], Iterable[Job[T, A]]]
    ) -> Generator[tuple[T, A], None, None]:
        """What each job was about, and its answer, as they come. ``jobs`` are asked for when there is room for them.

        ``rest`` makes further jobs of an answer, and is told whether workers wait for some. A worker that dies is nothing:
        another one does its tasks again. Raises what a task raises, which ends all the others.
        """
        running: dict[Future[A], tuple[Job[T, A], Sequence[Witness]]] = {}
        waiting: deque[Job[T, A]] = deque()
        ended: queue.SimpleQueue[Future[A] | None] = queue.SimpleQueue()
        try:
            with current_scope().on_cancel(lambda: ended.put(None)):
                while True:
                    room = 2 * max(self.at_once(), 1) - len(running)
                    for _ in range(room):
                        job = waiting.popleft() if waiting else next(jobs, None)
                        if job is None:
                            break
                        running[self._given(job.task, ended)] = job, self._witnesses
                    if not running:
                        return
                    future = self._next(ended)
                    job, given = running.pop(future)
                    try:
                        answer = self._taken(future)
                    except CancelledError:
                        current_scope().check()
                        # Its worker was stopped, in order: another one does it.
                        waiting.append(job)
                        continue
                    except ElsewhereError:
                        if given is self._witnesses and not self._found_others():
                            raise
                        waiting.append(job)
                        continue
                    idle = not waiting and len(running) < self.at_once()
                    waiting.extend(rest(job.about, answer, idle))
                    yield job.about, answer
        finally:
            if not self._cluster.lost:
                with suppress(*UNREACHED):  # what ends this is told, not what cannot be told the scheduler any more
                    self._cluster.client.cancel([*running])

    def _found_others(self) -> bool:
        """Whether there are other witnesses now: the old ones have gone, or there were none, perhaps by this very run."""
        before, gone = sides_seen(self._witnesses), missing(self._sides, self._witnesses)
        self._witnesses = witnesses_of(self._sides)
        return gone or sides_seen(self._witnesses) != before

    def _given(self, task: Task[A], ended: queue.SimpleQueue[Future[A] | None]) -> Future[A]:
        self._count += 1
        key = f"{self._name}-{self._count}"
        future: Future[A] = self._cluster.client.submit(
            perform, __version__, self._name, key, task, self._witnesses, key=key, pure=False
        )
        future.add_done_callback(ended.put)
        return future

    def _next(self, ended: queue.SimpleQueue[Future[A] | None]) -> Future[A]:
        scope, missed, alone = current_scope(), 0, 0
        while True:
            scope.check()
            left = scope.remaining()
            try:
                future = ended.get(timeout=_LOOK if left is None else max(0.0, min(left, _LOOK)))
            except queue.Empty:
                missed = 0 if self._cluster.client.status == "running" else missed + 1
                if missed > _GONE:
                    raise self._cluster.gone() from None
                alone = 0 if missed or self.at_once() else alone + 1
                if alone > _ALONE:
                    raise self._cluster.deserted() from None
                continue
            if future is not None:
                return future

    def _taken(self, future: Future[A]) -> A:
        try:
            return self._answer(future)
        finally:
            # Not only when its last reference goes: an error that somebody keeps has one, in its frames.
            future.release()

    def _answer(self, future: Future[A]) -> A:
        scope = current_scope()
        while True:
            scope.check()
            try:
                return future.result(timeout=_LOOK)
            except TimeoutError as error:
                if isinstance(error, StorageError):
                    raise
                # The worker that had the answer is gone: another one does the task again.
            except KilledWorker as error:
                raise StorageError(
                    f"several workers died of one task, which is given to no more of them ({error.last_worker.address} was the"
                    " last): look at what they wrote"
                ) from None
            except FutureCancelledError:
                raise self._cluster.gone() from None


@contextmanager
def running(cluster: Cluster, sides: Sequence[Side]) -> Iterator[Running]:
    """Let all workers, also those that come later, open these sides for what is given to them inside.

    A storage with a literal secret, or one that is only in this process, is a `ConfigError` before anything is asked of it.
    In the end they are closed again, and what still runs there is cancelled.
    """
    name = f"mgs-{secrets.token_hex(8)}"
    places = _pickled(sides)
    given = Running(cluster, name, sides)
    cluster.client.register_plugin(Workplace(name, places), name=name)
    try:
        yield given
    finally:
        if not cluster.lost:
            with suppress(*UNREACHED):  # a scheduler that is gone has no plugins
                cluster.client.unregister_worker_plugin(name)


def _pickled(sides: Sequence[Side]) -> bytes:
    for side in sides:
        try:
            pickle.dumps(side)
        except (TypeError, StorageError, pickle.PicklingError) as error:
            raise ConfigError(
                f"workers cannot open {side.store.description}: {error}. Name what they can open themselves: secrets by the"
                " environment or by files that each of them has, and folders that all of them share"
            ) from None
    return pickle.dumps([*sides])
