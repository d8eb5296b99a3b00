"""How plain and encrypted sizes follow from each other: arithmetic of the payload of an age file, and nothing else.

After the header come a nonce of 16 bytes and chunks of 64 KiB, each with a tag of 16 bytes; the last may be shorter, and
is empty only if everything is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mediagit_storage.errors import DecryptionError

__all__ = [
    "CHUNK",
    "NONCE",
    "SEALED",
    "TAG",
    "ChunkSpan",
    "chunk_count",
    "chunks_of",
    "largest_plain",
    "plain_size",
    "stored_size",
]

#: Plain bytes of a full chunk, and what its encryption adds.
CHUNK: Final = 64 * 1024
TAG: Final = 16
SEALED: Final = CHUNK + TAG
#: Bytes between the header and the first chunk.
NONCE: Final = 16


class ChunkSpan(NamedTuple):
    """Chunks ``first`` to ``last``, both included."""

    first: int
    last: int

    def stored(self, header: int, stored: int) -> tuple[int, int]:
        """Where they lie in an object of ``stored`` bytes with a header of ``header``: offset and length."""
        start = header + NONCE + self.first * SEALED
        return start, min(header + NONCE + (self.last + 1) * SEALED, stored) - start


def chunks_of(start: int, length: int) -> ChunkSpan:
    """The chunks that hold ``length`` plain bytes from ``start``, where there is at least one."""
    return ChunkSpan(start // CHUNK, (start + length - 1) // CHUNK)


def chunk_count(plain: int) -> int:
    """How many chunks ``plain`` bytes make: at least one."""
    return max(1, -(-plain // CHUNK))


def stored_size(plain: int, header: int) -> int:
    """Bytes of the encrypted object with a header of ``header`` bytes."""
    return header + NONCE + plain + TAG * chunk_count(plain)


def plain_size(stored: int, header: int) -> int:
    """Undo `stored_size`. Raises `DecryptionError` for a size that no object has.

    It is a claim of whoever stores the object until its last chunk has been opened as the last.
    """
    body = stored - header - NONCE
    if body < TAG:
        raise DecryptionError("the encrypted object is cut off before its first chunk ends; restore it from a copy")
    count = -(-body // SEALED)
    last = body - (count - 1) * SEALED
    if last < TAG or (last == TAG and count > 1):
        raise DecryptionError(
            "the encrypted object has a size that no age file has: it is cut off, or added to; restore it"
        )
    return body - count * TAG


def largest_plain(stored: int, header: int) -> int:
    """The largest plain size whose encrypted size is at most ``stored``; 0 where there is none."""
    body = stored - header - NONCE
    if body < TAG:
        return 0
    full, rest = divmod(body, SEALED)
    return full * CHUNK + max(0, rest - TAG)
