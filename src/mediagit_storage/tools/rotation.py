"""Changing the keys of encrypted objects: every object of a storage gets a header for its recipients of now.

What is encrypted stays as it is, and so do attributes. Each object shows by itself whether it is done, so a rotation can be
interrupted anywhere, begun again, and run twice at once. A journal keeps how far an interrupted one had come, only so
that what is done need not be looked at again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import (
    BucketNotFoundError,
    CancelledError,
    CapacityError,
    ConfigError,
    DecryptionError,
    KeyUnavailableError,
    PermissionDeniedError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.events import Event, emit
from mediagit_storage.journal import Journal, journal_name, state_folder
from mediagit_storage.layers.base import Layer, layers_of
from mediagit_storage.layers.encrypt.keyfiles import FileIdentity
from mediagit_storage.layers.encrypt.layer import EncryptLayer
from mediagit_storage.layers.encrypt.rewrapping import Rewrapping
from mediagit_storage.layers.encrypt.rotating import ObjectRotation, RotationState
from mediagit_storage.layers.mirror import MirrorLayer
from mediagit_storage.layers.order import LAYERS
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.readonly import ReadOnlyLayer
from mediagit_storage.storage import Storage
from mediagit_storage.tools.ahead import reported
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.places import lasting_location
from mediagit_storage.tools.selecting import in_folder
from mediagit_storage.tools.threads import in_order
from mediagit_storage.types import JSON, ObjectInfo

__all__ = ["Rotated", "RotationRules", "rotate_keys"]

#: The least time between two writings of the journal, in seconds.
_SAVE_EVERY: Final = 0.5
#: Keys that failed and are tried first by the next run. With more it begins where they did.
_MOST_FAILED: Final = 1000
#: After one of these nothing else would work either.
_FATAL: Final = (CapacityError, BucketNotFoundError, UnauthenticatedError, CancelledError)


class Rotated(NamedTuple):
    """What became of an object: ``state``, or ``error``. ``size`` is what is stored, in bytes, where a listing told it.

    The last one may be of no object, but of the whole run: the error that a mirror is not sure to be done, under the key
    that was asked for.
    """

    key: str
    state: RotationState | None
    size: int | None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class RotationRules:
    """How to rotate: ``identities`` open objects beside those of the storage, ``dry_run`` only looks, ``resume`` goes on
    where an interrupted run of this machine stopped within the last week.
    """

    identities: tuple[FileIdentity, ...] = ()
    concurrency: int = 16
    dry_run: bool = False
    resume: bool = True


def rotate_keys(store: Storage, key: str = "", rules: RotationRules | None = None) -> Generator[Rotated, None, None]:
    """Wrap the file keys of the object ``key`` and of all in the folder ``key`` (of all there is, for ``""``) anew.

    The recipients are those of the storage's layer `encrypt`. Objects that are for them and nobody else are left alone:
    an object is not done while an identity opens it whose recipient is not among them. Every object is replaced whole or
    not at all, on condition that nobody wrote it meanwhile; old versions in a bucket that keeps them stay as they are.
    Layers outside of `encrypt` are not asked, and what caches inside of it have kept is not believed.

    Yields what became of each object, in the order of the keys. One that fails does not stop the others, unless nothing
    else could work either. Where a mirror lies inside of `encrypt`, the last one is a `StorageError` if replicas are known to
    have missed changes, or were read in place of the primary: then old keys may open what they, or it, hold.
    Raises `ConfigError` for a storage that is not encrypted, for several that are encrypted by themselves, for `migrating`
    inside of `encrypt`, and where no identity opens what would be written; `UnsupportedError` where writes cannot be
    conditional; `PermissionDeniedError` through `readonly`.
    """
    return _Rotator(store, key, rules or RotationRules()).run()


class _Sealed(NamedTuple):
    """What lies below the layer `encrypt` of a storage, under the same keys; ``lead`` stands before them in that layer."""

    layer: EncryptLayer
    store: Storage
    lead: str


def _below(store: Storage) -> _Sealed:
    lead = ""
    known = {each.name for each in LAYERS}
    for layer in layers_of(store.backend):
        if isinstance(layer, EncryptLayer):
            inner = PrefixLayer(layer.inner, lead) if lead else layer.inner
            return _Sealed(layer, Storage(inner, keys="raw", owned=False), lead)
        if isinstance(layer, ReadOnlyLayer):
            raise PermissionDeniedError(
                "the storage was opened read-only: open it without the layer 'readonly' to rotate"
            )
        if getattr(layer.config, "STORAGES", ()):
            raise ConfigError(
                f"the layer {layer.layer_name!r} lies outside of 'encrypt', so each of its storages has objects of its own:"
                " open them by themselves to rotate"
            )
        if isinstance(layer, PrefixLayer):
            lead = layer.prefix + lead
        elif layer.layer_name not in known:
            raise ConfigError(
                f"nobody knows what the layer {layer.layer_name!r} does to keys: open the storage without it to rotate"
            )
    raise ConfigError(f"{store.description} is not encrypted: it has no layer 'encrypt', whose keys could be rotated")


def _mirrors_of(layer: EncryptLayer) -> tuple[MirrorLayer, ...]:
    """The mirrors below `encrypt`. Raises `ConfigError` for other layers over storages that a rotation would not reach."""
    mirrors: list[MirrorLayer] = []
    for each in _inside(layer.inner):
        if isinstance(each, MirrorLayer):
            mirrors.append(each)
        elif getattr(each.config, "STORAGES", ()):
            raise ConfigError(
                f"the layer {each.layer_name!r} lies inside of 'encrypt': rotating would reach what one of its storages has,"
                " and leave in another what old keys open: open each of them by itself, with 'encrypt' over it, to rotate,"
                " or wait until all objects are in one"
            )
    return tuple(mirrors)


def _inside(backend: StorageBackend) -> Iterator[Layer]:
    for layer in layers_of(backend):
        yield layer
        if isinstance(layer, MirrorLayer):
            yield from chain.from_iterable(map(_inside, layer.replicas))


class _Mirrors:
    """What the mirrors below `encrypt` know of changes that did not reach all their members."""

    def __init__(self, mirrors: tuple[MirrorLayer, ...]) -> None:
        self._mirrors = mirrors
        self._failovers = self._count()

    def lagging(self) -> StorageError | None:
        """The error of a run that may have left something to the old keys."""
        behind = [
            f"replica {each.number} ({each.description})"
            for mirror in self._mirrors
            for each in mirror.status().replicas
            if each.behind or each.everything
        ]
        if behind:
            return StorageError(
                f"{' and '.join(behind)} missed changes, and may hold objects that old keys open: run `mgs mirror repair`,"
                " then rotate again"
            )
        if self._count() > self._failovers:
            return UnavailableError(
                "a replica was read in place of the primary, which may hold objects that old keys open: wait until it can"
                " be reached, then rotate again"
            )
        return None

    def _count(self) -> int:
        return sum(mirror.status().failovers for mirror in self._mirrors)


class _Rotator:
    def __init__(self, store: Storage, key: str, rules: RotationRules) -> None:
        sealed = _below(store)
        self._mirrors = _Mirrors(_mirrors_of(sealed.layer))
        keys = sealed.layer.keys
        identities = (*keys.identities, *rules.identities)
        if {identity.recipient() for identity in identities}.isdisjoint(keys.recipients):
            raise ConfigError(
                "none of the identities opens what would be written: give the identity of one of the recipients, too, or name"
                " the recipient of one that is there among them"
            )
        self._store = sealed.store
        if not self._store.capabilities.if_match:
            raise UnsupportedError(
                f"{store.description} cannot write on condition: what somebody writes meanwhile would be lost"
            )
        self._key = key
        self._rules = rules
        rewrapping = Rewrapping(keys.recipients, identities, bind=sealed.layer.binds_keys)
        self._rotation = ObjectRotation(sealed.store.backend, rewrapping, lead=sealed.lead, dry=rules.dry_run)
        self._looking = ObjectRotation(sealed.store.backend, rewrapping, lead=sealed.lead, dry=True)
        self._about: dict[str, JSON] = {
            "recipients": [*sorted(str(recipient) for recipient in keys.recipients)],
            "identities": [*sorted(str(identity.recipient()) for identity in identities)],
            "bind": sealed.layer.binds_keys,
        }

    def run(self) -> Generator[Rotated, None, None]:
        with closing(self._journal()) as journal:
            memory = _Memory(journal, self._about)
            memory.recall(self._is_done)
            complete = False
            try:
                for rotated in self._reported(memory):
                    if isinstance(rotated.error, _FATAL):
                        raise rotated.error
                    memory.add(rotated)
                    yield rotated
                complete = True
            finally:
                memory.end(complete=complete)
        if (lagging := self._mirrors.lagging()) is not None:
            yield Rotated(self._key, None, None, explained(lagging, "rotate", self._key, self._store))

    def _journal(self) -> Journal:
        folder = state_folder() if self._rules.resume and not self._rules.dry_run else None
        place = lasting_location(self._store, self._key)
        return Journal(None, "") if place is None else Journal(folder, journal_name("rotate", *place))

    def _reported(self, memory: _Memory) -> Iterator[Rotated]:
        again = (ObjectInfo(key) for key in memory.retried)
        infos = chain(again, in_folder(self._store, self._key, start_after=memory.after))
        return reported("rotate", infos, lambda info: info.size or 0, self._each)

    def _each(self, infos: Iterator[ObjectInfo]) -> Iterator[Rotated]:
        return in_order(infos, partial(self._one, self._rotation), self._rules.concurrency)

    def _one(self, rotation: ObjectRotation, info: ObjectInfo) -> Rotated:
        try:
            return Rotated(info.key, rotation.rotate(info.key, info.size), info.size)
        except KeyUnavailableError:
            # Not into the profile, as who reads is told: there it might become a recipient again.
            error = KeyUnavailableError(
                "none of the identities at hand opens this object: give the one that it was written for by --identity"
            )
            return Rotated(info.key, None, info.size, explained(error, "rotate", info.key, self._store))
        except Exception as error:  # noqa: BLE001  # every failure belongs to its object
            return Rotated(info.key, None, info.size, explained(error, "rotate", info.key, self._store))

    def _is_done(self, key: str) -> bool:
        """Whether an object is rotated indeed: storages are restored from copies, and made anew under their old names."""
        try:
            return self._looking.rotate(key) is RotationState.DONE
        except DecryptionError:
            return False


class _Memory:
    """How far a rotation has come: all up to the key ``after`` were looked at, and of them those ``retried`` failed."""

    def __init__(self, journal: Journal, about: dict[str, JSON]) -> None:
        self._journal = journal
        self._about = about
        self._saved_at = time.monotonic()
        self._failed: dict[str, None] = {}
        self._behind = 0
        self._full = False
        self.after: str | None = None

    @property
    def retried(self) -> tuple[str, ...]:
        """What is to be tried again before what comes after."""
        return tuple(self._failed)

    def recall(self, is_done: Callable[[str], bool]) -> None:
        """Take over what an interrupted run left, if its last object ``is_done`` still."""
        found = self._journal.read()
        if found is None or found.about != self._about:
            return
        match found.state:
            case {"after": str(after), "failed": list(failed)} if is_done(after):
                self.after = after
                self._failed = {key: None for key in failed if isinstance(key, str)}
                self._behind = len(self._failed)
                emit(Event("rotation.resumed", f"an earlier run was interrupted: going on after {after!r}", after))

    def add(self, rotated: Rotated) -> None:
        """One more was looked at, in the order of what is to be retried and then of the keys."""
        if rotated.error is None:
            self._failed.pop(rotated.key, None)
        elif len(self._failed) < _MOST_FAILED:
            self._failed[rotated.key] = None
        else:
            self._full = True
        if self._behind:
            self._behind -= 1
        elif not self._full and rotated.state in {RotationState.REWRAPPED, RotationState.DONE}:
            self.after = rotated.key
        if time.monotonic() - self._saved_at >= _SAVE_EVERY:
            self._save()

    def end(self, *, complete: bool) -> None:
        """Keep what the next run needs: nothing after one that is complete."""
        if complete:
            self._journal.clear()
        else:
            self._save()

    def _save(self) -> None:
        if self.after is not None:
            self._journal.write(self._about, {"after": self.after, "failed": list(self._failed)})
        self._saved_at = time.monotonic()
