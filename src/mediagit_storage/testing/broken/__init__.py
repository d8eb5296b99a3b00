"""Stores that break a promise, one each: a suite is believed when it fails where it should.

`BROKEN` names for each the check of the conformance suite that has to notice. A store that no check notices would be
a gap in the suite.
"""

from __future__ import annotations

from typing import Final

from mediagit_storage.testing.broken.base import Broken
from mediagit_storage.testing.broken.listings import LISTINGS
from mediagit_storage.testing.broken.reads import READS
from mediagit_storage.testing.broken.writes import WRITES

__all__ = ["BROKEN", "Broken"]

#: Every broken store.
BROKEN: Final[tuple[Broken, ...]] = (*READS, *WRITES, *LISTINGS)
