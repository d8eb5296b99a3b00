"""Azurite: Microsoft's emulator of Azure Storage, its blobs only; it checks signatures and SAS tokens."""

from __future__ import annotations

import os
from typing import Final

from mediagit_storage.testing.emulators.kinds import Launch, Place, Running, Server, free_ports
from mediagit_storage.testing.emulators.raw_azure import AZURE
from mediagit_storage.testing.emulators.sources import Npm

__all__ = ["ACCOUNT", "AZURITE", "KEY"]

#: The account of every emulator of Azure, with the key that Microsoft publishes for it.
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def _prepare(place: Place) -> Launch:
    [port] = free_ports(1)
    store = place.data / "store"
    store.mkdir(exist_ok=True)
    command = [place.program("azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(store), "--silent", "--disableTelemetry"]
    # Other clients speak newer versions of the protocol than it knows.
    command += ["--skipApiVersionCheck"]
    # Its language may have come with it.
    environment = {"PATH": f"{place.programs / 'bin'}:{os.environ.get('PATH', '')}"}
    becomes = Running("azurite", f"http://127.0.0.1:{port}", ACCOUNT, KEY, speaks="azure")
    return Launch(tuple(command), becomes, environment)


AZURITE: Final = Server("azurite", "Azurite 3.35", AZURE, Npm("azurite@3.35.0", before="2026-11-01"), _prepare)
