"""Whether two objects hold the same bytes, found out in the cheapest way that proves it.

What is near is read, what is far away is asked for a digest that it keeps; both are read only where nothing else is left
and the caller wants that.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from mediagit_storage.layers.base import Layer
from mediagit_storage.storage import Storage
from mediagit_storage.tools.contents import digest_of, opened, same_bytes
from mediagit_storage.tools.plan import listed_checksum
from mediagit_storage.types import Checksum, ObjectInfo, ReadOptions

__all__ = ["Verdict", "compare", "other_attributes"]


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
        same = same_bytes(opened(source, ours.key), opened(target, theirs.key))
        return Verdict.EQUAL if same else Verdict.DIFFERENT
    if not here and not there:
        kept, other = _kept(source, ours), _kept(target, theirs)
        return Verdict.UNKNOWN if kept is None or other is None else _verdict(kept, other)
    near, far = ((source, ours), (target, theirs)) if here else ((target, theirs), (source, ours))
    digest = listed_checksum(far[1]) or _kept(*far)
    if digest is None:
        return Verdict.UNKNOWN
    store, info = near
    return _verdict(digest_of(store, info.key, digest.algorithm, size=info.size or 0).checksum, digest)


def _is_near(store: Storage) -> bool:
    """Whether the bytes are on this machine, below whatever layers."""
    backend = store.backend
    while isinstance(backend, Layer):
        backend = backend.inner
    return not backend.capabilities.parallel_reads


def _kept(store: Storage, info: ObjectInfo) -> Checksum | None:
    """The digest that a storage keeps of an object, where it can be computed here, too."""
    return info.checksum or store.backend.content_checksum(info.key, ReadOptions())


def _verdict(ours: Checksum, theirs: Checksum) -> Verdict:
    if ours.algorithm != theirs.algorithm:
        return Verdict.UNKNOWN
    return Verdict.EQUAL if ours.digest == theirs.digest else Verdict.DIFFERENT


def other_attributes(source: Storage, ours: ObjectInfo, target: Storage, theirs: ObjectInfo) -> Sequence[str]:
    """The attributes that the source has set, both can keep, and the target has otherwise, by name. Two requests at most."""
    both = source.capabilities.attributes & target.capabilities.attributes
    if not both:
        return ()
    here, there = source.stat(ours.key).attributes, target.stat(theirs.key).attributes
    if here is None or there is None:
        return ()
    return [name for name in sorted(here.named() & both) if getattr(here, name) != getattr(there, name)]
