"""The table of what servers do wrong is true: each fault is shown by requests, and a server that got better fails here."""

from __future__ import annotations

import pytest

from mediagit_storage.testing.emulators.known_faults.azure import AZURE_FAULTS


@pytest.mark.parametrize("fault", AZURE_FAULTS, ids=lambda fault: fault.name)
def test_a_server_has_exactly_the_faults_of_the_table(fault, server, container):
    assert fault.shown(server, container) == (server.name in fault.servers), fault.says
