"""Many operations at once in one thread: reads, small writes, looks and deletes, the latter grouped."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
from mediagit_storage.backends.s3.client import Call, Client
from mediagit_storage.backends.s3.deleting import Deleter
from mediagit_storage.backends.s3.parts import small_file
from mediagit_storage.backends.s3.reading import Reader
from mediagit_storage.backends.s3.writing import Writer
from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.request import Request
from mediagit_storage.http.retry import Attempt, Job, Retried
from mediagit_storage.http.retry_batch import JobResult
from mediagit_storage.scope import context_inside, inner_scope
from mediagit_storage.types import ObjectInfo, ReadOptions

__all__ = ["BatchRunner"]

#: Sources of at most this many bytes are read into memory and sent by the batch itself.
_SMALL: Final = 8 * 1024 * 1024
#: Writes that need a thread of their own, because they are large or their source may block.
_THREADS: Final = 4

Value: TypeAlias = Content | ObjectInfo | None
#: What makes the completions of an answer.
Finish: TypeAlias = Callable[[Retried], Iterator[Completion]]


class BatchRunner:
    """Runs batches on one bucket."""

    def __init__(self, client: Client, reader: Reader, writer: Writer, deleter: Deleter) -> None:
        self.client = client
        self.reader = reader
        self.writer = writer
        self.deleter = deleter

    def run(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """Carry out operations within limits, yielding each as it completes."""
        with closing(_Batch(self, operations, limits)) as batch:
            yield from batch.completions()


class _Aside(Exception):  # noqa: N818  # never raised to anybody: it carries a completion through the batch
    def __init__(self, completion: Completion) -> None:
        super().__init__()
        self.completion = completion


class _Travelling(NamedTuple):
    operations: tuple[Operation, ...]
    finish: Finish
    held: int


class _Batch:
    def __init__(self, runner: BatchRunner, operations: Iterator[Operation | None], limits: BatchLimits) -> None:
        self._runner = runner
        self._client = runner.client
        self._operations = operations
        self._limits = limits
        self._waker = Waker()
        self._travelling: dict[int, _Travelling] = {}
        self._deletes: list[DeleteOperation] = []
        self._next: deque[Operation] = deque()
        self._held = 0
        self._ended = False
        self._aside: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        self._running = 0
        self._inside = inner_scope()
        self._threads: ThreadPoolExecutor | None = None

    def completions(self) -> Iterator[Completion]:
        """Everything."""
        limits = self._limits
        results = self._client.send_all(
            self._jobs(), concurrency=limits.concurrency, buffer_bytes=limits.buffer_bytes, waker=self._waker
        )
        with closing(results):
            for result in results:
                yield from self._finished(result)

    def close(self) -> None:
        """Stop what runs in threads, and wait for it."""
        if self._threads is not None:
            self._inside.cancel()
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._waker.close()

    # ---- what is to be sent

    def _jobs(self) -> Iterator[Job | None]:
        while True:
            if not self._aside.empty():
                self._running -= 1
                yield _delivery(self._aside.get())
                continue
            if self._held > self._limits.buffer_bytes:
                yield None
                continue
            operation = self._next.popleft() if self._next else self._pulled()
            if operation is None:
                if self._deletes:
                    yield self._bulk()
                elif self._ended and not self._running:
                    return
                else:
                    yield None
                continue
            yield from self._begun(operation)

    def _pulled(self) -> Operation | None:
        if self._ended:
            return None
        operation = next(self._operations, _END)
        if isinstance(operation, _End):
            self._ended = True
            return None
        return operation

    def _begun(self, operation: Operation) -> Iterator[Job | None]:
        """The jobs that an operation leads to now; deletes are gathered first."""
        if isinstance(operation, DeleteOperation) and self._runner.deleter.groups(operation):
            self._deletes.append(operation)
            if len(self._deletes) >= self._client.service.max_bulk_delete:
                yield self._bulk()
            return
        if self._deletes:
            self._next.appendleft(operation)
            yield self._bulk()
            return
        try:
            job = self._job(operation)
        except Exception as error:  # noqa: BLE001  # it belongs to this operation
            job = _delivery(Completion(operation, None, error))
        if job is not None:
            yield job

    def _job(self, operation: Operation) -> Job | None:
        """The request for an operation; None for what is done in a thread."""
        runner, client = self._runner, self._client
        if isinstance(operation, ReadOperation):
            wanted = operation.options.range
            if wanted.length == 0 or wanted.suffix == 0:
                return _delivery(_tried(operation, lambda: runner.reader.read(operation.key, operation.options)))
            call = runner.reader.call(operation.key, operation.options)
            return self._travels(
                operation,
                call,
                lambda retried: runner.reader.content(operation.key, operation.options, call, retried.response),
            )
        if isinstance(operation, StatOperation):
            asked = ReadOptions(version=operation.version)
            query = [] if operation.version is None else [("versionId", operation.version)]
            look = client.key_call("HEAD", operation.key, query, client.reading)
            return self._travels(
                operation,
                look,
                lambda retried: runner.reader.described(operation.key, asked, look, retried.response),
            )
        if isinstance(operation, PutOperation):
            return self._put(operation)
        return self._delete(operation)

    def _delete(self, operation: DeleteOperation) -> Job | None:
        """A delete that does not go with others."""
        key, options, deleter = operation.key, operation.options, self._runner.deleter
        if not options.missing_ok or not self._client.holds(key):
            self._in_thread(operation, lambda: deleter.delete(key, options))
            return None
        call = deleter.call(key, options)
        return self._travels(operation, call, lambda retried: deleter.done(call, options, retried))

    def _put(self, operation: PutOperation) -> Job | None:
        writer, source, options = self._runner.writer, operation.source, operation.options
        self._client.check_written(operation.key)
        data = source.buffer()
        if data is None and source.size is not None and source.size <= _SMALL and source.region() is not None:
            data = small_file(source)
        if data is None or len(data) > writer.single_limit(options) or options.late_attributes is not None:
            self._in_thread(operation, lambda: writer.put(operation.key, source, options))
            return None
        body = data if isinstance(data, bytes) else bytes(data)
        sent = writer.put_call(operation.key, body, options)

        def finish(retried: Retried) -> ObjectInfo:
            return writer.stored(operation.key, len(body), sent, options, retried)

        return self._travels(operation, sent[0], finish, held=len(body))

    def _travels(self, operation: Operation, call: Call, finish: Callable[[Retried], Value], *, held: int = 0) -> Job:
        def completions(retried: Retried) -> Iterator[Completion]:
            yield _tried(operation, lambda: finish(retried))

        job = self._client.job(call)
        self._travelling[id(job)] = _Travelling((operation,), completions, held)
        self._held += held
        return job

    def _bulk(self) -> Job:
        """One request for all deletes that were gathered."""
        group, self._deletes = tuple(self._deletes), []
        call = self._runner.deleter.bulk_call([each.key for each in group])
        job = self._client.job(call)
        self._travelling[id(job)] = _Travelling(
            group, lambda retried: self._runner.deleter.bulk_done(call, group, retried), 0
        )
        return job

    # ---- what came back

    def _finished(self, result: JobResult) -> Iterator[Completion]:
        if isinstance(result.error, _Aside):
            yield result.error.completion
            return
        travelling = self._travelling.pop(id(result.job))
        self._held -= travelling.held
        if result.retried is None:
            error = result.error or IntegrityError("a request has neither an answer nor an error")
            yield from (Completion(each, None, error) for each in travelling.operations)
            return
        yield from travelling.finish(result.retried)

    def _in_thread(self, operation: Operation, work: Callable[[], Value]) -> None:
        if self._threads is None:
            most = min(_THREADS, self._limits.concurrency)
            self._threads = ThreadPoolExecutor(most, thread_name_prefix="mgs-s3-batch")
        self._running += 1
        context = context_inside(self._inside)
        future: Future[Completion] = self._threads.submit(context.run, _tried, operation, work)
        future.add_done_callback(self._deliver)

    def _deliver(self, future: Future[Completion]) -> None:
        if not future.cancelled():
            self._aside.put(future.result())
            self._waker.wake()


class _End:
    """What `next` returns for operations that are over."""


_END: Final = _End()


def _tried(operation: Operation, work: Callable[[], Value]) -> Completion:
    try:
        return Completion(operation, work(), None)
    except Exception as error:  # noqa: BLE001  # every failure belongs to its operation
        return Completion(operation, None, error)


def _delivery(completion: Completion) -> Job:
    """A job that is nothing but a completion on its way out."""

    def build(_attempt: Attempt) -> Request:
        raise _Aside(completion)

    return Job(build)
