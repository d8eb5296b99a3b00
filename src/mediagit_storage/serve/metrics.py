"""What a gateway counts: requests by route, method and status, seconds, bytes, connections, and what is in flight."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Final, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.http.locks import ForkSafeLock

__all__ = ["GatewayMetrics", "Snapshot"]

#: Upper bounds in seconds: from a small object of a local disk to a large video over a slow line.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
#: Others are counted together: a label must not be what a client chooses.
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"})


class Snapshot(NamedTuple):
    """What one gateway has counted since its start. ``statuses`` are requests by class, such as ``2xx``."""

    uptime: float
    requests: int
    statuses: Mapping[str, int]
    in_flight: int
    connections: int
    sent_bytes: int
    received_bytes: int


class _Families:
    """The metrics of one registry: those of all gateways of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("route", "method", "status")
        prefix = "mediagit_gateway"
        self.requests = Counter(
            f"{prefix}_requests", "Requests that ended, by class of status.", labels, registry=registry
        )
        self.seconds = Histogram(
            f"{prefix}_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            labels,
            buckets=_BUCKETS,
            registry=registry,
        )
        self.sent = Counter(f"{prefix}_sent_bytes", "Bytes of bodies sent to clients.", registry=registry)
        self.received = Counter(f"{prefix}_received_bytes", "Bytes of bodies received from clients.", registry=registry)
        self.in_flight = Gauge(f"{prefix}_requests_in_flight", "Requests that are being answered.", registry=registry)
        self.connections = Gauge(f"{prefix}_connections", "Connections of clients that are open.", registry=registry)
        self.refused = Counter(
            f"{prefix}_refused", "What was given up or not let in, by reason.", ("reason",), registry=registry
        )
        self.up = Gauge(
            f"{prefix}_backend_up",
            "Whether the last probe of a backend worked, 1 or 0.",
            ("backend",),
            registry=registry,
        )
        self.probe_seconds = Gauge(
            f"{prefix}_backend_probe_seconds", "Seconds that the last probe took.", ("backend",), registry=registry
        )


_families: Final[weakref.WeakKeyDictionary[CollectorRegistry, _Families]] = weakref.WeakKeyDictionary()
_lock: Final = ForkSafeLock()


class GatewayMetrics:
    """Counts in ``registry``, by default that of prometheus_client, whose other metrics are shown with them.

    Belongs to one gateway, and to its event loop's thread.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.registry = REGISTRY if registry is None else registry
        with _lock.mine():
            found = _families.get(self.registry)
            if found is None:
                found = _families[self.registry] = _Families(self.registry)
        self._families = found
        self._clock = clock
        self._started = clock.monotonic()
        self._statuses: dict[str, int] = {}
        self._in_flight = 0
        self._connections = 0
        self._sent = 0
        self._received = 0
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return self._in_flight

    def began(self) -> None:
        """A request."""
        self._in_flight += 1
        self._families.in_flight.inc()

    def ended(self, route: str, method: str, status: int, *, seconds: float, sent: int, received: int) -> None:
        """Count it. ``status`` 0 is one that was broken off before an answer."""
        self._in_flight -= 1
        self._families.in_flight.dec()
        group = f"{status // 100}xx" if status else "none"
        self._statuses[group] = self._statuses.get(group, 0) + 1
        self._sent += sent
        self._received += received
        labels = route, method if method in _METHODS else "other", group
        series = self._series.get(labels)
        if series is None:
            families = self._families
            series = self._series[labels] = families.requests.labels(*labels), families.seconds.labels(*labels)
        series[0].inc()
        series[1].observe(seconds)
        if sent:
            self._families.sent.inc(sent)
        if received:
            self._families.received.inc(received)

    def connected(self, count: int) -> None:
        """One connection more, or one less (-1)."""
        self._connections += count
        self._families.connections.inc(count)

    def refused(self, reason: str) -> None:
        """A client that was given up or not let in."""
        self._families.refused.labels(reason).inc()

    def probed(self, backend: str, *, up: bool, seconds: float) -> None:
        """What became of a probe."""
        self._families.up.labels(backend).set(int(up))
        self._families.probe_seconds.labels(backend).set(seconds)

    def snapshot(self) -> Snapshot:
        """What was counted."""
        return Snapshot(
            uptime=self._clock.monotonic() - self._started,
            requests=sum(self._statuses.values()),
            statuses=dict(self._statuses),
            in_flight=self._in_flight,
            connections=self._connections,
            sent_bytes=self._sent,
            received_bytes=self._received,
        )

    def exposition(self) -> tuple[str, bytes]:
        """The content type, and all metrics of the registry in the text format of Prometheus."""
        return CONTENT_TYPE_LATEST, generate_latest(self.registry)
