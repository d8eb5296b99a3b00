"""Observing changes nothing: the suite passes with every hook at work, one of which always fails (119, 137)."""

from __future__ import annotations

import logging

from hypothesis import Phase, settings
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.observe import AuditHook, Hook, LogHook, MetricsHook, ObserveLayer, TraceHook
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.machine import StorageMachine
from mediagit_storage.testing.wrappers import without_batch


class Failing(Hook):
    """Fails wherever it is called."""

    def begun(self, record):
        raise RuntimeError("begun")

    def batch_event(self, store, event):
        raise RuntimeError("batch_event")


class FailingLater(Hook):
    """Begins well."""

    def event(self, event):
        raise RuntimeError("event")

    def ended(self, record):
        raise RuntimeError("ended")


def every_hook(backend, folder):
    return [
        Failing(),
        FailingLater(),
        LogHook(logging.DEBUG),
        MetricsHook(CollectorRegistry()),
        TraceHook(backend.connection_info(), TracerProvider(shutdown_on_exit=False)),
        AuditHook(folder / "audit.log", reads=True),
    ]


class TestMemory(ConformanceSuite):
    def open_backend(self):
        return self.observed(MemoryBackend("conformance"))

    def observed(self, backend):
        return ObserveLayer(backend, every_hook(backend, self.folder))

    def missing_bucket(self):
        return self.observed(MemoryBackend("missing", created=False))


class TestMemoryInThreads(TestMemory):
    variant = True

    def open_backend(self):
        return self.observed(without_batch(MemoryBackend("conformance", versioning=True)))


class TestLocal(TestMemory):
    variant = True

    def open_backend(self):
        (self.folder / "objects").mkdir()
        return self.reopen(None)

    def reopen(self, backend):
        return self.observed(LocalBackend(self.folder / "objects", durability="none"))

    def missing_bucket(self):
        return self.observed(LocalBackend(self.folder / "missing"))


class ObservedMachine(StorageMachine):
    def open_backend(self):
        return ObserveLayer(MemoryBackend(), [Failing(), FailingLater(), MetricsHook(CollectorRegistry())])


TestMachine = ObservedMachine.TestCase
TestMachine.settings = settings(max_examples=12, stateful_step_count=25, phases=(Phase.explicit, Phase.generate))
