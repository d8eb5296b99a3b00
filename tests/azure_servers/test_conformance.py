"""The suite that every storage has to pass, on Azure spoken to Azurite."""

from __future__ import annotations

import secrets

from mediagit_storage.testing.conformance import BackendCase, ConformanceSuite


class AzuriteCase(BackendCase):
    """A container of its own for every test."""

    server_name = "azurite"
    rounds = 1
    chunk_sizes = (1, 64 * 1024, 4 * 1024 * 1024)
    storage_class = "Cool"

    def open_backend(self):
        self.container = self.new_container(self.server)
        return self.reopen(None)

    def reopen(self, backend):
        # The suite allows less memory than the default buffers of a transfer take.
        return self.open_container(self.server, self.container, buffer_size=8 * 1024 * 1024)

    def missing_bucket(self):
        return self.open_container(self.server, f"missing-{secrets.token_hex(8)}")


class TestAzurite(AzuriteCase, ConformanceSuite):
    deviations = {
        "test_awkward_keys_come_back_exactly": "azure-backslash-is-a-slash",
        "test_awkward_keys_can_be_copied_renamed_and_deleted": "azure-backslash-is-a-slash",
        "test_awkward_keys_in_links": "azure-backslash-is-a-slash",
        "test_characters_that_mean_something_elsewhere": "azure-backslash-is-a-slash",
        "test_reading_is_liberal": "control-characters-in-a-prefix-fail",
    }
