"""Ranges of objects written into an open file while they arrive: nothing of them is joined or held until it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from mediagit_storage.backend import (
    BatchLimits,
    Content,
    DeleteOperation,
    PutOperation,
    ReadOperation,
    StatOperation,
)
from mediagit_storage.errors import IntegrityError
from mediagit_storage.facets import Placed, Placing, RangesIgnoredError
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.operations import Operations, Sending, Step, Value, run_operations
from mediagit_storage.http.ranges import parse_content_range
from mediagit_storage.http.retry import Retried
from mediagit_storage.positions import write_at, write_pieces_at

__all__ = ["FileSink", "place_ranges"]

#: What may be held in memory of an answer that is not the range, in bytes beyond the length of that.
_BESIDE: Final = 64 * 1024
#: So many bytes of a range are written at a time: small enough to be in the processor's cache still when they are.
_GATHERED: Final = 256 * 1024


class FileSink:
    """The place of one range in an open file. Each attempt at the range begins at its start again.

    What comes is taken only as long as the answer says that it is this range, and none of it outside of the place.
    """

    __slots__ = ("_arrived", "_descriptor", "_end", "_gathered", "_pieces", "_position", "_start", "_told")

    def __init__(self, descriptor: int, start: int, length: int, arrived: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._start = start
        self._end = start + length
        self._arrived = arrived
        self._position = start
        self._told = start
        self._pieces: list[bytes] = []
        self._gathered = 0

    @property
    def length(self) -> int:
        """Bytes of the range."""
        return self._end - self._start

    def accepts(self, status: int, headers: Headers) -> bool:
        """Whether the body of such an answer belongs here; then a new attempt begins. Others are read as ever.

        Raises `RangesIgnoredError` for the whole of an object that is more than this range: each range would bring it
        again, into memory.
        """
        part = headers.get("content-range")
        if part is None and status == 200 and (self._start or headers.get("content-length") != str(self._end)):
            raise RangesIgnoredError("the server, or something on the way to it, ignores ranges")
        if status not in {200, 206} or part is None:
            return False
        found = parse_content_range(part)
        if (found.start, found.length) != (self._start, self.length):
            return False
        self._position = self._start
        self._drop()
        return True

    def take(self, piece: bytes) -> None:
        """The next piece. Raises `OSError`, `IntegrityError` for more than was announced, and what ``arrived`` raises."""
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= _GATHERED:
            self._write()

    def finish(self) -> int:
        """Write the last of it, and tell how many bytes have come in this attempt. Raises like `take`."""
        if self._pieces:
            self._write()
        return self._position - self._start

    def put(self, data: bytes) -> None:
        """Write the range, which came in another way."""
        write_at(self._descriptor, data, self._start)
        self._tell(self._start + len(data))

    def _write(self) -> None:
        end = self._position + self._gathered
        if end > self._end:
            raise IntegrityError(f"the server sent more than the {self.length:,} bytes of a range")
        write_pieces_at(self._descriptor, self._pieces, self._position)
        self._position = end
        self._drop()
        self._tell(end)

    def _drop(self) -> None:
        self._pieces.clear()
        self._gathered = 0

    def _tell(self, end: int) -> None:
        # What comes once more in a second attempt has been told of.
        if end > self._told:
            more, self._told = end - self._told, end
            self._arrived(more)


def place_ranges(
    client: HttpClient, operations: Operations, placings: Iterator[Placing], limits: BatchLimits
) -> Iterator[Placed]:
    """Carry out placings as the reads of a batch, whose answers go to their places. See `RangePlacing`."""
    placing = _Placing(operations)
    batch = run_operations(client, placing, placing.reads(placings), limits)
    with closing(batch):
        for operation, value, error in batch:
            yield placing.placed(operation, value, error)


class _Placing(Operations):
    """Another's operations, whose reads have sinks."""

    def __init__(self, inner: Operations) -> None:
        self._inner = inner
        # By identity, which the operation's place here keeps.
        self._flying: dict[int, tuple[ReadOperation, Placing, FileSink]] = {}

    def reads(self, placings: Iterator[Placing]) -> Iterator[ReadOperation]:
        """The reads that the batch pulls."""
        for each in placings:
            sink = FileSink(each.descriptor, each.start, each.length, each.arrived)
            operation = ReadOperation(each.key, each.reading)
            self._flying[id(operation)] = operation, each, sink
            yield operation

    def placed(self, operation: object, value: Value, error: Exception | None) -> Placed:
        """What the end of a read means."""
        _, placing, sink = self._flying.pop(id(operation))
        if error is not None or not isinstance(value, Content):
            return Placed(placing, None, 0, 0, error or IntegrityError("a read has neither content nor an error"))
        if not value.data:
            return Placed(placing, value.info, value.start, sink.finish(), None)
        if (value.start, len(value.data)) == (placing.start, placing.length):
            sink.put(value.data)
        return Placed(placing, value.info, value.start, len(value.data), None)

    def read(self, operation: ReadOperation) -> Step:
        """The same request, with a place for its answer."""
        step = self._inner.read(operation)
        return _into(step, self._flying[id(operation)][2]) if isinstance(step, Sending) else step

    def put(self, operation: PutOperation) -> Step:
        """Forwarded."""
        return self._inner.put(operation)

    def stat(self, operation: StatOperation) -> Step:
        """Forwarded."""
        return self._inner.stat(operation)

    def delete(self, operation: DeleteOperation) -> Step:
        """Forwarded."""
        return self._inner.delete(operation)


def _into(step: Sending, sink: FileSink) -> Sending:
    """The same request, and those that follow it, with a place for the answer. What does not go there is bounded."""

    def finish(retried: Retried) -> Value | Sending:
        value = step.finish(retried)
        return _into(value, sink) if isinstance(value, Sending) else value

    return step._replace(call=step.call._replace(sink=sink, max_body=sink.length + _BESIDE), finish=finish)
