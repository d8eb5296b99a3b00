"""Observing: log lines, metrics, spans, an audit log, and hooks of one's own. See `ObserveLayer` and `Hook`.

Libraries for metrics and spans are imported when such a hook is made.
"""

from mediagit_storage.layers.observe.audit import AuditHook
from mediagit_storage.layers.observe.config import ObserveConfig
from mediagit_storage.layers.observe.hooks import Hook, Outcome, Record, Watch, acting_as
from mediagit_storage.layers.observe.layer import ObserveLayer
from mediagit_storage.layers.observe.lines import LogHook
from mediagit_storage.layers.observe.metrics import MetricsHook
from mediagit_storage.layers.observe.spans import TraceHook

__all__ = [
    "AuditHook",
    "Hook",
    "LogHook",
    "MetricsHook",
    "ObserveConfig",
    "ObserveLayer",
    "Outcome",
    "Record",
    "TraceHook",
    "Watch",
    "acting_as",
]
