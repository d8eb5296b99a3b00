"""Writing an object piece by piece: a bounded pipe that feeds one put in a thread of its own.

What fits into one piece needs neither: it is put when the writer is closed. Many may be open, and most are small.

The writer is not an `io.IOBase` on purpose: the garbage collector closes those, and would so publish half an object.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Final, Self

from mediagit_storage.ending import uninterrupted
from mediagit_storage.errors import ClosedError
from mediagit_storage.pipe import Pipe
from mediagit_storage.scope import Scope, context_inside, current_scope, inner_scope
from mediagit_storage.source import BytesSource, IterableSource, Source
from mediagit_storage.types import BytesLike, ObjectInfo

__all__ = ["ObjectWriter"]

#: Small writes are joined to pieces of this size.
_PIECE_BYTES: Final = 256 * 1024


class ObjectWriter:
    """A binary file to write to. `close` commits; an exception in a ``with`` block, `abort`, or losing the writer
    without closing it leaves the old object and nothing new. One thread at a time, in the process that opened it.
    """

    def __init__(self, store: Callable[[Source], ObjectInfo], name: str) -> None:
        self.name = name
        self._store = store
        self._context = copy_context()
        self._process = os.getpid()
        self._pipe = Pipe()
        self._parts: list[bytes] = []
        self._pending = 0
        self._written = 0
        self._closed = False
        #: Whether bytes that `write` took in may be missing from what was handed over.
        self._torn = False
        self._info: ObjectInfo | None = None
        self._outcome: list[ObjectInfo | BaseException] = []
        self._thread: threading.Thread | None = None
        self._inside: Scope | None = None
        self._finalizer = weakref.finalize(self, _abandon, self._pipe, self._process)

    def write(self, data: BytesLike) -> int:
        """Take in all of ``data`` and return its length. Raises what the storage raised, as soon as it is known."""
        self._require_open()
        piece = bytes(memoryview(data))  # a private copy; a str has no memory to view and is a TypeError
        self._parts.append(piece)
        self._pending += len(piece)
        self._written += len(piece)
        if self._pending >= _PIECE_BYTES:
            self._hand_over()
        return len(piece)

    def flush(self) -> None:
        """Hand over what was written so far. It becomes visible only with `close`."""
        self._require_open()
        self._hand_over()

    def close(self) -> None:
        """Commit: the object is complete, durable and visible when this returns. Closing again does nothing.

        Raises what the put raised, also when `write` did so before; nothing is stored then. An interrupt stops the put,
        and is raised when that has ended: the old object is there or the new one, and nothing goes on.
        """
        if self._closed:
            return
        self._require_process()
        self._closed = True
        rest = b"".join(self._parts)
        if self._thread is None:
            self._finalizer()
            self._info = self._context.run(self._store, BytesSource(rest))
            return
        try:
            if self._torn:
                self._pipe.abort()
            elif rest:
                self._pipe.send(rest)
            self._pipe.finish()
        except BaseException:
            self._give_up()
            raise
        self._info = self._result(self._thread)

    def abort(self) -> None:
        """Give up: nothing is stored, the old object stays."""
        if self._closed:
            return
        self._closed = True
        self._give_up()

    @property
    def info(self) -> ObjectInfo:
        """What was stored, after `close`."""
        if self._info is None:
            raise ValueError("the object is stored when close() has returned")
        return self._info

    @property
    def closed(self) -> bool:
        """Whether `close` or `abort` was called."""
        return self._closed

    @property
    def mode(self) -> str:
        """``wb``."""
        return "wb"

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def readable(self) -> bool:
        """No."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """No: objects are written from start to end."""
        return False

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _hand_over(self) -> None:
        if not self._pending:
            return
        current_scope().check()
        thread = self._thread or self._begin()
        self._torn = True
        piece = b"".join(self._parts)
        self._parts.clear()
        self._pending = 0
        taken = self._pipe.send(piece)
        self._torn = False
        if not taken:
            self._result(thread)

    def _begin(self) -> threading.Thread:
        self._inside = self._context.run(inner_scope)
        thread = threading.Thread(
            target=self._context.run(context_inside, self._inside).run,
            args=(_feed, self._store, self._pipe, self._outcome),
            name="mgs-writer",
            daemon=True,  # an abandoned writer must not keep the interpreter alive; it commits nothing
        )
        thread.start()
        self._thread = thread
        return thread

    def _give_up(self) -> None:
        """Let nothing be stored, and wait for the end of the put."""
        _abandon(self._pipe, self._process)
        if self._thread is not None and self._process == os.getpid():
            self._see_through(self._thread)

    def _see_through(self, thread: threading.Thread) -> None:
        uninterrupted(thread.join, stop=None if self._inside is None else self._inside.cancel)

    def _result(self, thread: threading.Thread) -> ObjectInfo:
        self._see_through(thread)
        outcome = self._outcome[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the writer is closed")
        self._require_process()

    def _require_process(self) -> None:
        """What stores the object stayed behind when this process was forked off."""
        if self._process != os.getpid():
            raise ClosedError("the writer belongs to the process that opened it")


def _abandon(pipe: Pipe, process: int) -> None:
    """Let nothing be stored. A forked child leaves the pipe alone: its parent may hold the lock, for ever here."""
    if process == os.getpid():
        pipe.abort()


def _feed(store: Callable[[Source], ObjectInfo], pipe: Pipe, outcome: list[ObjectInfo | BaseException]) -> None:
    try:
        outcome.append(store(IterableSource(iter(pipe))))
    except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that writes
        outcome.append(error)
    finally:
        pipe.leave()
