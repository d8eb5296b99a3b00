"""The suite through the observe layer, on a bucket of a real server."""

from __future__ import annotations

import logging

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from mediagit_storage.layers.observe import AuditHook, LogHook, MetricsHook, ObserveLayer, TraceHook
from mediagit_storage.testing.layered_s3 import OverSeaweedFS


class TestSeaweedFS(OverSeaweedFS):
    def layered(self, inner):
        hooks = [
            LogHook(logging.DEBUG),
            MetricsHook(CollectorRegistry()),
            TraceHook(inner.connection_info(), TracerProvider(shutdown_on_exit=False)),
            AuditHook(self.folder / "audit.log", reads=True),
        ]
        return ObserveLayer(inner, hooks)
