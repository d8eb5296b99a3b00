"""The options of the layer, and the hooks they ask for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from mediagit_storage.backend import StorageBackend
from mediagit_storage.errors import UnsupportedError
from mediagit_storage.layers.observe.audit import AuditHook
from mediagit_storage.layers.observe.hooks import Hook
from mediagit_storage.layers.observe.lines import LogHook
from mediagit_storage.layers.observe.metrics import MetricsHook
from mediagit_storage.layers.observe.spans import TraceHook
from mediagit_storage.types import ConnectionInfo

__all__ = ["ObserveConfig", "hooks_of"]


@dataclass(frozen=True, slots=True)
class ObserveConfig:
    """What to tell, and where.

    ===============  ================================================================================================
    ``log``          the level of the log line of each operation (failures are at least warnings); None for no lines
    ``log_http``     a line of each HTTP request as well
    ``metrics``      count in Prometheus' default registry (extra ``metrics``)
    ``trace``        a span for each operation, by the program's OpenTelemetry provider (extra ``trace``)
    ``audit``        the file of the audit log, which is made with mode 0600 where it is missing
    ``audit_reads``  reads and listings stand in the audit log, too
    ``audit_sync``   a line is on the disk before the operation returns
    ``name``         what this storage is called in all of them; None for where it is, such as ``s3://bucket``
    ``actor``        who acts where `acting_as` does not say; None for the user of the process, in the audit log
    ===============  ================================================================================================
    """

    log: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None
    log_http: bool = False
    metrics: bool = False
    trace: bool = False
    audit: str | None = None
    audit_reads: bool = False
    audit_sync: bool = False
    name: str | None = None
    actor: str | None = None


def hooks_of(config: ObserveConfig, inner: StorageBackend) -> list[Hook]:
    """The hooks for a storage. Raises `ConfigError` for a missing extra, and an audit log that is not writable."""
    hooks: list[Hook] = []
    if config.metrics:
        hooks.append(MetricsHook())
    if config.trace:
        hooks.append(TraceHook(_place(inner)))
    if config.audit is not None:
        hooks.append(AuditHook(config.audit, reads=config.audit_reads, sync=config.audit_sync))
    if config.log is not None:
        hooks.append(LogHook(logging.getLevelNamesMapping()[config.log], http=config.log_http))
    return hooks


def _place(inner: StorageBackend) -> ConnectionInfo:
    try:
        return inner.connection_info()
    except UnsupportedError:
        # A storage that cannot be opened again shows its scheme all the same.
        return ConnectionInfo(inner.description.partition("://")[0])
