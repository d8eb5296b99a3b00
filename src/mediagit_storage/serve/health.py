"""Whether each backend of a storage answers: found out by one cheap request to each, within a time limit."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mediagit_storage.backend import StorageBackend
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.closable import closable
from mediagit_storage.errors import BucketNotFoundError, NotFoundError, PermissionDeniedError, StorageError
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.migrating import MigratingLayer
from mediagit_storage.layers.mirror import MirrorLayer
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.scope import scope
from mediagit_storage.serve.metrics import GatewayMetrics
from mediagit_storage.serve.workers import Workers
from mediagit_storage.types import ListOptions

__all__ = ["Health", "HealthProbe", "Member", "Probed", "members_of"]

#: A probe may be as late as this, in seconds, before it is told to hang although it has a time limit of its own.
_GRACE: Final = 1.0


class Member(NamedTuple):
    """A backend at the bottom of a stack, used below ``prefix``. Without a ``needed`` one the storage does not work."""

    name: str
    backend: StorageBackend
    needed: bool
    prefix: str = ""


class Probed(NamedTuple):
    """What a probe found; ``detail`` is empty, or says what is wrong, without secrets."""

    name: str
    up: bool
    needed: bool
    seconds: float
    detail: str


class Health(NamedTuple):
    """How a storage is: ``ready`` when every backend that it needs answers. ``at`` is when that was found out."""

    ready: bool
    at: datetime
    backends: Sequence[Probed]


def members_of(backend: StorageBackend, *, needed: bool = True, prefix: str = "") -> Iterator[Member]:
    """Every backend below a stack of layers, the replicas of mirrors and the old storages of migrations too."""
    while isinstance(backend, Layer):
        if isinstance(backend, PrefixLayer):
            prefix = backend.prefix + prefix
        elif isinstance(backend, MirrorLayer):
            for replica in backend.replicas:
                yield from members_of(replica, needed=False, prefix=prefix)
        elif isinstance(backend, MigratingLayer):
            yield from members_of(backend.old, needed=needed, prefix=prefix)
        backend = backend.inner
    yield Member(backend.description, backend, needed, prefix)


class HealthProbe:
    """Probes the backends of a storage, all at once, and not again before ``age`` seconds have passed.

    However many ask, there is one probe at a time. One that hangs beyond its time is told to be down; it keeps a thread
    until it ends, and is not begun again before.
    """

    def __init__(
        self,
        backend: StorageBackend,
        workers: Workers,
        metrics: GatewayMetrics,
        *,
        timeout: float,
        age: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._members = [*members_of(backend)]
        self._workers = workers
        self._metrics = metrics
        self._timeout = timeout
        self._age = age
        self._clock = clock
        self._running: dict[int, asyncio.Task[Probed]] = {}
        self._lock = asyncio.Lock()
        self._last: tuple[float, Health] | None = None

    async def current(self) -> Health:
        """How it is now, or was a few seconds ago."""
        async with self._lock:
            if self._last is None or self._clock.monotonic() - self._last[0] >= self._age:
                health = await self._probe()
                self._last = self._clock.monotonic(), health
            return self._last[1]

    async def _probe(self) -> Health:
        found = await asyncio.gather(*(self._probe_one(index) for index in range(len(self._members))))
        for each in found:
            self._metrics.probed(each.name, up=each.up, seconds=each.seconds)
        ready = all(each.up for each in found if each.needed)
        return Health(ready, datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC), found)

    async def _probe_one(self, index: int) -> Probed:
        member = self._members[index]
        task = self._running.get(index)
        if task is None:
            task = asyncio.ensure_future(self._workers.probe(lambda: _probe(member, self._timeout, self._clock)))
            self._running[index] = task
            task.add_done_callback(lambda _: self._running.pop(index, None))
        done, _ = await asyncio.wait({task}, timeout=self._timeout + _GRACE)
        if done:
            return task.result()
        return Probed(member.name, up=False, needed=member.needed, seconds=self._timeout, detail="hangs")


def _probe(member: Member, timeout: float, clock: Clock) -> Probed:
    began = clock.monotonic()
    detail = ""
    try:
        with scope(timeout):
            _ask(member)
    except StorageError as error:
        detail = error.message
    except Exception as error:  # noqa: BLE001  # whatever it is, the backend does not work
        detail = type(error).__name__
    return Probed(member.name, up=not detail, needed=member.needed, seconds=clock.monotonic() - began, detail=detail)


def _ask(member: Member) -> None:
    """One request, which costs the same however much is stored: a look at an object that there is not.

    Where the storage's own objects are: its credentials may be good for nothing else.
    """
    backend, prefix = member.backend, member.prefix
    try:
        backend.stat(f"{prefix}mgs-ready-{secrets.token_hex(8)}")
    except BucketNotFoundError:
        raise
    except NotFoundError:
        return
    except PermissionDeniedError:
        # Who may read and not list is told so of what is absent on some storages; one that lists is well all the same.
        with closing(closable(backend.list(prefix, ListOptions()))) as listing:
            next(listing, None)
