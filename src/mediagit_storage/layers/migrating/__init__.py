"""A new storage in front of an old one, so that services keep running while objects move.

``courses.py`` decides what is asked of which storage, ``layer.py`` asks, ``rounds.py`` does so for batches. ``tokens.py``
tells ETags of two storages apart, ``merging.py`` makes one listing of two, ``carrying.py`` copies from one to the other.
"""

from __future__ import annotations

from mediagit_storage.layers.migrating.config import MigratingConfig
from mediagit_storage.layers.migrating.layer import MigratingLayer

__all__ = ["MigratingConfig", "MigratingLayer"]
