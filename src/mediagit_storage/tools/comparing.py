"""Whether two objects hold the same bytes, found out in the cheapest way that proves it.

What is near is read, what is far away is asked for a digest that it keeps; both are read only where nothing else is left
and the caller wants that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from mediagit_storage.backend import Body
from mediagit_storage.errors import StorageError
from mediagit_storage.layers.base import Layer
from mediagit_storage.storage import Storage
from mediagit_storage.tools.contents import Digested, digest_of, opened, same_bytes
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.places import same_service
from mediagit_storage.tools.plan import listed_checksum
from mediagit_storage.types import Attributes, Checksum, ObjectInfo, ReadOptions

__all__ = ["Blame", "Compared", "End", "Verdict", "compare", "other_attributes"]


class Verdict(StrEnum):
    """``UNKNOWN``: neither side keeps a digest that can be compared, and reading both was not asked for."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class End(StrEnum):
    """Which of two stores: the one that is believed, or the one that is to be like it."""

    SOURCE = "source"
    COPY = "copy"


@dataclass(slots=True)
class Blame:
    """Remembers which of the two stores an error came from, which the error itself does not tell. ``end`` is None until then."""

    end: End | None = None


class Compared(NamedTuple):
    """A verdict, and the two objects that it is about: as they were when they were looked at.

    One of the two may have been written anew since it was listed. It has no ETag where nothing tells which one it was.
    """

    verdict: Verdict
    ours: ObjectInfo
    theirs: ObjectInfo


def compare(
    source: Storage,
    ours: ObjectInfo,
    target: Storage,
    theirs: ObjectInfo,
    *,
    contents: bool = False,
    blame: Blame | None = None,
) -> Compared:
    """Compare two objects that listings told of. Raises what reading them raises: `NotFoundError` for one that is gone.

    ``contents`` reads both, whatever digests there are. Without it, what is on this machine is read, and of a storage
    far away at most what it knows of the object is asked for, in one request. ``blame`` is told whose error it was.
    """
    one, two = _Look(blame or Blame(), End.SOURCE, source, ours), _Look(blame or Blame(), End.COPY, target, theirs)
    here, there = _is_near(source), _is_near(target)
    if contents or (here and there):
        with one.opened() as mine, two.opened() as other:
            same = same_bytes(one.pieces(mine), two.pieces(other))
            return Compared(Verdict.EQUAL if same else Verdict.DIFFERENT, mine.info, other.info)
    if not here and not there:
        kept = one.kept()
        found = None if kept is None else two.kept()
        if kept is None or found is None:
            return Compared(Verdict.UNKNOWN, ours, theirs)
        return Compared(_verdict(kept.checksum, found.checksum), kept.info, found.info)
    near, far = (one, two) if here else (two, one)
    listed = listed_checksum(far.info)
    digest = far.kept() if listed is None else _Kept(listed, far.info)
    if digest is None:
        return Compared(Verdict.UNKNOWN, ours, theirs)
    read = near.digested(digest.checksum.algorithm)
    both = (read.info, digest.info) if here else (digest.info, read.info)
    verdict = _verdict(read.checksum, digest.checksum)
    if verdict is Verdict.DIFFERENT and far.info.checksum is None and listed is not None:
        # An ETag that looks like an MD5 need not be one.
        verdict = Verdict.UNKNOWN
    return Compared(verdict, *both)


def _is_near(store: Storage) -> bool:
    """Whether the bytes are on this machine, below whatever layers."""
    backend = store.backend
    while isinstance(backend, Layer):
        backend = backend.inner
    return not backend.capabilities.parallel_reads


class _Kept(NamedTuple):
    checksum: Checksum
    info: ObjectInfo


class _Look(NamedTuple):
    """One of the two objects, and what can be found out about it."""

    blame: Blame
    end: End
    store: Storage
    info: ObjectInfo

    def opened(self) -> Body:
        """Its bytes; close it."""
        with self._blamed():
            return opened(self.store, self.info.key)

    def pieces(self, body: Body) -> Iterator[bytes]:
        """What is read of them."""
        with self._blamed():
            yield from body

    def digested(self, algorithm: str) -> Digested:
        """It is read whole."""
        with self._blamed():
            return digest_of(self.store, self.info.key, algorithm, size=self.info.size or 0)

    def kept(self) -> _Kept | None:
        """The digest that its storage keeps, where it can be computed here, too."""
        if self.info.checksum is not None:
            return _Kept(self.info.checksum, self.info)
        bound = self.info.etag if self.store.capabilities.read_conditions else None
        with self._blamed():
            found = self.store.backend.content_checksum(self.info.key, ReadOptions(if_match=bound))
        return (
            None if found is None else _Kept(found, self.info if bound is not None else replace(self.info, etag=None))
        )

    def attributes(self) -> Attributes | None:
        """What describes it, asked for."""
        with self._blamed():
            return self.store.stat(self.info.key).attributes

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Around what looks at it; a `StorageError` gets what it is about, and goes on."""
        try:
            yield
        except StorageError as error:
            self.blame.end = self.end
            explained(error, "get", self.info.key, self.store)
            raise


def _verdict(ours: Checksum, theirs: Checksum) -> Verdict:
    if ours.algorithm != theirs.algorithm:
        return Verdict.UNKNOWN
    return Verdict.EQUAL if ours.digest == theirs.digest else Verdict.DIFFERENT


def other_attributes(
    source: Storage, ours: ObjectInfo, target: Storage, theirs: ObjectInfo, *, blame: Blame | None = None
) -> Sequence[str]:
    """The attributes that the source has set, both can keep, and the target has otherwise, by name. Two requests at most."""
    both = source.capabilities.attributes & target.capabilities.attributes
    if not same_service(source, target):
        both -= {"storage_class"}
    if not both:
        return ()
    one, two = _Look(blame or Blame(), End.SOURCE, source, ours), _Look(blame or Blame(), End.COPY, target, theirs)
    here, there = one.attributes(), two.attributes()
    if here is None or there is None:
        return ()
    return [name for name in sorted(here.named() & both) if getattr(here, name) != getattr(there, name)]
