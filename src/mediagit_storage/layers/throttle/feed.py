"""The operations of a batch, each handed on when the limits have room for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mediagit_storage.backend import Completion, Content, Operation, PutOperation, ReadOperation
from mediagit_storage.layers.throttle.gate import Gate

__all__ = ["Feed", "Gates"]


class Gates(NamedTuple):
    """The three limits of a layer."""

    up: Gate
    down: Gate
    requests: Gate


class Feed:
    """Feeds the inner batches of one outer batch. For one thread.

    An inner batch ends at a put that is too large to be paid as a whole: it is left in `take_large`.
    """

    def __init__(self, operations: Iterator[Operation | None], gates: Gates) -> None:
        self._outer = operations
        self._gates = gates
        self._flying = 0
        self._large: PutOperation | None = None

    def operations(self) -> Iterator[Operation | None]:
        """What one inner batch pulls from."""
        for operation in self._outer:
            if operation is None:
                yield None
                continue
            yield from self._waited(self._gates.requests, 1)
            if isinstance(operation, PutOperation) and self._gates.up.limited:
                size = operation.source.size
                if size is None or size > self._gates.up.room:
                    self._large = operation
                    return
                yield from self._waited(self._gates.up, size)
            elif isinstance(operation, ReadOperation):
                # How much will come is not known yet: it is enough that nothing is owed for what came before.
                yield from self._waited(self._gates.down, 0)
            self._flying += 1
            yield operation

    def counted(self, completions: Iterator[Completion]) -> Iterator[Completion]:
        """The completions, with what they brought paid for."""
        for completion in completions:
            self._flying -= 1
            if isinstance(completion.value, Content):
                self._gates.down.count(len(completion.value.data))
            yield completion

    def take_large(self) -> PutOperation | None:
        """The put that ended the inner batch, if it was one that did."""
        large, self._large = self._large, None
        return large

    def _waited(self, gate: Gate, amount: float) -> Iterator[None]:
        """None for as long as ``amount`` has to wait while others travel; alone it waits here, and nobody is kept up."""
        while not gate.try_pass(amount):
            if not self._flying:
                gate.pass_through(amount)
                return
            yield None
