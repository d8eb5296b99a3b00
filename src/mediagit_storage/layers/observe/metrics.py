"""Prometheus metrics: operations, errors, bytes, seconds, retries, failovers, and what is in flight (the extra ``metrics``)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from mediagit_storage.errors import ConfigError
from mediagit_storage.events import Event
from mediagit_storage.http.locks import ForkSafeLock
from mediagit_storage.layers.observe.hooks import Hook, Outcome, Record, Watch

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["MetricsHook"]

#: Upper bounds in seconds: from a hit in memory to a large upload.
_BUCKETS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    120.0,
    600.0,
)

#: The ``operation`` of what happens in a batch, where it is not known to which operation it belongs.
_IN_BATCH: Final = "batch"


class _Families:
    """The metrics of one registry. Labels are few: the storage, the operation, how it ended; never a key."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Not at the top: it is an extra, and slow to import.
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"mediagit_storage_{name}", text, ("store", "operation", *labels), registry=registry)

        self.operations = counter("operations", "Operations that ended, by how they ended.", "outcome")
        self.errors = counter("errors", "Operations that failed, by the class of the error.", "error")
        self.read = counter("read_bytes", "Bytes handed to callers.")
        self.written = counter("written_bytes", "Bytes stored.")
        self.items = counter("listed_items", "Objects, folders and uploads that listings gave.")
        self.retries = counter("retries", "Requests that were sent again.")
        self.failovers = counter("failovers", "Reads that a replica of a mirror answered.")
        self.seconds: Histogram = Histogram(
            "mediagit_storage_operation_seconds",
            "Seconds that the storage took for an operation.",
            ("store", "operation"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight: Gauge = Gauge(
            "mediagit_storage_operations_in_flight",
            "Operations that began and did not end yet.",
            ("store", "operation"),
            registry=registry,
        )
        self._series: dict[tuple[str, str], _Series] = {}

    def of(self, store: str, operation: str) -> _Series:
        """The metrics of one operation on one storage: kept, since finding them takes longer than counting."""
        series = self._series.get((store, operation))
        if series is None:
            with _lock.mine():
                series = self._series.setdefault((store, operation), _Series(self, store, operation))
        return series


_families: Final[weakref.WeakKeyDictionary[CollectorRegistry, _Families]] = weakref.WeakKeyDictionary()
_lock: Final = ForkSafeLock()


class MetricsHook(Hook):
    """Counts every operation in ``registry``, by default that of prometheus_client. One serves any number of storages.

    Names begin with ``mediagit_storage_``; several hooks of one registry count in the same metrics. Only ``failed``
    operations are errors: an object that is absent when somebody asks for it is an outcome.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import REGISTRY  # noqa: PLC0415  # an extra, as above
        except ImportError:
            raise ConfigError("metrics need the extra 'metrics': pip install 'mediagit-storage[metrics]'") from None
        chosen = REGISTRY if registry is None else registry
        with _lock.mine():
            found = _families.get(chosen)
            if found is None:
                found = _families[chosen] = _Families(chosen)
        self._metrics = found

    def begun(self, record: Record) -> Watch:
        """One more in flight."""
        series = self._metrics.of(record.store, record.operation)
        series.in_flight.append(None)
        return series

    def batch_event(self, store: str, event: Event) -> None:
        """A retry or failover of one of many."""
        self._metrics.of(store, _IN_BATCH).event(event)


class _Series(Watch):
    """The metrics of one operation on one storage."""

    def __init__(self, metrics: _Families, store: str, operation: str) -> None:
        self._metrics = metrics
        self._labels = store, operation
        #: One item for each operation in flight: to append and to pop need no lock.
        self.in_flight: list[None] = []
        metrics.in_flight.labels(store, operation).set_function(self.in_flight.__len__)
        self._seconds = metrics.seconds.labels(store, operation)
        self._read = metrics.read.labels(store, operation)
        self._written = metrics.written.labels(store, operation)
        self._items = metrics.items.labels(store, operation)
        self._counted = {
            "retry": metrics.retries.labels(store, operation),
            "mirror.failover": metrics.failovers.labels(store, operation),
        }
        self._ended: dict[Outcome, Counter] = {}

    def event(self, event: Event) -> None:
        """Count a retry or a failover."""
        counter = self._counted.get(event.kind)
        if counter is not None:
            counter.inc()

    def ended(self, record: Record) -> None:
        """Count the operation."""
        self.in_flight.pop()
        outcome = record.outcome
        counter = self._ended.get(outcome)
        if counter is None:
            counter = self._ended[outcome] = self._metrics.operations.labels(*self._labels, outcome)
        counter.inc()
        self._seconds.observe(record.seconds)
        if record.bytes_read:
            self._read.inc(record.bytes_read)
        if record.bytes_written:
            self._written.inc(record.bytes_written)
        if record.items:
            self._items.inc(record.items)
        if outcome == "failed":
            self._metrics.errors.labels(*self._labels, record.error or "").inc()
