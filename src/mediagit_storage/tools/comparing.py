"""Whether two objects hold the same bytes, found out in the cheapest way that proves it.

What is near is read, what is far away is asked for a digest that it keeps; both are read only where nothing else is left
and the caller wants that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import zip_longest
from typing import Final

from mediagit_storage.backend import Body
from mediagit_storage.hashing import new_hasher
from mediagit_storage.layers.base import Layer
from mediagit_storage.storage import Storage
from mediagit_storage.tools.plan import listed_checksum
from mediagit_storage.types import Checksum, ObjectInfo, ReadOptions

__all__ = ["Verdict", "compare"]

#: Compared piece by piece, in bytes; pieces of the two sides need not be of one length.
_PIECE: Final = 256 * 1024


class Verdict(StrEnum):
    """``UNKNOWN``: neither side keeps a digest that can be compared, and reading both was not asked for."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


def compare(
    source: Storage, ours: ObjectInfo, target: Storage, theirs: ObjectInfo, *, contents: bool = False
) -> Verdict:
    """Compare two objects that listings told of. Raises what reading them raises: `NotFoundError` for one that is gone.

    ``contents`` reads both, whatever digests there are. Without it, what is on this machine is read, and of a storage
    far away at most what it knows of the object is asked for, in one request.
    """
    here, there = _is_near(source), _is_near(target)
    if contents or (here and there):
        return _by_contents(_opened(source, ours), _opened(target, theirs))
    if not here and not there:
        kept, other = _kept(source, ours), _kept(target, theirs)
        return Verdict.UNKNOWN if kept is None or other is None else _verdict(kept, other)
    near, far = ((source, ours), (target, theirs)) if here else ((target, theirs), (source, ours))
    digest = listed_checksum(far[1]) or _kept(*far)
    if digest is None:
        return Verdict.UNKNOWN
    return _verdict(_hashed(*near, digest.algorithm), digest)


def _is_near(store: Storage) -> bool:
    """Whether the bytes are on this machine, below whatever layers."""
    backend = store.backend
    while isinstance(backend, Layer):
        backend = backend.inner
    return not backend.capabilities.parallel_reads


def _kept(store: Storage, info: ObjectInfo) -> Checksum | None:
    """The digest that a storage keeps of an object, where it can be computed here, too."""
    return info.checksum or store.backend.content_checksum(info.key, ReadOptions())


def _hashed(store: Storage, info: ObjectInfo, algorithm: str) -> Checksum:
    hasher = new_hasher(algorithm, size=info.size or 0)
    with _opened(store, info) as body:
        for piece in body:
            hasher.update(piece)
    return Checksum(algorithm, hasher.digest())


def _opened(store: Storage, info: ObjectInfo) -> Body:
    # Not by `Storage.stream`: what is only looked at is no transfer that anybody wants to see.
    return store.backend.stream(info.key, ReadOptions())


def _verdict(ours: Checksum, theirs: Checksum) -> Verdict:
    if ours.algorithm != theirs.algorithm:
        return Verdict.UNKNOWN
    return Verdict.EQUAL if ours.digest == theirs.digest else Verdict.DIFFERENT


def _by_contents(ours: Body, theirs: Body) -> Verdict:
    with ours, theirs:
        for mine, other in zip_longest(_even(ours), _even(theirs)):
            if mine != other:
                return Verdict.DIFFERENT
    return Verdict.EQUAL


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
