"""One source for several members: what can be read once only goes to all of them while the primary reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from hashlib import blake2b
from typing import Final

from mediagit_storage.ending import uninterrupted
from mediagit_storage.errors import CancelledError, IntegrityError
from mediagit_storage.layers.mirror.members import Member
from mediagit_storage.pipe import Pipe
from mediagit_storage.scope import Scope, context_inside, current_scope, inner_scope
from mediagit_storage.source import FileState, IterableSource, Source, changed_file
from mediagit_storage.types import Attributes, BytesLike

__all__ = ["Again", "Late", "Shared"]

_NO_THREADS: Final = "the primary stored an object whose source it had not read"
_OTHER_BYTES: Final = "the source gave other bytes when it was read again"

#: Seconds for which the end of puts is waited for before it is asked whether the time for that is over.
_PATIENCE: Final = 1.0


class Late:
    """Attributes that are decided when the primary has read everything, and are then the same for all."""

    def __init__(self, decide: Callable[[], Attributes]) -> None:
        self._decide = decide
        self.attributes: Attributes | None = None

    def __call__(self) -> Attributes:
        """Decide."""
        self.attributes = self._decide()
        return self.attributes

    def decided(self) -> Attributes:
        """What was decided; for those who commit after the primary."""
        return self.attributes or Attributes()


class Again(Source):
    """A source that can be read again, for those who read it after the primary, which reads `first`.

    To be made before that. It shows no file, as the primary's reading of that is accounted for already. `IntegrityError`
    in the place of its end where it is not what the primary has read: the file was changed since, or other bytes came.
    """

    rewindable = True

    def __init__(self, inner: Source, *, declared: bool) -> None:
        self._inner = inner
        self.size = inner.size
        # With a declared checksum every reading proves itself, and asking for the file would read all of it.
        region = None if declared else inner.region()
        self._before = None if region is None else (region.descriptor, FileState.of(region.descriptor))
        self._first = None if declared or region is not None else _First(inner)

    @property
    def first(self) -> Source:
        """What the primary is to read."""
        return self._inner if self._first is None else self._first

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks."""
        if self._first is None:
            yield from self._inner.chunks()
        else:
            yield from self._compared(self._first.digest())
        if self._before is not None and FileState.of(self._before[0]) != self._before[1]:
            raise changed_file()

    def _compared(self, expected: bytes) -> Iterator[BytesLike]:
        hasher = blake2b()
        for chunk in self._inner.chunks():
            hasher.update(chunk)
            yield chunk
        if hasher.digest() != expected:
            raise IntegrityError(_OTHER_BYTES)


class _First(Source):
    """The reading of the primary, which is hashed: of several, the last."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.size = inner.size
        self.rewindable = inner.rewindable
        self._hasher = blake2b()

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks."""
        self._hasher = hasher = blake2b()
        for chunk in self._inner.chunks():
            hasher.update(chunk)
            yield chunk

    def digest(self) -> bytes:
        """Of what was read."""
        return self._hasher.digest()


class Shared(Source):
    """A source that is read once, by the primary; each replica's put gets the same pieces in a thread of its own.

    A replica's source does not end before `commit`: until the primary has taken the object no replica can have it.
    `abandon` ends them all with an error, so that they store nothing. At most 8 MiB wait for each replica; one that is
    slower than that slows the others down, and one that fails is left behind. Nobody waits for room, or for the end of a
    put, once the surrounding scope is over.
    """

    rewindable = False

    def __init__(self, inner: Source, replicas: Sequence[Member], put: Callable[[Member, Source], None]) -> None:
        self._inner = inner
        self._replicas = [each for each in replicas if each.up]
        self._put = put
        self.size = inner.size
        self._inside: Scope | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._pipes: dict[int, Pipe] = {}
        self._puts: dict[int, Future[None]] = {}

    def chunks(self) -> Iterator[BytesLike]:
        """The inner pieces, handed to the replicas as well."""
        self._start()
        for chunk in self._inner.chunks():
            if len(chunk):
                # A piece is only valid until the next is asked for, and the replicas may come to it later.
                piece = chunk if isinstance(chunk, bytes) else bytes(chunk)
                for pipe in self._pipes.values():
                    pipe.send(piece)
                yield piece

    def commit(self, member: Member) -> None:
        """The primary has the object: let this replica have it as well, and wait for that. Raises why it has it not.

        Also what ends the surrounding scope; a replica that does not notice that may still take the object later.
        """
        if member.number not in self._puts:
            raise CancelledError(_NO_THREADS)
        current_scope().check()
        self._pipes[member.number].finish()
        _outlast([self._puts[member.number]])
        self._puts[member.number].result()

    def close(self) -> None:
        """Abandon whatever was not committed, and wait for its end: as long as a replica takes to notice.

        Where the surrounding scope ends before that, its error is raised. Who was not committed stores nothing all the same.
        """
        for number, pipe in self._pipes.items():
            if not self._puts[number].done():
                pipe.abort()
        if self._threads is not None:
            running = [each for each in self._puts.values() if not each.done()]
            if self._inside is not None and running:
                self._inside.cancel()
            try:
                if running:
                    uninterrupted(lambda: _outlast(running))
            finally:
                self._threads.shutdown(wait=False)

    def _start(self) -> None:
        if not self._replicas:
            return
        self._inside = inner_scope()
        self._threads = ThreadPoolExecutor(len(self._replicas), thread_name_prefix="mgs-mirror")
        for member in self._replicas:
            pipe = self._pipes[member.number] = Pipe()
            run = context_inside(self._inside).run
            self._puts[member.number] = self._threads.submit(run, self._store, member, pipe)

    def _store(self, member: Member, pipe: Pipe) -> None:
        source = IterableSource(iter(pipe))
        source.size = self._inner.size
        try:
            self._put(member, source)
        finally:
            pipe.leave()


def _outlast(puts: Iterable[Future[None]]) -> None:
    """Wait for the end of all, or raise what ends the surrounding scope before."""
    while puts := wait(puts, _PATIENCE).not_done:
        current_scope().check()
