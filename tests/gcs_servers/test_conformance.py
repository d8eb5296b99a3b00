"""The suite that every storage has to pass, on Google Cloud Storage as fake-gcs-server speaks it."""

from __future__ import annotations

import secrets

import pytest

from mediagit_storage.testing.conformance import BackendCase, ConformanceSuite

KIB = 1024


class ServerCase(BackendCase):
    """A bucket of its own for every test."""

    server_name = "fake-gcs-server"
    rounds = 2
    # The suite allows less memory than three chunks of the default size take: one that travels, and one that comes together.
    options: dict[str, object] = {"part_size": 4096 * KIB}
    deviations = {
        "test_a_delete_on_condition": "gcs-ignores-delete-conditions",
        "test_a_create_only_copy": "gcs-ignores-copy-conditions",
        "test_of_many_create_only_renames_one_wins": "gcs-ignores-copy-conditions",
        "test_every_version_stays": "gcs-deletes-the-live-generation",
        "test_deleting_many_versions": "gcs-deletes-the-live-generation",
        "test_an_old_version_is_brought_back_by_a_copy_onto_its_key": "gcs-forgets-deletions",
        "test_switching_versions_off_loses_nothing": "gcs-suspending-loses-the-live-version",
    }

    def open_backend(self):
        self.bucket = self.new_name(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        return self.open_bucket(self.server, self.bucket, **self.options)

    def missing_bucket(self):
        return self.open_bucket(self.server, f"missing-{secrets.token_hex(8)}", **self.options)


class TestFakeGCSServer(ServerCase, ConformanceSuite):
    chunk_sizes = (1, 256 * KIB, 5_000_000)


class TestEverythingInSessions(ServerCase, ConformanceSuite):
    """The same with every object of more than a few bytes in a resumable upload of the smallest chunks."""

    chunk_sizes = (1, 16, 256 * KIB, 512 * KIB)
    options = {"part_size": 256 * KIB, "multipart_threshold": 16}
    deviations = {
        **ServerCase.deviations,
        "test_of_many_creators_exactly_one_succeeds": "gcs-ignores-session-conditions",
        "test_check_finds_a_healthy_storage": "gcs-ignores-session-conditions",
    }

    @pytest.mark.long
    def test_memory_stays_bounded(self):
        """In hundreds of chunks."""
        super().test_memory_stays_bounded()
