"""The table of what servers do wrong is true: each fault is shown by requests, and a server that got better fails here."""

from __future__ import annotations

import pytest

from mediagit_storage.testing.emulators.known_faults.s3 import S3_FAULTS

SERVERS = ("moto", "seaweedfs", "rclone", "localstack")


@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize("fault", S3_FAULTS, ids=lambda fault: fault.name)
def test_a_server_has_exactly_the_faults_of_the_table(fault, server, bucket):
    assert fault.shown(server, bucket) == (server.name in fault.servers), fault.says
