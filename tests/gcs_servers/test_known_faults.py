"""The table of what fake-gcs-server does wrong is true: each fault is shown by requests, and a better server fails here."""

from __future__ import annotations

import pytest

from mediagit_storage.testing.emulators.known_faults.gcs import GCS_FAULTS


@pytest.mark.parametrize("fault", GCS_FAULTS, ids=lambda fault: fault.name)
def test_the_server_has_exactly_the_faults_of_the_table(fault, server, bucket):
    assert fault.shown(server, bucket) == (server.name in fault.servers), fault.says
