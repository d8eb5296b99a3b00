"""The suite through the observe layer, on a bucket of a real server."""

from __future__ import annotations

import logging
import secrets

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from mediagit_storage.layers.observe import AuditHook, LogHook, MetricsHook, ObserveLayer, TraceHook
from mediagit_storage.testing.conformance import ConformanceSuite


class TestSeaweedFS(ConformanceSuite):
    server_name = "seaweedfs"
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)
    deviations = {
        "test_all_attributes_make_the_round_trip": "drops-empty-metadata",
        "test_attributes_come_with_a_read_that_asks_for_them": "drops-empty-metadata",
        "test_reading_is_liberal": "folds-slashes",
        "test_awkward_keys_can_be_copied_renamed_and_deleted": "backslash-is-a-slash",
        "test_awkward_keys_come_back_exactly": "backslash-is-a-slash",
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_awkward_keys_in_links": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }

    def open_backend(self):
        self.bucket = self.make_bucket(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        # The suite allows less memory than the default buffers of a transfer take.
        return self.observed(self.open_bucket(self.server, self.bucket, buffer_size=8 * 1024 * 1024))

    def missing_bucket(self):
        return self.observed(self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}"))

    def observed(self, backend):
        hooks = [
            LogHook(logging.DEBUG),
            MetricsHook(CollectorRegistry()),
            TraceHook(backend.connection_info(), TracerProvider(shutdown_on_exit=False)),
            AuditHook(self.folder / "audit.log", reads=True),
        ]
        return ObserveLayer(backend, hooks)
