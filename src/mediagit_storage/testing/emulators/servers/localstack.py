"""LocalStack: its S3, from packages of PyPI as they were in May 2025."""

from __future__ import annotations

from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports
from mediagit_storage.testing.emulators.raw_s3 import S3
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["LOCALSTACK"]


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    environment = {
        "SERVICES": "s3",
        "EAGER_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "FILESYSTEM_ROOT": str(place.data / "root"),
        # Nothing of it may look for the network.
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "ALLOW_NONSTANDARD_REGIONS": "1",
        # One request after the other: a read that meets a delete of its object would keep a lock for ever.
        "GATEWAY_WORKER_COUNT": "1",
        # It checks the signatures of links, if of nothing else.
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
    }
    command = (place.program("python"), "-m", "localstack.runtime.main")
    return Launch(command, Running("localstack", f"http://127.0.0.1:{port}", "test", "test"), environment)


LOCALSTACK: Final = Server("localstack", "LocalStack 4.4", S3, PyPI("localstack.txt", python_below=(3, 14)), _prepare)
