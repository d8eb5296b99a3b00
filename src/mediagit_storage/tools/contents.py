"""Reading what is looked at and not transferred: the bytes of objects for a digest or a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Final, NamedTuple

from mediagit_storage.backend import Body
from mediagit_storage.hashing import new_hasher
from mediagit_storage.mending import mended
from mediagit_storage.storage import Storage
from mediagit_storage.types import Checksum, ObjectInfo, ReadOptions

__all__ = ["Digested", "digest_of", "opened", "same_bytes"]

#: Compared piece by piece, in bytes; pieces of the two sides need not be of one length.
_PIECE: Final = 256 * 1024


class Digested(NamedTuple):
    """What was read: how many bytes, their digest, and what the storage told of the object with them."""

    size: int
    checksum: Checksum
    info: ObjectInfo


def opened(store: Storage, key: str) -> Body:
    """The bytes of an object in pieces; close it. No progress is reported: nobody waits for what is only looked at."""
    return mended(store.backend).stream(key, ReadOptions())


def digest_of(store: Storage, key: str, algorithm: str, *, size: int = 0) -> Digested:
    """Read an object whole and digest it. ``size`` is what is known of it: a large one is shared by several threads.

    Raises what reading raises: bytes that are not what the storage or a layer promises are an `IntegrityError`.
    """
    hasher, length = new_hasher(algorithm, size=size), 0
    with opened(store, key) as body:
        for piece in body:
            hasher.update(piece)
            length += len(piece)
        return Digested(length, Checksum(algorithm, hasher.digest()), body.info)


def same_bytes(ours: Iterable[bytes], theirs: Iterable[bytes]) -> bool:
    """Whether the pieces of two are the same bytes, read only as far as they are."""
    return all(mine == other for mine, other in zip_longest(_even(ours), _even(theirs)))


def _even(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one length, the last one shorter."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= _PIECE:
            yield bytes(held[:_PIECE])
            del held[:_PIECE]
    if held:
        yield bytes(held)
