"""A batch whose operations are prepared one by one, when the batch below asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mediagit_storage.backend import Completion, Content, Operation
from mediagit_storage.errors import StorageError
from mediagit_storage.layers.checksum.sources import Prepared
from mediagit_storage.types import ObjectInfo

__all__ = ["MappedBatch", "Running"]

Value = Content | ObjectInfo | None


class Running(NamedTuple):
    """``sent`` is what the inner batch does in the place of ``operation``; a put has what it was ``prepared`` to."""

    sent: Operation
    operation: Operation
    prepared: Prepared | None = None


class MappedBatch:
    """The operations of one inner batch: ``begin`` makes each, ``end`` makes the caller's value out of its own.

    It goes up to the first operation that cannot be begun, which is answered for when the inner batch is over: so an
    inner batch that has nothing to do is never asked to wait for the answer.
    """

    def __init__(
        self,
        first: Operation,
        rest: Iterator[Operation | None],
        begin: Callable[[Operation], Running],
        end: Callable[[Running, Value], Value],
    ) -> None:
        self._first = first
        self._rest = rest
        self._begin = begin
        self._end = end
        # By identity: two operations may be equal, and a source need not be hashable. The value keeps both alive.
        self._running: dict[int, Running] = {}
        self._failed: Completion | None = None

    def operations(self) -> Iterator[Operation | None]:
        """What the inner batch is to do."""
        sent = self._sent(self._first)
        if sent is None:
            return
        yield sent
        for operation in self._rest:
            sent = None if operation is None else self._sent(operation)
            if sent is None and operation is not None:
                return
            yield sent

    def completions(self, inner: Iterator[Completion]) -> Iterator[Completion]:
        """What became of them, under the caller's own operations."""
        try:
            for sent, value, error in inner:
                running = self._running.pop(id(sent))
                completion = self._completion(running, value, error)
                _close(running)
                yield completion
            if self._failed is not None:
                yield self._failed
        finally:
            for each in self._running.values():
                _close(each)

    def _sent(self, operation: Operation) -> Operation | None:
        """What is handed on; None where that failed, which is told later."""
        try:
            running = self._begin(operation)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its item
            self._failed = Completion(operation, None, error)
            return None
        self._running[id(running.sent)] = running
        return running.sent

    def _completion(self, running: Running, value: Value, error: Exception | None) -> Completion:
        try:
            return Completion(running.operation, self._end(running, value), error)
        except StorageError as wrong:
            return Completion(running.operation, None, wrong)


def _close(running: Running) -> None:
    if running.prepared is not None:
        running.prepared.close()
