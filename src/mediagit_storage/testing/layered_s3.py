"""The suite through a layer over S3 on a real server, for the tests of layers; and what each server's faults make fail.

The folder of the tests says how to make and open a bucket, in ``make_bucket`` and ``open_bucket``.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from mediagit_storage.backend import StorageBackend
from mediagit_storage.testing.conformance import ConformanceSuite
from mediagit_storage.testing.emulators.kinds import Running

__all__ = [
    "MOTO_DEVIATIONS",
    "SEAWEEDFS_DEVIATIONS",
    "LayeredS3",
    "OverMoto",
    "OverSeaweedFS",
    "OverSeaweedFSWithoutLinks",
]

#: By the name of a check of the suite, the fault that makes it impossible.
MOTO_DEVIATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "test_a_create_only_copy": "ignores-copy-conditions",
        "test_of_many_create_only_renames_one_wins": "ignores-copy-conditions",
        "test_reading_is_liberal": "loses-line-feeds",
        "test_raw_keys": "loses-line-feeds",
        "test_switching_versions_off_loses_nothing": "suspending-loses-versions",
    }
)
SEAWEEDFS_DEVIATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "test_all_attributes_make_the_round_trip": "drops-empty-metadata",
        "test_attributes_come_with_a_read_that_asks_for_them": "drops-empty-metadata",
        "test_reading_is_liberal": "folds-slashes",
        "test_awkward_keys_can_be_copied_renamed_and_deleted": "backslash-is-a-slash",
        "test_awkward_keys_come_back_exactly": "backslash-is-a-slash",
        "test_characters_that_mean_something_elsewhere": "backslash-is-a-slash",
        "test_awkward_keys_in_links": "backslash-is-a-slash",
        "test_a_deleted_object_is_gone_for_every_call": "folders-outlive-objects",
    }
)


class LayeredS3(ConformanceSuite):
    """A bucket of its own for every test, seen through `layered`; the storage below passes the whole suite elsewhere."""

    variant = True
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 1024 * 1024)

    server: Running
    make_bucket: Callable[[Running], str]
    open_bucket: Callable[..., StorageBackend]

    @abstractmethod
    def layered(self, inner: StorageBackend) -> StorageBackend:
        """The layers under test over a bucket."""

    def open_backend(self) -> StorageBackend:
        """A new bucket."""
        self.bucket = self.make_bucket(self.server)
        return self.reopen(None)

    def reopen(self, backend: StorageBackend | None) -> StorageBackend:
        """Another connection to it, and other layers."""
        # The suite allows less memory than the default buffers of a transfer take.
        return self.layered(self.open_bucket(self.server, self.bucket, buffer_size=8 * 1024 * 1024))

    def missing_bucket(self) -> StorageBackend:
        """A name that nobody made a bucket of."""
        return self.layered(self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}"))


class OverMoto(LayeredS3):
    """On moto."""

    server_name: ClassVar[str] = "moto"
    deviations: ClassVar[Mapping[str, str]] = MOTO_DEVIATIONS


class OverSeaweedFS(LayeredS3):
    """On SeaweedFS."""

    server_name: ClassVar[str] = "seaweedfs"
    deviations: ClassVar[Mapping[str, str]] = SEAWEEDFS_DEVIATIONS


class OverSeaweedFSWithoutLinks(OverSeaweedFS):
    """The same for layers that refuse presigned links."""

    deviations: ClassVar[Mapping[str, str]] = MappingProxyType(
        {check: fault for check, fault in SEAWEEDFS_DEVIATIONS.items() if not check.endswith("_in_links")}
    )
