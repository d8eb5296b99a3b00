"""Real servers for tests and for people, without Docker: installed, started on free ports, always ended.

::

    from mediagit_storage.testing.emulators import SERVERS, install, running

    install(SERVERS["seaweedfs"], cache)
    with running("seaweedfs", cache=cache) as server:
        server.url, server.access_key, server.secret_key

`shared` gives one server to all processes of a test run. `make emulators` starts them all for a person.
"""

from __future__ import annotations

from mediagit_storage.testing.emulators.existing import running_already
from mediagit_storage.testing.emulators.installing import (
    InstallError,
    install,
    is_installed,
    must_be_there,
    why_missing,
)
from mediagit_storage.testing.emulators.kinds import Running, Server
from mediagit_storage.testing.emulators.running import EmulatorError, MissingError, running, shared
from mediagit_storage.testing.emulators.servers import SERVERS

__all__ = [
    "SERVERS",
    "EmulatorError",
    "InstallError",
    "MissingError",
    "Running",
    "Server",
    "install",
    "is_installed",
    "must_be_there",
    "running",
    "running_already",
    "shared",
    "why_missing",
]
