"""The promises of the contract as tests, for any backend or layer.

A backend joins with a file like this one::

    from mediagit_storage.testing.conformance import ConformanceSuite

    class TestMine(ConformanceSuite):
        chunk_sizes = (1, 64 * 1024)

        def open_backend(self):
            return MyBackend(self.folder / "objects")

        def reopen(self, backend):
            return MyBackend(self.folder / "objects")

What a storage cannot do is no gap: the tests then hold that it is refused, before a byte is read, and that the
capability says so. A layer or a read-only storage may join with some of the parts, each of which is a class.
"""

from __future__ import annotations

from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.conformance.batches import BatchContract
from mediagit_storage.testing.conformance.concurrency import ConcurrencyContract
from mediagit_storage.testing.conformance.conditions import ConditionContract
from mediagit_storage.testing.conformance.contract import (
    DeleteContract,
    ErrorContract,
    ObjectContract,
    SourceContract,
)
from mediagit_storage.testing.conformance.copying import CopyContract
from mediagit_storage.testing.conformance.keys import KeyContract
from mediagit_storage.testing.conformance.lifecycle import LifecycleContract
from mediagit_storage.testing.conformance.links import LinkContract
from mediagit_storage.testing.conformance.listing import ListingContract
from mediagit_storage.testing.conformance.metadata import MetadataContract
from mediagit_storage.testing.conformance.ranges import RangeContract
from mediagit_storage.testing.conformance.streaming import StreamingContract
from mediagit_storage.testing.conformance.versions import VersionContract

__all__ = [
    "BackendCase",
    "BatchContract",
    "ConcurrencyContract",
    "ConditionContract",
    "ConformanceSuite",
    "CopyContract",
    "DeleteContract",
    "ErrorContract",
    "KeyContract",
    "LifecycleContract",
    "LinkContract",
    "ListingContract",
    "MetadataContract",
    "ObjectContract",
    "RangeContract",
    "SourceContract",
    "StreamingContract",
    "VersionContract",
    "raises",
]


class ConformanceSuite(
    ErrorContract,
    ObjectContract,
    SourceContract,
    DeleteContract,
    RangeContract,
    ConditionContract,
    ListingContract,
    KeyContract,
    MetadataContract,
    CopyContract,
    BatchContract,
    StreamingContract,
    VersionContract,
    LinkContract,
    LifecycleContract,
    ConcurrencyContract,
):
    """Every part. See `BackendCase` for what a backend has to say about itself."""
