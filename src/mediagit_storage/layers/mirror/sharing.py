"""One source for several members: what can be read once only goes to all of them while the primary reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from mediagit_storage.errors import CancelledError
from mediagit_storage.layers.mirror.members import Member
from mediagit_storage.pipe import Pipe
from mediagit_storage.scope import Scope, context_inside, inner_scope
from mediagit_storage.source import FileState, IterableSource, Source, changed_file
from mediagit_storage.types import Attributes, BytesLike

__all__ = ["Again", "Late", "Shared"]

_NO_THREADS: Final = "the primary stored an object whose source it had not read"


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
    """A source that can be read again, for those who read it after the primary; to be made before it does.

    It shows no file, as the primary's reading of that is accounted for already; `IntegrityError` in the place of its
    end where the file was changed meanwhile.
    """

    rewindable = True

    def __init__(self, inner: Source, *, declared: bool) -> None:
        self._inner = inner
        self.size = inner.size
        # With a declared checksum every reading proves itself, and asking for the file would read all of it.
        region = None if declared else inner.region()
        self._before = None if region is None else (region.descriptor, FileState.of(region.descriptor))

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks."""
        yield from self._inner.chunks()
        if self._before is not None and FileState.of(self._before[0]) != self._before[1]:
            raise changed_file()


class Shared(Source):
    """A source that is read once, by the primary; each replica's put gets the same pieces in a thread of its own.

    A replica's source does not end before `commit`: until the primary has taken the object no replica can have it.
    `abandon` ends them all with an error, so that they store nothing. At most 8 MiB wait for each replica; one that is
    slower than that slows the others down, and one that fails is left behind.
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
        """The primary has the object: let this replica have it as well, and wait for that. Raises why it has it not."""
        if member.number not in self._puts:
            raise CancelledError(_NO_THREADS)
        self._pipes[member.number].finish()
        self._puts[member.number].result()

    def close(self) -> None:
        """Abandon whatever was not committed, and wait for its end."""
        for number, pipe in self._pipes.items():
            if not self._puts[number].done():
                pipe.abort()
        if self._threads is not None:
            if self._inside is not None and any(not each.done() for each in self._puts.values()):
                self._inside.cancel()
            self._threads.shutdown(wait=True)

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
