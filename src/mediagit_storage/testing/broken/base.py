"""What broken stores are made of: a store that is right, places to bend it, and the name of the check that notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mediagit_storage.backend import Body, Content, StorageBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.source import BytesSource, Source
from mediagit_storage.types import ObjectInfo, PutOptions, ReadOptions

__all__ = ["BentReads", "Broken", "whole"]


class Broken(NamedTuple):
    """One defect: how to make a store that has it, and the check of the conformance suite that has to fail on it."""

    make: Callable[[], StorageBackend]
    killed_by: str

    @property
    def name(self) -> str:
        """The defect as a class name."""
        return getattr(self.make, "__name__", repr(self.make))


def whole(source: Source) -> bytes:
    """Everything a source gives."""
    return b"".join(bytes(chunk) for chunk in source.chunks())


class _ContentBody(Body):
    """A read that is in memory already, as a stream of pieces."""

    def __init__(self, content: Content, piece: int) -> None:
        self.info = content.info
        self.start = content.start
        self.length = len(content.data)
        self._pieces = [content.data[place : place + piece] for place in range(0, len(content.data), piece)]

    def __iter__(self) -> Iterator[bytes]:
        while self._pieces:
            yield self._pieces.pop(0)

    def close(self) -> None:
        self._pieces.clear()


class BentReads(MemoryBackend):
    """A store whose `read` may be bent in one place, `bend`; its streams give the same bytes."""

    def bend(self, content: Content, options: ReadOptions) -> Content:
        """What is handed out in the place of ``content``."""
        return content

    def right(self, key: str, options: ReadOptions) -> Content:
        """What the reference model reads."""
        return super().read(key, options)

    def read(self, key: str, options: ReadOptions) -> Content:
        """Bent."""
        return self.bend(self.right(key, options), options)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Bent in the same way."""
        return _ContentBody(self.read(key, options), 1024 * 1024)


def rewrite(store: MemoryBackend, key: str, data: bytes, options: PutOptions = PutOptions()) -> ObjectInfo:
    """Store as the reference model does, past whatever a subclass bent."""
    return MemoryBackend.put(store, key, BytesSource(data), options)
