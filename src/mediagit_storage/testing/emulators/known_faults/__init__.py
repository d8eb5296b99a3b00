"""What the servers of the tests are known to do wrong, each with the requests that show it: a file for each API.

A deviation in the tests of a server refers to one of these by name. A test shows that each is still there, so that the
tables shrink when a server gets better. Not in them is what a server refuses honestly.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mediagit_storage.testing.emulators.known_faults.azure import AZURE_FAULTS
from mediagit_storage.testing.emulators.known_faults.fault import KnownFault
from mediagit_storage.testing.emulators.known_faults.gcs import GCS_FAULTS
from mediagit_storage.testing.emulators.known_faults.s3 import S3_FAULTS
from mediagit_storage.testing.emulators.known_faults.webdav import WEBDAV_FAULTS

__all__ = ["KNOWN_FAULTS", "KnownFault"]

_ALL: Final = (*S3_FAULTS, *AZURE_FAULTS, *GCS_FAULTS, *WEBDAV_FAULTS)

#: Every known fault by its name. No name comes twice.
KNOWN_FAULTS: Final[Mapping[str, KnownFault]] = MappingProxyType({fault.name: fault for fault in _ALL})
