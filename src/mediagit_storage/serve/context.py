"""What the parts of a gateway share, the web console among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import HTTPConnection

from mediagit_storage.errors import ConfigError
from mediagit_storage.mending import mended
from mediagit_storage.serve.access import Gate, holds_token, may_list, may_read, may_write
from mediagit_storage.serve.health import Health, HealthProbe
from mediagit_storage.serve.links import LinkMethod
from mediagit_storage.serve.metrics import GatewayMetrics, Snapshot
from mediagit_storage.serve.settings import ServeSettings
from mediagit_storage.serve.workers import Workers
from mediagit_storage.storage import Storage

__all__ = ["Context"]

T = TypeVar("T")


class Context:
    """One gateway: its storage, its settings, and what its routes need. Belongs to one event loop."""

    def __init__(
        self, storage: Storage, settings: ServeSettings, workers: Workers, metrics: GatewayMetrics, health: HealthProbe
    ) -> None:
        self.storage = storage
        self.settings = settings
        self.workers = workers
        self.gateway_metrics = metrics
        self._health = health
        #: What objects are read from: like `Storage`, it reads once more where a cache may have kept damage.
        self.reads = mended(storage.backend)

    @property
    def title(self) -> str:
        """What people are told that this is: the title that was chosen, else where the storage is."""
        return self.storage.description if self.settings.title is None else self.settings.title

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written, whoever asks."""
        return self.settings.read_only

    async def run(self, function: Callable[[], T]) -> T:
        """What a call of the storage, which blocks, returns or raises; made in a thread."""
        return await self.workers.run(function)

    async def draw(self, function: Callable[[], T]) -> T:
        """The same for what a page needs, which may take long: objects are given out meanwhile."""
        return await self.workers.page(function)

    def may_read(self, request: HTTPConnection) -> bool:
        """Whether this client may read objects that it knows the key of."""
        return may_read(self.settings, Gate.of(request.scope))

    def may_list(self, request: HTTPConnection) -> bool:
        """Whether this client may list keys, and look at health and metrics."""
        return may_list(self.settings, Gate.of(request.scope))

    def may_know(self, request: HTTPConnection) -> bool:
        """Whether this client may read what a backend itself says of its trouble."""
        gate = Gate.of(request.scope)
        return may_list(self.settings, gate) and (not self.settings.public or holds_token(self.settings.token, gate))

    def may_write(self, request: HTTPConnection) -> bool:
        """Whether this client may put and delete: it has the token, and no other site has sent it here."""
        return may_write(self.settings, Gate.of(request.scope))

    def signed_link(self, key: str, *, expires: int, method: LinkMethod = "GET", disposition: str | None = None) -> str:
        """The path and query, below the gateway's address, of a link for ``expires`` seconds.

        Raises `ConfigError` where this gateway has no secret to sign with.
        """
        if self.settings.signer is None:
            raise ConfigError("this gateway signs no links: start it with --sign-key-file")
        return self.settings.signer.sign(key, expires=expires, method=method, disposition=disposition)

    def metrics(self) -> Snapshot:
        """What was counted since the start."""
        return self.gateway_metrics.snapshot()

    async def health(self) -> Health:
        """How each backend of the storage is, probed now or a few seconds ago. Never raises for a storage's trouble."""
        return await self._health.current()
