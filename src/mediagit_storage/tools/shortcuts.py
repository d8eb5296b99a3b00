"""Quicker ways between two storages, found through layers that change nothing but keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mediagit_storage.backend import BatchLimits, StorageBackend
from mediagit_storage.facets import BatchCopying, BatchMoving, PositionalWriting, Relocated, Relocation
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.storage import Storage

__all__ = ["Relocating", "bare", "batch_copying", "batch_moving", "positional"]

#: Carries out relocations whose keys are the caller's own.
Relocating = Callable[[Iterator[Relocation]], Iterator[Relocated]]


class _Bare(NamedTuple):
    backend: StorageBackend
    prefix: str


def bare(store: Storage) -> _Bare:
    """The backend under all prefix layers, and what they put before a key."""
    backend: StorageBackend = store.backend
    prefix = ""
    while isinstance(backend, PrefixLayer) and _is_known(backend):
        prefix = backend.prefix + prefix
        backend = backend.inner
    return _Bare(backend, prefix)


def _is_known(layer: PrefixLayer) -> bool:
    """Whether it is no more than it says: nobody knows what a class made out of it does."""
    return type(layer) is PrefixLayer


def _carrying_out(store: Storage) -> _Bare:
    """Like `bare`, and under limits on bytes, too: those of relocations do not pass them."""
    backend, prefix = bare(store)
    while isinstance(backend, Layer) and _limits_only_bytes(backend):
        backend, more = bare(Storage(backend.inner, owned=False))
        prefix = more + prefix
    return _Bare(backend, prefix)


def _limits_only_bytes(layer: Layer) -> bool:
    if layer.layer_name != "throttle":
        return False
    from mediagit_storage.layers.throttle import ThrottleLayer  # noqa: PLC0415  # commands without a limit start sooner

    return type(layer) is ThrottleLayer and layer.limits.requests is None


def batch_moving(store: Storage) -> Relocating | None:
    """How to move many objects within this storage together; None where it moves them one by one."""
    backend, prefix = _carrying_out(store)
    if not isinstance(backend, BatchMoving):
        return None
    return lambda operations: _mapped(prefix, prefix, operations, backend.move_batch)


def batch_copying(source: Storage, target: Storage, limits: BatchLimits) -> Relocating | None:
    """How the target itself copies many objects out of the source; None where it cannot."""
    origin, backend = _carrying_out(source), _carrying_out(target)
    copying = backend.backend
    if not isinstance(copying, BatchCopying) or not copying.copies_from(origin.backend):
        return None
    return lambda operations: _mapped(
        origin.prefix,
        backend.prefix,
        operations,
        lambda inner: copying.copy_batch(origin.backend, inner, limits),
    )


def positional(store: Storage) -> tuple[PositionalWriting, str] | None:
    """What writes large objects of this storage by position, and the prefix of its keys; None where nothing does."""
    backend, prefix = bare(store)
    return (backend, prefix) if isinstance(backend, PositionalWriting) else None


def _mapped(source: str, target: str, operations: Iterator[Relocation], carry_out: Relocating) -> Iterator[Relocated]:
    """Carry out relocations under the longer keys, and tell of them under the caller's."""
    running: dict[int, tuple[Relocation, Relocation]] = {}

    def longer() -> Iterator[Relocation]:
        for each in operations:
            inner = Relocation(source + each.source, target + each.target, each.if_absent)
            running[id(inner)] = inner, each
            yield inner

    results = carry_out(longer())
    try:
        for done in results:
            _, operation = running.pop(id(done.operation))
            if done.info is not None:
                done.info.key = operation.target
            yield done._replace(operation=operation)
    finally:
        close = getattr(results, "close", None)
        if close is not None:
            close()
