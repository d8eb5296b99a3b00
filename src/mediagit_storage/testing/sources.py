"""Sources of bytes for tests: long ones made as they are read, ones that fail, wait, or must not be read at all."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

from mediagit_storage.source import Source
from mediagit_storage.types import BytesLike

__all__ = ["DeliberateError", "Unread", "content", "failing", "long_stream", "paused"]


class DeliberateError(Exception):
    """What a test makes fail, so that it cannot be taken for anything else."""


def content(size: int, seed: int = 0) -> bytes:
    """``size`` bytes that look random and are the same for the same ``seed``."""
    return random.Random(seed * 1_000_003 + size).randbytes(size)


def long_stream(size: int, piece: int = 256 * 1024) -> Iterator[bytes]:
    """``size`` bytes that are never in memory together."""
    block = content(piece)
    for _ in range(size // piece):
        yield block
    if size % piece:
        yield block[: size % piece]


def failing(data: bytes, piece: int = 1000) -> Iterator[bytes]:
    """``data`` in pieces, and then a `DeliberateError` in the place of the end."""
    for offset in range(0, len(data), piece):
        yield data[offset : offset + piece]
    raise DeliberateError("the source failed half-way")


def paused(first: bytes, then: Callable[[], None], last: bytes) -> Iterator[bytes]:
    """``first``, and ``last`` once ``then`` has been called and has returned."""
    yield first
    then()
    yield last


class Unread(Source):
    """A source that remembers whether anybody touched its bytes. ``event`` is set when that happens."""

    size = 3
    rewindable = True

    def __init__(self) -> None:
        self.event = threading.Event()

    @property
    def touched(self) -> bool:
        """Whether a byte was asked for."""
        return self.event.is_set()

    def chunks(self) -> Iterator[BytesLike]:
        """Three bytes, remembered."""
        self.event.set()
        yield b"abc"

    def __iter__(self) -> Iterator[BytesLike]:
        return self.chunks()
