"""Several storages as one: the first takes and decides everything, the others follow it."""

from __future__ import annotations

from mediagit_storage.layers.mirror.config import MirrorConfig
from mediagit_storage.layers.mirror.layer import MirrorLayer
from mediagit_storage.layers.mirror.members import MirrorStatus, ReplicaStatus
from mediagit_storage.layers.mirror.repairing import Difference, RepairRules

__all__ = ["Difference", "MirrorConfig", "MirrorLayer", "MirrorStatus", "RepairRules", "ReplicaStatus"]
