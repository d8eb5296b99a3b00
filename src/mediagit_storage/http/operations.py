"""Many operations at once in one thread: requests side by side, deletes grouped where the server takes them so, and
what would block the others in a few threads.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Final, NamedTuple, TypeAlias

from mediagit_storage.backend import (
    BatchLimits,
    Completion,
    Content,
    DeleteOperation,
    Operation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.bell import listening
from mediagit_storage.ending import Pool
from mediagit_storage.errors import IntegrityError, StorageError, UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.request import Request
from mediagit_storage.http.retry import Attempt, Job, Retried
from mediagit_storage.http.retry_batch import JobResult
from mediagit_storage.scope import Scope, context_inside, inner_scope
from mediagit_storage.types import ObjectInfo

__all__ = ["SMALL", "Group", "Operations", "Sending", "Step", "Value", "Working", "run_operations"]

#: Sources of at most this many bytes are read into memory and sent by the batch itself.
SMALL: Final = 8 * 1024 * 1024
#: What runs in threads of its own: large writes, and those whose source may block.
_THREADS: Final = 4

Value: TypeAlias = Content | ObjectInfo | None


class Sending(NamedTuple):
    """One request of an operation. ``finish`` makes the operation's value of the answer, good or bad (raising what it
    means), or names the request that follows it.

    ``held`` counts the bytes of its body. ``undo`` cleans up where there will be no answer: the connection failed for
    good, or the batch was stopped.
    """

    call: Call
    finish: Callable[[Retried], Value | Sending]
    held: int = 0
    undo: Callable[[], None] | None = None


class Working(NamedTuple):
    """What an operation needs more for than requests one after the other; done in a thread."""

    work: Callable[[], Value]


Step: TypeAlias = Sending | Working


class Group(NamedTuple):
    """One request for many deletes, and what its answer means for each."""

    call: Call
    finish: Callable[[Retried], Iterator[Completion]]


class Operations(ABC):
    """How a backend carries out the operations of a batch. What a method raises belongs to its operation."""

    #: The most deletes that one request takes; below 2 they go by themselves.
    group_limit: int = 0

    @abstractmethod
    def read(self, operation: ReadOperation) -> Step:
        """The request of a read. What is to be empty has none: see `HttpReader.read`."""

    @abstractmethod
    def put(self, operation: PutOperation) -> Step:
        """The request of a small put; a large or slow source is `Working`."""

    @abstractmethod
    def stat(self, operation: StatOperation) -> Step:
        """The request of a look."""

    @abstractmethod
    def delete(self, operation: DeleteOperation) -> Step:
        """The request of one delete."""

    def groups(self, operation: DeleteOperation) -> bool:
        """Whether this delete may go with others."""
        return False

    def group(self, operations: Sequence[DeleteOperation]) -> Group:
        """One request for all of them: only called where `groups` was true for each."""
        raise UnsupportedError("this storage takes no deletes in groups")


def run_operations(
    client: HttpClient, operations: Operations, feed: Iterator[Operation | None], limits: BatchLimits
) -> Generator[Completion, None, None]:
    """Carry out operations within limits, yielding each as it completes. See `StorageBackend.batch`."""
    with closing(_Batch(client, operations, feed, limits)) as batch:
        yield from batch.completions()


class _Aside(Exception):  # noqa: N818  # never raised to anybody: it carries a completion through the batch
    def __init__(self, completion: Completion) -> None:
        super().__init__()
        self.completion = completion


class _Grouped(NamedTuple):
    operations: tuple[DeleteOperation, ...]
    finish: Callable[[Retried], Iterator[Completion]]


class _Batch:
    def __init__(
        self, client: HttpClient, operations: Operations, feed: Iterator[Operation | None], limits: BatchLimits
    ) -> None:
        self._client = client
        self._operations = operations
        self._feed = feed
        self._limits = limits
        self._waker = Waker()
        self._steps: dict[type[Operation], Callable[..., Step]] = {
            ReadOperation: operations.read,
            PutOperation: operations.put,
            StatOperation: operations.stat,
            DeleteOperation: operations.delete,
        }
        self._travelling: dict[Job, tuple[Operation, Sending] | _Grouped] = {}
        self._deletes: list[DeleteOperation] = []
        self._next: deque[Operation] = deque()
        self._following: deque[Job] = deque()
        self._held = 0
        self._ended = False
        self._aside: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        self._running = 0
        self._inside = inner_scope()
        self._threads: Pool | None = None

    def completions(self) -> Iterator[Completion]:
        """Everything."""
        limits = self._limits
        results = self._client.send_all(
            self._jobs(), concurrency=limits.concurrency, buffer_bytes=limits.buffer_bytes, waker=self._waker
        )
        with closing(results), listening(self._heard):
            for result in results:
                completion = self._finished(result)
                if isinstance(completion, Completion):
                    yield completion
                elif completion is not None:
                    yield from completion

    def close(self) -> None:
        """Stop what runs in threads and wait for it; clean up after what travelled."""
        try:
            if self._threads is not None:
                self._inside.cancel()
                self._threads.shutdown(wait=True, cancel_futures=True)
        finally:
            self._waker.close()
            for each in self._travelling.values():
                if not isinstance(each, _Grouped):
                    self._undo(each[1])

    def _heard(self, look: bool) -> None:  # noqa: FBT001  # what a bell says
        if look:
            self._waker.look = True
        self._waker.wake()

    # ---- what is to be sent

    def _jobs(self) -> Iterator[Job | None]:
        while True:
            if self._following:
                yield self._following.popleft()
                continue
            if not self._aside.empty():
                self._running -= 1
                yield _delivery(self._aside.get())
                continue
            if self._held > self._limits.buffer_bytes or self._running >= self._limits.concurrency:
                yield None
                continue
            operation = self._next.popleft() if self._next else self._pulled()
            if operation is None:
                if self._deletes:
                    yield self._grouped()
                elif self._ended and not self._running and not self._travelling:
                    return
                else:
                    yield None
                continue
            job = self._begun(operation)
            if job is not None:
                yield job

    def _pulled(self) -> Operation | None:
        if self._ended:
            return None
        operation = next(self._feed, _END)
        if isinstance(operation, _End):
            self._ended = True
            return None
        return operation

    def _begun(self, operation: Operation) -> Job | None:
        """The job that an operation leads to now, if any; deletes are gathered first."""
        if isinstance(operation, DeleteOperation) and self._operations.groups(operation):
            self._deletes.append(operation)
            return self._grouped() if len(self._deletes) >= self._operations.group_limit else None
        if self._deletes:
            self._next.appendleft(operation)
            return self._grouped()
        try:
            step = self._steps[type(operation)](operation)
        except Exception as error:  # noqa: BLE001  # it belongs to this operation
            return _delivery(Completion(operation, None, error))
        if isinstance(step, Sending):
            return self._travels(operation, step)
        self._in_thread(operation, step.work)
        return None

    def _travels(self, operation: Operation, sending: Sending) -> Job:
        job = self._client.job(sending.call)
        job.scope = operation.scope
        self._travelling[job] = operation, sending
        self._held += sending.held
        return job

    def _grouped(self) -> Job:
        """One request for all deletes that were gathered."""
        operations, self._deletes = tuple(self._deletes), []
        group = self._operations.group(operations)
        job = self._client.job(group.call)
        if len(operations) == 1:
            # Several are not dropped for the sake of one.
            job.scope = operations[0].scope
        self._travelling[job] = _Grouped(operations, group.finish)
        return job

    # ---- what came back

    def _finished(self, result: JobResult) -> Completion | Iterator[Completion] | None:
        """What a result completes: one operation, those of a group, or none yet."""
        job, retried, error = result
        if isinstance(error, _Aside):
            return error.completion
        travelling = self._travelling.pop(job)
        if isinstance(travelling, _Grouped):
            return _grouped_completions(travelling, retried, error)
        operation, sending = travelling
        self._held -= sending.held
        if retried is None:
            self._undo(sending)
            return Completion(operation, None, error or _unanswered())
        try:
            value = sending.finish(retried)
        except Exception as failure:  # noqa: BLE001  # every failure belongs to its operation
            return Completion(operation, None, failure)
        if isinstance(value, Sending):
            self._following.append(self._travels(operation, value))
            return None
        return Completion(operation, value, None)

    def _undo(self, sending: Sending) -> None:
        if sending.undo is not None:
            try:
                self._client.aside(sending.undo)
            except StorageError:
                # The operation's own failure is what is reported.
                return

    def _in_thread(self, operation: Operation, work: Callable[[], Value]) -> None:
        if self._threads is None:
            most = min(_THREADS, self._limits.concurrency)
            self._threads = Pool(most, thread_name_prefix="mgs-batch")
        self._running += 1
        own = operation.scope
        inside = self._inside if own is None else Scope(own.remaining(), parent=self._inside)
        run = context_inside(inside).run
        future: Future[Completion] = self._threads.submit(run, _tried, operation, work, inside)
        future.add_done_callback(self._deliver)

    def _deliver(self, future: Future[Completion]) -> None:
        if not future.cancelled():
            self._aside.put(future.result())
            self._waker.wake()


class _End:
    """What `next` returns for operations that are over."""


_END: Final = _End()


def _tried(operation: Operation, work: Callable[[], Value], inside: Scope) -> Completion:
    try:
        if operation.scope is None:
            return Completion(operation, work(), None)
        with operation.scope.on_cancel(inside.cancel):
            inside.check()
            return Completion(operation, work(), None)
    except Exception as error:  # noqa: BLE001  # every failure belongs to its operation
        return Completion(operation, None, error)


def _grouped_completions(group: _Grouped, retried: Retried | None, error: Exception | None) -> Iterator[Completion]:
    if retried is not None:
        return group.finish(retried)
    failure = error or _unanswered()
    return (Completion(each, None, failure) for each in group.operations)


def _unanswered() -> IntegrityError:
    return IntegrityError("a request has neither an answer nor an error")


def _delivery(completion: Completion) -> Job:
    """A job that is nothing but a completion on its way out."""

    def build(_attempt: Attempt) -> Request:
        raise _Aside(completion)

    return Job(build)
