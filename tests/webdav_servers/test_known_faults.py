"""The table of what WebDAV servers do wrong is true: each fault is shown by requests, and a server that got better fails here."""

from __future__ import annotations

import pytest

from mediagit_storage.testing.emulators.known_faults.webdav import WEBDAV_FAULTS


@pytest.mark.parametrize("fault", WEBDAV_FAULTS, ids=lambda fault: fault.name)
def test_a_server_has_exactly_the_faults_of_the_table(fault, server, folder):
    assert fault.shown(server, folder) == (server.name in fault.servers), fault.says
