"""Pieces of any length as chunks of one length, copied only where a chunk lies in more than one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mediagit_storage.types import BytesLike

__all__ = ["in_chunks"]


def in_chunks(pieces: Iterable[BytesLike], size: int) -> Iterator[tuple[BytesLike, bool]]:
    """Chunks of ``size`` bytes, and whether it is the last; that one may be shorter, and is empty only if all is.

    A chunk is valid until the next is asked for.
    """
    held = bytearray()  # the end so far: a chunk is given out when more is known to follow
    for piece in pieces:
        with memoryview(piece) as view:
            position = 0
            if held:
                position = min(size - len(held), len(view))
                held += view[:position]
                if position < len(view):
                    yield held, False
                    held = bytearray()
            if not held:
                while len(view) - position > size:
                    with view[position : position + size] as chunk:
                        yield chunk, False
                    position += size
                held += view[position:]
    yield held, True
